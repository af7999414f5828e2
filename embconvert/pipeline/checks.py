"""Checks that a graph must pass to be published."""

from collections.abc import Sequence

from embconvert.errors import (
    DeriveError,
    ExportError,
    FidelityError,
    OptimizeError,
    QuantizeError,
)
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import shortfall
from embconvert.manifest import ArtifactRecord
from embconvert.manifest.layouts import misfit, too_new
from embconvert.models.choices import Layout, Operators, Precision
from embconvert.models.forms import FormKind, most_tokens
from embconvert.models.kinds import Kind
from embconvert.models.values import UNKNOWN_TYPE, OnnxArtifact
from embconvert.plan.steps import Stage, Step
from embconvert.request.records import Request
from embconvert.rewrite.standard import FORMS

#: What is raised for a file of a stage.
STAGE_ERRORS = {
    Stage.EXPORT: ExportError,
    Stage.OPTIMIZE: OptimizeError,
    Stage.QUANTIZE: QuantizeError,
    Stage.DERIVE: DeriveError,
}


def refuse_misfit(layout: Layout, kind: Kind, step: Step, artifact: OnnxArtifact) -> None:
    """Raises the stage's error for a graph that the consumer of a layout cannot load."""
    problem = misfit(layout, step.file, artifact, kind)
    if problem is not None:
        raise STAGE_ERRORS[step.stage](
            problem, "try --optimize 0, another precision, or --layout hub"
        )


def refuse_not_standard(step: Step, artifact: OnnxArtifact, request: Request) -> None:
    """Raises the stage's error for a graph with operators that `--operators` excludes."""
    if request.operators is Operators.ANY or step.stage not in (Stage.OPTIMIZE, Stage.QUANTIZE):
        return
    others = [name for name in artifact.operators if "." in name or name in FORMS]
    if others:
        raise STAGE_ERRORS[step.stage](
            f"{step.file} has operators that are not standard: {', '.join(others)}",
            "use another --optimize level, or omit --operators standard",
        )


def refuse_other_outputs(step: Step, source: OnnxArtifact, made: OnnxArtifact) -> None:
    """Raises the stage's error for a file without the outputs of the graph that it is made of."""
    if any(form.kind is FormKind.TEXT for form in step.forms):
        return  # it has one output, of its own name

    before, after = ({v.name: v.dtype for v in one.outputs} for one in (source, made))

    def differs(name: str) -> bool:
        types = before.get(name), after.get(name)
        return None in types or (types[0] != types[1] and UNKNOWN_TYPE not in types)

    differing = sorted(filter(differs, {**before, **after}))
    if differing:
        raise STAGE_ERRORS[step.stage](
            f"{step.file} would have other outputs than {step.source} ({', '.join(differing)})",
            "try --optimize 0 or another precision, and please report the model",
        )


def refuse_too_new(record: ArtifactRecord, request: Request) -> None:
    """Raises UsageError if the release of --min_onnxruntime cannot run a file."""
    oldest = request.min_onnxruntime
    if oldest is not None and not record.runs_on(oldest):
        hint = "try --opset 17, or --optimize 0"
        hint = f"{hint}; or omit {record.forms[-1]} files" if record.forms else hint
        raise too_new(record.path, record.min_onnxruntime, request, hint)


def refuse_too_long(step: Step, limit: int | None) -> None:
    """Raises DeriveError if a shape has more tokens than the model reads; None is any number."""
    tokens = most_tokens(step.forms)
    if tokens is not None and limit is not None and tokens > limit:
        raise DeriveError(
            f"{step.file} would have texts of {tokens} tokens, but the model reads at most {limit}",
            f"give a --shape of at most {limit} tokens",
        )


def refuse_shortfall(step: Step, fidelity: Fidelity | None) -> None:
    """Raises FidelityError if a graph is below the step's floor."""
    if step.floor is None or fidelity is None:
        return
    problem = shortfall(fidelity, step.floor)
    if problem is None:
        return
    raise FidelityError(f"{step.file} is not published: {problem}", _advice(step, fidelity))


def _advice(step: Step, fidelity: Fidelity) -> str:
    assert step.floor is not None
    if step.precision is Precision.FLOAT32:
        return "this file computes other embeddings than the source; please report the model"
    advice = "try another precision, such as Float16"
    if step.precision is Precision.FLOAT16:
        advice = "use the float32 file and please report the model"
    options = []
    outputs = fidelity.of_outputs.values()
    kept = [figures.neighbours.kept for figures in outputs if figures.neighbours is not None]
    if not kept or shortfall(fidelity, step.floor.of_cosines):
        options.append(f"--min_cosine {max(0.0, fidelity.lowest_mean - 0.005):.2f}")
    if kept and shortfall(fidelity, step.floor.of_ranking):
        options.append(f"--min_neighbours {max(0.0, min(kept) - 0.005):.2f}")
    return f"{advice}, or accept it: {' '.join(options)}"


def joined_reasons(messages: Sequence[str]) -> str:
    """Returns why each method failed; a reason shared by two is given once."""
    parts: list[str] = []
    said: set[str] = set()
    for message in messages:
        what, _, why = message.partition(": ")
        parts.append(f"{what}, for the same reason" if why in said else message)
        said.add(why or message)
    return "; ".join(parts)
