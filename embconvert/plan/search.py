"""Which quantization is best under a budget: what is tried in which order, and how it is judged.

The best is the smallest file that keeps the whole budget. Candidates are tried from the smallest
on, so the first one that holds is the best, and nothing larger need be tried.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

from embconvert.errors import UsageError
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor, shortfall
from embconvert.manifest import SearchRecord, TriedRecord
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import (
    DEFAULT_RECIPES,
    Command,
    MaxSize,
    OptimizationLevel,
    Precision,
    Recipe,
)
from embconvert.models.compat import oldest_for_precision
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.plan.steps import EXPORTED_FILE, Step, optimized_file, placed, quantize_step
from embconvert.request.records import Request

_SPLIT = (Recipe.TOKEN_SCALES, Recipe.SPLIT, Recipe.BIAS_CORRECTION, Recipe.ROW_TABLE)
#: What `--quantize auto` tries, the smallest first; None is each precision's default. QUInt8 is
#: not among them: its vectors and its size are QInt8's.
CANDIDATES: tuple[tuple[Precision, tuple[Recipe, ...] | None], ...] = (
    (Precision.Q4, (Recipe.SPLIT, Recipe.GPTQ)),
    (Precision.Q4, None),
    (Precision.QINT8, None),
    (Precision.QINT8_STATIC, None),
    (Precision.QINT8, _SPLIT),
    (Precision.QFLOAT8, None),
    (Precision.Q8, None),
    (Precision.FLOAT16, None),
)
#: What `--quantize auto` holds to when nothing is said.
DEFAULT_FLOORS: Mapping[Measure, Floor] = MappingProxyType(
    {
        Measure.COSINE: Floor(mean_cosine=0.995, min_cosine=0.9),
        Measure.AGREEMENT: Floor(mean_cosine=0.99, min_cosine=0.8, rank_correlation=0.98),
    }
)
# A file may come out smaller than expected, but not by more than this.
_LEAST_OF_EXPECTED = 0.8


def needless(precision: Precision, *, min_speedup: float | None, q8_runs: bool) -> str | None:
    """Returns, in words, why a candidate is not worth a try; None when it is.

    Args:
        precision: The candidate's.
        min_speedup: Of the budget.
        q8_runs: Whether Q8 is among the candidates.
    """
    if precision is Precision.QINT8_STATIC and min_speedup is None:
        return "not tried: no --min_speedup asks for its speed"
    if precision is Precision.QFLOAT8 and q8_runs:
        return "not tried: it only stands in for Q8"
    return None


def frontier_header(measure: Measure) -> tuple[str, ...]:
    """Returns the titles of the table of what was seen."""
    return (
        "candidate", "size", "of float32", f"mean {measure}", f"min {measure}", "speed", "outcome",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the chosen file must keep.

    Attributes:
        floor: Its fidelity.
        max_size: Its size; None for any.
        min_speedup: Its throughput over that of the exported float32 graph; None for any.
        measure: What the floor is of.
    """

    floor: Floor
    max_size: MaxSize | None = None
    min_speedup: float | None = None
    measure: Measure = Measure.COSINE

    def __str__(self) -> str:
        parts = [f"mean {self.measure} at least {self.floor.mean_cosine:g}"]
        if self.max_size is not None:
            parts.append(f"at most {self.max_size.text}")
        if self.min_speedup is not None:
            parts.append(f"at least {self.min_speedup:g} times as fast as float32")
        return ", ".join(parts)

    def as_text(self) -> str:
        """Returns all of it as JSON, which tells one budget from another."""
        return json.dumps(asdict(self), sort_keys=True)

    def cannot_fit(self, expected_bytes: int, float32_bytes: int) -> bool:
        """Whether a file of about this size is too large for sure."""
        if self.max_size is None:
            return False
        return _LEAST_OF_EXPECTED * expected_bytes > self.max_size.in_bytes(float32_bytes)

    def violation(
        self, size_bytes: int, fidelity: Fidelity, speedup: float | None, float32_bytes: int
    ) -> str | None:
        """Returns what a file breaks, in words, or None when it keeps all."""
        most = None if self.max_size is None else self.max_size.in_bytes(float32_bytes)
        if most is not None and size_bytes > most:
            return f"larger than {most / 1e6:.1f} MB"
        problem = shortfall(fidelity, self.floor)
        if problem is not None:
            return problem
        if self.min_speedup is not None and speedup is None:
            return "no float32 graph to compare its speed with"
        if self.min_speedup is not None and speedup is not None and speedup < self.min_speedup:
            return f"{speedup:.2f} times as fast, not {self.min_speedup:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A file to make whose precision is found out.

    Attributes:
        candidates: What may be made, the smallest first; each floor lets everything pass.
        ruled_out: What may not, and why, by name.
        budget: What the chosen one must keep.
    """

    candidates: tuple[Step, ...]
    ruled_out: Mapping[str, str]
    budget: Budget


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One that was tried, or why it was not.

    Attributes:
        name: Its precision, with its recipes where they are not all.
        size_bytes: None when it was not made.
        fidelity: None when it was not made.
        speedup: Over the exported float32 graph; None when there is none.
        outcome: What speaks against it, in words; None for the one that is published.
    """

    name: str
    size_bytes: int | None = None
    fidelity: Fidelity | None = None
    speedup: float | None = None
    outcome: str | None = None

    @property
    def is_made(self) -> bool:
        """Whether there was a file to measure."""
        return self._figures() is not None

    def dominates(self, other: "Candidate") -> bool:
        """Whether it is as small, as near and as fast as another, and in one of them better."""
        ours, theirs = self._figures(), other._figures()
        if ours is None or theirs is None:
            return False
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    def _figures(self) -> tuple[float, ...] | None:
        """Returns what more is better of; None when it was not made."""
        if self.size_bytes is None or self.fidelity is None:
            return None
        return -self.size_bytes, self.fidelity.similarity.mean, self.speedup or 0.0


def search_record(budget: Budget, candidates: Sequence[Candidate]) -> SearchRecord:
    """Returns what was tried and for what, as the manifest keeps it."""
    return SearchRecord(
        budget=str(budget),
        candidates=tuple(
            TriedRecord(
                name=candidate.name,
                size_bytes=candidate.size_bytes,
                similarity=candidate.fidelity.similarity if candidate.fidelity else None,
                speedup=candidate.speedup,
                outcome=candidate.outcome,
                on_frontier=candidate.is_made
                and not any(c.dominates(candidate) for c in candidates),
            )
            for candidate in candidates
        ),
    )


def frontier_rows(candidates: Sequence[Candidate], float32_bytes: int) -> list[list[str]]:
    """Returns the rows of the table of what was seen, the smallest first."""
    rows = []
    for candidate in candidates:
        size, figures = candidate.size_bytes, candidate.fidelity
        outcome = candidate.outcome or "published"
        for other in candidates:
            if other.dominates(candidate):
                outcome += f"; dominated by {other.name}"
        row = [candidate.name]
        row += (
            ["-", "-"] if size is None else [f"{size / 1e6:.1f} MB", f"{size / float32_bytes:.0%}"]
        )
        if figures is None:
            row += ["-", "-", "-"]
        else:
            speed = "-" if candidate.speedup is None else f"{candidate.speedup:.2f}x"
            near = figures.similarity
            row += [f"{near.mean:.5f}", f"{near.min:.5f}", speed]
        rows.append([*row, outcome])
    return rows


def name_of(precision: Precision, recipes: Sequence[Recipe]) -> str:
    """Returns what a candidate is called: its precision, with the recipes that are not as usual."""
    usual = DEFAULT_RECIPES.get(precision, ())
    more = [recipe for recipe in recipes if recipe not in usual]
    less = [recipe for recipe in usual if recipe not in recipes]
    words = ["with " + " and ".join(more)] * bool(more)
    words += ["without " + " and ".join(less)] * bool(less)
    return " ".join([str(precision), *words])


def make_search(
    request: Request,
    calibration_digest: str,
    *,
    kind: Kind = Kind.EMBEDDING,
    source: str = EXPORTED_FILE,
    level: OptimizationLevel | None = None,
) -> Search | None:
    """Lays out what --quantize auto tries; None when that is not asked for.

    Args:
        request: What is asked for.
        calibration_digest: Identifies the calibration texts.
        kind: Of the model.
        source: As of make_steps.
        level: Likewise.

    Raises:
        UsageError: The oldest ONNX Runtime asked for runs none of it.
    """
    if not request.auto:
        return None
    level = request.optimize if level is None else level
    if request.command is Command.ALL and level is not OptimizationLevel.NONE:
        source = optimized_file(level)
    measure = KINDS[kind].measure
    floor = DEFAULT_FLOORS[measure]
    if request.min_cosine is not None:
        floor = Floor(mean_cosine=request.min_cosine)
    budget = Budget(
        floor=floor, max_size=request.max_size, min_speedup=request.min_speedup, measure=measure
    )
    candidates: list[Step] = []
    ruled_out: dict[str, str] = {}
    rules = LAYOUTS[request.layout]
    if rules.newest_onnxruntime is not None:  # it is the oldest that must run the outcome
        asked = request.min_onnxruntime or rules.newest_onnxruntime
        request = replace(request, min_onnxruntime=min(asked, rules.newest_onnxruntime))
    oldest = request.min_onnxruntime
    q8_runs = oldest is None or oldest_for_precision(Precision.Q8, request.table_bits) <= oldest
    for precision, recipes in CANDIDATES:
        why = needless(precision, min_speedup=request.min_speedup, q8_runs=q8_runs)
        if why is not None:
            ruled_out[str(precision)] = why
            continue
        try:
            step = quantize_step(
                replace(request, recipes=recipes if request.recipes is None else request.recipes),
                kind, source, level, precision, calibration_digest,
            )  # fmt: skip
        except UsageError as error:
            ruled_out[str(precision)] = error.message
            continue
        (step,) = placed([step], rules, step)
        # A file that a search chose is reused for the same search only.
        settings = {**step.settings, "budget": budget.as_text()}
        step = replace(step, floor=Floor(mean_cosine=-1.0), settings=settings)
        if step.settings not in [c.settings for c in candidates]:
            candidates.append(step)
    if not candidates:
        raise UsageError("--min_onnxruntime leaves --quantize auto nothing to try", "leave it out")
    return Search(candidates=tuple(candidates), ruled_out=ruled_out, budget=budget)
