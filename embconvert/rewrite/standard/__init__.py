"""Writes a graph in standard operators, for other programs and for older ONNX Runtimes.

The rewrite rules and the quantizers use ONNX Runtime's own operators, because they are faster. This
comes last and undoes what a target cannot run: one operator after the other, by a table. What a
table does not know stays, and is refused when the graph is published.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.opset import at_least
from embconvert.rewrite.editing import Editor
from embconvert.rewrite.standard.activations import fast_gelu, gelu, quick_gelu
from embconvert.rewrite.standard.attention import grouped_query_attention, multi_head_attention
from embconvert.rewrite.standard.integers import block_lookup, block_product, integer_product
from embconvert.rewrite.standard.norms import rms_norm, skip_layer_norm, skip_rms_norm
from embconvert.rewrite.standard.rotary import rotary_embedding
from embconvert.rewrite.standard.values import NoStandardForm

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, kw_only=True)
class StandardForm:
    """The standard form of an operator.

    Attributes:
        write: Inserts the standard operators before a node; returns what replaces its first output.
        inputs: The inputs that it takes into account; a node with others has no standard form.
        attributes: The attributes that it takes into account, likewise.
        opset: The first one with its operators.
        ir_version: The first one with its types.
    """

    write: "Callable[[Editor, ir.Node], ir.Value]"
    inputs: tuple[int, ...]
    attributes: tuple[str, ...] = ()
    opset: int = 13
    ir_version: int = 7


_HEADS = ("num_heads", "scale")
_BLOCKS = ("bits", "block_size")
_NORM = ("axis", "epsilon", "stash_type")

#: By the names of OnnxArtifact.operators.
FORMS: Mapping[str, StandardForm] = MappingProxyType(
    {
        "com.microsoft.BiasGelu": StandardForm(write=gelu, inputs=(0, 1)),
        "com.microsoft.FastGelu": StandardForm(write=fast_gelu, inputs=(0, 1)),
        "com.microsoft.GatherBlockQuantized": StandardForm(
            write=block_lookup, inputs=(0, 1, 2),
            attributes=(*_BLOCKS, "gather_axis", "quantize_axis"),
        ),
        "com.microsoft.Gelu": StandardForm(write=gelu, inputs=(0,)),
        "com.microsoft.GroupQueryAttention": StandardForm(
            write=grouped_query_attention, inputs=(0, 1, 2, 5, 6, 10, 11),
            attributes=(*_HEADS, "kv_num_heads", "softcap"),
        ),
        "com.microsoft.MatMulIntegerToFloat": StandardForm(
            write=integer_product, inputs=(0, 1, 2, 3, 4, 5, 6)
        ),
        "com.microsoft.MatMulNBits": StandardForm(
            write=block_product, inputs=(0, 1, 2),
            attributes=(*_BLOCKS, "K", "N", "accuracy_level"), opset=21, ir_version=10,
        ),
        "com.microsoft.MultiHeadAttention": StandardForm(
            write=multi_head_attention, inputs=(0, 1, 2, 5), attributes=_HEADS
        ),
        "com.microsoft.QuickGelu": StandardForm(
            write=quick_gelu, inputs=(0,), attributes=("alpha",)
        ),
        "com.microsoft.RotaryEmbedding": StandardForm(
            write=rotary_embedding, inputs=(0, 1, 2, 3), attributes=()
        ),
        "com.microsoft.SkipLayerNormalization": StandardForm(
            write=skip_layer_norm, inputs=(0, 1, 2, 3, 4), attributes=("epsilon",), opset=17,
            ir_version=8,
        ),
        "com.microsoft.SkipSimplifiedLayerNormalization": StandardForm(
            write=skip_rms_norm, inputs=(0, 1, 2, 3), attributes=("epsilon",)
        ),
        # ONNX Runtime has it in ONNX's own domain.
        "SimplifiedLayerNormalization": StandardForm(
            write=rms_norm, inputs=(0, 1), attributes=_NORM
        ),
    }
)  # fmt: skip


def write_in_standard_operators(
    model: "ir.Model", operators: Collection[str], *, infer_sizes: bool = True
) -> "ir.Model":
    """Replaces operators in the main graph by their standard forms.

    Args:
        model: It is changed; its weights may be lazy.
        operators: Those to replace, by the names of FORMS; others stay.
        infer_sizes: Infer symbolic sizes; without them, some operators have no standard form.

    Returns:
        The model; another one if its opset had to be raised.

    Raises:
        NoStandardForm: A node of these operators has inputs or attributes that its standard form
            does not take into account.
    """
    from onnx_ir.passes import common

    wanted = {name: FORMS[name] for name in operators if name in FORMS}
    found = [wanted[name] for node in model.graph if (name := _name_of(node)) in wanted]
    if not found:
        return model
    opset, ir_version = max(f.opset for f in found), max(f.ir_version for f in found)
    if model.opset_imports.get("", 0) < opset or (model.ir_version or 0) < ir_version:
        proto, weights = hollow_out(model)
        model = fill(at_least(proto, opset, ir_version), weights)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    editor = Editor(model, infer_sizes=infer_sizes)
    for node in list(model.graph):
        form = wanted.get(_name_of(node))
        if form is not None:
            try:
                _replace(editor, node, form)
            except NoStandardForm as reason:
                raise NoStandardForm(f"{_name_of(node)} has no standard form: {reason}") from None
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def _replace(editor: Editor, node: "ir.Node", form: StandardForm) -> None:
    inputs = [i for i, v in enumerate(node.inputs) if v is not None and i not in form.inputs]
    attributes = [name for name in node.attributes if name not in form.attributes]
    unknown = [*(f"input {i}" for i in inputs), *(f"attribute {name}" for name in attributes)]
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        unknown.append("a second output")
    if unknown:
        raise NoStandardForm(f"it has {', '.join(unknown)}")
    editor.replace(node.outputs[0], form.write(editor, node))


def _name_of(node: "ir.Node") -> str:
    """Returns a node's operator as OnnxArtifact.operators names it."""
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    return f"{domain}{node.op_type}"
