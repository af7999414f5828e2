"""Asymmetric models: each route's graphs give the vectors of the source's own call for it."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.json_files import write_json
from embconvert.pipeline.push_folder import push
from embconvert.request.records import PushRequest
from embconvert.source.settings.routes import read_modules, read_router
from support import zoo
from support.asymmetric import PROMPTS, build_shared, build_two_towers, make_old
from support.command_line import Outcome, convert, embconvert, files_in

pytestmark = pytest.mark.integration

TEXTS = [*zoo.SENTENCES, zoo.LONG_SENTENCE]


def theirs(model: Path, route: str) -> np.ndarray:
    """What sentence-transformers computes with the whole source."""
    from sentence_transformers import SentenceTransformer

    chain = SentenceTransformer(str(model), device="cpu")
    call = {"query": chain.encode_query, "document": chain.encode_document}[route]
    vectors: np.ndarray = call(TEXTS)
    prompt = chain.prompts.get(route) or ""
    np.testing.assert_array_equal(chain.encode(TEXTS, task=route, prompt=prompt), vectors)
    return vectors


def ours(folder: Path, file: str = "onnx/model.onnx", prompt: str = "") -> np.ndarray:
    """What a program with only `tokenizers` and ONNX Runtime computes with a published folder."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / file))
    read = tokenizer.encode_batch([prompt + text for text in TEXTS])
    values = {
        "input_ids": np.array([text.ids for text in read]),
        "attention_mask": np.array([text.attention_mask for text in read]),
        "token_type_ids": np.array([text.type_ids for text in read]),
    }
    feed = {i.name: values[i.name] for i in session.get_inputs()}
    vectors: np.ndarray = session.run(["sentence_embedding"], feed)[0]
    return vectors


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "embconvert.json").read_text())
    return manifest


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose routes have their own transformers; documents are the default."""
    scratch = tmp_path_factory.mktemp("towers")
    return build_two_towers(scratch / "towers", scratch / "parts", default_route="document")


@pytest.fixture(scope="module")
def converted(towers: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    parent = tmp_path_factory.mktemp("out")
    return convert(towers, parent), parent / "towers"


def test_each_route_gives_the_vectors_of_its_own_call(
    towers: Path, converted: tuple[Outcome, Path]
) -> None:
    outcome, folder = converted
    assert outcome.stdout.strip() == str(folder)
    for route in ("query", "document"):
        for file in ("onnx/model.onnx", "onnx/model_opt1.onnx"):
            found = ours(folder / route, file, PROMPTS[route])
            np.testing.assert_allclose(found, theirs(towers, route), atol=2e-5)
    assert np.abs(ours(folder / "query") - ours(folder / "document")).max() > 0.1


def test_a_route_is_a_complete_model_without_a_router(converted: tuple[Outcome, Path]) -> None:
    _, folder = converted
    for route, others in (("query", ["document"]), ("document", ["query"])):
        files = files_in(folder / route)
        assert {"tokenizer.json", "config.json", "modules.json", "README.md"} <= files.keys()
        assert not [file for file in files if "outer" in file or others[0] in file]
        modules = json.loads((folder / route / "modules.json").read_text())
        names = [module["type"].rpartition(".")[2] for module in modules]
        assert (names, modules[0]["path"]) == (["Transformer", "Pooling", "Normalize"], "")
        assert manifest_of(folder / route)["source"]["route"] == {
            "name": route,
            "tasks": [route],
            "is_default": route == "document",
            "others": others,
        }
        assert f"--route {route}" in manifest_of(folder / route)["tool"]["commands"][0]
        card = (folder / route / "README.md").read_text()
        assert f"encode_{route}()" in card
        code = "".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL))
        assert ("search for: " in code) == (route == "query")


def test_the_code_on_the_card_compares_queries_with_documents(
    towers: Path, converted: tuple[Outcome, Path]
) -> None:
    from sentence_transformers import SentenceTransformer

    _, folder = converted
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    query, *documents = re.findall(r'^    "(.*)",$', code, re.MULTILINE)
    query = query.removeprefix(PROMPTS["query"])
    chain = SentenceTransformer(str(towers), device="cpu")
    wanted = chain.encode_query([query]) @ chain.encode_document(documents).T
    found = [float(number) for number in re.findall(r"-?\d\.\d+", done.stdout)]
    np.testing.assert_allclose(found, wanted.ravel(), atol=1e-4)


def test_a_second_run_reuses_both_routes_and_batch_knows(
    towers: Path, converted: tuple[Outcome, Path], tmp_path: Path
) -> None:
    _, folder = converted
    before = files_in(folder)
    again = convert(towers, folder.parent)
    assert again.stderr.count("is up to date; nothing was changed") == 2
    assert "load the source" not in again.stderr
    write_json(tmp_path / "list.yaml", {"models": [str(towers)]})
    batch = embconvert("batch", tmp_path / "list.yaml", "--output_parent_dir", folder.parent)
    assert (batch.code, batch.stdout.strip()) == (0, str(folder))
    assert "1 up to date" in batch.stderr
    assert files_in(folder) == before


def test_verify_and_push_of_the_models_folder_are_about_both_routes(
    towers: Path, converted: tuple[Outcome, Path], tmp_path: Path
) -> None:
    _, folder = converted
    verified = embconvert("verify", folder, "--against", towers)
    assert verified.code == 0, verified.stderr
    lines = verified.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["query"] * 2 + ["document"] * 2

    pushed: list[str] = []

    def upload(files: Any, destination: Any, message: str, console: Any) -> str:
        del message, console
        assert "tokenizer.json" in files(destination.repo_id, "https://hub.test")
        pushed.append(destination.repo_id)
        return pushed[-1]

    push(PushRequest(folder=folder, repo_id="me/towers", quiet=True), upload)
    assert pushed == ["me/towers-query", "me/towers-document"]

    damaged = tmp_path / "towers"
    shutil.copytree(folder, damaged)
    (damaged / "document" / "tokenizer.json").write_text("{}")
    found = embconvert("verify", damaged)
    assert found.code == 3
    assert "document is damaged: tokenizer.json" in found.stderr
    (damaged / "document" / "embconvert.json").unlink()
    assert embconvert("verify", damaged).code == 2


def test_a_route_that_cannot_be_converted_leaves_the_other_as_it_was(
    towers: Path, converted: tuple[Outcome, Path], tmp_path: Path
) -> None:
    _, folder = converted
    model, out = tmp_path / "towers", tmp_path / "out"
    shutil.copytree(towers, model)
    shutil.copytree(folder, out / "towers")
    before = files_in(out)
    weights = model / "document_0_Transformer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    failed = embconvert("all", "--model_id", model, "--output_parent_dir", out)
    assert failed.code == 3
    assert "error: route document: model.safetensors is truncated" in failed.stderr
    assert "--route query" in failed.stderr
    assert files_in(out) == before
    # One route alone is possible, and it is said that they no longer fit together.
    one = embconvert("export", "--model_id", model, "--output_parent_dir", out, "--route", "query")
    assert one.code == 0, one.stderr
    assert "the route document is of another state of the source" in one.stderr


def test_routes_after_a_shared_transformer_in_the_old_format(tmp_path: Path) -> None:
    model = make_old(build_shared(tmp_path / "old", tmp_path / "parts"))
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    folder = tmp_path / "out" / "old"
    for route in ("query", "document"):
        np.testing.assert_allclose(ours(folder / route), theirs(model, route), atol=2e-5)
    assert np.abs(ours(folder / "query") - ours(folder / "document")).max() > 0.1
    assert manifest_of(folder / "query")["source"]["route"]["is_default"]


def test_a_route_that_does_not_exist_comes_with_near_names(towers: Path, tiny_bert: Path) -> None:
    wrong = embconvert("export", "--model_id", towers, "--route", "documents", "--dry_run")
    assert wrong.code == 2
    assert "did you mean document? --route can be query, document" in wrong.stderr
    none = embconvert("export", "--model_id", tiny_bert, "--route", "query", "--dry_run")
    assert none.code == 2
    assert "has no routes" in none.stderr


NAMES = ("query", "document", "text", "image")
KEYS = [
    {},
    {"('query', 'text')": "image"},
    {"('query', None)": "document", "(None, 'text')": "query"},
    {"(None, None)": "document"},
    {"('find', ('text', 'image'))": "image", "('find', 'text')": "query"},
    {"(None, ('text', 'image'))": "image"},
]


@pytest.mark.parametrize(
    ("names", "keys", "default"),
    itertools.product((NAMES[:2], NAMES[2:], NAMES), KEYS, (None, 1)),
)
def test_tasks_lead_to_the_routes_of_sentence_transformers(
    names: tuple[str, ...], keys: dict[str, str], default: int | None, tmp_path: Path
) -> None:
    import torch
    from sentence_transformers.base.modules import Router

    mappings = {key: route for key, route in keys.items() if route in names}
    route = None if default is None else names[default]
    parameters = {"default_route": route, "allow_empty_key": False, "route_mappings": mappings}
    types = {f"{name}_0": "sentence_transformers.models.Normalize" for name in names}
    settings = {"types": types, "structure": {n: [f"{n}_0"] for n in names}}
    (tmp_path / "1_Router").mkdir()
    write_json(tmp_path / "1_Router/router_config.json", settings | {"parameters": parameters})
    entries = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Router", "type": "sentence_transformers.models.Router"},
    ]
    write_json(tmp_path / "modules.json", entries)
    router = read_router(tmp_path, read_modules(tmp_path))
    assert router is not None
    library = Router(
        {name: [torch.nn.Identity()] for name in names},
        default_route=route,
        allow_empty_key=False,
        route_mappings={eval(key): target for key, target in mappings.items()},
    )
    for task in (None, "query", "document", "find", "nonsense"):
        try:
            wanted = library._resolve_route(task=task, modality="text")
        except ValueError:
            wanted = None
        assert router.route_for(task) == wanted, task
