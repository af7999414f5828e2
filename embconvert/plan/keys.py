"""What identifies what a step makes, and which steps of a plan are yet to be done."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata

from embconvert import __version__
from embconvert.manifest import ArtifactRecord
from embconvert.plan.steps import Step

#: The libraries whose versions decide what a step makes.
STACK = (
    "torch", "transformers", "sentence-transformers", "optimum", "onnx", "onnx-ir", "onnxruntime",
    "onnxconverter-common", "tokenizers", "numpy",
)  # fmt: skip


@functools.cache
def versions() -> Mapping[str, str]:
    """Returns the versions that decide what a step makes: of the libraries, and of this tool."""
    return {**{name: metadata.version(name) for name in STACK}, "embconvert": __version__}


def intermediate_keys(steps: Iterable[Step], source_digest: str) -> dict[str, str]:
    """Returns what identifies the outcome of each step that is not published, by file.

    Such a graph names its weights only, so its bytes would not tell them.
    """
    keys: dict[str, str] = {}
    for step in steps:
        if not step.is_published:
            keys[step.file] = step.key(keys.get(step.source or "", source_digest), versions())
    return keys


def unmade(
    steps: Sequence[Step], records: Iterable[ArtifactRecord], source_digest: str
) -> set[str]:
    """Returns the files of steps that are needed and not among records; reads no graph.

    Args:
        steps: In order.
        records: What earlier runs noted.
        source_digest: Of the model that an export would be made of.
    """
    noted = {record.path: record for record in records}
    intermediate = intermediate_keys(steps, source_digest)
    missing: set[str] = set()
    for step in steps:
        record, source = noted.get(step.file), noted.get(step.source or "")
        digest = source_digest
        if step.source is not None:
            digest = source.digest if source is not None else ""
            digest = intermediate.get(step.source, digest)
        key = step.key(digest, versions())
        if step.is_published and (record is None or record.key != key or step.source in missing):
            missing.add(step.file)
    for step in reversed(steps):
        if step.file in missing and step.source in intermediate:
            missing.add(step.source)
    return missing
