"""What a graph must reach to be published, by its precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from embconvert.fidelity.figures import Fidelity
from embconvert.models.choices import Precision
from embconvert.models.kinds import Measure


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What a graph must reach to be published.

    Attributes:
        mean_cosine: Least mean cosine.
        min_cosine: Least cosine of any text.
        relative_diff: Largest difference, relative to the largest component.
        rank_correlation: Least rank correlation.
        token_cosine: Least cosine of any token's vector, where those are compared.
    """

    mean_cosine: float
    min_cosine: float = -1.0
    relative_diff: float = float("inf")
    rank_correlation: float = -1.0
    token_cosine: float = -1.0


#: The defaults. Float32 stages reorder sums and nothing else; the others leave room for what the
#: precision costs on real models, and none for a graph that went wrong.
FLOORS: Mapping[Measure, Mapping[Precision, Floor]] = MappingProxyType(
    {
        Measure.COSINE: {
            Precision.FLOAT32: Floor(
                mean_cosine=0.99999, min_cosine=0.9999, relative_diff=1e-2, token_cosine=0.9995
            ),
            Precision.FLOAT16: Floor(mean_cosine=0.999, min_cosine=0.99),
            Precision.Q8: Floor(mean_cosine=0.995, min_cosine=0.95),
            Precision.Q4: Floor(mean_cosine=0.96, min_cosine=0.8),
            Precision.QINT8: Floor(mean_cosine=0.97, min_cosine=0.8),
            Precision.QUINT8: Floor(mean_cosine=0.97, min_cosine=0.8),
            Precision.QINT8_STATIC: Floor(mean_cosine=0.95, min_cosine=0.7),
            Precision.QFLOAT8: Floor(mean_cosine=0.98, min_cosine=0.9),
        },
        # A score is one number, where a cosine is over hundreds: single pairs move further.
        Measure.AGREEMENT: {
            Precision.FLOAT32: Floor(
                mean_cosine=0.99999, min_cosine=0.9999, relative_diff=1e-3, rank_correlation=0.999
            ),
            Precision.FLOAT16: Floor(mean_cosine=0.999, min_cosine=0.99, rank_correlation=0.99),
            Precision.Q8: Floor(mean_cosine=0.995, min_cosine=0.9, rank_correlation=0.98),
            Precision.Q4: Floor(mean_cosine=0.96, rank_correlation=0.92),
            Precision.QINT8: Floor(mean_cosine=0.97, min_cosine=0.5, rank_correlation=0.95),
            Precision.QUINT8: Floor(mean_cosine=0.97, min_cosine=0.5, rank_correlation=0.95),
            Precision.QINT8_STATIC: Floor(mean_cosine=0.95, rank_correlation=0.9),
            Precision.QFLOAT8: Floor(mean_cosine=0.98, min_cosine=0.6, rank_correlation=0.95),
        },
    }
)


def floor_for(
    precision: Precision, min_cosine: float | None, measure: Measure = Measure.COSINE
) -> Floor:
    """Returns the floor of a precision; `--min_cosine` replaces that of quantized ones."""
    if min_cosine is None or precision is Precision.FLOAT32:
        return FLOORS[measure][precision]
    return Floor(mean_cosine=min_cosine)


def shortfall(fidelity: Fidelity, floor: Floor) -> str | None:
    """Returns what falls short of the floor, in words, or None when nothing does."""
    # Output 0 is compared by the same floor as the pooled output: consumers pool it themselves.
    near = fidelity.similarity
    lowest = min(near.min, fidelity.token_mean_cosine or 1.0)
    word = near.measure
    if near.mean < floor.mean_cosine:
        return f"mean {word} {near.mean:.5f} is below {floor.mean_cosine:g}"
    if lowest < floor.min_cosine:
        return (
            f"lowest {word} {lowest:.5f} (text {fidelity.worst_text}) is below {floor.min_cosine:g}"
        )
    token = fidelity.lowest_token_cosine
    if token is not None and token < floor.token_cosine:
        return f"lowest cosine of a token {token:.5f} is below {floor.token_cosine:g}"
    if fidelity.rank_correlation < floor.rank_correlation:
        return (
            f"rank correlation {fidelity.rank_correlation:.5f} is below {floor.rank_correlation:g}"
        )
    if fidelity.relative_diff > floor.relative_diff:
        what = "component" if word is Measure.COSINE else "score"
        return (
            f"largest difference is {fidelity.relative_diff:.2g} of the largest {what}, "
            f"over {floor.relative_diff:g}"
        )
    return None
