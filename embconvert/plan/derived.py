"""The steps that derive files of other forms from a run's last graphs; data only."""

from collections.abc import Sequence
from dataclasses import replace

from embconvert.errors import UsageError
from embconvert.manifest.layouts import SERVED_FILE, too_new
from embconvert.models.choices import BLOCK_BITS, Inputs, Operators
from embconvert.models.compat import ORT_FORMAT
from embconvert.models.forms import FileForm, FormKind, TokenizerPlace, most_tokens
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.recipes import QuantizeOptions
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, ResolvedModel
from embconvert.plan.steps import EXPORTED_FILE, Stage, Step, optimized_file, quantized_file
from embconvert.request.records import Request

#: Forms whose files cannot have external data: what that is called, and the option.
_IN_ONE_FILE = {
    FormKind.ORT: ("ONNX Runtime's own format", "--format ort"),
    FormKind.TEXT: ("a single ONNX file", "--tokenizer in_graph"),
}


def derived_steps(request: Request, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Returns the steps that derive files from the published graphs of the last stage.

    Each kind of form is derived from the files of the kind before: of `--shape` and `--format`, the
    files of another format have the shapes.

    Args:
        steps: Of the other stages.
    """
    published = [step for step in steps if step.is_published]
    sources = [step for step in published if step.stage is published[-1].stage]
    derived: list[Step] = []
    for forms in filter(None, request.forms):
        sources = [_derived(source, form) for source in sources for form in forms]
        derived += sources
    return tuple(derived)


def _derived(source: Step, form: FileForm) -> Step:
    return replace(
        source,
        stage=Stage.DERIVE,
        file=form.file(_own_name(source) if source.file == SERVED_FILE else source.file),
        source=source.file,
        settings={"form": str(form)},
        options=QuantizeOptions(),
        forms=(*source.forms, form),
    )


def _own_name(step: Step) -> str:
    """Returns the name of a graph that a layout has under another one.

    A program that takes the only graph at a folder's root must find no other there.
    """
    if step.stage is Stage.QUANTIZE:
        return quantized_file(step.level, step.precision)
    return optimized_file(step.level) if step.stage is Stage.OPTIMIZE else EXPORTED_FILE


def check_forms(request: Request, resolved: ResolvedModel, steps: Sequence[Step]) -> None:
    """Raises UsageError for forms that a model cannot have, before work starts."""
    if request.auto and any(request.forms):
        raise UsageError(
            "--quantize auto finds its file only at the end of the run, so that no other form can "
            "be derived from it",
            "run again with the precision that it finds: files that are up to date are reused",
        )
    if any(request.forms) and not any(step.forms for step in steps):
        raise UsageError(
            f"`{request.command}` makes no graph here from which another form could be derived",
            "omit --shape, --format and --tokenizer, or --optimize 0",
        )
    for form in (form for forms in request.forms for form in forms):
        if form.problem is not None:
            raise UsageError(f"--shape {form} {form.problem}", "give a smaller batch")
    oldest = request.min_onnxruntime
    if FormKind.ORT in request.format and oldest is not None and oldest < ORT_FORMAT:
        raise too_new("--format ort", ORT_FORMAT, request, "omit --format ort")
    four_bits = [p for p in request.quantize if BLOCK_BITS.get(p) == 4]
    if FormKind.ORT in request.format and four_bits and request.operators is Operators.STANDARD:
        raise UsageError(
            f"--format ort has no 4-bit integers, which --operators standard stores for "
            f"{', '.join(four_bits)}",
            "omit one of these options, or use --quantize Q8",
        )
    if request.tokenizer is TokenizerPlace.IN_GRAPH:
        _check_texts(request, resolved)
    most, limit = most_tokens(f for step in steps for f in step.forms), resolved.max_seq_length
    longest = max((shape.tokens for shape in request.shape), default=0)
    if limit is not None and longest > limit:
        raise UsageError(
            f"--shape has texts of {longest} tokens, but the model reads at most {limit}",
            f"give --shape 1x{limit}",
        )
    if most is not None and request.inputs is Inputs.IN_A_ROW:
        raise UsageError(
            f"--shape fixes the texts and the tokens of a batch, but with --inputs "
            f"{request.inputs} the tokens of all texts are in one row",
            f"omit --shape, or use --inputs {Inputs.IDS_AND_MASK}",
        )
    for step in steps:
        size = step.file_bytes(resolved.parameters)
        if size <= EXTERNAL_DATA_THRESHOLD_BYTES:
            continue
        for kind in (form.kind for form in step.forms if form.kind in _IN_ONE_FILE):
            what, option = _IN_ONE_FILE[kind]
            raise UsageError(
                f"{step.file} would have {size / 1e9:.1f} GB, but {what} has at most 2",
                f"choose a smaller precision, such as --quantize QInt8; or omit {option}",
            )


def _check_texts(request: Request, resolved: ResolvedModel) -> None:
    """Refuses graphs that read texts, of models and with options that cannot have them."""
    if resolved.kind is not Kind.EMBEDDING:
        raise UsageError(
            f"--tokenizer in_graph needs an embedding model, not {KINDS[resolved.kind].words}",
            (
                "for its embeddings alone, add --task feature-extraction"
                if KINDS[resolved.kind].heads
                else "omit --tokenizer in_graph, and let the program that loads the folder tokenize"
            ),
        )
    if request.format:
        raise UsageError(
            "--tokenizer in_graph and --format cannot be combined",
            "convert twice, with another --output_parent_dir each",
        )
