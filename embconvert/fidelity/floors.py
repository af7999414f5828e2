"""The minimum figures of a graph for publication, by precision."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from embconvert.fidelity.figures import Fidelity
from embconvert.models.choices import Precision
from embconvert.models.kinds import Kind, Measure

#: No cosine is lower, and no difference is larger.
_NO_LIMIT = (-1.0, float("inf"))
# How much lower a mean cosine may be on another kind of CPU, whose int8 kernels add in another
# order; a single text's, and a single token's, ten times as much.
_TOLERANCE = 0.005
_FLOAT32_TOLERANCE = 1e-4
_TOLERANCE_OF_ONE = 10
# How much more of the ranking may be lost where texts are compared by bits, whose numbers are
# coarse: of all-MiniLM-L6-v2, QInt8 keeps a rank correlation of 0.95 and Q4 one of 0.91.
_LOSS_OF_BITS = 2.0
# The same for the rank correlation, and half of that for the share of kept neighbours.
_RANKING_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The minimum figures of a graph for publication.

    Attributes:
        relative_diff: Maximum difference, relative to the largest component.
        neighbours: Minimum share of nearest neighbours that stay, where they are compared.
        token_cosine: Minimum cosine of any token, where tokens are compared.
        words_cosine: Minimum cosine of any text's token weights, where a head gives them. A text
            may have a single small weight, which rounding makes 0, so quantized ones have none.
    """

    mean_cosine: float
    min_cosine: float = -1.0
    relative_diff: float = float("inf")
    rank_correlation: float = -1.0
    neighbours: float = -1.0
    token_cosine: float = -1.0
    words_cosine: float = -1.0

    def of_head(self, figures: Fidelity) -> "Floor":
        """Returns the floor of a further output with these figures."""
        is_words = figures.active_dims is not None
        return replace(self, min_cosine=self.words_cosine) if is_words else self

    def as_json(self) -> dict[str, float | None]:
        """Returns it as plain JSON values, None for no limit: JSON knows no infinity."""
        return {name: None if value in _NO_LIMIT else value for name, value in asdict(self).items()}

    @property
    def of_cosines(self) -> "Floor":
        """The same without the ranking."""
        return replace(self, rank_correlation=-1.0, neighbours=-1.0)

    @property
    def of_bits(self) -> "Floor":
        """The same with lower floors of the ranking, for embeddings of one bit per dimension."""
        return replace(
            self,
            rank_correlation=1 - _LOSS_OF_BITS * (1 - self.rank_correlation),
            neighbours=max(1 - _LOSS_OF_BITS * (1 - self.neighbours), 0.0),
        )

    @property
    def of_ranking(self) -> "Floor":
        """Only the ranking."""
        return Floor(
            mean_cosine=-1.0, rank_correlation=self.rank_correlation, neighbours=self.neighbours
        )


#: The defaults. Float32 stages only reorder sums; the others allow for the loss of the precision on
#: real models, but not for a wrong graph. Where any two texts have nearly the same embedding,
#: cosines say little, so the ranking has floors, too: docs/quality.md has the measurements.
FLOORS: Mapping[Measure, Mapping[Precision, Floor]] = {
    Measure.COSINE: {
        Precision.FLOAT32: Floor(
            mean_cosine=0.99999,
            min_cosine=0.9999,
            relative_diff=1e-2,
            rank_correlation=0.999,
            neighbours=0.98,
            token_cosine=0.9995,
            words_cosine=0.9999,
        ),
        Precision.FLOAT16: Floor(
            mean_cosine=0.999, min_cosine=0.99, rank_correlation=0.99, neighbours=0.95
        ),
        Precision.Q8: Floor(
            mean_cosine=0.995, min_cosine=0.95, rank_correlation=0.98, neighbours=0.85
        ),
        Precision.Q4: Floor(mean_cosine=0.96, min_cosine=0.8, rank_correlation=0.9, neighbours=0.5),
        Precision.Q4F16: Floor(
            mean_cosine=0.96, min_cosine=0.8, rank_correlation=0.9, neighbours=0.5
        ),
        Precision.QINT8: Floor(
            mean_cosine=0.97, min_cosine=0.8, rank_correlation=0.95, neighbours=0.7
        ),
        Precision.QUINT8: Floor(
            mean_cosine=0.97, min_cosine=0.8, rank_correlation=0.95, neighbours=0.7
        ),
        Precision.QINT8_STATIC: Floor(
            mean_cosine=0.95, min_cosine=0.7, rank_correlation=0.9, neighbours=0.65
        ),
        Precision.QFLOAT8: Floor(
            mean_cosine=0.98, min_cosine=0.9, rank_correlation=0.95, neighbours=0.7
        ),
    },
    # A score is a single number, but a cosine covers hundreds, so single pairs vary more.
    Measure.AGREEMENT: {
        Precision.FLOAT32: Floor(
            mean_cosine=0.99999, min_cosine=0.9999, relative_diff=1e-3, rank_correlation=0.999
        ),
        Precision.FLOAT16: Floor(mean_cosine=0.999, min_cosine=0.99, rank_correlation=0.99),
        Precision.Q8: Floor(mean_cosine=0.995, min_cosine=0.9, rank_correlation=0.98),
        Precision.Q4: Floor(mean_cosine=0.96, rank_correlation=0.92),
        Precision.Q4F16: Floor(mean_cosine=0.96, rank_correlation=0.92),
        Precision.QINT8: Floor(mean_cosine=0.97, min_cosine=0.5, rank_correlation=0.95),
        Precision.QUINT8: Floor(mean_cosine=0.97, min_cosine=0.5, rank_correlation=0.95),
        Precision.QINT8_STATIC: Floor(mean_cosine=0.95, rank_correlation=0.9),
        Precision.QFLOAT8: Floor(mean_cosine=0.98, min_cosine=0.6, rank_correlation=0.95),
    },
}


def floor_for(
    precision: Precision,
    min_cosine: float | None,
    measure: Measure = Measure.COSINE,
    *,
    min_neighbours: float | None = None,
    is_bits: bool = False,
) -> Floor:
    """Returns the floor of a precision, with what the user asks of quantized ones.

    `min_cosine` replaces the floors of cosines, `min_neighbours` those of the ranking; `is_bits` is
    for embeddings with one bit per dimension.
    """
    floor = FLOORS[measure][precision]
    if precision is Precision.FLOAT32:
        return floor
    floor = floor.of_bits if is_bits else floor
    if min_cosine is not None:
        # Agreements are relative to the spread of the scores, so they cover the ranking.
        ranks = -1.0 if floor.neighbours < 0 else floor.rank_correlation
        floor = Floor(mean_cosine=min_cosine, rank_correlation=ranks, neighbours=floor.neighbours)
    if min_neighbours is not None:
        floor = replace(floor, rank_correlation=-1.0, neighbours=min_neighbours)
    return floor


def floor_near(figures: Fidelity, precision: Precision) -> Floor:
    """Returns the floor of a graph that is measured again: its figures minus tolerances."""
    tolerance = _FLOAT32_TOLERANCE if precision is Precision.FLOAT32 else _TOLERANCE
    near = figures.similarity
    of_texts = (near.min, figures.token_mean_cosine, figures.blank_similarity)
    lowest = min(cosine for cosine in of_texts if cosine is not None)
    token = figures.lowest_token_cosine
    kept = figures.neighbours.kept if figures.neighbours else -1.0
    lowest -= _TOLERANCE_OF_ONE * tolerance
    return Floor(
        mean_cosine=near.mean - tolerance,
        min_cosine=lowest,
        words_cosine=lowest if precision is Precision.FLOAT32 else -1.0,
        token_cosine=-1.0 if token is None else token - _TOLERANCE_OF_ONE * tolerance,
        rank_correlation=figures.rank_correlation - _RANKING_TOLERANCE,
        neighbours=kept - 2 * _RANKING_TOLERANCE,
    )


def shortfall(fidelity: Fidelity, floor: Floor) -> str | None:
    """Returns the first figure of an output that is below the floor, in words, or None."""
    return _first_problem(fidelity, dict.fromkeys(fidelity.of_outputs, floor))


def shortfall_near(fidelity: Fidelity, before: Fidelity, precision: Precision) -> str | None:
    """Returns the first figure that is lower than when the graph was made, in words, or None."""
    if set(fidelity.heads) != set(before.heads):
        return f"it has the heads {', '.join(fidelity.heads) or 'none'}"
    floors = {kind: floor_near(then, precision) for kind, then in before.of_outputs.items()}
    return _first_problem(fidelity, floors)


def _first_problem(fidelity: Fidelity, floors: Mapping[Kind | None, Floor]) -> str | None:
    """Returns the first shortfall, with the head that it is about; see Fidelity.of_outputs."""
    for kind, figures in fidelity.of_outputs.items():
        floor = floors[kind] if kind is None else floors[kind].of_head(figures)
        for problem in _shortfalls(figures, floor):
            return problem if kind is None else f"{kind} head: {problem}"
    return None


def _shortfalls(fidelity: Fidelity, floor: Floor) -> Iterator[str]:
    # Output 0 has the same floor as the pooled output, because consumers pool it themselves.
    near = fidelity.similarity
    of_tokens = fidelity.token_mean_cosine
    lowest = near.min if of_tokens is None else min(near.min, of_tokens)
    word = near.measure
    if near.mean < floor.mean_cosine:
        yield f"mean {word} {near.mean:.5f} is below {floor.mean_cosine:.10g}"
    if lowest < floor.min_cosine:
        yield (
            f"lowest {word} {lowest:.5f} (text {fidelity.worst_text}) is below {floor.min_cosine:g}"
        )
    blank = fidelity.blank_similarity
    if blank is not None and blank < floor.min_cosine:
        yield f"{word} of a blank text {blank:.5f} is below {floor.min_cosine:g}"
    token = fidelity.lowest_token_cosine
    if token is not None and token < floor.token_cosine:
        yield f"lowest cosine of a token {token:.5f} is below {floor.token_cosine:g}"
    if fidelity.rank_correlation < floor.rank_correlation:
        yield (
            f"rank correlation {fidelity.rank_correlation:.5f} is below {floor.rank_correlation:g}"
        )
    neighbours = fidelity.neighbours
    if neighbours is not None and neighbours.is_below(floor.neighbours):
        yield (
            f"{neighbours.kept:.1%} of the {neighbours.of} nearest neighbours stay, less than "
            f"{floor.neighbours:.0%}"
        )
    if fidelity.relative_diff > floor.relative_diff:
        what = "component" if word is Measure.COSINE else "score"
        yield (
            f"largest difference is {fidelity.relative_diff:.2g} of the largest {what}, above "
            f"{floor.relative_diff:g}"
        )
