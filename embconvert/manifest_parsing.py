"""From a manifest's JSON to its record; hostile input is refused."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from embconvert.config import Layout, OptimizationLevel, Precision
from embconvert.fidelity.figures import Fidelity, LayerCosine, TextCosine
from embconvert.kinds import Measure
from embconvert.manifest import MEASURED, OF_SOME_KINDS, SCHEMA_VERSION, ArtifactRecord, Manifest
from embconvert.model import FileRecord, Fusion, KeptNode, TensorInfo


def parse_manifest_text(content: bytes) -> Manifest:
    """Reads a manifest back from its file's content; raises as parse_manifest."""
    try:
        return parse_manifest(json.loads(content.decode("utf-8")))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_manifest(value: object) -> Manifest:
    """Reads a manifest back.

    Raises:
        ValueError: It is not one, or of another schema version, or names files outside of its
            folder.
    """
    try:
        return _parse_manifest(value)
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ValueError(f"the manifest is broken: {error!r}") from error


def _parse_manifest(value: Any) -> Manifest:
    if value["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"the manifest's schema version is {value['schema_version']}")
    external = {
        e["path"]: _parse_file(e) for e in value["artifacts"] if e["kind"] == "external_data"
    }
    source = {k: v for k, v in value["source"].items() if k != "files"}
    return Manifest(
        tool_version=str(value["tool"]["version"]),
        layout=Layout(value.get("layout", Layout.HUB)),
        source=source,
        source_files=tuple(_parse_file(f) for f in value["source"]["files"]),
        stack=dict(value["stack"]),
        machine=dict(value["machine"]),
        verification=dict(value["verification"]),
        artifacts=tuple(
            _parse_artifact(e, external) for e in value["artifacts"] if e["kind"] == "onnx"
        ),
        files=tuple(_parse_file(f) for f in value["files"]),
        commands=tuple(map(str, value["tool"]["commands"])),
        search=dict(value["search"]) if value["search"] else None,
        pages=tuple(_parse_file(f) for f in value["pages"]),
    )


def _parse_file(value: Any) -> FileRecord:
    path = str(value["path"])
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError(f"the manifest names a file outside of its folder: {path}")
    return FileRecord(path=path, sha256=str(value["sha256"]), size_bytes=int(value["size_bytes"]))


def _parse_artifact(value: Any, external: Mapping[str, FileRecord]) -> ArtifactRecord:
    file = _parse_file(value)
    return ArtifactRecord(
        path=file.path,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        external_data=external[value["external_data"]] if value["external_data"] else None,
        precision=Precision(value["precision"]),
        optimization_level=OptimizationLevel(value["optimization_level"]),
        opset=int(value["opset"]),
        inputs=_parse_tensors(value["inputs"]),
        outputs=_parse_tensors(value["outputs"]),
        operators={str(k): int(v) for k, v in value["operators"].items()},
        fusions=tuple(map(_parse_fusion, value.get("fusions", ()))),
        kept=tuple(KeptNode(**entry) for entry in value.get("kept", ())),
        method=str(value["method"]),
        settings=dict(value["settings"]),
        key=str(value["key"]),
        made_from=value["made_from"],
        fidelity=_parse_fidelity(value["fidelity"]) if value["fidelity"] else None,
        duration_s=float(value["duration_s"]),
        peak_memory_bytes=int(value["peak_memory_bytes"]),
        min_onnxruntime=str(value["min_onnxruntime"]),
    )


def _parse_fidelity(value: Any) -> Fidelity:
    measure = next(m for m in Measure if f"mean_{m}" in value)
    value = dict(value)
    for name in MEASURED:
        value[name] = value[name.replace("cosine", measure)]
    if measure is not Measure.COSINE:
        value["token_mean_cosine"] = None
    value["measure"] = measure
    value = dict.fromkeys(OF_SOME_KINDS) | value
    figures = {field.name: value[field.name] for field in fields(Fidelity)}
    figures["worst_texts"] = tuple(
        TextCosine(text=entry["text"], cosine=entry[measure]) for entry in value["worst_texts"]
    )
    figures["histogram"] = tuple(map(int, value["histogram"]))
    figures["layers"] = tuple(LayerCosine(**entry) for entry in value["layers"])
    return Fidelity(**figures)


def _parse_fusion(value: Any) -> Fusion:
    left = {str(entry["reason"]): int(entry["count"]) for entry in value["left"]}
    return Fusion(kind=str(value["kind"]), fused=int(value["fused"]), left=left)


def _parse_tensors(values: Any) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(name=v["name"], dtype=v["dtype"], shape=tuple(v["shape"])) for v in values
    )
