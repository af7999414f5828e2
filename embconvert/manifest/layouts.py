"""The layouts of a published folder, by target runtime, as one table.

What each runtime demands of a graph is in `consumers/`.

A runtime that loads a single graph gets it as `model.onnx` at the folder's root, whatever its
precision. The graphs that it was made from stay in `onnx/`, where such runtimes do not look, so
that the next run can reuse them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from embconvert.errors import UsageError
from embconvert.manifest.consumers import Consumer, consumer_of
from embconvert.models.choices import QUANTIZED_PRECISIONS, Command, Layout, Operators, Precision
from embconvert.models.compat import Version, oldest_for_precision, version_of
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.kinds import Kind
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, OnnxArtifact
from embconvert.request.parsing import next_command
from embconvert.request.records import Request

#: The option with which older releases of ONNX Runtime run blockwise precisions.
STANDARD = f"--operators {Operators.STANDARD}"
#: The graph for runtimes that load only one.
SERVED_FILE = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class LayoutRules:
    """How a folder looks.

    Attributes:
        serves_one: Whether its runtime loads only one graph, SERVED_FILE.
        names: Paths of graphs by precision; others are the same as in `hub`.
        config: Fields that config.json must have by these names.
        archive: Whether graph and tokenizer are also in a zip, with a request that registers it.
        lacks: Operators of blockwise precisions, as OnnxArtifact names them, that its runtime
            lacks; graphs have their standard forms instead.
        form: What its files are derived to; None for ONNX graphs. `names` then has all of them, by
            the precisions that it supports, and graphs in ONNX keep their names.
    """

    serves_one: bool = False
    names: Mapping[Precision, str] = field(default_factory=dict)
    config: tuple[str, ...] = ()
    model_max_length: bool = False
    external_data_in_config: bool = False
    archive: bool = False
    lacks: tuple[str, ...] = ()
    form: FormKind | None = None

    def place(self, file: str, precision: Precision, *, last: bool) -> str:
        """Returns the path of a graph from that in `hub`; the last one of a run may be served."""
        if self.serves_one and last:
            return SERVED_FILE
        if self.form is not None:
            return file
        return self.names.get(precision, file)


_ONE_GRAPH = LayoutRules(serves_one=True)

LAYOUTS: Mapping[Layout, LayoutRules] = {
    Layout.HUB: LayoutRules(),
    Layout.NIXIESEARCH: LayoutRules(serves_one=True, config=("hidden_size",)),
    Layout.TRANSFORMERSJS: LayoutRules(
        names={
            Precision.FLOAT16: "onnx/model_fp16.onnx",
            Precision.QINT8: "onnx/model_quantized.onnx",
            Precision.QUINT8: "onnx/model_uint8.onnx",
            Precision.QINT8_STATIC: "onnx/model_int8.onnx",
            Precision.Q4: "onnx/model_q4.onnx",
            Precision.Q4F16: "onnx/model_q4f16.onnx",
        },
        model_max_length=True,
        external_data_in_config=True,
        # onnxruntime-web 1.31 has no kernel for it on WebAssembly.
        lacks=("com.microsoft.GatherBlockQuantized",),
    ),
    Layout.FASTEMBED: LayoutRules(model_max_length=True),
    Layout.TEI: LayoutRules(serves_one=True, config=("hidden_size", "num_hidden_layers")),
    Layout.VESPA: _ONE_GRAPH,
    Layout.LANGCHAIN4J: _ONE_GRAPH,
    Layout.SPRINGAI: _ONE_GRAPH,
    Layout.OPENSEARCH: LayoutRules(serves_one=True, archive=True),
    Layout.SEMANTICKERNEL: _ONE_GRAPH,
    Layout.CHROMA: _ONE_GRAPH,
    # It fills texts up to model_max_length.
    Layout.MILVUS: LayoutRules(serves_one=True, config=("hidden_size",), model_max_length=True),
    Layout.SINGLEFILE: _ONE_GRAPH,
    # sentence-transformers 6.2 takes openvino/openvino_model.xml unless a name is given, and
    # warns about others unless they begin with `openvino`; its own int8 files end as here.
    Layout.OPENVINO: LayoutRules(
        form=FormKind.OPENVINO,
        names={
            Precision.FLOAT32: "openvino/openvino_model.xml",
            Precision.FLOAT16: "openvino/openvino_model_float16.xml",
            Precision.QINT8_STATIC: "openvino/openvino_model_qint8_quantized.xml",
            Precision.Q8: "openvino/openvino_model_q8.xml",
            Precision.Q4: "openvino/openvino_model_q4.xml",
        },
    ),
}


def is_of_layout(layout: Layout, forms: Iterable[FileForm]) -> bool:
    """Whether files of these forms are those of a layout, not further ones as of --shape."""
    return all(form.kind is LAYOUTS[layout].form for form in forms)


def check_layout(request: Request, served_bytes: int, kind: Kind = Kind.EMBEDDING) -> None:
    """Refuses requests that a layout does not support, before work starts.

    `served_bytes` is about the size of the run's last graph. Raises UsageError if the runtime
    could not load the result.
    """
    rules, consumer = LAYOUTS[request.layout], consumer_of(request.layout, kind)
    asked = f"--layout {request.layout}"
    one_run = rules.serves_one or rules.form is not None
    if one_run and request.command not in (Command.EXPORT, Command.ALL):
        raise UsageError(
            f"the folder has {asked}, which `{request.command}` cannot update",
            f"run: {next_command(request, Command.ALL, model_path=None)}",
        )
    refuse_precisions(request, consumer)
    if rules.serves_one and len(request.quantize) > 1:
        raise UsageError(
            f"{asked} has only one graph for {consumer.name}, but --quantize has "
            f"{len(request.quantize)} precisions",
            f"choose one, such as --quantize {request.quantize[0]}; or use --layout hub",
        )
    if request.output not in consumer.outputs:
        raise UsageError(
            f"{consumer.name} reads {consumer.reads.replace('`', '')}, which is not what it needs "
            f"with --output {request.output}",
            f"with {asked}, --output can be {', '.join(consumer.outputs)}",
        )
    if not consumer.external_data and served_bytes > EXTERNAL_DATA_THRESHOLD_BYTES:
        raise UsageError(
            f"{asked} does not support external data, which a graph of {served_bytes / 1e9:.1f} "
            "GB needs",
            "choose a smaller precision, such as --quantize QInt8; or use --layout hub",
        )


def refuse_precisions(request: Request, consumer: Consumer) -> None:
    """Raises UsageError for a precision that a consumer's runtime does not run."""
    rules = LAYOUTS[request.layout]

    def runs(precision: Precision, operators: Operators = request.operators) -> bool:
        if rules.form is not None:
            return precision in rules.names
        newest = consumer.newest_onnxruntime
        oldest = oldest_for_precision(precision, request.table_bits, operators)
        return newest is None or oldest <= newest

    for precision in request.quantize:
        if not runs(precision):
            admitted = [p for p in QUANTIZED_PRECISIONS if runs(p)]
            asked = f"--layout {request.layout}"
            hint = f"with {asked}, --quantize can be {', '.join(admitted)}"
            raise UsageError(
                f"{asked} is for {consumer.name}, which cannot load {precision}",
                f"{hint}; or add {STANDARD}" if runs(precision, Operators.STANDARD) else hint,
            )


def too_new(what: str, needed: Version | str, request: Request, hint: str) -> UsageError:
    """Returns the error for what the oldest ONNX Runtime that must run the files lacks.

    Args:
        needed: The release that has it.
    """
    release = request.min_onnxruntime
    assert release is not None
    needs = needed if isinstance(needed, str) else f"{needed[0]}.{needed[1]}"
    is_own = consumer_of(request.layout).newest_onnxruntime != release
    option = "--min_onnxruntime is" if is_own else f"--layout {request.layout} is for"
    oldest = f"{option} {release[0]}.{release[1]}"
    return UsageError(f"{what} needs ONNX Runtime {needs}, but {oldest}", hint)


def misfit(
    layout: Layout, file: str, artifact: OnnxArtifact, kind: Kind = Kind.EMBEDDING
) -> str | None:
    """Returns why a layout's runtime cannot load a graph of a folder; None if it can.

    This checks what check_layout cannot know in advance: the final size, the inputs, and the
    operators.
    """
    rules, consumer = LAYOUTS[layout], consumer_of(layout, kind)
    if rules.serves_one and file != SERVED_FILE:
        return None
    if artifact.external_data is not None and not consumer.external_data:
        return f"{file} needs external data, which --layout {layout} does not support"
    inputs = {tensor.name for tensor in artifact.inputs}
    if consumer.sends is not None:
        missing = [name for name in consumer.sends if name not in inputs]
        unknown = sorted(inputs - {*consumer.sends, *consumer.may_send})
        if unknown:
            return f"{file} reads {', '.join(unknown)}, which {consumer.name} does not send"
        if missing:
            return f"{file} has no {', '.join(missing)}, which {consumer.name} sends"
    newest = consumer.newest_onnxruntime
    if newest is not None and version_of(artifact.min_onnxruntime) > newest:
        return (
            f"{file} needs ONNX Runtime {artifact.min_onnxruntime}, but {consumer.name} has "
            f"{newest[0]}.{newest[1]}"
        )
    return None
