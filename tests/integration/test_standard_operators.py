"""--operators standard: graphs that programs without ONNX Runtime's own operators run."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from embconvert.fidelity.tokenization import TextTokenizer
from embconvert.models.kinds import Kind
from support import zoo
from support.asymmetric import build_inference_free, only_query_route
from support.command_line import Outcome, convert
from support.exports import load, random_feed

pytestmark = pytest.mark.integration

# onnx's reference evaluator has DequantizeLinear of single axes from opset 19 on.
OPTIONS = ("--quantize", "QInt8,Q4", "--opset", 19, "--min_cosine", 0.9)
FILES = ("model_opt1.onnx", "model_opt1_QInt8.onnx", "model_opt1_Q4.onnx")
Feed = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    parent = tmp_path_factory.mktemp("standard")
    return convert(tiny_bert, parent, *OPTIONS, "--operators", "standard")


@pytest.fixture(scope="module")
def reference(tiny_bert: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    vectors: np.ndarray = SentenceTransformer(str(tiny_bert), device="cpu").encode(zoo.SENTENCES)
    return vectors


def by_the_reference_evaluator(path: Path, feed: Feed) -> dict[str, np.ndarray]:
    evaluator = ReferenceEvaluator(str(path))
    return dict(zip(evaluator.output_names, evaluator.run(None, dict(feed)), strict=True))


def by_openvinos_frontend(path: Path, feed: Feed) -> dict[str, np.ndarray]:
    import openvino

    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", precision)
    found = model(dict(feed))
    return {output.any_name: found[output] for output in model.outputs}


def by_onnxruntime_as_it_is(path: Path, feed: Feed) -> dict[str, np.ndarray]:
    """As a build without ONNX Runtime's own operators: nothing is fused at load."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


HAS_OPENVINO = find_spec("openvino") is not None
Program = Callable[[Path, Feed], dict[str, np.ndarray]]
PROGRAMS = pytest.mark.parametrize(
    "program",
    [
        by_the_reference_evaluator,
        by_onnxruntime_as_it_is,
        pytest.param(
            by_openvinos_frontend,
            marks=pytest.mark.skipif(not HAS_OPENVINO, reason="openvino is an extra"),
        ),
    ],
)


@pytest.mark.parametrize("file", FILES)
@PROGRAMS
def test_other_programs_give_the_embeddings_of_the_source(
    program: Program, file: str, run: Outcome, reference: np.ndarray
) -> None:
    path = run.folder / "onnx" / file
    inputs = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
    texts = TextTokenizer(run.folder).tokenize(zoo.SENTENCES)
    feed = texts.batch(range(len(zoo.SENTENCES)), inputs)
    found = program(path, feed)["sentence_embedding"]
    cosines = (found * reference).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > (0.99999 if file == FILES[0] else 0.95)


def test_no_file_has_other_operators_and_each_says_its_opset(run: Outcome) -> None:
    for file in FILES:
        record = run.graph(file)
        assert not [name for name in record["operators"] if "." in name], file
        assert record["opset"] == (21 if "Q4" in file else 19)


def test_without_the_option_files_are_made_again(
    run: Outcome, tiny_bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / run.folder.name)
    again = convert(tiny_bert, tmp_path, *OPTIONS, "--operators", "standard")
    assert "nothing was changed" in again.stderr
    other = convert(tiny_bert, tmp_path, *OPTIONS)
    assert "com.microsoft.MatMulNBits" in other.graph(FILES[2])["operators"]


@dataclass(frozen=True)
class Case:
    """A model, and the precisions of its files.

    Attributes:
        build: Makes the model in a folder.
        programs: Those that run it.
    """

    build: Callable[[Path], Path]
    quantize: tuple[str, ...]
    kind: Kind = Kind.EMBEDDING
    programs: tuple[Program, ...] = (by_the_reference_evaluator,)


def inference_free(folder: Path) -> Path:
    built = build_inference_free(folder.with_name("both"), folder.with_name("parts"))
    return only_query_route(built, folder)


def hybrid(folder: Path) -> Path:
    return zoo.add_heads(zoo.build_model("xlm-roberta", folder, pooling="cls"))


BOTH: tuple[Program, ...] = (by_the_reference_evaluator, by_openvinos_frontend)
#: All kinds of models and all precisions, and architectures whose attention differs.
CASES: dict[str, Case] = {
    "grouped heads, caps and windows": Case(
        partial(zoo.build_model, "gemma2"), ("Q4", "Q8"), programs=BOTH
    ),
    "a bias of positions": Case(partial(zoo.build_model, "t5"), ("Float16",)),
    "convolutions": Case(partial(zoo.build_model, "lfm2"), ("Q4F16",)),
    "static": Case(partial(zoo.build_static, size=64), ("Q8",)),
    "sparse": Case(partial(zoo.build_sparse, "bert"), ("QFLOAT8E4M3FN",), Kind.SPARSE),
    # A table of one weight per token stays in float32.
    "inference-free": Case(inference_free, (), Kind.SPARSE),
    "late interaction, windows of both sides": Case(
        partial(zoo.build_late_interaction, "modernbert"), ("QInt8Static",), Kind.LATE_INTERACTION
    ),
    # onnx's evaluator only has GatherElements of indices that are as many as the values.
    "reranker, positions apart": Case(
        partial(zoo.build_reranker, "deberta-v2"),
        ("QUInt8",),
        Kind.RERANKER,
        (by_openvinos_frontend,),
    ),
    "generative reranker": Case(
        partial(zoo.build_generative_reranker, "qwen3"), ("Q4",), Kind.RERANKER
    ),
    "hybrid": Case(hybrid, ("QInt8",), Kind.HYBRID, BOTH),
}
#: The largest distance from the source's values, relative to them; weights are random.
MOST = {
    "Float32": 1e-5, "Float16": 0.01, "Q8": 0.05, "QInt8": 0.2, "QUInt8": 0.2, "QInt8Static": 0.3,
    "QFLOAT8E4M3FN": 0.3, "Q4": 0.5, "Q4F16": 0.5,
}  # fmt: skip


def values_of(model: Path, kind: Kind, feed: Feed) -> dict[str, tuple[bool, np.ndarray]]:
    """What the source computes of tokens: whether it is for each token, and the array, by name."""
    import torch

    source = load(model, kind)
    with torch.no_grad():
        inputs = [torch.tensor(feed[name]) for name in source.sample_features()]
        arrays = source.traced_module()(*inputs)
    named = zip(source.values, arrays, strict=True)
    return {value.name: (value.per_token, array.numpy()) for value, array in named}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_model_gives_the_values_of_the_source(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if not HAS_OPENVINO and case.programs == (by_openvinos_frontend,):
        pytest.skip("openvino is an extra")
    model = case.build(tmp_path / "source" / "m")
    quantized = ("--quantize", ",".join(case.quantize)) if case.quantize else ()
    outcome = convert(
        model, tmp_path, *quantized, "--operators", "standard", "--opset", 19, "--skip_validation"
    )
    feed = random_feed(np.random.default_rng(0), 6, 23, 12, left=False)
    theirs = values_of(model, case.kind, feed)
    real = feed["attention_mask"].astype(bool)
    for file in (
        "model_opt1.onnx",
        *(f"model_opt1_{precision}.onnx" for precision in case.quantize),
    ):
        record = outcome.graph(file)
        assert not [operator for operator in record["operators"] if "." in operator], file
        given = {value["name"]: feed[value["name"]] for value in record["inputs"]}
        for program in case.programs:
            if program is by_openvinos_frontend and not HAS_OPENVINO:
                continue
            found = program(outcome.folder / "onnx" / file, given)
            assert found.keys() <= theirs.keys()
            for output, ours in found.items():
                per_token, wanted = theirs[output]
                where = real if per_token else ...
                distance = np.linalg.norm(ours[where] - wanted[where])
                relative = distance / np.linalg.norm(wanted[where])
                assert relative < MOST[record["precision"]], f"{file}: {output}"
