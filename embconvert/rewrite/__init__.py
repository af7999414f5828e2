"""Rewriting a plain graph into one that ONNX Runtime runs faster: one rule a file, in one order.

Every rule looks at the graph, replaces what it knows by what gives the same numbers, and says
whether it changed anything. They run in turn until none does. A rule reads a constant only when
it is small; weights stay on disk.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from embconvert.models.choices import OptimizationLevel
from embconvert.rewrite.attention import fuse_attention
from embconvert.rewrite.constants import fold_constants
from embconvert.rewrite.editing import OLDEST_OPSET, Editor
from embconvert.rewrite.gelu import fuse_gelu
from embconvert.rewrite.masks import shrink_masks
from embconvert.rewrite.packed_products import unpack_products
from embconvert.rewrite.padding_column import move_padding_into_heads
from embconvert.rewrite.residual import keep_residual_apart
from embconvert.rewrite.rms_norm import fuse_rms_norm
from embconvert.rewrite.rotary import fuse_rotary_embedding
from embconvert.rewrite.same_row import look_up_rows_once
from embconvert.rewrite.silu import fuse_silu
from embconvert.rewrite.tidying import drop_needless_nodes
from embconvert.rewrite.transposes import multiply_untransposed
from embconvert.rewrite.windows import fuse_windowed_attention

if TYPE_CHECKING:
    import onnx_ir as ir

Rule = Callable[[Editor], bool]

#: What leaves operators as they are.
TIDYING: tuple[Rule, ...] = (
    fold_constants, drop_needless_nodes, multiply_untransposed, look_up_rows_once, shrink_masks,
)  # fmt: skip
#: What makes one operator of several.
FUSIONS: tuple[Rule, ...] = (
    unpack_products, fuse_gelu, fuse_silu, fuse_rms_norm, fuse_rotary_embedding, fuse_attention,
    fuse_windowed_attention, keep_residual_apart,
)  # fmt: skip
#: What pays on the CPU provider alone.
FOR_CPU: tuple[Rule, ...] = (move_padding_into_heads,)


def rules_for(level: OptimizationLevel, *, fuse: bool) -> tuple[Rule, ...]:
    """Returns the rules of an optimization level, in their order.

    Args:
        level: 1 keeps to operators that ONNX Runtime's other providers have as well.
        fuse: Also those that fuse.
    """
    if not fuse:
        return TIDYING
    return TIDYING + FUSIONS + (FOR_CPU if level > OptimizationLevel.BASIC else ())


# More rounds than any graph needs; a rule that never rests is a bug.
_ROUNDS = 20


def rewrite(model: "ir.Model", rules: tuple[Rule, ...], *, infer_sizes: bool = True) -> Editor:
    """Rewrites a model in place, by rules in turn until none of them changes anything.

    Args:
        model: Its constants become initializers.
        rules: In order; none runs on a graph of an operator set that they don't know.
        infer_sizes: Follow sizes through the graph; without, few rules find what they need.

    Returns:
        The editor, for questions about what was left.

    Raises:
        RuntimeError: The rules come to no rest.
    """
    from onnx_ir.passes import common

    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    editor = Editor(model, infer_sizes=infer_sizes)
    if editor.opset < OLDEST_OPSET:
        return editor
    for _ in range(_ROUNDS):
        changed = False
        for rule in rules:
            if rule(editor):
                changed = True
                common.RemoveUnusedNodesPass()(model)
                common.CommonSubexpressionEliminationPass()(model)
                editor.forget()
        if not changed:
            return editor
    raise RuntimeError("the rewrite rules come to no rest")
