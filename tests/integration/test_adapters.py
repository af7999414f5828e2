"""LoRA adapters are merged while weights are read; the result is that of the published formula."""

import filecmp
import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError
from embconvert.fidelity.texts import Item
from embconvert.graph.onnx_file import read_model
from embconvert.graph.source_tensors import places_file
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import Command
from embconvert.request.records import Request
from embconvert.source.private_copy import make_private_copy
from embconvert.source.stored_weights import float32_copies
from embconvert.source.torch_model import SourceModel
from support import zoo
from support.command_line import embconvert
from support.exports import export, load_adapted
from support.hub_server import HubServer
from support.lora import (
    ALPHA,
    QUERY_AND_VALUE,
    RANK,
    build_adapter,
    merged_by_formula,
    saved_with_modules,
)

pytestmark = pytest.mark.integration

SCALE = ALPHA / RANK
FIRST_QUERY = "encoder.layer.0.attention.self.query"
BIAS = f"{FIRST_QUERY}.bias"
NORM = "embeddings.LayerNorm.weight"
#: What PEFT writes, by the arguments of build_adapter, and the factor of the product.
FORMS: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, SCALE),
    "half precision": ({"dtype": "bfloat16"}, SCALE),
    "rank-stabilized": ({"use_rslora": True}, ALPHA / math.sqrt(RANK)),
    "magnitudes": ({"use_dora": True}, SCALE),
    "embeddings": ({"target": rf"embeddings\.word_embeddings|{QUERY_AND_VALUE}"}, SCALE),
    "all products": ({"target": r"encoder\..*(query|key|value|dense)"}, SCALE),
    "other alpha": ({"alpha_pattern": {"query": 2, "value": 2}}, 2 / RANK),
    "whole weights": ({"whole": {NORM: NORM}}, SCALE),
    "biases": ({"whole": {BIAS: f"{FIRST_QUERY}.base_layer.bias"}}, SCALE),
    "names of a head": ({"prefix": "base_model.model.bert."}, SCALE),
    "names of transformers": ({"prefix": ""}, SCALE),
    "a pickle": ({"pickled": True}, SCALE),
}


def load(model: Path, *adapters: AdapterChoice) -> SourceModel:
    folder = Path(adapters[0].name if adapters else model)
    return load_adapted(model, folder.with_name(f"{folder.name}-copy"), *adapters)


def choice(folder: Path, weight: float = 1.0) -> AdapterChoice:
    return AdapterChoice(name=str(folder), weight=weight)


def vectors(source: SourceModel, items: Sequence[Item] = zoo.SENTENCES) -> np.ndarray:
    sentence = source.encode([items])[0].sentence
    assert sentence is not None
    return sentence


@pytest.mark.parametrize("form", FORMS)
def test_a_merged_model_is_that_of_the_formula(form: str, tiny_bert: Path, tmp_path: Path) -> None:
    settings, scale = FORMS[form]
    lora = build_adapter(tmp_path / "lora", tiny_bert, **settings)
    plain = {**settings, "pickled": False, "prefix": "base_model.model."}
    same = build_adapter(tmp_path / "same", tiny_bert, **plain)
    merged = merged_by_formula(tiny_bert, same, tmp_path / "merged", scale=scale)
    source = load(tiny_bert, choice(lora))

    wanted = SentenceTransformer(str(merged), device="cpu").encode(zoo.SENTENCES)
    base = SentenceTransformer(str(tiny_bert), device="cpu").encode(zoo.SENTENCES)
    np.testing.assert_allclose(vectors(source), wanted, atol=2e-6)
    assert np.abs(wanted - base).max() > 1e-3, "the adapter changes nothing"


@pytest.mark.parametrize("form", ["embeddings", "magnitudes"])
def test_a_graph_has_the_bytes_of_one_of_the_merged_model(
    form: str, tiny_bert: Path, tmp_path: Path
) -> None:
    """What is written is rounded once, as the formula in float64 is here."""
    settings, scale = FORMS[form]
    lora = build_adapter(tmp_path / "lora", tiny_bert, **settings)
    merged = merged_by_formula(tiny_bert, lora, tmp_path / "merged", scale=scale)
    ours = export(load(tiny_bert, choice(lora)), tmp_path / "ours.onnx")
    theirs = export(load(merged), tmp_path / "theirs.onnx")
    assert filecmp.cmp(ours, theirs, shallow=False)


def test_weights_apart_are_the_same(tiny_bert: Path, tmp_path: Path) -> None:
    """As a graph that is quantized without a float32 file reads them, in a process of its own."""
    target = rf"embeddings\.word_embeddings|{QUERY_AND_VALUE}"
    source = load(tiny_bert, choice(build_adapter(tmp_path / "lora", tiny_bert, target=target)))
    whole, apart = (tmp_path / f"{name}.onnx" for name in ("whole", "apart"))
    for path in (whole, apart):
        export(source, path, keep_weights_apart=path == apart)
    places = json.loads(places_file(apart).read_text())
    assert sum(bool(place["updates"]) for place in places.values()) == 5
    inside, outside = (read_model(path).graph.initializers for path in (whole, apart))
    for name in inside:
        np.testing.assert_array_equal(
            inside[name].const_value.numpy(), outside[name].const_value.numpy()
        )


def test_adapters_are_merged_in_order_and_with_their_factors(
    tiny_bert: Path, tmp_path: Path
) -> None:
    loras = [build_adapter(tmp_path / str(i), tiny_bert, seed=i) for i in range(2)]
    half = merged_by_formula(tiny_bert, loras[0], tmp_path / "half", scale=SCALE / 2)
    both = merged_by_formula(half, loras[1], tmp_path / "both", scale=SCALE)
    found = vectors(load(tiny_bert, choice(loras[0], 0.5), choice(loras[1])))
    wanted = SentenceTransformer(str(both), device="cpu").encode(zoo.SENTENCES)
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_the_second_exporter_gets_merged_weights(tiny_bert: Path, tmp_path: Path) -> None:
    """It folds constants, and gets copies of all weights that are not as in the files."""
    lora = build_adapter(tmp_path / "lora", tiny_bert)
    merged = merged_by_formula(tiny_bert, lora, tmp_path / "merged", scale=SCALE)
    copies = float32_copies(load(tiny_bert, choice(lora)).traced_module())
    wanted = [w for n, w in load_file(merged / "model.safetensors").items() if is_changed(n)]
    assert len(copies) == len(wanted) == 4
    for weight in wanted:
        assert any(torch.allclose(copy, weight, atol=1e-6) for copy in copies.values())


def is_changed(name: str) -> bool:
    return re.fullmatch(rf"{QUERY_AND_VALUE}\.weight", name) is not None


def rewritten(lora: Path, **changes: Any) -> Path:
    """Replaces tensors of an adapter; None removes one. `.` is `__` in names."""
    file = lora / "adapter_model.safetensors"
    tensors = load_file(file)
    for name, tensor in changes.items():
        key = f"base_model.model.{name.replace('__', '.')}"
        tensors.pop(key, None)
        if tensor is not None:
            tensors[key] = tensor
    save_file(tensors, file)
    return lora


def bad(shape: tuple[int, ...], value: float = 0.0) -> Any:
    return torch.full(shape, value)


QUERY = FIRST_QUERY.replace(".", "__")
A = f"{QUERY}__lora_A__weight"
INTEGERS = torch.ones(32, dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "said", "kind"),
    [
        ({A: None}, f"no lora_A of .*{FIRST_QUERY}", SourceError),
        ({A: bad((RANK, 31))}, "does not fit", SourceError),
        ({A: bad((RANK + 1, 32))}, "does not fit", SourceError),
        ({A: bad((RANK, 32), math.nan)}, "not finite", SourceError),
        ({"nowhere__lora_A__weight": bad((4, 32))}, "it changes 'nowhere'", UnsupportedModelError),
        ({"encoder__lora_A__weight": bad((4, 32))}, "is not a Linear", UnsupportedModelError),
        ({"pooler__dense__ia3_l": bad((32,))}, "ia3_l. is not one of LoRA", UnsupportedModelError),
        ({"pooler__dense__bias": bad((31,))}, "does not fit", SourceError),
        (
            {f"{BIAS.replace('.', '__')}": bad((32,))},
            "a name that PEFT no longer reads",
            UnsupportedModelError,
        ),
        ({f"{QUERY}__lora_A__default__weight": bad((RANK, 32))}, "twice", SourceError),
        (
            {f"bert__{QUERY}__lora_{x}__weight": bad(shape)
             for x, shape in (("A", (RANK, 32)), ("B", (32, RANK)))},
            "twice",
            SourceError,
        ),
        ({f"{QUERY}__lora_embedding_A": bad((2, 2))}, "lora_embedding_A of", UnsupportedModelError),
        ({"embeddings__LayerNorm__weight": INTEGERS}, "the type int64", SourceError),
        ({A: bad((RANK, 32)).to(torch.complex64)}, "the type complex64", SourceError),
    ],
)  # fmt: skip
def test_a_tensor_that_does_not_fit_is_named(
    changes: dict[str, Any], said: str, kind: type[EmbconvertError], tiny_bert: Path, tmp_path: Path
) -> None:
    """PEFT would leave it out with a warning at most."""
    lora = rewritten(build_adapter(tmp_path / "lora", tiny_bert), **changes)
    with pytest.raises(kind, match=said):
        load(tiny_bert, choice(lora))


@pytest.mark.parametrize("zero", ["lora_alpha", "lora_A", "lora_B"])
def test_an_adapter_that_changes_nothing_is_refused(
    zero: str, tiny_bert: Path, tmp_path: Path
) -> None:
    """The base model would be published under its name."""
    settings: dict[str, Any] = {zero: 0} if zero == "lora_alpha" else {}
    lora = build_adapter(tmp_path / "lora", tiny_bert, **settings)
    file = lora / "adapter_model.safetensors"
    save_file({n: t * (zero not in n) for n, t in load_file(file).items()}, file)
    with pytest.raises(UnsupportedModelError, match="it changes nothing"):
        load(tiny_bert, choice(lora))


WHOLE_QUERY: dict[str, Any] = {
    "target": "none", "whole": {f"{FIRST_QUERY}.weight": f"{FIRST_QUERY}.weight"}
}  # fmt: skip


@pytest.mark.parametrize("first", [{}, WHOLE_QUERY])
def test_no_adapter_undoes_another(first: dict[str, Any], tiny_bert: Path, tmp_path: Path) -> None:
    loras = [
        build_adapter(tmp_path / name, tiny_bert, **settings)
        for name, settings in (("first", first), ("second", WHOLE_QUERY))
    ]
    with pytest.raises(UnsupportedModelError, match="would undo an adapter before it"):
        load(tiny_bert, *map(choice, loras))


def test_whole_weights_are_not_scaled(tiny_bert: Path, tmp_path: Path) -> None:
    lora = build_adapter(tmp_path / "lora", tiny_bert, whole={NORM: NORM})
    with pytest.raises(UnsupportedModelError, match=r"cannot be scaled by 0\.5") as caught:
        load(tiny_bert, choice(lora, 0.5))
    assert caught.value.hint == "remove =0.5 from --adapter"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def environment(server: HubServer, home: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}


def test_an_adapter_on_the_hub_finds_its_base_model(
    server: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    """Both are pinned: a later command uses the same commits, from the cache, too."""
    lora = build_adapter(tmp_path / "lora", tiny_bert, base_id="me/base")
    (lora / "optimizer.pt").write_bytes(b"not needed")
    (lora / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    base = server.add_model("me/base", tiny_bert)
    adapter = server.add_model("me/lora", lora)
    env = environment(server, tmp_path / "home")
    out = ("--output_parent_dir", tmp_path / "out")

    done = embconvert("export", "--model_id", "me/lora", "--skip_validation", *out, env=env)
    assert done.code == 0, done.stderr
    assert "me/lora is an adapter (PEFT) of me/base" in done.stderr
    source = done.manifest["source"]
    assert (source["model_id"], source["revision"]) == ("me/base", base)
    (record,) = source["adapters"]
    assert (record["adapter"], record["revision"], record["is_model"]) == ("me/lora", adapter, True)
    assert not any("optimizer" in sent.path for sent in server.requests)
    (line,) = done.manifest["tool"]["commands"]
    assert f"--model_id me/base --revision {base} --adapter me/lora@{adapter}" in line
    card = (tmp_path / "out" / "me" / "lora" / "README.md").read_text()
    assert "me/lora" in card
    assert "cc-by-nc-4.0" in card

    # Both move on; the folder's own commits are used.
    (lora / "README.md").write_text("new")
    server.add_model("me/lora", lora)
    server.add_model("me/base", build_adapter(tmp_path / "other", tiny_bert))
    folder = tmp_path / "out" / "me" / "lora"
    later = embconvert("verify", folder, "--against", "me/lora", "--offline", env=env)
    assert later.code == 0, later.stderr
    assert "mean cosine 1.0" in later.stdout


def test_of_a_models_own_adapters_the_asked_one_is_fetched(
    server: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_bert, tmp_path / "model")
    for task in ("retrieval_query", "text_matching"):
        build_adapter(model / "adapters" / task, tiny_bert)
    server.add_model("me/jina", model)
    env = environment(server, tmp_path / "home")
    asked = ("all", "--model_id", "me/jina", "--adapter", "retrieval.query", "--dry_run")
    done = embconvert(*asked, cwd=tmp_path, env=env)
    assert done.code == 0, done.stderr
    assert "adapter   retrieval_query" in done.stdout
    fetched = [sent.path for sent in server.requests if "adapter_model" in sent.path]
    assert fetched
    assert all("retrieval_query" in path or "/content/" in path for path in fetched)


def test_a_private_copy_has_no_adapter(tiny_bert: Path, tmp_path: Path) -> None:
    """transformers would load it, and the base model that it names, if PEFT were installed."""
    lora = build_adapter(tmp_path / "lora", tiny_bert)
    request = Request(command=Command.EXPORT, model_id=str(tiny_bert), adapter=(choice(lora),))
    resolved = hub.resolve(request, Console(quiet=True, debug=False))
    copy = make_private_copy(replace(resolved), tmp_path / "copy")
    assert not list(copy.rglob("adapter*"))


def test_an_adapter_of_a_reranker_has_its_head(tmp_path: Path) -> None:
    """PEFT saves the head of a sequence classification whole."""
    base = zoo.build_reranker("bert", tmp_path / "base")
    whole = {name: name for name in ("classifier.weight", "classifier.bias")}
    target = rf"bert\.{QUERY_AND_VALUE}"
    lora = build_adapter(tmp_path / "lora", base, target=target, whole=whole, task_type="SEQ_CLS")
    merged = merged_by_formula(base, lora, tmp_path / "merged", scale=SCALE)
    pairs = list(zip(zoo.SENTENCES[:4], zoo.SENTENCES[4:8], strict=True))
    found, wanted = (vectors(model, pairs) for model in (load(base, choice(lora)), load(merged)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_pooling_of_an_adapter_is_used(tmp_path: Path) -> None:
    """As sentence-transformers saves a model that was trained as an adapter."""
    base = zoo.build_model("bert", tmp_path / "base", pooling=None)
    lora = saved_with_modules(tmp_path / "lora", base, ["Transformer", "Pooling"])
    merged = merged_by_formula(base, lora, tmp_path / "merged", scale=SCALE)
    for file in ("modules.json", "1_Pooling/config.json"):
        (merged / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(lora / file, merged / file)
    source = load(base, choice(lora))
    assert source.pooling == ("cls",)
    wanted = SentenceTransformer(str(merged), device="cpu").encode(zoo.SENTENCES)
    np.testing.assert_allclose(vectors(source), wanted, atol=1e-5)
