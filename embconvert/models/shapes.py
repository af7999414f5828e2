"""The sizes of batches for which speeds are measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from embconvert.models.constraints import Positive, Record
from embconvert.overriding import override


@dataclass(frozen=True, kw_only=True, order=True)
class Shape(Record):
    """The size of a batch.

    Attributes:
        tokens: Of each text.
    """

    tokens: Positive
    texts: Positive

    @override
    def __str__(self) -> str:
        return f"{self.texts}x{self.tokens}"


def split_by_limit(
    shapes: Iterable[Shape], limit: int | None
) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Returns the shapes whose texts a model reads whole, and those that it cuts at a limit."""
    known = list(shapes)
    fitting = tuple(shape for shape in known if limit is None or shape.tokens <= limit)
    return fitting, tuple(shape for shape in known if shape not in fitting)


#: What a conversion measures: a query, a sentence or two, a passage.
CONVERSION_SHAPES = tuple(Shape(texts=1, tokens=tokens) for tokens in (16, 64, 128))
#: Their lengths in tokens, for people.
CONVERSION_LENGTHS = "/".join(str(shape.tokens) for shape in CONVERSION_SHAPES)
#: What `embconvert bench` measures: queries, passages and bulk.
BENCH_SHAPES = tuple(
    Shape(texts=texts, tokens=tokens)
    for texts, tokens in ((1, 16), (1, 128), (1, 512), (8, 128), (32, 128))
)
