"""Fixes the number of texts and tokens of a graph, and computes what depends only on them.

Compilers for NPUs, Core ML and TensorRT need sizes that are known in advance.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.derive.settings import DeriveSettings
from embconvert.errors import DeriveError
from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.graph.value_types import value_types
from embconvert.models.shapes import Shape
from embconvert.models.values import DerivedModel, OnnxArtifact
from embconvert.rewrite import Rule, rewrite
from embconvert.rewrite.constants import fold_constants
from embconvert.rewrite.tidying import drop_needless_nodes

if TYPE_CHECKING:
    import onnx_ir as ir


_RULES: tuple[Rule, ...] = (fold_constants, drop_needless_nodes)


def derive(source: OnnxArtifact, path: Path, settings: DeriveSettings) -> DerivedModel:
    """Writes a graph of a fixed shape; raises DeriveError unless inputs are (texts, tokens)."""
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    shape = settings.form.shape
    assert shape is not None
    model = read_model(source.path)
    _fix_inputs(model, shape)
    rewrite(model, _RULES)
    # ONNX Runtime knows the sizes of all of its own operators.
    model = _with_sizes(model)
    rewrite(model, _RULES)
    RemoveUnusedOpsetsPass()(model)
    return DerivedModel(artifact=write_model(model, path))


def _fix_inputs(model: "ir.Model", shape: Shape) -> None:
    import onnx_ir as ir

    names: dict[str, int] = {}
    for value in model.graph.inputs:
        sizes = [] if value.shape is None else list(value.shape)
        if len(sizes) != 2 or any(isinstance(size, int) for size in sizes):
            shown = ", ".join(map(str, sizes))
            raise DeriveError(
                f"the input {value.name} of ({shown}) does not have the two "
                "dynamic axes that --shape fixes: texts and tokens",
                "omit --shape for this model",
            )
        names |= zip(map(_name, sizes), (shape.texts, shape.tokens), strict=True)
        value.shape = ir.Shape((shape.texts, shape.tokens))
    for value in _computed(model.graph):
        if value.shape is not None:
            value.shape = ir.Shape(
                [d if isinstance(d, int) else names.get(_name(d), d) for d in value.shape]
            )


def _name(size: "int | ir.SymbolicDim") -> str:
    return str(size if isinstance(size, int) else size.value)


def _computed(graph: "ir.Graph") -> "list[ir.Value]":
    return [value for node in graph for value in node.outputs]


def _with_sizes(model: "ir.Model") -> "ir.Model":
    """Returns the model with the types and sizes of all values that are known."""
    import onnx_ir as ir

    proto, weights = hollow_out(model)
    types = value_types(proto, weights)
    model = fill(proto, weights)
    for value in _computed(model.graph):
        known = types.get(value.name or "")
        if known is not None and all(isinstance(size, int) for size in known.sizes):
            value.shape = ir.Shape(known.sizes)
            value.type = ir.TensorType(ir.DataType(known.element))
    return model
