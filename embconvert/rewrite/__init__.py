"""Rewrites a graph so that ONNX Runtime runs it faster: one rule per file, in this order.

Each rule replaces patterns by equivalent ones, and returns whether it changed anything. The rules
run in turn until none does. They read only small constants; weights stay on disk.
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
from embconvert.rewrite.pointwise import multiply_pointwise
from embconvert.rewrite.residual import keep_residual_apart
from embconvert.rewrite.rms_norm import fuse_rms_norm
from embconvert.rewrite.rotary import fuse_rotary_embedding
from embconvert.rewrite.same_row import look_up_rows_once
from embconvert.rewrite.silu import fuse_silu
from embconvert.rewrite.tidying import drop_needless_nodes
from embconvert.rewrite.transposes import compute_untransposed, multiply_untransposed
from embconvert.rewrite.windows import fuse_windowed_attention

if TYPE_CHECKING:
    import onnx_ir as ir

Rule = Callable[[Editor], bool]

#: Rules that fuse nothing.
TIDYING: tuple[Rule, ...] = (
    fold_constants, drop_needless_nodes, multiply_pointwise, multiply_untransposed,
    compute_untransposed, look_up_rows_once, shrink_masks,
)  # fmt: skip
#: Rules that fuse operators.
FUSIONS: tuple[Rule, ...] = (
    unpack_products, fuse_gelu, fuse_silu, fuse_rms_norm, fuse_rotary_embedding, fuse_attention,
    fuse_windowed_attention, keep_residual_apart,
)  # fmt: skip
#: Rules that help only on the CPU provider.
FOR_CPU: tuple[Rule, ...] = (move_padding_into_heads,)


def rules_for(level: OptimizationLevel, *, fuse: bool) -> tuple[Rule, ...]:
    """Returns the rules of a level, in order; level 1 uses only what all providers have."""
    if not fuse:
        return TIDYING
    return TIDYING + FUSIONS + (FOR_CPU if level > OptimizationLevel.BASIC else ())


# More rounds than any graph needs; rules that never finish are a bug.
_ROUNDS = 20


def rewrite(model: "ir.Model", rules: tuple[Rule, ...], *, infer_sizes: bool = True) -> Editor:
    """Applies rules in turn, in place, until none of them changes anything.

    Args:
        model: Its constants become initializers.
        rules: In order; none is applied to a graph with too old an opset.
        infer_sizes: Infer symbolic sizes; without them, few rules apply.

    Returns:
        The editor, for questions about the result.

    Raises:
        RuntimeError: The rules do not terminate.
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
    raise RuntimeError("the rewrite rules do not terminate")
