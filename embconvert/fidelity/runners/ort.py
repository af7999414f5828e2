"""Runs files in ONNX Runtime's own format, which it recognizes by their name."""

from pathlib import Path

from embconvert.fidelity.runners import How

#: The file identifier of ort.fbs, after the offset of the root table.
_IDENTIFIER = b"ORTM"


def _problem(path: Path) -> str | None:
    with path.open("rb") as stream:
        head = stream.read(8)
    if head[4:] == _IDENTIFIER:
        return None
    return f"{path.name} is not a file in ONNX Runtime's own format"


HOW = How(problem=_problem)
