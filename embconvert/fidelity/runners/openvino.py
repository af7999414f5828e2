"""Runs files of OpenVINO's IR, with OpenVINO."""

import re
from pathlib import Path

from embconvert.fidelity.runners import How, Session
from embconvert.graph.openvino_ir import IrSession
from embconvert.models.forms import IR_WEIGHTS_SUFFIX
from embconvert.models.values import OnnxArtifact

# A graph of MiniLM has 0.5 MB.
_MAX_XML_BYTES = 256 << 20
_HEAD = b'<?xml version="1.0"?>\n<net name="'
_PLACE = re.compile(rb'offset="(\d{1,19})"[^>]{0,200}? size="(\d{1,19})"')


def _open(artifact: OnnxArtifact, threads: int | None) -> Session:
    return IrSession(artifact.path, threads)


def _problem(path: Path) -> str | None:
    if path.stat().st_size > _MAX_XML_BYTES:
        return f"{path.name} is larger than {_MAX_XML_BYTES >> 20} MiB"
    content = path.read_bytes()
    if not content.startswith(_HEAD) or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        return f"{path.name} is not a file of OpenVINO's IR"
    weights = path.with_suffix(IR_WEIGHTS_SUFFIX)
    if not weights.is_file():
        return f"{weights.name}, with the weights of {path.name}, is missing"
    ends = (int(offset) + int(size) for offset, size in _PLACE.findall(content))
    if max(ends, default=0) > weights.stat().st_size:
        return f"{path.name} has weights beyond the end of its {IR_WEIGHTS_SUFFIX} file"
    return None


HOW = How(open=_open, problem=_problem)
