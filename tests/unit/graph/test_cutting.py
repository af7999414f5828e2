"""Cutting a graph into pieces that run one after the other."""

import pytest

from embconvert.graph.cutting import cut

# A residual network: x -> (a0 -> b0) + x -> (a1 -> b1) + that ...; `mask` is read by all.
LAYERS = 3
NODES = [
    node
    for i in range(LAYERS)
    for node in (
        ([f"x{i}"], [f"a{i}"]),
        ([f"a{i}", "mask"], [f"b{i}"]),
        ([f"b{i}", f"x{i}"], [f"x{i + 1}"]),
    )
]
OUTPUTS = [f"x{LAYERS}"]


def test_a_graph_that_fits_stays_whole() -> None:
    (piece,) = cut(NODES, OUTPUTS, [1] * len(NODES), largest_bytes=100)
    assert (piece.start, piece.end) == (0, len(NODES))
    assert set(piece.inputs) == {"x0", "mask"}
    assert piece.outputs == ("x3",)


def test_it_is_cut_where_the_fewest_values_cross() -> None:
    pieces = cut(NODES, OUTPUTS, [1] * len(NODES), largest_bytes=4)
    assert [(p.inputs, p.outputs) for p in pieces] == [
        (("x0", "mask"), ("x1",)),
        (("x1", "mask"), ("x2",)),
        (("x2", "mask"), ("x3",)),
    ]


@pytest.mark.parametrize("largest_bytes", [1, 2, 3, 5, 8])
def test_the_pieces_are_the_whole_graph_and_hand_on_all_that_is_needed(largest_bytes: int) -> None:
    pieces = cut(NODES, OUTPUTS, [3, 0, 1] * LAYERS, largest_bytes=largest_bytes)
    assert [p.end for p in pieces[:-1]] == [p.start for p in pieces[1:]]
    assert (pieces[0].start, pieces[-1].end) == (0, len(NODES))
    known = {"x0", "mask"}
    for piece in pieces:
        assert known.issuperset(piece.inputs)
        known |= set(piece.outputs)
    assert known.issuperset(OUTPUTS)


def test_an_output_of_the_graph_that_is_also_read_inside_is_handed_out() -> None:
    pieces = cut(NODES, ["x1", "x3"], [1] * len(NODES), largest_bytes=4)
    assert "x1" in pieces[0].outputs


def test_what_a_large_product_makes_does_not_cross_pieces() -> None:
    """The product with a vocabulary alone is larger than a piece; what pools follows it."""
    nodes = [([f"v{n}"], [f"v{n + 1}"]) for n in range(6)]
    megabyte = 1 << 20
    pieces = cut(nodes, ["v6"], [megabyte, megabyte, 99 * megabyte, 400, 0, 0],
                 largest_bytes=2 * megabyte)  # fmt: skip
    assert [(piece.start, piece.end) for piece in pieces][-1] == (2, 6)
