"""Makes batches of token ids: special tokens, truncation, padding, masks, token types.

These are plain ONNX operators. onnxruntime-extensions' tokenizers only split texts, since each of
them pads and truncates in a way of its own, or not at all.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from embconvert.derive.tokenizer.nodes import Nodes, Value
from embconvert.fidelity.tokenization import Padding
from embconvert.models.choices import OFFSETS


class Special(NamedTuple):
    """A token that is added to every text."""

    token_id: int
    type_id: int


@dataclass(frozen=True, kw_only=True)
class RowRules:
    """How the tokens of a text become a row of a batch.

    Attributes:
        type_id: Of the text's own tokens.
        room: How many of its own tokens are kept; None for all.
        keeps_end: Whether truncation removes the start of a text.
    """

    before: tuple[Special, ...] = ()
    after: tuple[Special, ...] = ()
    type_id: int = 0
    room: int | None = None
    keeps_end: bool = False
    padding: Padding = field(default_factory=Padding)


@dataclass(frozen=True)
class Ragged:
    """Tokens of texts in a row, (tokens,) int64; where each begins and ends, (batch,) int64."""

    ids: Value
    begin: Value
    end: Value


def ragged(nodes: Nodes, ids: Value, kept: Value, is_end: Value) -> Ragged:
    """Removes from a row of texts what is no token.

    Args:
        ids: Of all texts in a row, (tokens,) int64.
        kept: Which are tokens, (tokens,) bool.
        is_end: Which end a text, (tokens,) bool.
    """
    count = nodes.add("CumSum", nodes.whole(kept), nodes.number(0))
    places = nodes.add("Squeeze", nodes.add("NonZero", is_end), nodes.numbers([0]))
    ends = nodes.add("Gather", count, places)
    starts = nodes.add("Concat", nodes.numbers([0]), ends, axis=0)
    begin = nodes.add("Slice", starts, nodes.numbers([0]), nodes.numbers([-1]))
    return Ragged(nodes.add("Compress", ids, kept, axis=0), begin, ends)


def add_rows(
    nodes: Nodes, tokens: Ragged, rules: RowRules, inputs: Collection[str]
) -> dict[str, Value]:
    """Returns a graph's inputs, each (batch, longest) int64; raises ValueError for others."""
    unknown = set(inputs) - {
        "input_ids", "attention_mask", "token_type_ids", "position_ids", OFFSETS
    }  # fmt: skip
    if unknown:
        raise ValueError(f"texts do not give {sorted(unknown)}")
    grid = _Grid(nodes, tokens, rules)
    ids = grid.filled(
        grid.own_ids(), [each.token_id for each in rules.before],
        [each.token_id for each in rules.after],
    )  # fmt: skip
    found = {"input_ids": ids}
    if OFFSETS in inputs:
        places = nodes.add("Transpose", nodes.add("NonZero", grid.seen))
        lengths = nodes.add("ReduceSum", nodes.whole(grid.seen), nodes.numbers([1]), keepdims=0)
        found["input_ids"] = nodes.add("GatherND", ids, places)
        found[OFFSETS] = nodes.add("CumSum", lengths, nodes.number(0), exclusive=1)
    if {"attention_mask", "position_ids"} & set(inputs):
        found["attention_mask"] = nodes.whole(grid.seen)
    if "position_ids" in inputs:
        counted = nodes.add("CumSum", found["attention_mask"], nodes.number(1))
        before = nodes.add("Sub", counted, nodes.number(1))
        found["position_ids"] = nodes.add("Max", before, nodes.number(0))
    if "token_type_ids" in inputs:
        found["token_type_ids"] = grid.filled(
            grid.own_types(), [each.type_id for each in rules.before],
            [each.type_id for each in rules.after],
        )  # fmt: skip
    return {name: found[name] for name in inputs}


class _Grid:
    """Positions of a batch, (batch, longest), counted from the first token of each row."""

    def __init__(self, nodes: Nodes, tokens: Ragged, rules: RowRules) -> None:
        self._nodes = nodes
        self._rules = rules
        self._ids = tokens.ids
        column = nodes.numbers([1])
        size = nodes.add("Sub", tokens.end, tokens.begin)
        if rules.room is not None:
            size = nodes.add("Min", size, nodes.number(rules.room))
        start = nodes.add("Sub", tokens.end, size) if rules.keeps_end else tokens.begin
        special = len(rules.before) + len(rules.after)
        length = nodes.add("Add", size, nodes.number(special))
        longest = self._padded(nodes.add("ReduceMax", length, keepdims=0))
        cells = nodes.add(
            "Unsqueeze", nodes.add("Range", nodes.number(0), longest, nodes.number(1)),
            nodes.numbers([0]),
        )  # fmt: skip
        length = nodes.add("Unsqueeze", length, column)
        if rules.padding.left:
            cells = nodes.add("Sub", cells, nodes.add("Sub", longest, length))
        else:
            cells = nodes.add("Sub", cells, nodes.add("Sub", length, length))
        self._size = nodes.add("Unsqueeze", size, column)
        self._start = nodes.add("Unsqueeze", start, column)
        self._cells = cells
        self._own = nodes.add("Sub", cells, nodes.number(len(rules.before)))
        self.seen = self._between(cells, length)

    def _padded(self, longest: Value) -> Value:
        nodes, padding = self._nodes, self._rules.padding
        if padding.fixed_length:
            longest = nodes.add("Max", longest, nodes.number(padding.fixed_length))
        if padding.multiple_of > 1:
            multiple = nodes.number(padding.multiple_of)
            more = nodes.add("Add", longest, nodes.number(padding.multiple_of - 1))
            longest = nodes.add("Mul", nodes.add("Div", more, multiple), multiple)
        return longest

    def _between(self, cells: Value, end: Value) -> Value:
        """Returns where a position is at least 0 and less than a length."""
        nodes = self._nodes
        return nodes.add(
            "And", nodes.add("Less", cells, end),
            nodes.add("GreaterOrEqual", cells, nodes.number(0)),
        )  # fmt: skip

    def own_ids(self) -> Value:
        """Returns the texts' own tokens, and padding around them."""
        nodes = self._nodes
        # An index after all ids stands for padding.
        more = nodes.add("Concat", self._ids, nodes.numbers([self._rules.padding.token_id]), axis=0)
        end = nodes.add("Size", self._ids)
        index = nodes.add("Add", self._own, self._start)
        index = nodes.add("Where", self._between(self._own, self._size), index, end)
        return nodes.add("Gather", more, index)

    def own_types(self) -> Value:
        """Returns token types of the texts' own tokens and of padding."""
        own, padding = self._rules.type_id, self._rules.padding.type_id
        nodes = self._nodes
        return nodes.add("Where", self.seen, nodes.number(own), nodes.number(padding))

    def filled(self, cells: Value, before: list[int], after: list[int]) -> Value:
        """Puts the values of special tokens in their places."""
        nodes = self._nodes
        for number, value in enumerate(before):
            here = nodes.add("Equal", self._cells, nodes.number(number))
            cells = nodes.add("Where", here, nodes.number(value), cells)
        for number, value in enumerate(after):
            place = nodes.add("Add", self._size, nodes.number(number))
            here = nodes.add("Equal", self._own, place)
            cells = nodes.add("Where", here, nodes.number(value), cells)
        return cells
