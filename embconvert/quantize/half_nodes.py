"""Which nodes of a graph can compute in half precision, by what their values were like."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embconvert.graph.half_precision import HALF_RANGE, HALF_STEP, SMALLEST_NORMAL
from embconvert.graph.hollow import HOLLOW_BYTES
from embconvert.models.kinds import TOKEN_LOGITS, TOKENS_OUTPUT
from embconvert.quantize.half_operators import (
    ELEMENTWISE,
    MASKING,
    NORMALIZATIONS,
    PRODUCTS,
)
from embconvert.quantize.observed import Sizes

if TYPE_CHECKING:
    import onnx_ir as ir

#: How many times as large as on the calibration texts a value may become on others. Generous, as a
#: value that stays float32 costs little; `benchmarks/growth.py` measures the growth.
MARGIN = 8.0
# Values whose largest is below this are mostly too small for all of half precision's digits.
_SMALLEST_PEAK = 16 * SMALLEST_NORMAL
# A sum is too coarse when half precision rounds more off its largest number than this times what
# is usually added. In all-MiniLM-L6-v2, whose mean cosine is 1.00000, it is half of that.
_COARSE = 1.0
# The same of scores, whose rounding moves a probability by this part.
_SCORE_ERROR = 0.125
_RANGE = "its values exceed the range of half precision"
_DIGITS = "half precision rounds off what is added to its largest values"
_SCORES = "half precision rounds its scores too far"


@dataclass(frozen=True)
class HalfNodes:
    """Which nodes compute in half precision.

    Attributes:
        body: All between the embedding table and the last hidden state.
        half: Those of them that do.
        kept: Those that would lose too much, and why.
        masked: The values that are as low as masks are.
    """

    body: "frozenset[ir.Node]"
    half: "frozenset[ir.Node]"
    kept: "Mapping[ir.Node, str]"
    masked: "frozenset[ir.Value]"


def is_large(value: "ir.Value | None") -> bool:
    """Whether a value is a constant that is worth storing in half precision."""
    if value is None or value.const_value is None or not value.is_initializer():
        return False
    return len(value.const_value.shape) >= 2 and value.const_value.nbytes > HOLLOW_BYTES


def half_nodes(
    graph: "ir.Graph", floats: Set[str], sizes: Sizes, exponents: Mapping[str, int | None]
) -> HalfNodes:
    """Chooses the nodes that compute in half precision.

    Only the body of the transformer does: what stands between the embedding table and the last
    hidden state. Masks, positions and pooling carry few bytes and large numbers (half precision
    counts exactly to 2048), so they stay float32.

    Args:
        graph: Has the nodes, in topological order.
        floats: Names of its float32 values.
        sizes: Of what its nodes make, on the calibration texts.
        exponents: Of the constants that half precision cannot hold, by name: the power of two that
            they are divided by, or None where they stay float32.
    """
    body = _body(graph, floats)
    masked = frozenset(_masked(graph, floats))
    problems = _problems(body, sizes, masked, exponents)
    half: set[ir.Node] = set()
    kept: dict[ir.Node, str] = {}
    summed: set[ir.Value | None] = set()
    for node in body:
        reasons = [problems[v] for v in (*node.inputs, *node.outputs) if v in problems]
        follows = node.op_type in ELEMENTWISE and not summed.isdisjoint(node.inputs)
        if _copies_halves(node, exponents):
            half.add(node)  # what it makes is as good as the table
        elif follows or node.op_type not in ELEMENTWISE | NORMALIZATIONS | PRODUCTS:
            # A longer text may have a sum that half precision cannot hold, if this one's fits.
            summed.update(node.outputs)
        elif not reasons:
            half.add(node)
        if reasons and node not in half:
            kept[node] = reasons[0]
    return HalfNodes(frozenset(body), frozenset(half), kept, masked)


def _copies_halves(node: "ir.Node", exponents: Mapping[str, int | None]) -> bool:
    """Whether a node copies rows of a table that is stored in half precision."""
    table = node.inputs[0] if node.op_type == "Gather" else None
    return table is not None and is_large(table) and exponents.get(str(table.name), 0) is not None


def _problems(
    body: "Sequence[ir.Node]",
    sizes: Sizes,
    masked: "Collection[ir.Value]",
    exponents: Mapping[str, int | None],
) -> "dict[ir.Value, str]":
    """Returns the values that half precision may not hold, and why."""
    problems: dict[ir.Value, str] = {}
    for node in body:
        for value in node.inputs:
            if value is not None and value.name in exponents:
                problems |= dict.fromkeys((value, *node.outputs), _RANGE)
        for value in node.outputs:
            # A mask is as low on every text, and what it is added to is looked at.
            peak = 0.0 if value in masked else sizes.peaks.get(str(value.name), 0.0)
            if peak * MARGIN > HALF_RANGE or 0 < peak < _SMALLEST_PEAK:
                problems[value] = _RANGE
    for reason, values in (
        (_DIGITS, _coarse_sums(body, sizes, masked)),
        (_SCORES, _coarse_scores(body, sizes, masked)),
    ):
        for value in values:
            problems.setdefault(value, reason)
    return problems


def _coarse_sums(
    body: "Sequence[ir.Node]", sizes: Sizes, masked: "Collection[ir.Value]"
) -> "Iterator[ir.Value]":
    """Yields what goes into and comes out of residual additions in which digits are lost.

    One channel of a large model's residual stream may be thousands of times as large as what a
    layer adds to it, and another layer may take it away again.
    """
    for node in _residual_sums(body):
        values = [v for v in (*node.inputs, *node.outputs) if v is not None and v not in masked]
        names = [str(value.name) for value in values]
        usual = min((sizes.means[n] for n in names if n in sizes.means), default=math.inf)
        for value, name in zip(values, names, strict=True):  # a small term is precise in half
            if HALF_STEP * sizes.peaks.get(name, 0.0) > _COARSE * usual:
                yield value


def _residual_sums(body: "Sequence[ir.Node]") -> "Iterator[ir.Node]":
    """Yields the nodes that add f(x) to x, or more to such a sum."""
    place = {node: index for index, node in enumerate(body)}
    before: list[int] = []  # of each node those that it depends on and itself, as bits
    residual: set[ir.Node] = set()
    for index, node in enumerate(body):
        makers = [m for v in node.inputs if v is not None and (m := v.producer()) in place]
        reached = 1 << index
        for maker in makers:
            reached |= before[place[maker]]
        before.append(reached)
        if node.op_type not in ("Add", "Sum") or len(makers) < 2:
            continue
        depends = any(
            before[place[later]] >> place[earlier] & 1
            for later in makers
            for earlier in makers
            if later is not earlier
        )
        if depends or not residual.isdisjoint(makers):
            residual.add(node)
            yield node


def _coarse_scores(
    body: "Sequence[ir.Node]", sizes: Sizes, masked: "Collection[ir.Value]"
) -> "Iterator[ir.Value]":
    """Yields what leads from a product to a Softmax where rounding would move probabilities."""
    inside = set(body)
    for node in body:
        if node.op_type != "Softmax":
            continue
        leading: list[ir.Value] = []
        scores: list[float] = []
        waiting = [(node.inputs[0], True)]
        while waiting:
            value, is_score = waiting.pop()
            maker = value.producer() if value is not None else None
            if value is None or maker is None or maker not in inside:
                continue
            leading.append(value)
            if is_score and value not in masked:
                scores.append(sizes.peaks.get(str(value.name), 0.0))
                is_score = False  # what it is made of may be scaled otherwise
            if maker.op_type in ELEMENTWISE:
                waiting.extend((before, is_score) for before in maker.inputs)
        if HALF_STEP * max(scores, default=0.0) > _SCORE_ERROR:
            yield from leading


def _body(graph: "ir.Graph", floats: Set[str]) -> "list[ir.Node]":
    """Returns the nodes from the embedding table to the last hidden state.

    Nodes that depend only on the shape of a hidden state, such as relative positions, are not.
    """
    weights = {n for n, v in graph.initializers.items() if v.shape is not None and len(v.shape) > 1}
    nodes = list(graph)
    fed = _reached(nodes, weights & floats, floats, forward=True)
    made = {str(value.name) for node in nodes for value in node.outputs}
    outputs = [str(output.name) for output in graph.outputs]
    last = next(name for name in (TOKENS_OUTPUT, TOKEN_LOGITS, *outputs) if name in made)
    feeding = _reached(nodes, {last}, floats, forward=False)
    return [node for node in nodes if node in fed and node in feeding]


def _reached(
    nodes: "Sequence[ir.Node]", values: Set[str], through: Set[str], *, forward: bool
) -> "set[ir.Node]":
    """Returns the nodes that depend on the values, or that these depend on.

    Args:
        nodes: In topological order.
        values: Names of those to start from.
        through: Names of those that a dependency may run through.
        forward: Whether to look for what depends on the values.
    """
    reached: set[ir.Node] = set()
    known = set(values)
    for node in nodes if forward else reversed(nodes):
        reads = {str(value.name) for value in node.inputs if value is not None}
        makes = {str(value.name) for value in node.outputs}
        near, far = (reads, makes) if forward else (makes, reads)
        if known & near:
            reached.add(node)
            known |= far & through
    return reached


def _masked(graph: "ir.Graph", floats: Set[str]) -> "Iterator[ir.Value]":
    """Yields float32's lowest numbers and what is made of them before a Softmax."""
    known: set[ir.Value | None] = {v for v in graph.initializers.values() if is_lowest(v)}
    for node in graph:
        follows = node.op_type in MASKING and not known.isdisjoint(node.inputs)
        if follows or is_lowest(node.outputs[0]):
            known.update(value for value in node.outputs if value.name in floats)
    yield from (value for value in known if value is not None)


def is_lowest(value: "ir.Value") -> bool:
    """Whether a value is a number that stands for minus infinity in a mask."""
    tensor = value.const_value
    node = value.producer()
    if node is not None and node.op_type in ("Constant", "ConstantOfShape"):
        attribute = node.attributes.get("value")
        tensor = attribute.as_tensor() if attribute is not None else None
    if tensor is None or tensor.size != 1 or not tensor.dtype.is_floating_point():
        return False
    return bool(tensor.numpy().item() < -HALF_RANGE)
