"""The search of `--quantize auto`: its candidates and their order.

The best file is the smallest that meets the budget. Candidates are tried in ascending order of
size, so the first that meets it is the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from embconvert.errors import UsageError
from embconvert.evaluation.reading import digest_of
from embconvert.fidelity.floors import Floor
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Command, OptimizationLevel, Precision
from embconvert.models.compat import oldest_for_precision
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.recipes import DEFAULT_RECIPES, Recipe
from embconvert.plan.budget import DEFAULT_FLOORS, Budget
from embconvert.plan.requested_steps import quantize_step
from embconvert.plan.steps import EXPORTED_FILE, Step, optimized_file, placed
from embconvert.request.records import Request

_SPLIT = (*DEFAULT_RECIPES[Precision.QINT8], Recipe.SPLIT)
#: In ascending order of size; None means the precision's default recipes. QUInt8 is omitted because
#: its vectors and size equal those of QInt8; Q4F16, because it is for GPUs, and speeds are measured
#: on CPUs.
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


def needless(precision: Precision, *, min_speedup: float | None, q8_runs: bool) -> str | None:
    """Returns why a candidate need not be tried; None if it should be."""
    if precision is Precision.QINT8_STATIC and min_speedup is None:
        return "not tried: only useful with --min_speedup"
    if precision is Precision.QFLOAT8 and q8_runs:
        return "not tried: it only replaces Q8"
    return None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A file whose precision is determined by trial.

    Attributes:
        candidates: In ascending order of size; their floors accept any fidelity.
        ruled_out: Excluded candidates by name, with the reason.
        budget: What the chosen candidate must meet.
    """

    candidates: tuple[Step, ...]
    ruled_out: Mapping[str, str]
    budget: Budget


def name_of(precision: Precision, recipes: Sequence[Recipe]) -> str:
    """Returns a candidate's name: its precision, with recipes that differ from the default."""
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
    """Plans the search of --quantize auto; None without that option. Arguments: see make_steps().

    There always is a candidate, as every ONNX Runtime that can be asked for runs Float16.

    Raises UsageError if the candidates cannot be compared on the data of --evaluate.
    """
    if not request.auto:
        return None
    level = request.optimize if level is None else level
    if request.command is Command.ALL and level is not OptimizationLevel.NONE:
        source = optimized_file(level)
    budget = _budget_of(request, kind)
    candidates: list[Step] = []
    ruled_out: dict[str, str] = {}
    rules = LAYOUTS[request.layout]
    oldest = request.min_onnxruntime
    q8_runs = (
        oldest is None
        or oldest_for_precision(Precision.Q8, request.table_bits, request.operators) <= oldest
    )
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
        # Reuse the chosen file only for the same budget.
        settings = {**step.settings, "budget": budget.as_text()}
        step = replace(step, floor=Floor(mean_cosine=-1.0), settings=settings)
        if step.settings not in [c.settings for c in candidates]:
            candidates.append(step)
    return Search(candidates=tuple(candidates), ruled_out=ruled_out, budget=budget)


def _budget_of(request: Request, kind: Kind) -> Budget:
    measure = KINDS[kind].measure
    floor = DEFAULT_FLOORS[measure]
    if request.min_cosine is not None:
        floor = Floor(mean_cosine=request.min_cosine)
    if request.evaluate is not None and request.route is not None:
        raise UsageError(
            "--evaluate needs the routes of queries and documents at once",
            "convert without --evaluate, then run: embconvert evaluate FOLDER --data PATH",
        )
    return Budget(
        floor=floor,
        max_size=request.max_size,
        min_speedup=request.min_speedup,
        min_neighbours=request.min_neighbours,
        measure=measure,
        is_bits=request.output_precision.is_bits,
        max_loss=request.max_loss if request.evaluate else None,
        data=request.evaluate.name if request.evaluate else None,
        data_digest=digest_of(request.evaluate) if request.evaluate else None,
    )
