"""The options of the commands that convert, as one table.

Fire, the README's test and `--help` all read this table, so an option exists in one place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embconvert.models.choices import (
    OPSETS,
    CalibrationMethod,
    Command,
    Layout,
    OptimizationLevel,
    Output,
    PoolingMode,
    QuantFormat,
    Recipe,
)
from embconvert.models.kinds import TASKS
from embconvert.request import values

_ALL_COMMANDS = tuple(Command)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        name: As the user writes it, without the dashes.
        commands: The conversions that take it; other commands name their options themselves.
        help: One sentence.
        default: What the help shows as default; empty when there is none.
        parse: Turns the text into the value; raises UsageError.
        metavar: The placeholder in help; None makes the option a flag, which needs no value.
        field: The field of Request that it sets.
        several: Whether its value may be several, with commas between them.
    """

    name: str
    help: str
    parse: Callable[[str], Any]
    commands: tuple[Command, ...] = ()
    metavar: str | None = None
    default: str = ""
    field: str = ""
    several: bool = False

    @property
    def is_flag(self) -> bool:
        """Whether the option stands alone."""
        return self.metavar is None

    @property
    def request_field(self) -> str:
        """The field of Request that it sets."""
        return self.field or self.name


_EXPORT = (Command.EXPORT, Command.ALL)
_OPTIMIZE = (Command.OPTIMIZE, Command.ALL)
_QUANTIZE = (Command.QUANTIZE, Command.ALL)

OPTIONS: tuple[Option, ...] = (
    Option(
        name="model_id",
        commands=_ALL_COMMANDS,
        metavar="ID",
        parse=values.text("model_id"),
        default="required",
        help="Hub id (org/name) or local folder of the model.",
    ),
    Option(
        name="output_parent_dir",
        commands=_ALL_COMMANDS,
        metavar="DIR",
        parse=values.path("output_parent_dir"),
        default="./models/",
        help="The model goes to DIR/<model_id>, or DIR/<folder name> for a local folder.",
    ),
    Option(
        name="revision",
        commands=_EXPORT,
        metavar="REV",
        parse=values.text("revision"),
        default="the hub's main branch",
        help="Branch, tag or commit; resolved to a commit and recorded.",
    ),
    Option(
        name="task",
        commands=_EXPORT,
        metavar="TASK",
        parse=values.choice("task", {t: t for t in TASKS}),
        default="what the source is",
        help="What the model is for: sentence-similarity, text-classification, fill-mask or "
        "late-interaction, or optimum's synonyms.",
    ),
    Option(
        name="opset",
        commands=_EXPORT,
        metavar="N",
        parse=values.opset,
        default="17",
        help=f"ONNX operator set, {OPSETS[0]} to {OPSETS[-1]}.",
    ),
    Option(
        name="device",
        commands=_EXPORT,
        metavar="DEVICE",
        parse=values.device,
        default="cpu",
        help="The torch device that traces the model: cpu, cuda, cuda:1, mps.",
    ),
    Option(
        name="optimize",
        commands=_OPTIMIZE,
        metavar="LEVEL",
        parse=values.choice("optimize", {str(int(level)): level for level in OptimizationLevel}),
        default="1",
        help="0 makes no optimized file, 1 is portable, 2 is for CPU, 99 is bound to this CPU.",
    ),
    Option(
        name="quantize",
        commands=_QUANTIZE,
        metavar="PRECISION",
        parse=values.precisions,
        several=True,
        default="none for all, required for quantize",
        help="Q8, Q4, QInt8, QUInt8, Float16, QInt8Static or QFLOAT8E4M3FN, several with commas, "
        "or auto: the smallest that keeps the budget.",
    ),
    Option(
        name="model_path",
        commands=(Command.OPTIMIZE, Command.QUANTIZE),
        metavar="FILE",
        parse=values.path("model_path"),
        default="what export left in the output folder",
        help="Work on this ONNX file instead; it is never changed.",
    ),
    Option(
        name="per_channel",
        commands=_QUANTIZE,
        parse=values.boolean("per_channel"),
        default="on",
        help="One scale for each channel of a weight.",
    ),
    Option(
        name="no_per_channel",
        commands=_QUANTIZE,
        parse=values.boolean("no_per_channel", negated=True),
        field="per_channel",
        default="off",
        help="One scale for the whole weight.",
    ),
    Option(
        name="reduce_range",
        commands=_QUANTIZE,
        parse=values.boolean("reduce_range"),
        default="on",
        help="7-bit weights, which x86 without VNNI needs to be right.",
    ),
    Option(
        name="no_reduce_range",
        commands=_QUANTIZE,
        parse=values.boolean("no_reduce_range", negated=True),
        field="reduce_range",
        default="off",
        help="8-bit weights, for ARM and x86 with VNNI.",
    ),
    Option(
        name="recipes",
        commands=_QUANTIZE,
        metavar="NAMES",
        parse=values.recipes,
        several=True,
        default="those that are worth their price",
        help=f"What betters a precision: none, or some of {', '.join(Recipe)}, with commas.",
    ),
    Option(
        name="table_bits",
        commands=_QUANTIZE,
        metavar="N",
        parse=values.choice("table_bits", {"4": 4, "8": 8}),
        default="8 for Q8, 4 for Q4",
        help="Bits of the token table of Q8 and Q4: 4 or 8.",
    ),
    Option(
        name="calibration_method",
        commands=_QUANTIZE,
        metavar="METHOD",
        parse=values.choice("calibration_method", {m.value: m for m in CalibrationMethod}),
        default="minmax",
        help="The range of QInt8Static's activations: minmax, entropy or percentile.",
    ),
    Option(
        name="quant_format",
        commands=_QUANTIZE,
        metavar="FORMAT",
        parse=values.choice("quant_format", {f.value: f for f in QuantFormat}),
        default="QDQ",
        help="How QInt8Static is written: QDQ, for runtimes to fuse, or QOperator.",
    ),
    Option(
        name="min_onnxruntime",
        commands=_ALL_COMMANDS,
        metavar="VERSION",
        parse=values.runtime,
        default="any",
        help="Refuse what this ONNX Runtime release, the oldest of your consumers, cannot run.",
    ),
    Option(
        name="calibration_dataset",
        commands=_QUANTIZE,
        metavar="FILE",
        parse=values.path("calibration_dataset"),
        default="a built-in set",
        help="UTF-8 text file, one text a line, that calibrates: a regular file of at most 64 MiB, "
        "1 MiB a line and 1,000,000 texts.",
    ),
    Option(
        name="min_cosine",
        commands=_QUANTIZE,
        metavar="X",
        parse=values.cosine,
        default="one for each precision",
        help="Floor of the mean cosine to the reference; a file below it is not published.",
    ),
    Option(
        name="max_size",
        commands=_QUANTIZE,
        metavar="SIZE",
        parse=values.size,
        default="any",
        help="The budget of --quantize auto: 25MB, 1.5GB, or 30% of float32's size.",
    ),
    Option(
        name="min_speedup",
        commands=_QUANTIZE,
        metavar="X",
        parse=values.speedup,
        default="any",
        help="The budget of --quantize auto: throughput here over that of float32.",
    ),
    Option(
        name="pooling",
        commands=_EXPORT,
        metavar="MODE",
        parse=values.choice(
            "pooling",
            {m.value: m for m in PoolingMode} | {"mean_sqrt_len": PoolingMode.MEAN_SQRT_LEN},
        ),
        default="the model's own",
        help="Pooling in place of the model's own: "
        "mean, cls, lasttoken, max, weightedmean or mean_sqrt_len.",
    ),
    Option(
        name="normalize",
        commands=_EXPORT,
        parse=values.boolean("normalize"),
        default="the model's own",
        help="Give embeddings of length 1, also where the model itself does not.",
    ),
    Option(
        name="dimensions",
        commands=_EXPORT,
        metavar="N",
        parse=values.positive("dimensions"),
        default="all of the model's",
        help="Cut embeddings after N components and normalize them, for Matryoshka models.",
    ),
    Option(
        name="force_dimensions",
        commands=_EXPORT,
        parse=values.boolean("force_dimensions"),
        default="off",
        help="Cut also embeddings of a model that does not say that it was trained for it.",
    ),
    Option(
        name="output",
        commands=_EXPORT,
        metavar="OUTPUT",
        parse=values.choice("output", {o.value: o for o in Output}),
        default="both",
        help="both: last_hidden_state, then sentence_embedding; sentence: that alone.",
    ),
    Option(
        name="layout",
        commands=_EXPORT,
        metavar="LAYOUT",
        parse=values.choice("layout", {layout.value: layout for layout in Layout}),
        default="hub",
        help="How the folder looks, by the program that will load it: hub, nixiesearch, "
        "transformersjs, fastembed, tei, vespa or singlefile.",
    ),
    Option(
        name="skip_shape_inference",
        commands=(Command.OPTIMIZE, Command.QUANTIZE, Command.ALL),
        parse=values.boolean("skip_shape_inference"),
        default="off",
        help="For models on which symbolic shape inference fails.",
    ),
    Option(
        name="skip_validation",
        commands=_ALL_COMMANDS,
        parse=values.boolean("skip_validation"),
        default="off",
        help="Do not compare with the reference; the manifest says so.",
    ),
    Option(
        name="no_float32",
        commands=(Command.ALL,),
        parse=values.boolean("no_float32"),
        default="off",
        help="Publish the quantized files only, and write no float32 file on the way: "
        "for models whose float32 weights are too large for the disk.",
    ),
    Option(
        name="full_validation",
        commands=_ALL_COMMANDS,
        parse=values.boolean("full_validation"),
        default="off",
        help="Compare a large model on all built-in texts, too, not on a sample of them.",
    ),
    Option(
        name="max_graph_seconds",
        commands=_ALL_COMMANDS,
        metavar="N",
        parse=values.positive("max_graph_seconds"),
        default="600, 300 for each GB of the graph, 10 for each text",
        help="How long work on one graph may take; a graph that somebody made may run without an "
        "end.",
    ),
    Option(
        name="trust_remote_code",
        commands=_EXPORT,
        parse=values.boolean("trust_remote_code"),
        default="off",
        help="Run Python code that comes with the model.",
    ),
    Option(
        name="cache_dir",
        commands=_ALL_COMMANDS,
        metavar="DIR",
        parse=values.path("cache_dir"),
        default="$HF_HOME/hub",
        help="The hub cache.",
    ),
    Option(
        name="offline",
        commands=_ALL_COMMANDS,
        parse=values.boolean("offline"),
        default="off",
        help="Open no connection; use the cache.",
    ),
    Option(
        name="dry_run",
        commands=_ALL_COMMANDS,
        parse=values.boolean("dry_run"),
        default="off",
        help="Print what would be done, and do nothing.",
    ),
    Option(
        name="json",
        commands=_ALL_COMMANDS,
        parse=values.boolean("json"),
        default="off",
        help="Print the manifest (or, with --dry_run, the plan) as JSON.",
    ),
    Option(
        name="quiet",
        commands=_ALL_COMMANDS,
        parse=values.boolean("quiet"),
        default="off",
        help="Only warnings and errors on stderr.",
    ),
    Option(
        name="debug",
        commands=_ALL_COMMANDS,
        parse=values.boolean("debug"),
        default="off",
        help="Tracebacks, and the libraries' own warnings.",
    ),
)


def options_of(command: Command) -> dict[str, Option]:
    """Returns the options that a command takes, by name."""
    return {option.name: option for option in OPTIONS if command in option.commands}


def shared(*names: str) -> tuple[Option, ...]:
    """Returns options of the conversions that another command takes with the same meaning."""
    by_name = {option.name: option for option in OPTIONS}
    return tuple(by_name[name] for name in names)
