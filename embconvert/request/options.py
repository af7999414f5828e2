"""The table of the conversion commands' options.

Fire, `--help` and the reference page read this table, so an option is defined once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from embconvert.models.choices import (
    OPSETS,
    QUANTIZED_PRECISIONS,
    Command,
    Inputs,
    Layout,
    Operators,
    OptimizationLevel,
    Output,
    OutputPrecision,
    PoolingMode,
)
from embconvert.models.forms import FORMATS, TokenizerPlace
from embconvert.models.kinds import TASKS
from embconvert.models.recipes import CalibrationMethod, QuantFormat, Recipe
from embconvert.models.reranker_templates import RERANKER_TEMPLATES
from embconvert.request import own_values, values

_ALL_COMMANDS = tuple(Command)


class Group(StrEnum):
    """What options are about; `--help` and the reference list them by it, in this order."""

    SOURCE = "what to convert"
    COMPARED = "what to compare"
    GRAPH = "what to make"
    QUANTIZE = "how to quantize"
    QUALITY = "quality"
    MEASURE = "what to measure"
    FOLDER = "where it goes"
    HUB = "hub"
    OUTPUT = "output"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option; `field` is the field of Request that it sets, if it has another name.

    Attributes:
        choices: The words that it takes, for shells to complete; empty if any word may be right.
    """

    name: str
    group: Group
    help: str
    parse: Callable[[str], Any]
    commands: tuple[Command, ...] = ()
    metavar: str | None = None
    default: str = "off"
    field: str = ""
    several: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_flag(self) -> bool:
        return self.metavar is None

    @property
    def request_field(self) -> str:
        return self.field or self.name


def flag(
    name: str, group: Group, words: str, commands: tuple[Command, ...] = (), **rest: Any
) -> Option:
    """Returns an option without a value; with another `field`, it is the negation of that one."""
    parse = values.boolean(name, negated="field" in rest)
    return Option(name=name, group=group, help=words, commands=commands, parse=parse, **rest)


def choice(*, name: str, words: Mapping[str, Any], **rest: Any) -> Option:
    """Returns an option that takes one of some words, each with its value."""
    return Option(name=name, choices=tuple(words), parse=values.choice(name, words), **rest)


_EXPORT = (Command.EXPORT, Command.ALL)
_OPTIMIZE = (Command.OPTIMIZE, Command.ALL)
_QUANTIZE = (Command.QUANTIZE, Command.ALL)

# fmt: off
OPTIONS: tuple[Option, ...] = (
    Option(
        name="model_id", metavar="ID", group=Group.SOURCE, commands=_ALL_COMMANDS,
        parse=values.text("model_id"), default="required",
        help="Hub id (org/name) or local folder of the model.",
    ),
    Option(
        name="revision", metavar="REV", group=Group.SOURCE, commands=_EXPORT,
        parse=values.text("revision"), default="the hub's main branch",
        help="Branch, tag or commit; resolved to a commit and recorded.",
    ),
    choice(
        name="task", metavar="TASK", group=Group.SOURCE, commands=_EXPORT,
        words={t: t for t in TASKS}, default="detected from the model",
        help="Task of the model: sentence-similarity, text-classification, fill-mask, "
        "late-interaction or hybrid, or optimum's synonyms.",
    ),
    Option(
        name="route", metavar="NAME", group=Group.SOURCE, commands=_ALL_COMMANDS,
        parse=own_values.route, default="all of the model's",
        help="Route of a model with a Router, such as query or document; each has its own folder, "
        "DIR/<model_id>/<route>.",
    ),
    choice(
        name="reranker_template", metavar="NAME", group=Group.SOURCE, commands=_EXPORT,
        words={name: name for name in RERANKER_TEMPLATES},
        default="that of the model's files, or of its name",
        help="Known reranker whose text around query and document, and whose words for the score, "
        f"a model without such settings uses: {', '.join(RERANKER_TEMPLATES)}.",
    ),
    Option(
        name="adapter", metavar="ID", group=Group.SOURCE, commands=_ALL_COMMANDS,
        parse=own_values.adapters, several=True, default="none",
        help="LoRA adapter (PEFT) to merge with the model: hub id, local folder, or the name of "
        "one in the model's repository; several separated by commas. ID@REV pins a revision, and "
        "ID=0.5 scales it.",
    ),
    flag("trust_remote_code", Group.SOURCE, "Run Python code that comes with the model.", _EXPORT),
    Option(
        name="model_path", metavar="FILE", group=Group.SOURCE,
        commands=(Command.OPTIMIZE, Command.QUANTIZE), parse=values.path("model_path"),
        default="the exported graph in the output folder",
        help="ONNX file to use instead; it is not changed.",
    ),
    Option(
        name="quantize", metavar="PRECISION", group=Group.GRAPH, commands=_QUANTIZE,
        parse=own_values.precisions, choices=(*QUANTIZED_PRECISIONS, "auto"), several=True,
        default="none for all, required for quantize",
        help=f"{', '.join(QUANTIZED_PRECISIONS)}, or a usual name such as int8; several separated "
        "by commas; or auto, the smallest that meets the budget.",
    ),
    choice(
        name="optimize", metavar="LEVEL", group=Group.GRAPH, commands=_OPTIMIZE,
        words={str(int(level)): level for level in OptimizationLevel}, default="1",
        help="Optimization level: 0 is none, 1 is portable, 2 is for CPUs, 99 is for this CPU "
        "only.",
    ),
    choice(
        name="layout", metavar="LAYOUT", group=Group.GRAPH, commands=_EXPORT,
        words=values.by_word(Layout), default="hub",
        help="Folder layout for the program that will load the model: hub, transformersjs, vespa, "
        "opensearch, openvino and others, which `embconvert help layouts` lists.",
    ),
    Option(
        name="shape", metavar="SHAPE", group=Group.GRAPH, commands=_ALL_COMMANDS,
        parse=values.shapes("shape"), several=True, default="none",
        help="Further files with a fixed number of texts and of tokens, such as 1x128, or several "
        "separated by commas, for NPUs, Core ML and TensorRT: one of each quantized file, or "
        "of the last float32 file if nothing is quantized.",
    ),
    Option(
        name="format", metavar="FORMAT", group=Group.GRAPH, commands=_ALL_COMMANDS,
        parse=own_values.formats, choices=tuple(FORMATS), several=True, default="none",
        help="Further files in another format, made from each quantized file, or with --shape from "
        "those with a fixed shape: ort, for ONNX Runtime's mobile and reduced builds, with the "
        "list of operators that such a build needs.",
    ),
    choice(
        name="tokenizer", metavar="PLACE", group=Group.GRAPH, commands=_ALL_COMMANDS,
        words=values.by_word(TokenizerPlace), default=TokenizerPlace.SEPARATE,
        help="in_graph adds further files that read texts and give embeddings, with the tokenizer "
        "in the graph, for databases (Oracle), C, Go and phones; they need the operators of "
        "onnxruntime-extensions.",
    ),
    Option(
        name="min_onnxruntime", metavar="VERSION", group=Group.GRAPH, commands=_ALL_COMMANDS,
        parse=own_values.runtime, default="any",
        help="Oldest ONNX Runtime release that must run the files; newer operators are replaced by "
        "older ones, and a file for which that is impossible is refused.",
    ),
    choice(
        name="operators", metavar="OPERATORS", group=Group.GRAPH,
        commands=(Command.OPTIMIZE, Command.QUANTIZE, Command.ALL), words=values.by_word(Operators),
        default="any",
        help="Operators of optimized and quantized graphs: any allows ONNX Runtime's own, "
        "standard only those of ONNX itself, for OpenVINO and other programs.",
    ),
    flag(
        "no_float32", Group.GRAPH,
        "Publish only quantized files and write no float32 file, for models whose float32 "
        "weights are too large for the disk.",
        (Command.ALL,),
    ),
    choice(
        name="pooling", metavar="MODE", group=Group.GRAPH, commands=_EXPORT,
        words=values.by_word(PoolingMode) | {"mean_sqrt_len": PoolingMode.MEAN_SQRT_LEN},
        default="the model's own",
        help="Pooling that replaces the model's own: mean, cls, lasttoken, max, weightedmean or "
        "mean_sqrt_len.",
    ),
    flag(
        "normalize", Group.GRAPH,
        "L2-normalize embeddings, even if the model does not.",
        _EXPORT, default="the model's own",
    ),
    Option(
        name="dimensions", metavar="N", group=Group.GRAPH, commands=_EXPORT,
        parse=values.positive("dimensions"), default="all of the model's",
        help="Truncate embeddings to N dimensions and normalize them, for Matryoshka models.",
    ),
    flag(
        "force_dimensions", Group.GRAPH,
        "Truncate even if the model does not say that it was trained for it.",
        _EXPORT,
    ),
    choice(
        name="output", metavar="OUTPUT", group=Group.GRAPH, commands=_EXPORT,
        words=values.by_word(Output), default="both",
        help="Outputs of the graph: both is last_hidden_state and sentence_embedding, sentence "
        "only the latter; for SPLADE models, logits gives every token's logits, which "
        "fastembed, Vespa and sentence-transformers pool themselves.",
    ),
    Option(
        name="inputs", metavar="NAMES", group=Group.GRAPH, commands=_EXPORT,
        parse=own_values.inputs, choices=tuple(Inputs), default="those that the model reads",
        help="Inputs of the graph, for clients that never send token_type_ids "
        f"({Inputs.IDS_AND_MASK}) or always do ({Inputs.WITH_TYPES}); "
        f"{Inputs.IN_A_ROW} are those of model2vec's own export, for static embeddings.",
    ),
    choice(
        name="output_precision", metavar="PRECISION", group=Group.GRAPH, commands=_EXPORT,
        words=values.by_word(OutputPrecision), default="float32",
        help="Number format of embeddings, in the graph: float32; int8 or uint8, with ranges from "
        "the calibration texts; binary or ubinary, one bit per dimension.",
    ),
    Option(
        name="opset", metavar="N", group=Group.GRAPH, commands=_EXPORT, parse=own_values.opset,
        choices=tuple(map(str, OPSETS)), default="17",
        help=f"ONNX opset, {OPSETS[0]} to {OPSETS[-1]}.",
    ),
    flag(
        "skip_shape_inference", Group.GRAPH,
        "Skip symbolic shape inference, for models on which it fails.",
        (Command.OPTIMIZE, Command.QUANTIZE, Command.ALL),
    ),
    Option(
        name="device", metavar="DEVICE", group=Group.GRAPH, commands=_EXPORT,
        parse=own_values.device, default="cpu",
        help="torch device on which the model is traced: cpu, cuda, cuda:1, mps or xpu.",
    ),
    Option(
        name="recipes", metavar="NAMES", group=Group.QUANTIZE, commands=_QUANTIZE,
        parse=own_values.recipes, choices=("none", *Recipe), several=True,
        default="the recommended set",
        help=f"Techniques that reduce quantization error: none, or some of {', '.join(Recipe)}, "
        "separated by commas.",
    ),
    Option(
        name="calibration_dataset", metavar="FILE", group=Group.QUANTIZE,
        commands=(Command.EXPORT, *_QUANTIZE), parse=values.path("calibration_dataset"),
        default="a built-in set",
        help="UTF-8 file of calibration texts, one per line; at most 64 MiB, 1 MiB per line and "
        "1,000,000 texts.",
    ),
    flag(
        "per_channel", Group.QUANTIZE,
        "One scale per channel of a weight tensor.",
        _QUANTIZE, default="on",
    ),
    flag(
        "no_per_channel", Group.QUANTIZE,
        "One scale per weight tensor.",
        _QUANTIZE, field="per_channel",
    ),
    flag(
        "reduce_range", Group.QUANTIZE,
        "Limit 8-bit weights so that the 16-bit sums of x86 CPUs without VNNI do not overflow.",
        _QUANTIZE, default="on",
    ),
    flag(
        "no_reduce_range", Group.QUANTIZE,
        "Use the whole range of 8-bit weights, for ARM, and for x86 with VNNI.",
        _QUANTIZE, field="reduce_range",
    ),
    choice(
        name="table_bits", metavar="N", group=Group.QUANTIZE, commands=_QUANTIZE,
        words={"4": 4, "8": 8}, default="8 for Q8, 4 for Q4 and Q4F16",
        help="Bits per weight of the embedding table in Q8, Q4 and Q4F16: 4 or 8.",
    ),
    choice(
        name="calibration_method", metavar="METHOD", group=Group.QUANTIZE, commands=_QUANTIZE,
        words=values.by_word(CalibrationMethod), default="minmax",
        help="How QInt8Static determines the range of activations: minmax, entropy or percentile.",
    ),
    choice(
        name="quant_format", metavar="FORMAT", group=Group.QUANTIZE, commands=_QUANTIZE,
        words=values.by_word(QuantFormat), default="QDQ",
        help="ONNX format of QInt8Static: QDQ, which runtimes fuse, or QOperator.",
    ),
    Option(
        name="min_cosine", metavar="X", group=Group.QUALITY, commands=_QUANTIZE,
        parse=values.share("min_cosine", "0.98"), default="depends on the precision",
        help="Minimum mean cosine to the reference; files below it are not published.",
    ),
    Option(
        name="min_neighbours", metavar="X", group=Group.QUALITY, commands=_QUANTIZE,
        parse=values.share("min_neighbours", "0.9"), default="depends on the precision",
        help="Minimum share of each text's ten nearest neighbours that stay; files below it are "
        "not published.",
    ),
    Option(
        name="max_size", metavar="SIZE", group=Group.QUALITY, commands=_QUANTIZE,
        parse=own_values.size, default="any",
        help="Maximum file size for --quantize auto: 25MB, 1.5GB, or 30% of the float32 size.",
    ),
    Option(
        name="min_speedup", metavar="X", group=Group.QUALITY, commands=_QUANTIZE,
        parse=own_values.speedup, default="any",
        help="Minimum speed for --quantize auto: throughput on this machine, relative to float32.",
    ),
    Option(
        name="evaluate", metavar="PATH", group=Group.QUALITY, commands=_QUANTIZE,
        parse=values.path("evaluate"), default="none",
        help="Data on which --quantize auto also compares candidates with float32, as `embconvert "
        "evaluate` does.",
    ),
    Option(
        name="max_loss", metavar="N", group=Group.QUALITY, commands=_QUANTIZE,
        parse=own_values.points, default="0.5",
        help="Maximum loss on the data of --evaluate, in points (hundredths) of its main figure.",
    ),
    flag(
        "skip_validation", Group.QUALITY,
        "Do not compare with the reference; the manifest records it.",
        _ALL_COMMANDS,
    ),
    flag(
        "full_validation", Group.QUALITY,
        "Compare on all built-in texts instead of a sample.",
        _ALL_COMMANDS,
    ),
    Option(
        name="max_graph_seconds", metavar="N", group=Group.QUALITY, commands=_ALL_COMMANDS,
        parse=values.positive("max_graph_seconds"),
        default="600 + 300 per GB of the graph + 10 per text",
        help="Time limit for one graph; an untrusted graph may never finish.",
    ),
    Option(
        name="output_parent_dir", metavar="DIR", group=Group.FOLDER, commands=_ALL_COMMANDS,
        parse=values.path("output_parent_dir"), default="./models/",
        help="Parent of the output folder, which is DIR/<model_id>, or DIR/<folder name> for a "
        "local folder.",
    ),
    Option(
        name="cache_dir", metavar="DIR", group=Group.HUB, commands=_ALL_COMMANDS,
        parse=values.path("cache_dir"), default="$HF_HOME/hub",
        help="Hub cache folder.",
    ),
    flag("offline", Group.HUB, "Use the cache only; open no connection.", _ALL_COMMANDS),
    flag("dry_run", Group.OUTPUT, "Print what would be done, without doing it.", _ALL_COMMANDS),
    flag(
        "json", Group.OUTPUT,
        "Print the manifest (or, with --dry_run, the plan) as JSON.",
        _ALL_COMMANDS,
    ),
    flag("quiet", Group.OUTPUT, "Print only warnings and errors to stderr.", _ALL_COMMANDS),
    flag(
        "debug", Group.OUTPUT,
        "Print tracebacks, the libraries' own warnings, and the times of a run's jobs.",
        _ALL_COMMANDS,
    ),
)
# fmt: on


def options_of(command: Command) -> dict[str, Option]:
    return {option.name: option for option in OPTIONS if command in option.commands}


def shared(*names: str) -> tuple[Option, ...]:
    """Returns options that another command shares with the conversions."""
    by_name = {option.name: option for option in OPTIONS}
    return tuple(by_name[name] for name in names)
