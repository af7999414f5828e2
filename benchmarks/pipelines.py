"""The pipelines that the benchmark compares, as the commands that a user would type."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / ".venv/demo/all-MiniLM-L6-v2"
OUR_BIN = ROOT / ".venv/bin"
PEER_BIN = ROOT / ".venv-peers/bin"
#: The sides whose ratios are printed: ours over the peer's.
PEER = "C"


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
    """What turns the model into an ONNX file, an optimized one and an int8 one.

    Attributes:
        key: A letter.
        title: What the tables call it.
        steps: Gives the processes that write into a folder, in their order.
    """

    key: str
    title: str
    steps: Callable[[Path], tuple[Step, ...]]


def _ours(*more: str) -> Callable[[Path], tuple[Step, ...]]:
    def steps(folder: Path) -> tuple[Step, ...]:
        options = ("--output_parent_dir", str(folder), "--optimize", "1", "--quantize", "QInt8")
        command = (str(OUR_BIN / "embconvert"), "all", "--model_id", str(MODEL), *options, *more)
        return (Step("all", command),)

    return steps


def _peer(folder: Path) -> tuple[Step, ...]:
    python = str(PEER_BIN / "python")
    graph, fused, small = (
        str(folder / name) for name in ("model.onnx", "model_opt1.onnx", "model_opt1_QInt8.onnx")
    )
    # Both tasks that give sentence embeddings, this one and sentence-similarity, give one graph.
    export = ("export", "onnx", "--model", str(MODEL), "--task", "feature-extraction")
    optimize = ("-m", "onnxruntime.transformers.optimizer", "--input", graph, "--output", fused)
    shape = ("--model_type", "bert", "--opt_level", "1", "--num_heads", "12")
    quantize = str(Path(__file__).with_name("peer_quantize.py"))
    return (
        Step("export", (str(PEER_BIN / "optimum-cli"), *export, "--opset", "17", str(folder))),
        Step("optimize", (python, *optimize, *shape, "--hidden_size", "384")),
        Step("quantize", (python, quantize, fused, small)),
    )


PIPELINES = (
    Pipeline("A", "embconvert, --skip_validation", _ours("--skip_validation")),
    Pipeline("B", "embconvert, verified", _ours()),
    # optimum-cli always compares two batches of random ids with torch: it has no switch for that.
    Pipeline(PEER, "optimum-cli, optimizer, quantize_dynamic", _peer),
)
