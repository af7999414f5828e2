"""Converts an exported graph to OpenVINO's IR, and quantizes it by NNCF."""

import importlib
import io
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.derive.settings import DeriveSettings, Feeds
from embconvert.errors import DeriveError, EmbconvertError, reason_of
from embconvert.graph.openvino_ir import nncf, openvino
from embconvert.graph.streams import hash_file
from embconvert.models.choices import Precision
from embconvert.models.forms import IR_WEIGHTS_SUFFIX
from embconvert.models.source_records import FileRecord
from embconvert.models.values import DerivedModel, OnnxArtifact

#: A layer that OpenVINO has named by how many it had made before, in this process.
_NUMBERED = re.compile(rb'<layer id="(\d+)" name="(\w+)_\d+" type="')

# Weights for each scale. NNCF's default, 128, gives all-MiniLM-L6-v2 a mean cosine of 0.948, this
# 0.969; with `scale_estimation` 3.4's graph computes nonsense (a cosine of 0).
_GROUP = 32


def derive(source: OnnxArtifact, path: Path, settings: DeriveSettings) -> DerivedModel:
    """Writes a graph as IR: the `.xml` and, beside it, the weights.

    The weights are in memory about twice; an exported graph has no operators that OpenVINO does not
    know. QInt8Static also rounds activations.

    Args:
        source: An exported graph, or a user's.

    Raises:
        DeriveError: OpenVINO or NNCF cannot convert it.
        OSError: It cannot be written.
    """
    try:
        return _convert(source, path, settings.precision, settings.calibration)
    except (MemoryError, OSError, EmbconvertError):
        raise
    except Exception as error:
        raise DeriveError(
            f"OpenVINO cannot convert {source.path.name} to {settings.precision}: "
            f"{reason_of(error)}",
            "try another precision, or --layout hub; --debug shows more",
        ) from error


def _convert(
    source: OnnxArtifact, path: Path, precision: Precision, calibration: Feeds
) -> DerivedModel:
    library = openvino()
    model = library.Core().read_model(str(source.path))
    if precision is Precision.QINT8_STATIC:
        _gather_parts(model)
    _name_by_place(model)
    if precision in _QUANTIZERS:
        # NNCF draws its progress there.
        with redirect_stdout(io.StringIO()):
            model = _QUANTIZERS[precision](model, [v.any_name for v in model.inputs], calibration)
    path.parent.mkdir(parents=True, exist_ok=True)
    library.save_model(model, str(path), compress_to_fp16=precision is Precision.FLOAT16)
    path.write_bytes(_NUMBERED.sub(rb'<layer id="\1" name="\2_\1" type="', path.read_bytes()))
    weights = path.with_suffix(IR_WEIGHTS_SUFFIX)
    artifact = replace(
        source,
        path=path,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        external_data=FileRecord(
            path=weights.name, sha256=hash_file(weights), size_bytes=weights.stat().st_size
        ),
        operators=_operators(model),
    )
    return DerivedModel(artifact=artifact)


def _gather_parts(model: Any) -> None:
    """Lets nodes that take one index, such as that of the last token, keep its axis until after.

    Otherwise OpenVINO 2026.4's CPU plugin moves the scales and zero points of a product behind such
    a node without removing the axis from them, and mixes up the texts of a batch.
    """
    import numpy as np

    operators = importlib.import_module("openvino.opset13")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather" or not node.get_element_type().is_real():
            continue
        values, index, axis = (place.get_source_output() for place in node.inputs())
        if index.get_partial_shape().rank.is_dynamic or len(index.get_partial_shape()):
            continue
        part = operators.gather(values, operators.unsqueeze(index, np.int64(0)), axis)
        whole = operators.squeeze(part, axis)
        whole.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(whole.output(0))


def _name_by_place(model: Any) -> None:
    """Names nodes without a name of their own by their place: NNCF makes other names of these."""
    for place, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}_{place}")


def _operators(model: Any) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for node in model.get_ops():
        name = f"openvino.{node.get_type_name()}"
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _static(model: Any, inputs: list[str], calibration: Feeds) -> Any:
    """Rounds weights and activations, the latter by their ranges on the calibration texts."""
    library = nncf()
    feeds = list(calibration(inputs))
    return library.quantize(
        model,
        library.Dataset(feeds),
        model_type=library.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )


def _eight_bits(model: Any, inputs: list[str], calibration: Feeds) -> Any:
    del inputs, calibration
    library = nncf()
    return library.compress_weights(model, mode=library.CompressWeightsMode.INT8_ASYM)


def _four_bits(model: Any, inputs: list[str], calibration: Feeds) -> Any:
    del inputs, calibration
    library = nncf()
    return library.compress_weights(
        model,
        mode=library.CompressWeightsMode.INT4_ASYM,
        group_size=_GROUP,
        advanced_parameters=library.AdvancedCompressionParameters(
            group_size_fallback_mode=library.GroupSizeFallbackMode.ADJUST
        ),
    )


_QUANTIZERS: Mapping[Precision, Callable[[Any, list[str], Feeds], Any]] = MappingProxyType(
    {Precision.QINT8_STATIC: _static, Precision.Q8: _eight_bits, Precision.Q4: _four_bits}
)
