"""Models with adapters, found in local folders; tests/integration/test_adapters.py asks a hub."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError, UsageError
from embconvert.hub.adapted import Found, resolve_adapted
from embconvert.manifest.sources import SourceRecord
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from support.lora import build_adapter, saved_with_modules

CONSOLE = Console(quiet=True, debug=False)


def choice(name: str | Path, **more: Any) -> AdapterChoice:
    return AdapterChoice(name=str(name), **more)


def resolve(model: Path, *adapters: AdapterChoice, **options: Any) -> ResolvedModel:
    request = Request(command=Command.EXPORT, model_id=str(model), adapter=adapters, **options)
    return hub.resolve(request, CONSOLE)


def refusal(kind: type[EmbconvertError], *arguments: Any, **options: Any) -> EmbconvertError:
    with pytest.raises(kind) as caught:
        resolve(*arguments, **options)
    return caught.value


@pytest.fixture(scope="module")
def lora(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_adapter(tmp_path_factory.mktemp("adapters") / "lora", tiny_bert)


def test_an_adapter_is_a_part_of_the_source(tiny_bert: Path, lora: Path, tmp_path: Path) -> None:
    """Its folder's path, and what is in it beside it, are not."""
    plain, adapted = resolve(tiny_bert), resolve(tiny_bert, choice(lora))
    other = build_adapter(tmp_path / "elsewhere", tiny_bert)
    (other / "optimizer.pt").write_bytes(b"x")
    changed = build_adapter(tmp_path / "changed", tiny_bert, seed=1)
    assert plain.digest != adapted.digest
    assert resolve(tiny_bert, choice(other)).digest == adapted.digest
    assert resolve(tiny_bert, choice(changed)).digest != adapted.digest
    assert resolve(tiny_bert, choice(lora, weight=0.5)).digest != adapted.digest
    assert adapted.files == plain.files
    assert adapted.adapters[0].record.adapter == "./lora"


def test_the_order_of_adapters_is_a_part_of_the_source(
    tiny_bert: Path, lora: Path, tmp_path: Path
) -> None:
    second = build_adapter(tmp_path / "second", tiny_bert, seed=1)
    digests = {
        resolve(tiny_bert, *map(choice, order)).digest
        for order in ((lora, second), (second, lora), (lora,), (lora, lora))
    }
    assert len(digests) == 4


def test_an_adapter_without_base_model_says_how_to_name_it(tiny_bert: Path, tmp_path: Path) -> None:
    lora = build_adapter(tmp_path / "lora", tiny_bert, base_id="/home/somebody/bert")
    error = refusal(UsageError, lora)
    assert "name no base model of a hub" in error.message
    assert f"--model_id BASE --adapter {lora}" in error.hint
    assert "somebody" not in error.message + error.hint


def test_an_adapter_chooses_no_folder_of_this_machine(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its base model would be whatever has that name beside it, such as a private model."""
    lora = build_adapter(tmp_path / "lora", tiny_bert, base_id="models/private")
    shutil.copytree(tiny_bert, tmp_path / "models" / "private")
    monkeypatch.chdir(tmp_path)
    error = refusal(UsageError, lora)
    assert "there is a folder of that name here" in error.message
    assert f"--model_id models/private --adapter {lora}" in error.hint


def test_an_adapter_of_an_adapter_says_which_model_to_name(tiny_bert: Path, tmp_path: Path) -> None:
    """It may be of itself, too."""
    lora = build_adapter(tmp_path / "lora", tiny_bert, base_id="me/lora")

    def find(request: Request, _: bool) -> Found:
        return Found(model_id=request.model_id, folder=lora, revision="c" * 40)

    with pytest.raises(UnsupportedModelError, match="of me/lora, which is an adapter itself"):
        resolve_adapted(Request(command=Command.EXPORT, model_id="me/other"), CONSOLE, find)


def test_a_module_without_settings_needs_no_folder(tiny_bert: Path, tmp_path: Path) -> None:
    """As Normalize, whose folder is empty, so that git and the hub do not have it."""
    lora = saved_with_modules(tmp_path / "st", tiny_bert, ["Transformer", "Pooling", "Normalize"])
    assert not (lora / "2_Normalize").exists()
    assert resolve(tiny_bert, choice(lora)).modules == ("Transformer", "Pooling", "Normalize")


def test_the_code_of_a_base_model_is_trusted_only_by_name(tiny_bert: Path, tmp_path: Path) -> None:
    lora = build_adapter(tmp_path / "lora", tiny_bert, base_id="someone/else")
    error = refusal(UsageError, lora, trust_remote_code=True)
    assert "someone/else, whose code would be run" in error.message


def test_a_models_own_adapter_is_recorded_by_its_folder(tiny_bert: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_bert, tmp_path / "model")
    build_adapter(model / "adapters" / "retrieval_query", tiny_bert)
    (found,) = resolve(model, choice("retrieval.query")).adapters
    assert found.record.adapter == "adapters/retrieval_query"
    assert found.record.choice == choice("retrieval_query")
    assert resolve(model).adapters == ()
    error = refusal(UsageError, model, choice("separation"))
    assert "has no adapter of that name" in error.message
    assert "retrieval_query" in error.hint


@pytest.mark.parametrize("name", ["nothing", "./nothing", "/nothing", "a/b/c", "../x/y"])
def test_an_adapter_that_is_not_there_is_a_usage_error(tiny_bert: Path, name: str) -> None:
    error = refusal(UsageError, tiny_bert, choice(name))
    assert f"--adapter {name}" in error.message
    assert "hub id" in error.hint


def test_a_model_is_no_adapter(tiny_bert: Path) -> None:
    error = refusal(SourceError, tiny_bert, choice(tiny_bert))
    assert "is no adapter" in error.message


def test_modules_and_prompts_of_an_adapter_are_used(tiny_bert: Path, tmp_path: Path) -> None:
    lora = saved_with_modules(tmp_path / "st", tiny_bert, ["Transformer", "Pooling"])
    found = resolve(tiny_bert, choice(lora))
    assert found.modules == ("Transformer", "Pooling")
    assert found.settings is not None
    assert found.settings["config_sentence_transformers.json"]["prompts"] == {"query": "find: "}
    assert found.config["model_type"] == "bert"
    assert found.public_id == f"./{tiny_bert.name}"
    # The transformer's files and, because the adapter has none, its tokenizer are the base's.
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert found.path(file).resolve() == (tiny_bert / file).resolve()
    assert found.settings["1_Pooling/config.json"]["pooling_mode_cls_token"]
    assert found.path("1_Pooling/config.json") == lora / "1_Pooling" / "config.json"
    assert "adapter_model.safetensors" not in {file.path for file in found.files}


def test_a_difference_of_adapters_is_one_of_sources(tiny_bert: Path, lora: Path) -> None:
    with_it, without = resolve(tiny_bert, choice(lora)), resolve(tiny_bert)
    record = SourceRecord.__new__(SourceRecord)
    object.__setattr__(record, "adapters", (with_it.adapters[0].record,))
    object.__setattr__(record, "files", without.files)
    assert record.difference(with_it.files, with_it.adapters) is None
    assert "its adapters are others than ./lora" in str(record.difference(without.files))
    object.__setattr__(record, "adapters", ())
    assert record.difference(with_it.files, with_it.adapters) == "it has an adapter"
