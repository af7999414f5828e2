"""How a published folder looks, by the program that will load it; one table of data.

What each program demands was measured or read in its source; where, stands beside the entry.

A program that loads one graph gets it as `model.onnx` at the folder's root, whatever its
precision; the graphs that it was made of stay in `onnx/`, where such programs don't look, so that
the next run goes on from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from embconvert.errors import UsageError
from embconvert.models.choices import QUANTIZED_PRECISIONS, Command, Layout, Output, Precision
from embconvert.models.compat import Version, oldest_for_precision
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, OnnxArtifact
from embconvert.request.records import Request

#: The graph of a program that loads one.
SERVED_FILE = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class LayoutRules:
    """What a program demands of a folder.

    Attributes:
        consumer: The program's name.
        serves_one: Whether it loads one graph, SERVED_FILE.
        names: Where it looks for a precision's graph; the others go where `hub` has them.
        outputs: Those that it can use.
        external_data: Whether it loads weights from a file beside the graph.
        oldest_onnxruntime: The oldest ONNX Runtime that it comes with or allows; None if not known.
        newest_onnxruntime: The newest; None when that is the user's choice, or not known.
        config: The fields that it wants in config.json by these names.
        model_max_length: Whether it cuts texts at tokenizer_config.json's model_max_length.
        external_data_in_config: Whether config.json must tell of external data.
        pools: The poolings that it does itself, outside of the graph, by its own settings; empty
            when it takes sentence_embedding, or reads the folder's modules.
    """

    consumer: str
    serves_one: bool = False
    names: Mapping[Precision, str] = field(default_factory=dict)
    outputs: tuple[Output, ...] = tuple(Output)
    external_data: bool = True
    oldest_onnxruntime: Version | None = None
    newest_onnxruntime: Version | None = None
    config: tuple[str, ...] = ()
    model_max_length: bool = False
    external_data_in_config: bool = False
    pools: tuple[str, ...] = ()

    def place(self, file: str, precision: Precision, *, last: bool) -> str:
        """Returns where a graph goes.

        Args:
            file: Where `hub` has it.
            precision: Of its weights.
            last: Whether it is the run's last.
        """
        if self.serves_one and last:
            return SERVED_FILE
        return self.names.get(precision, file)


LAYOUTS: Mapping[Layout, LayoutRules] = MappingProxyType(
    {
        Layout.HUB: LayoutRules(consumer="the hub's clients"),
        # Its OnnxModelFile takes the first *.onnx of the folder itself, in no order, and
        # OnnxEmbedModel casts output 0 to float[][][]; config.json must have hidden_size.
        Layout.NIXIESEARCH: LayoutRules(
            consumer="Nixiesearch",
            serves_one=True,
            outputs=(Output.BOTH,),
            oldest_onnxruntime=(1, 23),
            newest_onnxruntime=(1, 23),
            config=("hidden_size",),
            pools=("mean", "cls"),
        ),
        # src/utils/dtypes.js and model-loader.js of 4.3: the suffix is the dtype's, `q8` (a
        # browser's default) is `_quantized`. It brings ONNX Runtime 1.30 for Node.
        Layout.TRANSFORMERSJS: LayoutRules(
            consumer="transformers.js",
            names={
                Precision.FLOAT16: "onnx/model_fp16.onnx",
                Precision.QINT8: "onnx/model_quantized.onnx",
                Precision.QUINT8: "onnx/model_uint8.onnx",
                Precision.QINT8_STATIC: "onnx/model_int8.onnx",
                Precision.Q4: "onnx/model_q4.onnx",
            },
            outputs=(Output.BOTH,),
            oldest_onnxruntime=(1, 30),
            newest_onnxruntime=(1, 30),
            model_max_length=True,
            external_data_in_config=True,
        ),
        # Any file, named by model_file; its metadata allows ONNX Runtime from 1.17.
        Layout.FASTEMBED: LayoutRules(
            consumer="fastembed", oldest_onnxruntime=(1, 17), model_max_length=True
        ),
        # backends/ort/src/lib.rs: model.onnx before onnx/model.onnx, sentence_embedding before
        # last_hidden_state; the config's fields by these names. The `ort` crate that its calls
        # are of (2.0.0-rc.10) brings ONNX Runtime 1.22.
        Layout.TEI: LayoutRules(
            consumer="text-embeddings-inference",
            serves_one=True,
            oldest_onnxruntime=(1, 22),
            newest_onnxruntime=(1, 22),
            config=("hidden_size", "num_hidden_layers"),
        ),
        # services.xml names one file, which is distributed alone.
        Layout.VESPA: LayoutRules(consumer="Vespa", serves_one=True, external_data=False),
        # Spring AI, LangChain4j and others read the file into memory.
        Layout.SINGLEFILE: LayoutRules(
            consumer="programs that read one file into memory", serves_one=True, external_data=False
        ),
    }
)


def check_layout(request: Request, served_bytes: int) -> None:
    """Refuses what a layout does not admit, before work starts.

    Args:
        request: What is asked for.
        served_bytes: About the size of the run's last graph.

    Raises:
        UsageError: The layout's program could not load the outcome.
    """
    rules = LAYOUTS[request.layout]
    asked = f"--layout {request.layout}"
    if rules.serves_one and request.command not in (Command.EXPORT, Command.ALL):
        raise UsageError(
            f"the folder has {asked}, which is made in one go",
            f"run: embconvert all --model_id {request.model_id} {asked}, with what it shall have",
        )
    for precision in request.quantize:
        if not _runs(rules, precision, request.table_bits):
            admitted = [p for p in QUANTIZED_PRECISIONS if _runs(rules, p, request.table_bits)]
            raise UsageError(
                f"{rules.consumer}, which {asked} is for, cannot load {precision}",
                f"with {asked}, --quantize can be {', '.join(admitted)}",
            )
    if rules.serves_one and len(request.quantize) > 1:
        raise UsageError(
            f"{asked} holds one graph for {rules.consumer}, and {len(request.quantize)} "
            "precisions are asked for",
            f"choose one, as --quantize {request.quantize[0]}; or use --layout hub",
        )
    if request.output not in rules.outputs:
        raise UsageError(
            f"{rules.consumer} needs last_hidden_state, which --output {request.output} leaves out",
            f"with {asked}, --output can be {', '.join(rules.outputs)}",
        )
    if not rules.external_data and served_bytes > EXTERNAL_DATA_THRESHOLD_BYTES:
        raise UsageError(
            f"{asked} admits no external data, which a graph of {served_bytes / 1e9:.1f} GB needs",
            "choose a smaller precision, as --quantize QInt8; or use --layout hub",
        )


def _runs(rules: LayoutRules, precision: Precision, table_bits: int | None) -> bool:
    """Whether the program's ONNX Runtime runs a precision."""
    newest = rules.newest_onnxruntime
    return newest is None or oldest_for_precision(precision, table_bits) <= newest


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)


def misfit(layout: Layout, file: str, artifact: OnnxArtifact) -> str | None:
    """Returns, in words, why a layout's program could not load a graph; None when it can.

    What check_layout cannot know beforehand: how large a graph became, and what fusions need.

    Args:
        layout: The folder's.
        file: Where the graph is in it.
        artifact: The graph.
    """
    rules = LAYOUTS[layout]
    if rules.serves_one and file != SERVED_FILE:
        return None
    if artifact.external_data is not None and not rules.external_data:
        return f"{file} needs external data, which --layout {layout} does not admit"
    newest = rules.newest_onnxruntime
    if newest is not None and _version(artifact.min_onnxruntime) > newest:
        return (
            f"{file} needs ONNX Runtime {artifact.min_onnxruntime}, and {rules.consumer} has "
            f"{newest[0]}.{newest[1]}"
        )
    return None
