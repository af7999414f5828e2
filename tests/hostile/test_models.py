"""A malicious model gets a clear error in time, runs no code, and changes nothing on disk."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from support.command_line import files_in
from support.corpus import CORPUS, MARKER
from support.faulty_runs import Run, Runner
from support.pickle_corpus import PICKLES, RUN
from support.pickling import pickle_of, save_pickle

pytestmark = pytest.mark.integration

CASES = CORPUS | PICKLES


@pytest.fixture(scope="module")
def hostile_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("marker")
    os.environ[MARKER] = str(folder)
    runner = Runner(tmp_path_factory.mktemp("runner"))
    yield runner
    runner.close()


def assert_refused(run: Run, code: int, message: str) -> None:
    assert run.code == code, run.stderr[-3000:]
    assert len(run.errors) == 1
    assert message in run.errors[0]
    assert run.stderr.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", CASES)
def test_a_malicious_model(
    name: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    case = CASES[name]
    model = tmp_path / "models" / "model"
    shutil.copytree(tiny_bert, model)
    case.spoil(model)
    before = files_in(tmp_path)
    start = time.monotonic()
    run = hostile_runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--skip_validation",
    )  # fmt: skip
    assert time.monotonic() - start < 60
    assert list(Path(os.environ[MARKER]).iterdir()) == []
    if case.code == 0:
        assert run.code == 0, run.stderr
        published = {p.name for p in (tmp_path / "out" / "model").rglob("*")}
        assert published.isdisjoint({"evil.py", "pytorch_model.bin"})
    else:
        assert_refused(run, case.code, case.message)
        assert files_in(tmp_path) == before


UNPICKLE = """
import contextlib, os, pathlib, sys, torch
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.bin")):
    os.environ["CODE_RAN"] = str(path.with_suffix(""))
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
"""


def test_the_pickles_of_the_corpus_run_code_when_they_are_unpickled(tmp_path: Path) -> None:
    """Else the test above could not tell."""
    for name, value in RUN.items():
        (tmp_path / name).mkdir()
        save_pickle(tmp_path / f"{name}.bin", pickle_of(value), {"0": bytes(24)})
    subprocess.run([sys.executable, "-c", UNPICKLE, tmp_path], check=True)
    assert {name for name in RUN if (tmp_path / name / "ran").exists()} == set(RUN)


def test_remote_code_runs_when_it_is_trusted(
    hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """Else the tests above could not tell."""
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    CORPUS["remote model"].spoil(model)
    hostile_runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--skip_validation", "--trust_remote_code",
    )  # fmt: skip
    marker = Path(os.environ[MARKER]) / "ran"
    assert marker.exists()
    marker.unlink()


def graph_with_external(location: str, **place: int) -> onnx.ModelProto:
    """A graph whose weight is said to be in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1024, 4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": 0, "length": 16384, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    gather = helper.make_node("Gather", ["w", "input_ids"], ["last_hidden_state"])
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None)
    graph = helper.make_graph([gather], "g", [ids], [out], initializer=[tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def inside_a_node(location: str) -> onnx.ModelProto:
    """The same, hidden in an attribute."""
    model = graph_with_external(location)
    (tensor,) = model.graph.initializer
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    del model.graph.initializer[:]
    return model


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("climbs", "not a file in the same folder"),
        ("absolute", "not a file in the same folder"),
        ("symlink", "data is a link"),
        ("hard link", "is a hard link"),
        ("missing", "not a file in the same folder"),
        ("short", "does not have the whole tensor"),
        ("far", "does not have the whole tensor"),
        ("node", "refers to another file"),
    ],
)
def test_external_data_that_points_out_of_its_folder_is_refused(
    kind: str, message: str, hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    secret, beside = tmp_path / "secret", tmp_path / "given" / "data"
    secret.write_bytes(np.zeros(4096, np.float32).tobytes())
    model = graph_with_external("data")
    if kind in ("climbs", "node"):
        model = (inside_a_node if kind == "node" else graph_with_external)("../secret")
    elif kind == "absolute":
        model = graph_with_external(str(secret))
    elif kind == "symlink":
        beside.symlink_to(secret)
    elif kind == "hard link":
        beside.hardlink_to(secret)
    elif kind == "short":
        beside.write_bytes(b"short")
    elif kind == "far":
        shutil.copy(secret, beside)
        model = graph_with_external("data", offset=1 << 60)
    path = tmp_path / "given" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    run = hostile_runner.run(
        tmp_path / "out", "optimize", "--model_id", tiny_bert, "--model_path", path,
        "--output_parent_dir", tmp_path / "out", "--skip_validation",
    )  # fmt: skip
    assert_refused(run, 3, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "model_id",
    ["../../etc", "a/../../b", "..", "/", "~nobody-at-all/x", "a//b", "a\x1b[31m", "a\nb"],
)
def test_a_model_id_never_leads_out_of_the_output_folder(
    model_id: str, hostile_runner: Runner, tmp_path: Path
) -> None:
    run = hostile_runner.run(
        tmp_path, "export", "--model_id", model_id, "--output_parent_dir", tmp_path / "out",
        "--offline", "--cache_dir", tmp_path / "cache",
    )  # fmt: skip
    assert run.code in (2, 3), run.stderr
    assert len(run.errors) == 1
    assert "\x1b" not in run.stderr
    assert files_in(tmp_path) == {}


def test_a_manifest_that_names_files_outside_is_no_manifest(
    hostile_runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    words = (
        "export",
        "--model_id",
        tiny_bert,
        "--output_parent_dir",
        tmp_path,
        "--skip_validation",
    )
    first = hostile_runner.run(tmp_path, *words)
    assert first.code == 0, first.stderr
    (tmp_path / "mine").write_text("the user's own")
    path = tmp_path / "tiny-bert" / "embconvert.json"
    manifest = json.loads(path.read_text())
    manifest["files"][0]["path"] = "../mine"
    path.write_text(json.dumps(manifest))
    again = hostile_runner.run(tmp_path, *words)
    assert again.code == 0
    assert "is treated as empty" in again.stderr
    assert (tmp_path / "mine").read_text() == "the user's own"
