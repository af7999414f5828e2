"""Decides which files of a plan earlier runs have already made."""

import functools
from collections.abc import Mapping, Sequence
from importlib import metadata

from embconvert import __version__
from embconvert.fidelity.floors import shortfall
from embconvert.fidelity.settling import is_complete, unsettled
from embconvert.manifest import ArtifactRecord
from embconvert.plan.search import Search
from embconvert.plan.steps import Step
from embconvert.request.records import Request

#: Libraries whose versions affect the bytes of files.
STACK = (
    "torch", "transformers", "sentence-transformers", "optimum", "onnx", "onnx-ir", "onnxruntime",
    "tokenizers", "numpy",
)  # fmt: skip


@functools.cache
def versions() -> Mapping[str, str]:
    """Returns the versions of these libraries and of embconvert."""
    return {**{name: metadata.version(name) for name in STACK}, "embconvert": __version__}


def reusable(
    steps: Sequence[Step], earlier: Sequence[ArtifactRecord], digests: Mapping[str | None, str]
) -> dict[str, ArtifactRecord]:
    """Returns the records of earlier runs that steps need not make again, by the steps' files.

    Args:
        earlier: Records, in order of preference.
        digests: Digests of what steps read: the source's under None, and a graph's by its path;
            those of files that steps make are not used.
    """
    # The folder may have a file of that name which other options made: what a step makes is known
    # by the record that it reuses only.
    made = {step.file for step in steps}
    known = {file: digest for file, digest in digests.items() if file not in made}
    found: dict[str, ArtifactRecord] = {}
    for step in steps:
        if step.source not in known:
            continue  # its source must be made first
        key = step.key(known[step.source], versions())
        if not step.is_published:
            # An unpublished graph only refers to its weights, so its digest would not identify
            # them.
            known[step.file] = key
        for record in earlier:
            if record.key == key and _may_be_at(record, step.file):
                found[step.file] = record
                known.setdefault(step.file, record.digest)
                break
    return found


def _may_be_at(record: ArtifactRecord, file: str) -> bool:
    # A graph contains the name of its external data file, and what is beside it has its own name.
    return record.path == file or (record.external_data is None and not record.beside)


def is_to_compare(step: Step, record: ArtifactRecord, request: Request) -> bool:
    """Whether a file must be compared with the source (again).

    What a sample settled for the floor of an earlier run may be close to today's.
    """
    figures = record.fidelity
    if step.floor is None or figures is None:
        return step.floor is not None
    if request.full_validation and not is_complete(figures):
        return True
    return figures.rest > 0 and unsettled(figures, step.floor) is not None


def holds(step: Step, record: ArtifactRecord, request: Request) -> bool:
    """Whether a file meets the step's floor and runs on the oldest required release."""
    if not record.runs_on(request.min_onnxruntime) or is_to_compare(step, record, request):
        return False
    if step.floor is None:
        return True
    return record.fidelity is not None and shortfall(record.fidelity, step.floor) is None


def to_make(
    steps: Sequence[Step], search: Search | None, found: Mapping[str, ArtifactRecord]
) -> tuple[Step, ...]:
    """Returns the steps whose files must be made, including candidates of the search.

    An unpublished file is made only if another file is made from it.

    Args:
        search: Finished when one candidate is found.
        found: Records of earlier runs by file; see reusable().
    """
    candidates: tuple[Step, ...] = ()
    if search is not None and found_candidate(search, found) is None:
        candidates = search.candidates
    wanted = [step for step in steps if step.is_published and step.file not in found]
    wanted += candidates
    needed = {step.source for step in wanted}
    for step in reversed(steps):
        if not step.is_published and step.file in needed and step.file not in found:
            wanted.append(step)
            needed.add(step.source)
    return tuple(step for step in (*steps, *candidates) if step in wanted)


def found_candidate(
    search: Search, found: Mapping[str, ArtifactRecord]
) -> tuple[Step, ArtifactRecord] | None:
    """Returns the candidate that an earlier search chose, or None."""
    for step in search.candidates:
        record = found.get(step.file)
        if record is not None and record.fidelity is not None:
            return step, record
    return None


def is_done(
    steps: Sequence[Step],
    search: Search | None,
    found: Mapping[str, ArtifactRecord],
    request: Request,
) -> bool:
    """Whether nothing remains to be made or verified."""
    if to_make(steps, search, found):
        return False
    published = (step for step in steps if step.is_published)
    return all(holds(step, found[step.file], request) for step in published)
