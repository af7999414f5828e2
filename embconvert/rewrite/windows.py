"""Fuses chunked sliding-window attention into one operator over blocks of tokens.

Needs: A Softmax over the `2w + 1` scores of a token with the w tokens on either side, as in
longformer: queries, keys and values are three products with weights, the padding mask is an input
of the graph, and texts are padded to a multiple of the window. Guarantees: The same function. Each
block of w queries attends to its own keys and the w on either side by `MultiHeadAttention`, with a
bias that hides padding and tokens outside the window or the text; padding gets zeros, as before.
Memory and time are linear in the length of the text.

Exporters write the sliding as hundreds of nodes that differ between versions. The rule runs the
nodes (part.py): for several lengths and masks, and random queries, keys and values, the operator
must give the same numbers.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.editing import MICROSOFT, Editor, producer
from embconvert.rewrite.part import Array, Part, part_before, run_part
from embconvert.rewrite.products import product_of
from embconvert.rewrite.scores import Unknown
from embconvert.rewrite.shapes import permutation

if TYPE_CHECKING:
    import onnx_ir as ir

#: (batch, tokens) of the trials: multiples of all usual windows.
_FIRST_TRIAL, *_TRIALS = (2, 1024), (3, 512), (1, 1536)
_TOLERANCE = 1e-4
# Random scores must differ enough that a missing key changes the result.
_SPREAD = 2.0
_LOWEST = float(np.finfo(np.float32).min)
_TOKENS_FIRST = (1, 0, 2)


@dataclass(frozen=True)
class _Windows:
    """A windowed attention pattern in a graph.

    Attributes:
        output: The result, (batch, seq, width) or tokens first.
        softmax: The probabilities, (batch, seq, heads, 2 * reach + 1).
        query: (batch, seq, width) or tokens first, as are key and value.
        width: Of queries and keys.
        value_width: Of values.
        tokens_first: Whether query, key and value are (seq, batch, width).
    """

    part: Part
    output: "ir.Value"
    softmax: "ir.Value"
    query: "ir.Value"
    key: "ir.Value"
    value: "ir.Value"
    width: int
    value_width: int
    tokens_first: bool


@dataclass(frozen=True)
class _Properties:
    """Properties found by the first trial.

    Attributes:
        mask: (batch, seq), nonzero for tokens; a value that all layers share.
        reach: Number of visible tokens on either side.
        output_tokens_first: Whether the result is (seq, batch, width).
    """

    mask: "ir.Value"
    heads: int
    reach: int
    output_tokens_first: bool


def fuse_windowed_attention(editor: Editor) -> bool:
    """Fuses all supported windowed attention; returns whether there was one."""
    changed = False
    for softmax in editor.nodes("Softmax"):
        with contextlib.suppress(Unknown):
            changed |= any(_replace(editor, found) for found in _find(editor, softmax))
    return changed


def _find(editor: Editor, softmax: "ir.Node") -> "Iterator[_Windows]":
    """Yields candidates for a pattern: queries and keys are indistinguishable."""
    probabilities = softmax.outputs[0]
    output = _read_by_product(probabilities)
    part = part_before(editor, output)
    if len(part.products) != 3 or sum(n.op_type == "Softmax" for n in part.nodes) != 1:
        raise Unknown("it has not exactly one product each for queries, keys and values")
    products = {v: p for v in part.products if (p := product_of(v)) is not None}
    scored = [v for v in products if probabilities in part.computed_of(v)]
    others = [v for v in products if v not in scored]
    widths = {products[v].width for v in scored}
    if (len(scored), len(others), len(widths), len(part.inputs)) != (2, 1, 1, 1):
        raise Unknown("its scores depend on other values than queries, keys and a mask")
    (value,) = others
    width, value_width = products[scored[0]].width, products[value].width
    tokens_first = _swaps_batch_and_tokens(products[value].data)
    for key, query in (scored, scored[::-1]):
        yield _Windows(
            part, output, probabilities, query, key, value, width, value_width, tokens_first
        )


def _read_by_product(start: "ir.Value") -> "ir.Value":
    """Returns the last value computed only from a value, before a product with weights."""
    seen, waiting = {start}, [start]
    while waiting:
        value = waiting.pop(0)
        for node in (use.node for use in value.uses()):
            for output in node.outputs:
                product = product_of(output)
                if product is not None and product.data is value:
                    return value
                if output not in seen:
                    seen.add(output)
                    waiting.append(output)
    raise Unknown("its result is not used by a product with weights")


def _swaps_batch_and_tokens(value: "ir.Value") -> bool:
    transpose = producer(value, "Transpose")
    return transpose is not None and permutation(transpose, 3) == _TOKENS_FIRST


def _replace(editor: Editor, found: _Windows) -> bool:
    """Tries to replace the nodes by the operator; returns whether the results agree."""
    random = np.random.default_rng(0)
    properties = _properties(editor, found, random)
    consumer = found.output.uses()[0].node
    with contextlib.suppress(_Differs), editor.trial():
        fused = _build(editor, found, properties, consumer)
        trials = [_feeds(editor, found, random, batch, tokens) for batch, tokens in _TRIALS]
        for before, after in run_part(editor, trials, [found.output, fused]):
            if before.shape != after.shape or not np.allclose(
                before, after, rtol=0, atol=_TOLERANCE * float(np.abs(before).max())
            ):
                raise _Differs
        editor.replace(found.output, fused)
        return True
    return False


class _Differs(Exception):  # noqa: N818 - not an error
    """The operator gives other results."""


def _feeds(
    editor: Editor, found: _Windows, random: np.random.Generator, batch: int, tokens: int
) -> "dict[ir.Value, Array]":
    """Returns random inputs of the part."""

    def laid_out(array: Array, *, tokens_first: bool) -> Array:
        return array.transpose(_TOKENS_FIRST) if tokens_first else array

    feeds: dict[ir.Value, Array] = {}
    widths = {found.query: found.width, found.key: found.width, found.value: found.value_width}
    for value, width in widths.items():
        numbers = random.normal(0, _SPREAD, (batch, tokens, width)).astype(np.float32)
        feeds[value] = laid_out(numbers, tokens_first=found.tokens_first)
    (mask,) = found.part.inputs
    # One token less than a multiple, so that the model pads.
    present = random.random((batch, tokens - 1)) < 0.8
    present[-1, : tokens // 3] = False
    present[0, -tokens // 3 :] = False
    if batch > 2:
        present[1] = False  # a row of only padding
    feeds[mask] = present.astype(_numpy_type(editor, mask))
    for value in found.part.sized:
        if value.is_graph_input():
            feeds.setdefault(value, np.zeros(present.shape, _numpy_type(editor, value)))
            continue
        zeros = np.zeros((batch, tokens, found.width), np.float32)
        feeds[value] = laid_out(zeros, tokens_first=_swaps_batch_and_tokens(value))
    return feeds


def _numpy_type(editor: Editor, value: "ir.Value") -> Any:
    dtype = editor.facts.dtype(value)
    if dtype is None:
        raise Unknown("the type of an input is unknown")
    return dtype.numpy()


def _properties(editor: Editor, found: _Windows, random: np.random.Generator) -> _Properties:
    """Runs the existing nodes, to determine sizes and the value of the mask."""
    import onnx_ir as ir

    batch, tokens = _FIRST_TRIAL
    feeds = _feeds(editor, found, random, batch, tokens)
    (mask,) = found.part.inputs
    whole = (ir.DataType.BOOL, ir.DataType.INT32, ir.DataType.INT64)
    masks = [v for v in found.part.computed_of(mask) if editor.facts.dtype(v) in whole]
    ((output, probabilities, *contents),) = run_part(
        editor, [feeds], [found.output, found.softmax, *masks]
    )
    present = np.pad(feeds[mask] != 0, ((0, 0), (0, 1)))
    same = (
        value
        for value, content in zip(masks, contents, strict=True)
        if content.shape == present.shape and bool(((content != 0) == present).all())
    )
    shared = next(same, None)
    width = probabilities.shape[-1]
    if shared is None or probabilities.ndim != 4 or width % 2 == 0:
        raise Unknown("its probabilities are not those of a window around each token")
    heads, reach = probabilities.shape[2], width // 2
    sizes = (batch, tokens, found.value_width)
    if (
        probabilities.shape[:2] != sizes[:2]
        or found.width % heads
        or found.value_width % heads
        or tokens % reach
    ):
        raise Unknown("the number or the size of its heads is unknown")
    tokens_first = output.shape == (tokens, batch, sizes[2])
    if output.shape != sizes and not tokens_first:
        raise Unknown("its result is not one vector per token")
    return _Properties(shared, heads, reach, tokens_first)


def _build(
    editor: Editor, found: _Windows, properties: _Properties, before: "ir.Node"
) -> "ir.Value":
    """Inserts the operator; returns the new result."""
    import onnx_ir as ir

    reach = properties.reach

    def ints(*numbers: int) -> "ir.Value":
        return editor.constant(np.array(numbers, np.int64), "sizes")

    def swapped(value: "ir.Value", *, tokens_first: bool) -> "ir.Value":
        return (
            editor.add("Transpose", [value], before, perm=_TOKENS_FIRST) if tokens_first else value
        )

    def around(value: "ir.Value", width: int) -> "ir.Value":
        """Returns (blocks, 3 * reach, width) for (batch, seq, width): blocks with neighbours."""
        padded = editor.add("Pad", [value, ints(0, reach, 0, 0, reach, 0)], before)
        sides = []
        for side in range(3):
            end = (side - 2) * reach or np.iinfo(np.int64).max
            cut = editor.add("Slice", [padded, ints(side * reach), ints(end), ints(1)], before)
            sides.append(editor.add("Reshape", [cut, ints(-1, reach, width)], before))
        return editor.add("Concat", sides, before, axis=1)

    query, key, value = (
        swapped(v, tokens_first=found.tokens_first) for v in (found.query, found.key, found.value)
    )
    tokens = editor.add("Unsqueeze", [properties.mask, ints(2)], before)
    shown = around(tokens, 1)
    shown = editor.add("Reshape", [shown, ints(-1, 1, 1, 3 * reach)], before)
    shown = editor.add("Cast", [shown], before, to=int(ir.DataType.BOOL))
    places = np.arange(3 * reach) - reach - np.arange(reach)[:, None]
    near = editor.constant(np.abs(places) <= reach, "window")
    shown = editor.add("And", [shown, near], before)
    zero = editor.constant(np.float32(0), "zero")
    bias = editor.add(
        "Where", [shown, zero, editor.constant(np.float32(_LOWEST), "lowest")], before
    )
    blocks = editor.add("Reshape", [query, ints(-1, reach, found.width)], before)
    attended = editor.add(
        "MultiHeadAttention",
        [blocks, around(key, found.width), around(value, found.value_width), None, None, bias],
        before,
        domain=MICROSOFT,
        num_heads=properties.heads,
        scale=(found.width // properties.heads) ** -0.5,
    )
    sizes = editor.add("Shape", [properties.mask], before)
    sizes = editor.add("Concat", [sizes, ints(found.value_width)], before, axis=0)
    output = editor.add("Reshape", [attended, sizes], before)
    tokens = editor.add("Cast", [tokens], before, to=int(ir.DataType.BOOL))
    output = editor.add("Where", [tokens, output, zero], before)
    return swapped(output, tokens_first=properties.output_tokens_first)
