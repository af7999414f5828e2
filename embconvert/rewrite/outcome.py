"""Counts fused and unfused operators of a rewritten graph."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from embconvert.models.architectures import FUSED_ATTENTION
from embconvert.models.values import Fusion
from embconvert.rewrite.attention import why_left
from embconvert.rewrite.editing import OLDEST_OPSET, Editor, only_user, producer

if TYPE_CHECKING:
    import onnx_ir as ir

_OTHER_FORM = "no rule supports its form"

#: The fused operators of each kind, without domains.
_FUSED = {
    "attention": tuple(name.rpartition(".")[2] for name in FUSED_ATTENTION),
    "rotary embedding": ("RotaryEmbedding",),
    "layer norm": ("LayerNormalization", "SkipLayerNormalization"),
    "RMS norm": ("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"),
    "GELU": ("Gelu", "BiasGelu", "FastGelu"),
    "SiLU": ("QuickGelu",),
}


def describe_fusions(editor: Editor) -> tuple[Fusion, ...]:
    """Counts fused and unfused operators of each kind in the graph."""
    too_old = editor.opset < OLDEST_OPSET
    reason = f"the rules need opset {OLDEST_OPSET}, but the graph has opset {editor.opset}"
    operators = Counter(node.op_type for node in editor.graph)
    fusions = []
    for kind, names in _FUSED.items():
        left = Counter(reason if too_old else why for why in _LEFT[kind](editor))
        fusion = Fusion(kind=kind, fused=sum(operators[n] for n in names), left=dict(left))
        if fusion.found:
            fusions.append(fusion)
    return tuple(fusions)


def _attentions(editor: Editor) -> Iterator[str]:
    for node in list(editor.nodes("Softmax")):
        rank = editor.facts.rank(node.outputs[0])
        axis = node.attributes.get_int("axis", -1)
        # Not attention: a Softmax over another axis, as in convbert's convolution kernels, and one
        # over (tokens, experts), as in the routers of a mixture of experts.
        if rank is None or (rank > 2 and axis in (-1, rank - 1)):
            yield why_left(editor, node)


def _rotary_embeddings(editor: Editor) -> Iterator[str]:
    for node in editor.nodes("Neg"):
        half = producer(node.inputs[0], "Slice", "Split")
        if half is not None and only_user(node.outputs[0], "Concat") is not None:
            yield _OTHER_FORM


def _layer_norms(editor: Editor) -> Iterator[str]:
    for node in editor.nodes("ReduceMean"):
        difference = producer(producer_input(node, "Pow", "Mul"), "Sub")
        if difference is not None:
            yield _OTHER_FORM


def _rms_norms(editor: Editor) -> Iterator[str]:
    for node in editor.nodes("ReduceMean"):
        squared = producer_input(node, "Pow", "Mul")
        if squared is not None and producer(squared, "Sub") is None:
            yield _OTHER_FORM


def _gelus(editor: Editor) -> Iterator[str]:
    for _ in editor.nodes("Erf"):
        yield _OTHER_FORM


def _silus(editor: Editor) -> Iterator[str]:
    for node in editor.nodes("Sigmoid"):
        product = only_user(node.outputs[0], "Mul")
        if product is not None and node.inputs[0] in product.inputs:
            yield _OTHER_FORM


def producer_input(node: "ir.Node", *kinds: str) -> "ir.Value | None":
    """Returns the first input of the node before a node, if it is of these kinds."""
    before = producer(node.inputs[0], *kinds)
    return None if before is None else before.inputs[0]


_LEFT: dict[str, Callable[[Editor], Iterator[str]]] = {
    "attention": _attentions,
    "rotary embedding": _rotary_embeddings,
    "layer norm": _layer_norms,
    "RMS norm": _rms_norms,
    "GELU": _gelus,
    "SiLU": _silus,
}
