"""Repositories with code of their own that is not run: jina-embeddings v3 and v5.

tests/twins converts them; these are their adapters, and what is refused.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError, UsageError
from embconvert.graph.source_tensors import places_file
from embconvert.manifest.sources import SourceRecord
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.torch_model import SourceModel
from support import zoo
from support.command_line import embconvert
from support.exports import export, load_adapted
from support.hub_server import HubServer
from support.twins.build import build
from support.twins.records import Twin, twins

pytestmark = pytest.mark.integration

FIRST = "retrieval.query"
WQKV = "roberta.encoder.layers.0.mixer.Wqkv.parametrizations.weight.0.lora_B"


def twin(name: str) -> Twin:
    return next(twin for twin in twins() if twin.name == name)


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(twin("jina-embeddings-v3"), tmp_path_factory.mktemp("v3") / "model")


@pytest.fixture(scope="module")
def v5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(twin("jina-embeddings-v5-text-small"), tmp_path_factory.mktemp("v5") / "model")


def resolve(model: Path, *names: str, **options: Any) -> ResolvedModel:
    adapters = tuple(AdapterChoice(name=name) for name in names)
    request = Request(command=Command.EXPORT, model_id=str(model), adapter=adapters, **options)
    return hub.resolve(request, Console(quiet=True, debug=False))


def load(model: Path, copy: Path, *names: str) -> SourceModel:
    return load_adapted(model, copy, *(AdapterChoice(name=name) for name in names))


def vectors(source: SourceModel) -> np.ndarray:
    sentence = source.encode([zoo.SENTENCES])[0].sentence
    assert sentence is not None
    return sentence


@pytest.mark.parametrize("task", [None, FIRST, "text-matching"])
def test_each_task_has_its_adapter(task: str | None, v3: Path, tmp_path: Path) -> None:
    """W + B A lora_alpha / lora_rank, for tables of embeddings W + A B, by the formula."""
    record = twin("jina-embeddings-v3")
    plain = record.for_library
    if task is None:
        weights = plain.weights.model_copy(update={"tasks": ()})
        plain = plain.model_copy(update={"weights": weights})
    reference = build(plain, tmp_path / "reference", merged=task)
    wanted = SentenceTransformer(
        str(reference), device="cpu", model_kwargs={"dtype": "float32"}
    ).encode(zoo.SENTENCES)
    found = vectors(load(v3, tmp_path / "copy", *([] if task is None else [task])))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_the_pickle_of_such_weights_is_read_as_well(v3: Path, tmp_path: Path) -> None:
    import torch

    pickled = shutil.copytree(v3, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    wanted = vectors(load(v3, tmp_path / "first", FIRST))
    np.testing.assert_array_equal(vectors(load(pickled, tmp_path / "second", FIRST)), wanted)


def test_its_weights_stay_in_its_file(v3: Path, tmp_path: Path) -> None:
    """None is merged in memory: a graph whose weights are apart says where they are."""
    before = hashlib.sha256((v3 / "model.safetensors").read_bytes()).digest()
    source = load(v3, tmp_path / "copy", FIRST)
    graph = tmp_path / "graph.onnx"
    export(source, graph, keep_weights_apart=True)
    places = json.loads(places_file(graph).read_text())
    files = {place["file"] for place in places.values() if place["updates"]}
    assert files == {str((v3 / "model.safetensors").resolve())}
    assert sum(bool(place["updates"]) for place in places.values()) == 2 + 2 * 6
    assert hashlib.sha256((v3 / "model.safetensors").read_bytes()).digest() == before
    assert not (tmp_path / "copy" / "model.safetensors").is_symlink()


def test_another_task_is_another_source(v3: Path) -> None:
    first, same, second, none = (
        resolve(v3, *names) for names in ([FIRST], ["Retrieval_Query"], ["separation"], [])
    )
    assert first.digest == same.digest
    assert len({first.digest, second.digest, none.digest}) == 3
    record = SourceRecord.__new__(SourceRecord)
    object.__setattr__(record, "adapters", tuple(a.record for a in first.adapters))
    object.__setattr__(record, "files", first.files)
    assert record.difference(first.files, first.adapters) is None
    assert "others than retrieval.query" in (record.difference(second.files, second.adapters) or "")
    assert first.adapters[0].record.choice.name == FIRST


def narrow(tensors: dict[str, Any]) -> None:
    tensors[WQKV] = tensors[WQKV][:, :-1].contiguous()


def without_tasks(tensors: dict[str, Any]) -> None:
    tensors[WQKV] = tensors[WQKV][0].clone()


def of_more_tasks(tensors: dict[str, Any]) -> None:
    tensors[WQKV] = tensors[WQKV].repeat(2, 1, 1)


def twice(tensors: dict[str, Any]) -> None:
    original = WQKV.replace(".0.lora_B", ".original").replace(".0.lora_A", ".original")
    usual = original.replace(".parametrizations.weight.original", ".weight")
    tensors[usual] = tensors[original].clone()


def of_another_module(tensors: dict[str, Any]) -> None:
    tensors[WQKV.replace("mixer.Wqkv", "other")] = tensors.pop(WQKV)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (narrow, SourceError, "which are not 3 parts"),
        (without_tasks, SourceError, "without one matrix for each task"),
        (of_more_tasks, SourceError, "without one matrix for each task"),
        (twice, SourceError, "twice: with an adapter inside, and without"),
        (of_another_module, UnsupportedModelError, "which is not a part of this architecture"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[dict[str, Any]], None],
    kind: type[EmbconvertError],
    message: str,
    v3: Path,
    tmp_path: Path,
) -> None:
    model = shutil.copytree(v3, tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(kind, match=message):
        load(model, tmp_path / "copy", FIRST)


def test_a_name_that_is_none_of_its_tasks_is_an_error(v3: Path) -> None:
    with pytest.raises(UsageError, match="no adapter of that name") as caught:
        resolve(v3, "retrieval")
    assert "it has retrieval.query, retrieval.passage, separation" in caught.value.hint


def test_code_that_computes_nothing_without_a_task_needs_one(v5: Path) -> None:
    with pytest.raises(UsageError, match="needs one: retrieval, text-matching") as caught:
        resolve(v5)
    assert caught.value.hint == "add --adapter retrieval"


def test_trusted_code_is_left_alone(v5: Path) -> None:
    """It chooses the adapter itself."""
    trusted = resolve(v5, trust_remote_code=True)
    assert not trusted.written
    assert trusted.architecture.model_type == "jina_embeddings_v5"


def test_of_a_hub_model_neither_code_nor_other_adapters_are_fetched(
    v5: Path, tmp_path: Path
) -> None:
    with HubServer() as server:
        server.add_model("me/v5", v5)
        env = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        asked = ("all", "--model_id", "me/v5", "--adapter", "text-matching", "--dry_run")
        done = embconvert(*asked, cwd=tmp_path, env=env)
        assert done.code == 0, done.stderr
        fetched = [sent.path for sent in server.requests if "/resolve/" in sent.path]
    assert any("adapters/text-matching/adapter_model" in path for path in fetched)
    assert not any("adapters/retrieval" in path or path.endswith(".py") for path in fetched)
