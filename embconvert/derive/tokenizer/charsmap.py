"""Builds SentencePiece's precompiled map of texts, which is its normalizer.

Format: the size of a trie in bytes (uint32), the trie, and the replacements, each terminated by
NUL. The trie is darts-clone's double array: a node with base b has its child for byte x at b ^ x,
and its value at b. Source: Normalizer::DecodePrecompiledCharsMap (sentencepiece 0.2) and
DoubleArrayUnit (darts-clone 0.32).
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

# A reader computes the position of a child from any byte, so that arrays end at a multiple of 256.
_BLOCK = 256
_HAS_VALUE = 1 << 8
_IS_VALUE = 1 << 31
# Larger offsets need another encoding; an array of so many units has 8 MB.
_MOST_UNITS = 1 << 21
# Positions that are tried at a time.
_WINDOW = 1024
_DENSE = 8

_TrieNode = dict[int, Any]
_VALUE = -1


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """Returns the map that replaces the longest matching key, from left to right.

    Args:
        replacements: Keys are not empty; neither keys nor replacements contain NUL.

    Raises:
        ValueError: The map is too large for the format.
    """
    blob = bytearray()
    offsets: dict[str, int] = {}
    root: _TrieNode = {}
    for key, text in replacements.items():
        if text not in offsets:
            offsets[text] = len(blob)
            blob += text.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[_VALUE] = offsets[text]
    units = _double_array(root)
    packed = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(packed)) + packed + bytes(blob)


def _double_array(root: _TrieNode) -> list[int]:
    units: dict[int, int] = {0: 0}
    places = _Places()
    leaves: dict[int | None, int] = {}
    waiting = [(root, 0)]
    while waiting:
        node, position = waiting.pop()
        value: int | None = node.get(_VALUE)
        labels = [label for label in node if label != _VALUE]
        if labels:
            base = places.base(labels, has_value=value is not None)
            leaf = base
        else:
            # Nodes that only have a value can share it.
            if value not in leaves:
                leaves[value] = places.free()
            leaf = base = leaves[value]
        units[position] |= (position ^ base) << 10
        if value is not None:
            units[position] |= _HAS_VALUE
            units[leaf] = _IS_VALUE | value
        for label in labels:
            units[base ^ label] = label
            waiting.append((node[label], base ^ label))
    length = -(-(max(units) + 1) // _BLOCK) * _BLOCK
    return [units.get(position, 0) for position in range(length)]


class _Places:
    """Positions of an array that are not used yet."""

    def __init__(self) -> None:
        self._used = np.zeros(_MOST_UNITS + _BLOCK, np.bool_)
        self._bases = self._used.copy()
        self._used[0] = self._bases[0] = True
        self._first = self._dense = 0

    def free(self) -> int:
        return self.base([], has_value=True)

    def base(self, labels: list[int], *, has_value: bool) -> int:
        """Returns an unused base whose places for these labels are unused."""
        wanted = np.array([*labels, *([0] if has_value else [])])
        while self._used[self._first] or self._bases[self._first]:
            self._first += 1
        # Nodes with many children hardly fit where others are.
        is_dense = len(labels) >= _DENSE
        first = max(self._first, self._dense) if is_dense else self._first
        for low in range(first - first % _BLOCK, _MOST_UNITS, _WINDOW):
            bases = np.arange(low, min(low + _WINDOW, _MOST_UNITS))
            fits = ~self._bases[bases]
            for label in wanted:
                fits &= ~self._used[bases ^ label]
            if fits.any():
                base = int(bases[fits.argmax()])
                self._used[base ^ wanted] = self._bases[base] = True
                self._dense = base if is_dense else self._dense
                return base
        raise ValueError("the map of characters is too large")
