"""Writes a graph in ONNX Runtime's own format, and the operators that a reduced build needs for it.

As `python -m onnxruntime.tools.convert_onnx_models_to_ort` does with the style Fixed, but with the
passes of the graph's own level: a build without ONNX runs none itself.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.derive.settings import DeriveSettings
from embconvert.errors import DeriveError
from embconvert.graph.runtime import CPU_PROVIDER, open_session, session_options
from embconvert.graph.streams import hash_file
from embconvert.models.choices import OptimizationLevel
from embconvert.models.compat import ORT_FORMAT, newest_of, oldest_onnxruntime, variant
from embconvert.models.source_records import FileRecord
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, DerivedModel, OnnxArtifact

#: The names of ONNX Runtime's levels. Layouts for this machine belong to level 99, and operators
#: that only its CPU provider has to level 2.
_LEVELS: Mapping[OptimizationLevel, str] = MappingProxyType(
    {
        OptimizationLevel.NONE: "ORT_ENABLE_BASIC",
        OptimizationLevel.BASIC: "ORT_ENABLE_BASIC",
        OptimizationLevel.EXTENDED: "ORT_ENABLE_EXTENDED",
        OptimizationLevel.ALL: "ORT_ENABLE_ALL",
    }
)
#: As the converter has them; the other architectures' int8 kernels differ.
_ENTRIES = {"session.save_model_format": "ORT", "session.qdqisint8allowed": "0"}


def derive(source: OnnxArtifact, path: Path, settings: DeriveSettings) -> DerivedModel:
    """Writes the file and its operators; raises DeriveError if it is too large for the format."""
    if source.total_size_bytes > EXTERNAL_DATA_THRESHOLD_BYTES:
        raise DeriveError(
            f"{path.name} would have {source.total_size_bytes / 1e9:.1f} GB, but ONNX Runtime's "
            "own format has at most 2",
            "choose a smaller precision, such as --quantize QInt8; or omit --format ort",
        )
    _convert(source.path, path, settings.level)
    config = path.with_suffix(settings.form.rules.endings[1])
    _write_operators(path, config, settings.work)
    nodes = list(_nodes(path))
    names = Counter(name for name, _ in nodes)
    variants = {variant(name, numbers) for name, numbers in nodes}
    oldest = oldest_onnxruntime(source.opset, 0, variants)
    artifact = replace(
        source,
        path=path,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        external_data=None,
        operators=dict(sorted(names.items())),
        min_onnxruntime=newest_of(source.min_onnxruntime, oldest, "{}.{}".format(*ORT_FORMAT)),
    )
    beside = FileRecord(
        path=config.name, sha256=hash_file(config), size_bytes=config.stat().st_size
    )
    return DerivedModel(artifact=artifact, beside=(beside,))


def _convert(source: Path, path: Path, level: OptimizationLevel) -> None:
    import onnxruntime

    options = session_options(**_ENTRIES)
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[level])
    options.optimized_model_filepath = str(path)
    open_session(source, options, CPU_PROVIDER)


def _write_operators(path: Path, config: Path, work: Path) -> None:
    """Writes what `build.py --include_ops_by_config` reads, without this machine's paths."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    made = work / f"operators-of-{path.name}"
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    create_config_from_models([path], made, True)
    lines = [line for line in made.read_text().splitlines() if not line.startswith("#")]
    config.write_text("\n".join([f"# Generated from {path.name}", *lines, ""]))
    made.unlink()


def _nodes(path: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yields each node's operator, as in OnnxArtifact.operators, with its integer attributes."""
    from onnxruntime.tools.ort_format_model import ort_flatbuffers_py  # noqa: F401 - adds its path
    from ort_flatbuffers_py import fbs  # type: ignore[import-not-found]

    buffer = bytearray(path.read_bytes())
    session = fbs.InferenceSession.InferenceSession.GetRootAsInferenceSession(buffer, 0)
    graphs: list[Any] = [session.Model().Graph()]
    while graphs:
        graph = graphs.pop()
        for index in range(graph.NodesLength()):
            node = graph.Nodes(index)
            domain, name = node.Domain().decode(), node.OpType().decode()
            attributes = [node.Attributes(place) for place in range(node.AttributesLength())]
            graphs += [inner for a in attributes if (inner := a.G()) is not None]
            integers = {a.Name().decode(): a.I() for a in attributes}
            yield (f"{domain}.{name}" if domain not in ("", "ai.onnx") else name), integers
