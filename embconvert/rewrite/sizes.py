"""Sizes of tensors as polynomials over the graph's dynamic axes.

A size is an integer, or a polynomial of axis names: `batch`, `2*seq`, `batch*seq`. Other
expressions (half of an odd size, a maximum) become new names, equal only to themselves. All names
stand for sizes of at least 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from embconvert.overriding import override

_Terms = tuple[tuple[tuple[str, ...], int], ...]


# Offsets such as minus infinity, and ends of slices, are 64-bit integers.
_LARGEST = 1 << 64
_MOST_TERMS, _MOST_NAMES, _LONGEST_NAME = 64, 16, 10_000


@dataclass(frozen=True)
class Size:
    """A polynomial with integer coefficients; immutable; equal if the terms are equal."""

    terms: _Terms

    @staticmethod
    def of(value: "int | str | Size") -> "Size":
        """Returns a number or an axis name as a size."""
        if isinstance(value, Size):
            return value
        if isinstance(value, str):
            return Size((((value,), 1),))
        return _size({(): int(value)})

    @property
    def number(self) -> int | None:
        """The value, if it depends on no axis."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    @property
    def positive(self) -> bool:
        """Whether it is above zero for all axes."""
        return bool(self.terms) and all(factor > 0 for _, factor in self.terms)

    def __add__(self, other: "int | Size") -> "Size":
        terms = dict(self.terms)
        for names, factor in Size.of(other).terms:
            terms[names] = terms.get(names, 0) + factor
        return _size(terms)

    def __radd__(self, other: int) -> "Size":
        return self + other

    def __neg__(self) -> "Size":
        return _size({names: -factor for names, factor in self.terms})

    def __sub__(self, other: "int | Size") -> "Size":
        return self + (-Size.of(other))

    def __rsub__(self, other: int) -> "Size":
        return Size.of(other) - self

    def __mul__(self, other: "int | Size") -> "Size":
        terms: dict[tuple[str, ...], int] = {}
        for names, factor in self.terms:
            for more, by in Size.of(other).terms:
                key = tuple(sorted(names + more))
                terms[key] = terms.get(key, 0) + factor * by
        return _size(terms)

    def __rmul__(self, other: int) -> "Size":
        return self * other

    def __floordiv__(self, other: "int | Size") -> "Size":
        divisor = Size.of(other)
        exact = self.divided_by(divisor)
        if exact is not None:
            return exact
        a, b = self.number, divisor.number
        if a is not None and b:
            return Size.of(a // b)
        name = f"({self})//({divisor})"
        if len(name) > _LONGEST_NAME:
            raise ValueError("the expression of a size is too long")
        return Size.of(name)

    def divided_by(self, divisor: "Size") -> "Size | None":
        """Returns the quotient for a division by a single term without remainder."""
        if len(divisor.terms) != 1:
            return Size.of(1) if self == divisor and self.terms else None
        by_names, by = divisor.terms[0]
        terms = {}
        for names, factor in self.terms:
            rest = list(names)
            for name in by_names:
                if name not in rest:
                    return None
                rest.remove(name)
            if factor % by:
                return None
            terms[tuple(rest)] = factor // by
        return _size(terms)

    @override
    def __str__(self) -> str:
        parts = ["*".join([str(f), *n] if f != 1 or not n else n) for n, f in self.terms]
        return "+".join(parts) or "0"


def _size(terms: dict[tuple[str, ...], int]) -> Size:
    """Returns the polynomial; raises ValueError for one that could fill the memory with digits."""
    if len(terms) > _MOST_TERMS or any(
        len(names) > _MOST_NAMES or not -_LARGEST <= factor <= _LARGEST
        for names, factor in terms.items()
    ):
        raise ValueError("a size is too large")
    return Size(tuple(sorted((names, factor) for names, factor in terms.items() if factor)))


def product(sizes: "Iterable[Size]") -> Size:
    """Returns the product; 1 if there are no sizes."""
    total = Size.of(1)
    for size in sizes:
        total = total * size
    return total
