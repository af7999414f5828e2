"""Own code is recognized by its names and its settings, and by nothing less."""

import json
from pathlib import Path
from typing import Any

import pytest

from embconvert.source.settings.module_list import parse_modules
from embconvert.source.settings.own_code import OwnCode, settle_code
from support.twins.records import Twin, twins

FLASH = "jinaai/xlm-roberta-flash-implementation--"
V3, V5 = "jina-embeddings-v3", "jina-embeddings-v5-text-small"
TRANSFORMER = {"path": "", "type": "custom_st.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


def twin(name: str) -> Twin:
    return next(twin for twin in twins() if twin.name == name)


def config_of(name: str) -> dict[str, Any]:
    sizes = {
        "vocab_size": 400, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64,
    }  # fmt: skip
    return {**twin(name).config, **sizes}


def settled(
    folder: Path,
    config: dict[str, Any],
    modules: list[dict[str, str]],
    *,
    trust_remote_code: bool = False,
) -> OwnCode:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()
    return settle_code(folder, parse_modules(modules), trust_remote_code=trust_remote_code)


def modules_of(name: str) -> list[dict[str, str]]:
    return [TRANSFORMER, POOLING] if name == V3 else [TRANSFORMER]


@pytest.mark.parametrize("name", [V3, V5, "jina-embeddings-v5-text-nano"])
def test_known_code_gets_a_class_of_transformers(name: str, tmp_path: Path) -> None:
    found = settled(tmp_path, config_of(name), modules_of(name))
    assert found.written["config.json"]["model_type"] == twin(name).like
    assert "auto_map" not in found.written["config.json"]
    assert all(module.is_own for module in found.modules)
    assert found.tasks == tuple(config_of(name).get("task_names") or twin(name).weights.tasks)
    assert (found.inner is not None) is (name == V3)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (V3, {"position_embedding_type": "absolute"}),
        (V3, {"hidden_act": "gelu_new"}),
        (V3, {"load_trained_adapters": False}),
        (V3, {"emb_pooler": "cls"}),
        (V3, {"rotary_emb_interleaved": True}),
        (V3, {"rotary_emb_scale_base": 512}),
        (V3, {"rotary_emb_base": "20000"}),
        (V3, {"lora_rank": 0}),
        (V3, {"lora_alpha": float("inf")}),
        (V3, {"lora_adaptations": []}),
        (V3, {"lora_adaptations": ["a", "a"]}),
        (V3, {"lora_adaptations": ["../a"]}),
        (V3, {"layer_norm_eps": None}),
        (V3, {"auto_map": {"AutoModel": f"{FLASH}modeling_lora.XLMRobertaLoRA"}}),
        (V3, {"auto_map": {**twin(V3).config["auto_map"], "AutoModel": "modeling.Mine"}}),
        (V5, {"auto_map": {**twin(V5).config["auto_map"], "AutoModel": "me/x--modeling.Mine"}}),
        (V5, {"task_names": ["re\ntrieval"]}),
        (V5, {"task_names": "retrieval"}),
        (V5, {"max_position_embeddings": None}),
        (V5, {"model_type": "qwen3"}),
    ],
)
def test_a_setting_with_which_it_would_compute_something_else_is_not_taken_for_it(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    found = settled(tmp_path, {**config_of(name), **changes}, modules_of(name))
    assert not found.written
    assert found.modules == parse_modules(modules_of(name))


@pytest.mark.parametrize(
    "modules",
    [
        [{"path": "", "type": "custom_st.Other"}, POOLING],
        [{"path": "0", "type": "custom_st.Transformer"}, POOLING],
        [TRANSFORMER, {"path": "1", "type": "custom_st.Pooling"}],
    ],
)
def test_other_modules_are_not_taken_for_it(modules: list[dict[str, str]], tmp_path: Path) -> None:
    assert not settled(tmp_path, config_of(V3), modules).written


def test_weights_in_several_files_are_left_to_its_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(V3)))
    (tmp_path / "model-1.safetensors").touch()
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    modules = parse_modules(modules_of(V3))
    assert not settle_code(tmp_path, modules, trust_remote_code=False).written


def test_trusted_code_is_used(tmp_path: Path) -> None:
    found = settled(tmp_path, config_of(V3), modules_of(V3), trust_remote_code=True)
    assert not found.written
