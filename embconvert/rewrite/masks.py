"""Masks: computed once for all layers, before they are expanded.

Needs: Masks made of comparisons, `And`, `Where` and `Expand`. Guarantees: The same masks after
broadcasting. Conditions that are always true are removed; an Expand moves behind its users, and is
removed if broadcasting has the same effect.
"""

from typing import TYPE_CHECKING

import numpy as np

from embconvert.rewrite.editing import Editor, number, operands, producer
from embconvert.rewrite.shapes import broadcast
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

#: A score of at most so much hides a key.
HIDDEN = -1e4
_ONES = (Size.of(1), Size.of(1))
_VIEWS = ("Cast", "Expand", "Unsqueeze", "Reshape", "Identity")
_ELEMENTWISE = ("And", "Or", "Where", "Add", "Mul", "Sub", "Div", "Not", "Cast", "Equal")


def shrink_masks(editor: Editor) -> bool:
    """Removes conditions that are always true, and unnecessary Expands."""
    changed = False
    for node in editor.nodes("And"):
        changed |= _drop_truths(editor, node)
    for node in editor.nodes("Expand"):
        changed |= _sink(editor, node)
    for node in editor.nodes("Gather"):
        changed |= _read_straight(editor, node)
    return changed


def _drop_truths(editor: Editor, node: "ir.Node") -> bool:
    for truth, rest in (node.inputs, node.inputs[::-1]):
        if rest is None or truth is None or not _always_true(editor, truth):
            continue
        facts = editor.facts
        whole = facts.shape(node.outputs[0])
        if whole is None:
            return False
        if facts.shape(rest) != whole:
            shape = editor.add("Shape", [truth], node)
            editor.replace(node.outputs[0], editor.add("Expand", [rest, shape], node))
        else:
            editor.replace(node.outputs[0], rest)
        return True
    return False


def _always_true(editor: Editor, value: "ir.Value | None") -> bool:
    if value is None:
        return False
    if value.const_value is not None:
        tensor = value.const_value
        return tensor.dtype.name == "BOOL" and tensor.size <= 4096 and bool(tensor.numpy().all())
    node = value.producer()
    if node is None:
        return False
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return fill is not None and bool(fill.as_tensor().numpy().all())
    if node.op_type in _VIEWS:
        return _always_true(editor, node.inputs[0])
    if node.op_type == "And":
        return all(_always_true(editor, v) for v in node.inputs)
    if node.op_type == "GreaterOrEqual":
        least = number(node.inputs[1])
        return least is not None and least <= 0 and editor.facts.nonnegative(node.inputs[0])
    return False


def _sink(editor: Editor, expand: "ir.Node") -> bool:
    """Moves an Expand behind its users."""
    facts = editor.facts
    source, target = expand.inputs
    small, large = facts.shape(source), facts.shape(expand.outputs[0])
    if source is None or small is None or large is None or expand.outputs[0].is_graph_output():
        return False
    changed = False
    for use in list(expand.outputs[0].uses()):
        user = use.node
        if user.op_type not in _ELEMENTWISE or user.graph is not editor.graph:
            continue
        inputs = [source if v is expand.outputs[0] else v for v in user.inputs]
        result = broadcast(*(facts.shape(v) for v in inputs))
        whole = facts.shape(user.outputs[0])
        if result is None or whole is None:
            continue
        if result != whole:
            if broadcast(result, large) != whole or user.outputs[0].is_graph_output():
                continue
            shrunk = editor.add(
                user.op_type, inputs, user, **{n: a.value for n, a in user.attributes.items()}
            )
            wide = editor.add("Expand", [shrunk, target], user)
            editor.replace(user.outputs[0], wide)
        else:
            user.replace_input_with(use.idx, source)
        changed = True
    return changed


def _read_straight(editor: Editor, gather: "ir.Node") -> bool:
    """Replaces a Gather from a flat mask by `key + text * seq` by the mask itself."""
    flat = producer(gather.inputs[0], "Flatten", "Reshape")
    mask = flat.inputs[0] if flat is not None else None
    shape, result = editor.facts.shape(mask), editor.facts.shape(gather.outputs[0])
    if mask is None or shape is None or len(shape) != 2 or result is None:
        return False
    if gather.attributes.get_int("axis", 0) != 0 or result[:4] != (shape[0], *_ONES, shape[1]):
        return False
    if not _is_place(editor, gather.inputs[1], shape[1]):
        return False
    axes = [1, 2, *range(4, len(result))]
    apart = editor.add("Unsqueeze", [mask, editor.constant(np.array(axes), "axes")], gather)
    editor.replace(gather.outputs[0], apart)
    return True


def _is_place(editor: Editor, value: "ir.Value | None", width: Size) -> bool:
    """Whether a value is `key + text * width`, (texts, 1, 1, keys)."""
    add = producer(value, "Add")
    for key, start in operands(add) if add is not None else ():
        product = producer(start, "Mul")
        for text, by in operands(product) if product is not None else ():
            size = editor.facts.content(by)
            if size is None or size.size != 1 or size.flat[0] != width:
                continue
            if _counts_along(editor, text, -4) and _counts_along(editor, key, -1):
                return True
    return False


def is_causal(editor: Editor, bias: "ir.Value") -> bool:
    """Whether a bias of scores, (batch or 1, heads or 1, seq, keys), hides later keys."""
    node = bias.producer()
    if node is None:
        return False
    if node.op_type == "Add":  # hidden keys stay hidden after an addition
        return any(v is not None and is_causal(editor, v) for v in node.inputs)
    if node.op_type in ("Expand", "Identity", "Unsqueeze", "Reshape"):
        return node.inputs[0] is not None and is_causal(editor, node.inputs[0])
    if node.op_type != "Where":
        return False
    fill = number(node.inputs[2])
    return fill is not None and fill <= HIDDEN and _implies_order(editor, node.inputs[0])


def _implies_order(editor: Editor, condition: "ir.Value | None") -> bool:
    """Whether a condition over (.., queries, keys) is false for keys after the query."""
    node = producer(condition, "And", "LessOrEqual", "GreaterOrEqual", *_VIEWS)
    if node is None:
        return False
    if node.op_type == "And":
        return any(_implies_order(editor, v) for v in node.inputs)
    if node.op_type in _VIEWS:
        return _implies_order(editor, node.inputs[0])
    earlier, later = node.inputs if node.op_type == "LessOrEqual" else node.inputs[::-1]
    return _counts_along(editor, earlier, -1) and _counts_along(editor, later, -2)


def _counts_along(editor: Editor, value: "ir.Value | None", axis: int) -> bool:
    """Whether a tensor is 0, 1, 2... along an axis, and has size 1 along others."""
    shape = editor.facts.shape(value)
    if shape is None or len(shape) < -axis:
        return False
    if any(size.number != 1 for i, size in enumerate(shape) if i != len(shape) + axis):
        return False
    node = producer(value, "Range", *_VIEWS)
    while node is not None and node.op_type in _VIEWS:
        node = producer(node.inputs[0], "Range", *_VIEWS)
    if node is None:
        return False
    start, step = (editor.facts.content(node.inputs[i]) for i in (0, 2))
    return all(
        c is not None and c.size == 1 and getattr(c.flat[0], "number", None) == wanted
        for c, wanted in ((start, 0), (step, 1))
    )
