"""Where to cut a graph into pieces that run one after the other: where few values cross."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Weights below this are not worth a piece.
_NEXT_TO_NOTHING = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a graph.

    Attributes:
        start: Its first node.
        end: The node behind its last.
        inputs: Names of the values that come from before, in order of their use.
        outputs: Names of the values that are used behind it.
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
    """Cuts a graph into pieces.

    Args:
        nodes: What each reads and makes, in an order in which they can run. Weights are left out.
        outputs: Of the graph.
        node_bytes: How much memory each node's weights take.
        largest_bytes: Most of a piece, unless one node alone needs more.

    Returns:
        Those that make something that is used.
    """
    last_use: dict[str, int] = {}
    for index, (reads, _) in reversed(list(enumerate(nodes))):
        for name in reads:
            last_use.setdefault(name, index)
    alive: set[str] = set()
    crossing = []  # how many values cross behind each node
    for index, (reads, makes) in enumerate(nodes):
        alive.difference_update(name for name in reads if last_use[name] == index)
        alive.update(name for name in makes if name in last_use)
        crossing.append(len(alive))

    ends = []
    start = 0
    while start < len(nodes):
        size, end = node_bytes[start], start + 1
        # Behind a node that alone is too large, what has next to no weights may follow: what the
        # product with a vocabulary makes is larger than its weights, and must not cross.
        while end < len(nodes) and (
            size + node_bytes[end] <= largest_bytes
            or (node_bytes[start] > largest_bytes and node_bytes[end] < _NEXT_TO_NOTHING)
        ):
            size += node_bytes[end]
            end += 1
        if end < len(nodes):
            # In the second half of what would fit, where the fewest values cross.
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
