"""The pipelines that `make bench` compares, as the commands that a user would type."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / ".venv/demo/all-MiniLM-L6-v2"
OUR_BIN = ROOT / ".venv/bin"
PEER_BIN = ROOT / ".venv-peers/bin"


@dataclass(frozen=True)
class Model:
    """A model that is converted.

    Attributes:
        title: What the tables call it; its width is 384, with 12 heads.
        shape: A key of shapes.SHAPES, for random weights; None for the demo's model.
        thresholds: Options of runs that verify.
    """

    title: str
    shape: str | None = None
    thresholds: tuple[str, ...] = ()


MODELS = {
    "minilm": Model("all-MiniLM-L6-v2 (23M parameters)"),
    # Random weights lose more by eight bits than trained ones.
    "e5-small": Model(
        "a model of multilingual-e5-small's shape (118M parameters, random weights)",
        "e5-small",
        ("--min_cosine", "0.9"),
    ),
}


@dataclass(frozen=True)
class Step:
    """One process of a pipeline.

    Attributes:
        name: What it does, in a word.
        command: Its arguments, the program first.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Pipeline:
    """What turns a model into ONNX files.

    Attributes:
        title: What the tables call it.
        steps: Gives the processes that convert the model of a folder into another folder, in their
            order.
        continues: The pipeline in whose folder it works, right after it; None for an empty one.
    """

    title: str
    steps: Callable[[Model, Path, Path], tuple[Step, ...]]
    continues: str | None = None


def ours(*more: str) -> Callable[[Model, Path, Path], tuple[Step, ...]]:
    """Returns the steps of `embconvert all` with options."""

    def steps(model: Model, source: Path, folder: Path) -> tuple[Step, ...]:
        thresholds = () if "--skip_validation" in more else model.thresholds
        options = ("--output_parent_dir", str(folder), "--optimize", "1", *thresholds, *more)
        command = (str(OUR_BIN / "embconvert"), "all", "--model_id", str(source), *options)
        return (Step("all", command),)

    return steps


def _peer(model: Model, source: Path, folder: Path) -> tuple[Step, ...]:
    del model  # all have one width
    python = str(PEER_BIN / "python")
    graph, fused, small = (
        str(folder / name) for name in ("model.onnx", "model_opt1.onnx", "model_opt1_QInt8.onnx")
    )
    # Both tasks that give sentence embeddings, this one and sentence-similarity, give one graph.
    export = ("export", "onnx", "--model", str(source), "--task", "feature-extraction")
    optimize = ("-m", "onnxruntime.transformers.optimizer", "--input", graph, "--output", fused)
    shape = ("--model_type", "bert", "--opt_level", "1", "--num_heads", "12")
    quantize = str(Path(__file__).with_name("peer_quantize.py"))
    return (
        # It always compares two batches of random ids with torch: it has no switch for that.
        Step("export", (str(PEER_BIN / "optimum-cli"), *export, "--opset", "17", str(folder))),
        Step("optimize", (python, *optimize, *shape, "--hidden_size", "384")),
        Step("quantize", (python, quantize, fused, small)),
    )


PEER, VERIFIED, RERUN, AUTO = "peer", "verified", "rerun", "auto"
PIPELINES = {
    "unverified": Pipeline(
        "`--quantize QInt8 --skip_validation`", ours("--quantize", "QInt8", "--skip_validation")
    ),
    VERIFIED: Pipeline("`--quantize QInt8`", ours("--quantize", "QInt8")),
    RERUN: Pipeline(
        "the same folder again, `--quantize Float16`", ours("--quantize", "Float16"), VERIFIED
    ),
    AUTO: Pipeline("`--quantize auto`", ours("--quantize", "auto")),
    PEER: Pipeline("optimum-cli, ONNX Runtime's optimizer, quantize_dynamic", _peer),
}


@dataclass(frozen=True)
class Goal:
    """What a pipeline may cost.

    Attributes:
        title: What the table calls it.
        pipeline: A key of PIPELINES, like `over`.
        over: What it is compared with.
        measure: A key of records.MEASURES.
        most: The ratio.
    """

    title: str
    pipeline: str
    over: str
    measure: str
    most: float


GOALS = (
    Goal("verified: wall time", VERIFIED, PEER, "wall_s", 0.5),
    Goal("verified: processor time", VERIFIED, PEER, "cpu_s", 0.8),
    Goal("verified: memory", VERIFIED, PEER, "tree_bytes", 0.5),
    Goal("one more precision, verified: wall time", RERUN, PEER, "wall_s", 0.25),
    Goal("`--quantize auto`, to one verified precision: wall time", AUTO, VERIFIED, "wall_s", 2.0),
)
