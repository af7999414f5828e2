"""A graph of somebody's is converted right, or refused with what is wrong, in time."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from support import graph_corpus as corpus
from support.faulty_runs import Run, Runner
from support.graph_corpus import CONTRADICTIONS, LARGEST, PLACES, Given, bad_tensor, good_graph

pytestmark = pytest.mark.integration

#: What every command takes, with a graph that runs once.
RIGHT: dict[str, Any] = {
    "good": lambda _: None,
    "a Loop of ten trips": corpus.looping(trips=10),
    "a Loop that ends itself": corpus.looping(trips=None, ends=True),
    "a Loop that ends itself, as torch writes it": corpus.looping(trips=LARGEST, ends=True),
    "a Scan": corpus.scanning(10),
    "functions": corpus.good_function,
    "symbols of odd letters": corpus.odd_symbols,
    "names of odd letters": corpus.odd_names,
    "weights as inputs": corpus.weights_as_inputs,
    "megabytes of metadata": corpus.metadata(5_000_000),
    "a domain that nothing uses": corpus.opsets(("", 17), ("evil", 3)),
}
SIZES = ((1 << 62,), (1 << 40,))
REFUSED: dict[str, Given] = {
    "a Loop without an end": Given(corpus.looping(trips=None), 3, "a Loop that never ends"),
    "a Loop without anything": Given(
        corpus.looping(trips=None, condition=None), 3, "a Loop that never ends"
    ),
    "a Loop of 2^40 trips": Given(corpus.looping(trips=1 << 40), 3, "more than 100,000,000 nodes"),
    "loops in loops": Given(corpus.nested_loops(3, 1000), 3, "more than 100,000,000 nodes"),
    "2^30 nodes": Given(corpus.functions_of_functions(30), 3, "more than 250,000 nodes"),
    "2^3000 nodes": Given(corpus.functions_of_functions(90, 60), 3, "more than 250,000 nodes"),
    "a deep chain": Given(corpus.functions_of_functions(3000, 1), 3, "100 levels deep"),
    "recursion": Given(corpus.recursive_function, 3, "calls itself"),
    "recursion of two": Given(corpus.mutual_recursion, 3, "calls itself"),
    "recursion in a subgraph": Given(corpus.recursion_in_a_subgraph, 3, "calls itself"),
    "a function like an operator": Given(corpus.shadowing, 4, "the name of an operator"),
    "a function like one of com.microsoft": Given(
        corpus.shadowing_contrib, 4, "the name of an operator"
    ),
    "two functions of a name": Given(corpus.twice_the_same_function, 3, "two functions"),
    "10,000 subgraphs": Given(corpus.nested_ifs(10_000), 3, "is not an ONNX file"),
    "30 subgraphs, fields missing": Given(corpus.nested_ifs(30), 3, "cannot be converted"),
    "a cycle": Given(corpus.cycle, 3, "'b', which no node before it computes"),
    "another order": Given(corpus.unsorted, 3, "'found', which no node before it computes"),
    "an unknown value": Given(
        corpus.undefined_input, 3, "'nobody', which no node before it computes"
    ),
    "no output": Given(corpus.undefined_output, 3, "no node computes its output"),
    "a value made twice": Given(corpus.made_twice, 3, "is computed twice"),
    "two weights of a name": Given(corpus.two_initializers, 3, "two of its weights"),
    "two inputs of a name": Given(corpus.two_inputs_of_a_name, 3, "two of its inputs"),
    "a weight that is made": Given(corpus.made_and_initializer, 3, "is computed twice"),
    "an input that is made": Given(corpus.input_made_by_a_node, 3, "is computed twice"),
    "two outputs of a name": Given(corpus.two_outputs_of_a_name, 3, "two of its outputs"),
    "a reference outside of functions": Given(
        corpus.referring("sign"), 3, "'sign', which is not a parameter"
    ),
    "a reference to a graph outside of functions": Given(
        corpus.referring("sign", AttributeProto.GRAPH), 3, "'sign', which is not a parameter"
    ),
    "a reference to nothing": Given(
        corpus.referring("other", inside=True), 3, "'other', which is not a parameter"
    ),
    "a reference to a graph": Given(
        corpus.referring("sign", AttributeProto.GRAPH, inside=True), 4, "take a graph as 'sign'"
    ),
    "two nodes of a name": Given(corpus.nodes_of_a_name, 3, "ONNX Runtime cannot load"),
    "a sparse weight": Given(corpus.sparse_initializer, 4, "'bias' is a sparse tensor"),
    "a sparse attribute": Given(corpus.sparse_attribute, 4, "is a sparse tensor"),
    "strings": Given(corpus.strings, 4, "'words' has strings"),
    "bfloat16": Given(corpus.bfloat16, 4, "no CPU operator for model.onnx"),
    "no operator set": Given(corpus.opsets(), 3, "no operator set of ONNX"),
    "no operator set of ONNX": Given(
        corpus.opsets(("com.microsoft", 1)), 3, "no operator set of ONNX"
    ),
    "operator set 0": Given(corpus.opsets(("", 0)), 3, "operator set 0"),
    "operator set -1": Given(corpus.opsets(("", -1)), 3, "operator set -1"),
    "operator set 10^9": Given(corpus.opsets(("", 10**9)), 3, "version 1000000000"),
    "two operator sets": Given(corpus.opsets(("", 17), ("ai.onnx", 18)), 3, "two operator sets"),
    "com.microsoft 10^9": Given(
        corpus.opsets(("", 17), ("com.microsoft", 10**9)), 3, "ONNX Runtime cannot load"
    ),
    "IR version 10^9": Given(corpus.ir_version(10**9), 3, "version 1000000000"),
    "no IR version": Given(corpus.ir_version(None), 3, "ONNX Runtime cannot load"),
    "an unknown operator": Given(corpus.operator("Nothing"), 3, "ONNX Runtime cannot load"),
    "an unknown domain": Given(corpus.operator("Thing", "evil"), 3, "ONNX Runtime cannot load"),
    "Python as an operator": Given(corpus.operator("PyOp", "pyopmulti"), 3, "cannot load"),
    **{
        f"a tensor, {name}": Given(bad_tensor(**fields), 3, "the tensor 'bad' ")
        for name, fields in CONTRADICTIONS.items()
        if not name.startswith("strings")
    },
    **{
        f"a tensor in a {place}": Given(
            bad_tensor(place, **CONTRADICTIONS["raw, short"]), 3, "has 15 bytes of data"
        )
        for place in PLACES
    },
}
QUANTIZED: dict[str, Given] = {
    "QDQ": Given(corpus.quantized_weights, 4, "is already quantized: it has DequantizeLinear"),
    "Cast and Mul": Given(corpus.quantized_by_hand, 4, "is already quantized: it has int8 weights"),
    "MatMulNBits": Given(corpus.fused_quantization, 4, "it has com.microsoft.MatMulNBits"),
    "float16": Given(corpus.float16, 4, "it has float16 weights"),
    "float16 inside": Given(corpus.float16_in_float32_out, 4, "it has float16 weights"),
    "float8": Given(corpus.cast_of(TensorProto.FLOAT8E4M3FN), 4, "it has float8e4m3fn weights"),
    "bfloat16": Given(corpus.cast_of(TensorProto.BFLOAT16), 4, "it has bfloat16 weights"),
}
#: What is found only when the graph runs.
ENDLESS: dict[str, Any] = {
    "a hidden Loop": corpus.looping(trips=1 << 40, hidden=True),
    "a Scan of many rows": corpus.scanning(1 << 28),
}


@pytest.fixture(scope="module")
def hostile_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("runner"))
    yield runner
    runner.close()


def write(path: Path, spoil: Any) -> Path:
    """Writes a good graph, spoiled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = good_graph()
    made = spoil(model)
    model = model if made is None else made
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def convert(runner: Runner, model: Path, out: Path, graph: Path, *words: object) -> Run:
    """Optimizes or quantizes a graph."""
    return runner.run(
        out, *words, "--model_id", model, "--model_path", graph, "--output_parent_dir", out
    )


def assert_refused(run: Run, out: Path, code: int, message: str) -> None:
    assert run.code == code, run.stderr[-3000:]
    assert len(run.errors) == 1
    assert message in run.errors[0]
    assert run.stderr.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in run.stderr
    assert len(run.errors[0]) < 600
    assert not out.exists()


def outputs(path: Path) -> Any:
    """What a graph makes of two texts."""
    import onnxruntime

    ids = np.arange(8, dtype=np.int64).reshape(2, 4)
    return onnxruntime.InferenceSession(str(path)).run(["last_hidden_state"], {"input_ids": ids})[0]


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_odd_and_right_is_converted(
    name: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    graph, out = write(tmp_path / "given" / "model.onnx", RIGHT[name]), tmp_path / "out"
    before = graph.read_bytes()
    wanted = outputs(graph)
    for words in (("optimize",), ("quantize", "--quantize", "QInt8")):
        run = convert(hostile_runner, tiny_bert, out, graph, *words, "--skip_validation")
        assert run.code == 0, run.stderr[-3000:]
        assert "\x1b" not in run.stderr
    made = {path.name: path for path in (out / "tiny-bert" / "onnx").iterdir()}
    np.testing.assert_allclose(outputs(made.pop("model_opt1.onnx")), wanted, rtol=1e-4, atol=1e-5)
    (quantized,) = made.values()
    found = outputs(quantized)
    cosine = (found * wanted).sum() / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine > 0.99
    assert graph.read_bytes() == before
    assert [path.name for path in graph.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_before_anything_runs(
    name: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    case, out = REFUSED[name], tmp_path / "out"
    graph = write(tmp_path / "given" / "model.onnx", case.spoil)
    start = time.monotonic()
    run = convert(hostile_runner, tiny_bert, out, graph, "optimize", "--skip_validation")
    assert time.monotonic() - start < 30
    assert_refused(run, out, case.code, case.message)


@pytest.mark.parametrize("name", QUANTIZED)
def test_what_is_quantized_is_not_quantized_again(
    name: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    case, out = QUANTIZED[name], tmp_path / "out"
    graph = write(tmp_path / "given" / "model.onnx", case.spoil)
    words = ("quantize", "--quantize", "QInt8", "--skip_validation")
    assert_refused(
        convert(hostile_runner, tiny_bert, out, graph, *words), out, case.code, case.message
    )
    # It may be optimized, and still gives the same.
    run = convert(hostile_runner, tiny_bert, out, graph, "optimize", "--skip_validation")
    assert run.code == 0, run.stderr[-3000:]
    found = outputs(out / "tiny-bert" / "onnx" / "model_opt1.onnx")
    np.testing.assert_allclose(found, outputs(graph), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", ["ConstantOfShape", "Range", "Expand", "Tile", "Pad"])
def test_a_graph_that_asks_for_all_memory_does_not_run(
    op: str, size: tuple[int], hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    graph = write(tmp_path / "given" / "model.onnx", corpus.huge(op, *size))
    out = tmp_path / "out"
    words = ("quantize", "--quantize", "QInt8Static", "--skip_validation")
    run = convert(hostile_runner, tiny_bert, out, graph, *words)
    assert_refused(run, out, 3, "model.onnx does not run: ")


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("words", ["optimize", "quantize --quantize QInt8Static --skip_validation"])
def test_a_graph_that_runs_too_long_is_ended(
    name: str, words: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    graph, out = write(tmp_path / "given" / "model.onnx", ENDLESS[name]), tmp_path / "out"
    start = time.monotonic()
    run = convert(
        hostile_runner, tiny_bert, out, graph, *words.split(), "--max_graph_seconds", 3
    )  # fmt: skip
    assert time.monotonic() - start < 40
    assert_refused(run, out, 3, "did not end within 3 seconds")
    assert "--max_graph_seconds 30" in run.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (corpus.many_inputs(5000), "inputs that a tokenizer does not provide: 'i0' and 4999 more"),
        (corpus.string_input, "inputs that a tokenizer does not provide: 'text'"),
        (corpus.optional_input, "inputs that a tokenizer does not provide: 'maybe'"),
        (corpus.huge("Expand", 1 << 40), "does not run"),
    ],
)
def test_a_graph_that_cannot_be_compared_is_the_source_s_fault(
    spoil: Any, message: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    graph, out = write(tmp_path / "given" / "model.onnx", spoil), tmp_path / "out"
    run = convert(hostile_runner, tiny_bert, out, graph, "optimize")
    assert_refused(run, out, 3, message)


def test_weights_may_overlap_in_their_file(
    hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """Tied weights do; both are right in what is made."""
    graph, out = tmp_path / "given" / "model.onnx", tmp_path / "out"
    graph.parent.mkdir()
    model = good_graph()
    table, matrix = model.graph.initializer
    (graph.parent / "data").write_bytes(table.raw_data)
    for tensor in (table, matrix):
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": "data", "offset": 0, "length": size}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    graph.write_bytes(model.SerializeToString())
    run = convert(hostile_runner, tiny_bert, out, graph, "optimize", "--skip_validation")
    assert run.code == 0, run.stderr[-3000:]
    found = outputs(out / "tiny-bert" / "onnx" / "model_opt1.onnx")
    np.testing.assert_allclose(found, outputs(graph), rtol=1e-5)


@pytest.mark.parametrize("size", [200, 20_000_000])
def test_what_onnx_runtime_does_not_load_is_not_published(
    size: int, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """A graph of many megabytes, too, which is loaded without its weights in memory."""
    model = good_graph()
    rows = max(corpus.VOCABULARY, size // corpus.WIDTH)
    table = np.zeros((rows, corpus.WIDTH), np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(table, "table"))
    corpus.operator("Nothing")(model)
    graph, out = tmp_path / "given" / "model.onnx", tmp_path / "out"
    graph.parent.mkdir()
    graph.write_bytes(model.SerializeToString())
    run = convert(hostile_runner, tiny_bert, out, graph, "optimize", "--skip_validation")
    assert_refused(run, out, 3, "ONNX Runtime cannot load model.onnx")
    assert len(list(graph.parent.iterdir())) == 1


def test_a_published_graph_that_never_ends_is_not_run(
    hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """`verify` gets folders of somebody's, whose manifest fits the graph."""
    import hashlib
    import json

    out = tmp_path / "out"
    words = ("--model_id", tiny_bert, "--output_parent_dir", out, "--skip_validation")
    assert hostile_runner.run(out, "export", *words).code == 0
    folder = out / "tiny-bert"
    for spoil, message in (
        (corpus.looping(trips=None), "never ends"),
        (ENDLESS["a hidden Loop"], "did not end within 3 seconds"),
    ):
        graph = write(folder / "onnx" / "model.onnx", spoil)
        manifest = json.loads((folder / "embconvert.json").read_text())
        for record in manifest["artifacts"]:
            if record["path"] == "onnx/model.onnx":
                record["sha256"] = hashlib.sha256(graph.read_bytes()).hexdigest()
                record["size_bytes"] = graph.stat().st_size
        (folder / "embconvert.json").write_text(json.dumps(manifest))
        run = hostile_runner.run(out, "verify", folder, "--max_graph_seconds", 3)
        assert run.code == 3, run.stderr[-3000:]
        assert message in run.errors[0]
    shutil.rmtree(folder)


def test_digits_and_symbols_do_not_grow_without_end(
    hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """Sizes are followed through a graph; x * x a hundred times has 2^100 digits."""
    nodes = [helper.make_node("Size", ["input_ids"], ["s0"]), corpus.constant("c0", 10)]
    for n in range(100):
        nodes.append(helper.make_node("Mul", [f"s{n}", f"s{n}"], [f"s{n + 1}"]))
        nodes.append(helper.make_node("Mul", [f"c{n}", f"c{n}"], [f"c{n + 1}"]))
        nodes.append(helper.make_node("Div", [f"s{n + 1}", "s0"], [f"d{n}"]))
    nodes.append(helper.make_node("Mul", ["s100", "c100"], ["whole"]))
    nodes.append(helper.make_node("Cast", ["whole"], ["number"], to=TensorProto.FLOAT))
    graph = write(tmp_path / "given" / "model.onnx", corpus.adding(*nodes, last="number"))
    start = time.monotonic()
    words = ("optimize", "--skip_validation", "--max_graph_seconds", 20)
    run = convert(hostile_runner, tiny_bert, tmp_path / "out", graph, *words)
    assert run.code == 0, run.stderr[-3000:]
    assert time.monotonic() - start < 15
