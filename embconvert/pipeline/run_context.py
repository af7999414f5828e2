"""What the parts of one run share."""

from dataclasses import dataclass

from embconvert.console import Console
from embconvert.folder.staging import Staging
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.results import Results
from embconvert.pipeline.reuse import Reuse
from embconvert.pipeline.source_process import SourceProcess
from embconvert.processes.workers import Workers


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What the parts of one run share.

    Attributes:
        reuse: The files of earlier runs.
        results: The files of this run.
        in_pieces: Whether the source and the graphs run layer by layer, for lack of memory.
    """

    prepared: Prepared
    staging: Staging
    reuse: Reuse
    results: Results
    workers: Workers
    console: Console
    source: SourceProcess
    in_pieces: bool
