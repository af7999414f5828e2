"""Divides a graph into pieces that run in sequence, with few values between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Smaller weights do not need a separate piece.
_NEXT_TO_NOTHING = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of a graph.

    Attributes:
        start: Index of its first node.
        end: Index after its last node.
        inputs: Names of values from earlier pieces, in order of use.
        outputs: Names of values that are used later.
    """

    start: int
    end: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def cut(
    nodes: Sequence[tuple[Sequence[str], Sequence[str]]],
    outputs: Sequence[str],
    node_bytes: Sequence[int],
    *,
    largest_bytes: int,
) -> list[Piece]:
    """Divides a graph into pieces; returns those with used outputs.

    Args:
        nodes: The values that each reads and computes, without weights, in topological order.
        node_bytes: Size of each node's weights in memory.
        largest_bytes: Maximum size of a piece, unless a single node is larger.
    """
    last_use: dict[str, int] = {}
    for index, (reads, _) in reversed(list(enumerate(nodes))):
        for name in reads:
            last_use.setdefault(name, index)
    alive: set[str] = set()
    crossing = []  # number of values that cross after each node
    for index, (reads, makes) in enumerate(nodes):
        alive.difference_update(name for name in reads if last_use[name] == index)
        alive.update(name for name in makes if name in last_use)
        crossing.append(len(alive))

    ends = []
    start = 0
    while start < len(nodes):
        size, end = node_bytes[start], start + 1
        # A single node that is too large may be followed by nodes with few weights: the result of a
        # product with a vocabulary is larger than its weights, and must not cross.
        while end < len(nodes) and (
            size + node_bytes[end] <= largest_bytes
            or (node_bytes[start] > largest_bytes and node_bytes[end] < _NEXT_TO_NOTHING)
        ):
            size += node_bytes[end]
            end += 1
        if end < len(nodes):
            # Cut in the second half of the possible range, where the fewest values cross.
            middle = start + (end - start) // 2
            end = 1 + min(range(middle, end), key=lambda i: (crossing[i], -i))
        ends.append(end)
        start = end
    last_use |= dict.fromkeys(outputs, len(nodes))
    pieces = (
        _piece(nodes, start, end, last_use) for start, end in zip([0, *ends], ends, strict=False)
    )
    return [piece for piece in pieces if piece.outputs]


def _piece(
    nodes: Sequence[tuple[Sequence[str], Sequence[str]]],
    start: int,
    end: int,
    last_use: Mapping[str, int],
) -> Piece:
    made = dict.fromkeys(name for _, makes in nodes[start:end] for name in makes)
    read = dict.fromkeys(name for reads, _ in nodes[start:end] for name in reads)
    return Piece(
        start=start,
        end=end,
        inputs=tuple(name for name in read if name not in made),
        outputs=tuple(name for name in made if last_use.get(name, -1) >= end),
    )
