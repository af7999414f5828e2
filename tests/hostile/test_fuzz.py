"""Whatever a parser of ours is fed, it returns a value or raises an error with a next step.

A few hundred inputs each in CI; `make fuzz` feeds them for an hour.
"""

import json
import string
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from safetensors.numpy import save

from embconvert.cli.commands import COMMANDS
from embconvert.cli.main import parse
from embconvert.errors import EmbconvertError
from embconvert.fidelity.floors import Floor
from embconvert.fidelity.texts import calibration_texts
from embconvert.fleet.entries import read_entries
from embconvert.graph.onnx_file import read_artifact
from embconvert.json_files import read_any_json
from embconvert.manifest import Manifest
from embconvert.manifest.codec import BrokenManifest, as_text, parse_manifest
from embconvert.models.architectures import read_architecture
from embconvert.models.json_records import as_json
from embconvert.models.source_records import FileRecord
from embconvert.models.values import Fusion, KeptNode
from embconvert.plan.budget import Budget
from embconvert.plan.frontier import Candidate, search_record
from embconvert.reporting.card import model_card
from embconvert.reporting.compare import comparison_page
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.reporting.summary import ManifestSummary
from embconvert.request.records import BatchRequest
from embconvert.source.distrust import refuse_absurd_sizes
from embconvert.source.folder import resolve_folder
from embconvert.source.settings.module_list import parse_modules
from embconvert.speed.records import Speedup
from support.examples import graph, published
from support.fuzzing import damaged, fuzz, mutated


def is_refused(call: Callable[[], Any], *errors: type[Exception]) -> None:
    """Calls; an error must be one that says what to do next, or one of these."""
    try:
        call()
    except EmbconvertError as error:
        assert error.message
        assert error.hint
    except errors:
        pass


@pytest.fixture(scope="module")
def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="embconvert-fuzz-"))


WORDS = st.one_of(
    st.sampled_from(
        [*COMMANDS, "--model_id", "m", "--quantize", "QInt8", "--json", "--", "-h=", "="]
    ),
    st.builds(
        lambda name, value: f"--{name}={value}",
        st.sampled_from(sorted({name for spec in COMMANDS.values() for name in spec.options})),
        st.text(max_size=12),
    ),
    st.text(alphabet=string.printable, max_size=12),
    st.text(max_size=8),
)


@fuzz
@given(st.sampled_from([*COMMANDS, ""]), st.lists(WORDS, max_size=6))
def test_the_command_line(command: str, words: list[str]) -> None:
    is_refused(lambda: parse([command, *words]))


def whole_manifest() -> Manifest:
    """A manifest with something in every field."""
    folder = Path(tempfile.mkdtemp(prefix="embconvert-fuzz-"))
    data = FileRecord(path="onnx/model.onnx_data", sha256="1" * 64, size_bytes=9)
    made = graph(
        folder, "model", 1000, external_data=data,
        fusions=(Fusion(kind="attention", fused=1, left={"a reason": 2}),),
        kept=(KeptNode(node="a", operator="MatMul", reason="large"),),
        settings={"opset": 17, "recipes": ("gptq",), "normalize": False, "dimensions": None},
    )  # fmt: skip
    tried = Candidate(
        name="Q4", size_bytes=9, fidelity=made.fidelity, speedup=Speedup(times=2.0, spread=0.1)
    )
    return replace(
        published(folder, made),
        search=search_record(Budget(floor=Floor(mean_cosine=0.9)), [tried]),
        pages=(FileRecord(path="README.md", sha256="2" * 64, size_bytes=7),),
    )


MANIFEST = as_json(whole_manifest())
MANIFEST_TEXT = json.dumps(MANIFEST).encode()


@fuzz
@given(mutated(MANIFEST).map(lambda value: json.dumps(value).encode()) | damaged(MANIFEST_TEXT))
def test_the_manifest(content: bytes) -> None:
    """What is read can be shown, and is written as it was read."""
    try:
        manifest = parse_manifest(content)
    except BrokenManifest:
        return
    assert parse_manifest(as_text(manifest).encode()) == manifest
    report_page(manifest, Path("/nowhere"), home=Home(name="m"))
    model_card(manifest, Path("/nowhere"), home=Home(name="m"))
    comparison_page({"a": ManifestSummary(manifest), "b": ManifestSummary(manifest)})


def test_the_manifest_that_is_mutated_is_one() -> None:
    assert as_json(parse_manifest(MANIFEST_TEXT)) == MANIFEST


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


@fuzz
@given(mutated(MODULES))
def test_modules(value: Any) -> None:
    is_refused(lambda: parse_modules(value))


CONFIG = {
    "model_type": "bert", "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1,
    "vocab_size": 4, "max_position_embeddings": 8,
}  # fmt: skip


@fuzz
@given(mutated(CONFIG), mutated(MODULES), mutated({"model_max_length": 8, "max_seq_length": 8}))
def test_the_files_of_a_model(scratch: Path, config: Any, modules: Any, lengths: Any) -> None:
    for name, value in (("config", config), ("modules", modules), ("tokenizer_config", lengths),
                        ("sentence_bert_config", lengths), ("tokenizer", {})):  # fmt: skip
        (scratch / f"{name}.json").write_text(json.dumps(value))
    (scratch / "model.safetensors").write_bytes(save({"w": np.zeros((4, 4), np.float32)}))
    is_refused(lambda: resolve_folder(scratch, model_id="m"))


@fuzz
@given(mutated(CONFIG))
def test_the_configuration(value: Any) -> None:
    if isinstance(value, dict):
        is_refused(lambda: refuse_absurd_sizes(value, 16))
        is_refused(lambda: read_architecture(value), ValueError)


@fuzz
@given(st.binary(max_size=200) | damaged(json.dumps(CONFIG).encode()))
def test_json(scratch: Path, content: bytes) -> None:
    (scratch / "any.json").write_bytes(content)
    is_refused(lambda: read_any_json(scratch / "any.json"))


@fuzz
@given(st.binary(max_size=300) | st.text(max_size=99).map(str.encode))
def test_the_calibration_file(scratch: Path, content: bytes) -> None:
    (scratch / "texts.txt").write_bytes(content)
    is_refused(lambda: calibration_texts(scratch / "texts.txt"))


MODELS = {
    "defaults": {"quantize": ["QInt8", "auto"], "optimize": 2, "output_parent_dir": "out"},
    "models": ["org/one", {"model_id": "org/two", "revision": "main", "no_per_channel": True}],
}
YAML = b"defaults: {quantize: [QInt8], min_cosine: 0.9}\nmodels:\n- org/one\n- model_id: 'x'\n"


@fuzz
@given(mutated(MODELS).map(lambda value: json.dumps(value).encode()) | damaged(YAML))
def test_the_list_of_models(scratch: Path, content: bytes) -> None:
    (scratch / "models.yaml").write_bytes(content)
    is_refused(lambda: read_entries(BatchRequest(file=scratch / "models.yaml")))


WEIGHTS = save({"a": np.zeros((2, 3), np.float32), "b": np.ones(5, np.int64)}, {"format": "pt"})


@fuzz
@given(damaged(WEIGHTS) | st.binary(max_size=64))
def test_safetensors(scratch: Path, content: bytes) -> None:
    folder = scratch / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 1}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    is_refused(lambda: resolve_folder(folder, model_id="m"))


def small_graph() -> bytes:
    """A graph with a weight that is read lazily."""
    weight = onnx.numpy_helper.from_array(np.zeros((1100, 2), np.float32), "w")
    node = helper.make_node("Gather", ["w", "input_ids"], ["last_hidden_state"])
    ids = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["b", "s"])
    out = helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, ["b", "s", 2])
    graph = helper.make_graph([node], "g", [ids], [out], initializer=[weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


GRAPH = small_graph()
# Damage in the weights is no damage to the parser.
HEAD, TAIL = GRAPH[:120], GRAPH[-200:]


@fuzz
@given(
    st.binary(max_size=99)
    | damaged(HEAD).map(lambda head: head + GRAPH[120:])
    | damaged(TAIL).map(lambda tail: GRAPH[:-200] + tail)
)
def test_onnx(scratch: Path, content: bytes) -> None:
    (scratch / "graph.onnx").write_bytes(content)
    is_refused(lambda: read_artifact(scratch / "graph.onnx"), ValueError)
