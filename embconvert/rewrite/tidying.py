"""Removes no-op nodes, and merges consecutive Reshapes and Transposes.

Needs: Known sizes, for nodes that are no-ops only for these sizes. Guarantees: The same values.
"""

from typing import TYPE_CHECKING

from embconvert.rewrite.editing import Editor, Unreadable, number, producer
from embconvert.rewrite.shapes import axes_of, permutation
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

# The neutral element of each operator, and the inputs at which it may be.
_NEUTRAL = {"Add": (0.0, (0, 1)), "Sub": (0.0, (1,)), "Mul": (1.0, (0, 1)), "Div": (1.0, (1,)),
            "Pow": (1.0, (1,))}  # fmt: skip


def drop_needless_nodes(editor: Editor) -> bool:
    """Replaces no-op nodes by their input; returns whether there was one."""
    changed = False
    for node in list(editor.graph):
        if node.graph is not editor.graph or node.domain or len(node.outputs) != 1:
            continue
        if not node.inputs or not (node.outputs[0].uses() or node.outputs[0].is_graph_output()):
            continue
        source = _same_as(editor, node)
        if source is None or (node.outputs[0].is_graph_output() and node.op_type == "Identity"):
            continue
        editor.replace(node.outputs[0], source)
        changed = True
    return changed


def _same_as(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    """Returns a value equal to a node's output, or None."""
    kind, source, facts = node.op_type, node.inputs[0], editor.facts
    if source is None:
        return None
    if kind == "Identity":
        return source
    if kind == "Concat":
        return _joined(editor, node)
    if kind == "Dropout" and (len(node.inputs) < 3 or node.inputs[2] is None):
        return source
    if kind == "Cast":
        types = facts.dtype(source), facts.dtype(node.outputs[0])
        return source if types[0] is not None and types[0] == types[1] else None
    if kind in _NEUTRAL:
        return _without_neutral(editor, node)
    if kind == "Transpose":
        return _transposed(editor, node)
    if kind in ("LayerNormalization", "SimplifiedLayerNormalization"):
        return _normalized(editor, node)
    if kind == "Reshape":
        return _reshaped(editor, node)
    if kind == "Squeeze":
        opposite = producer(source, "Unsqueeze")
        if opposite is not None and axes_of(facts, opposite) == axes_of(facts, node) is not None:
            return opposite.inputs[0]
    if kind in ("Expand", "Unsqueeze", "Squeeze", "Slice", "Tile"):
        shapes = facts.shape(source), facts.shape(node.outputs[0])
        same = shapes[0] is not None and shapes[0] == shapes[1]
        return source if same and (kind != "Slice" or _forward(editor, node)) else None
    return None


def _joined(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    """Returns a Concat without its empty inputs."""
    axis = node.attributes.get_int("axis", 0)
    shapes = [editor.facts.shape(value) for value in node.inputs]
    parts = [
        value
        for value, shape in zip(node.inputs, shapes, strict=True)
        if shape is None or shape[axis].number != 0
    ]
    if len(parts) == 1:
        return parts[0]
    if not parts or len(parts) == len(node.inputs):
        return None
    return editor.add("Concat", parts, node, axis=axis)


def _forward(editor: Editor, node: "ir.Node") -> bool:
    """Whether a Slice does not reverse an axis."""
    steps = editor.facts.content(node.inputs[4]) if len(node.inputs) > 4 else None
    return len(node.inputs) <= 4 or (steps is not None and all(s.positive for s in steps.flat))


def _without_neutral(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    neutral, places = _NEUTRAL[node.op_type]
    for place in places:
        other = node.inputs[1 - place]
        if number(node.inputs[place]) != neutral or other is None:
            continue
        if editor.facts.shape(other) == editor.facts.shape(node.outputs[0]) is not None:
            return other
    return None


def _transposed(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    rank = editor.facts.rank(node.inputs[0])
    if rank is None:
        return None
    order = permutation(node, rank)
    if order == tuple(range(rank)):
        return node.inputs[0]
    before = producer(node.inputs[0], "Transpose")
    if before is None:
        return None
    first = permutation(before, rank)
    return editor.add("Transpose", [before.inputs[0]], node, perm=[first[axis] for axis in order])


def _normalized(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    """Moves a Transpose behind a norm over the last axis, where it may be merged."""
    before, rank = producer(node.inputs[0], "Transpose"), editor.facts.rank(node.inputs[0])
    if before is None or rank is None or node.attributes.get_int("axis", -1) not in (-1, rank - 1):
        return None
    order = permutation(before, rank)
    if order[-1] != rank - 1:
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    inputs = [before.inputs[0], *node.inputs[1:]]
    norm = editor.add(node.op_type, inputs, node, **attributes)
    return editor.add("Transpose", [norm], node, perm=order)


def _reshaped(editor: Editor, node: "ir.Node") -> "ir.Value | None":
    facts = editor.facts
    shape = facts.shape(node.outputs[0])
    if shape is None:
        return None
    if facts.shape(node.inputs[0]) == shape:
        return node.inputs[0]
    before = producer(node.inputs[0], "Reshape", "Unsqueeze", "Squeeze", "Flatten")
    source = node.inputs[0] if before is None else before.inputs[0]
    if before is not None and facts.shape(source) == shape:
        return source
    if source is None or (before is None and node.inputs[1].const_value is not None):
        return None
    sizes = _target(editor, facts.shape(source), shape)
    constant = all(size.number is not None for size in sizes)
    if before is None and not constant and editor.is_readable(node.inputs[1]):
        return None
    try:
        target = editor.sizes(sizes, node)
    except Unreadable:
        return None
    return editor.add("Reshape", [source, target], node)


def _target(
    editor: Editor, source: "tuple[Size, ...] | None", shape: "tuple[Size, ...]"
) -> list[Size]:
    """Returns the target of a Reshape for these sizes, constant if possible.

    0 keeps an axis, -1 infers one size from the others.
    """
    sizes = list(shape)
    for axis, size in enumerate(shape):
        if size.number is None and source is not None and source[axis : axis + 1] == (size,):
            sizes[axis] = Size.of(0)
    open_axes = [axis for axis, size in enumerate(sizes) if size.number is None]
    # Prefer a size that no input has.
    hardest = next(
        (axis for axis in open_axes if not editor.tells(sizes[axis])),
        open_axes[0] if open_axes else None,
    )
    if hardest is not None:
        sizes[hardest] = Size.of(-1)
    return sizes
