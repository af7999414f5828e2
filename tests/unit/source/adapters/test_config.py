"""An adapter's settings: LoRA of every kind that is merged exactly, and nothing else."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.models.adapters import LoraSettings
from embconvert.source.adapters.config import base_of, read_settings, scale_of

#: What PEFT 0.21 writes for LoraConfig(target_modules=["query"]).
USUAL: dict[str, Any] = {
    "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None,
    "auto_mapping": None, "base_model_name_or_path": "a/b", "bias": "none", "corda_config": None,
    "ensure_weight_tying": False, "eva_config": None, "exclude_modules": None,
    "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "kasa_config": None,
    "layer_replication": None, "layers_pattern": None, "layers_to_transform": None,
    "loftq_config": {}, "lora_alpha": 16, "lora_bias": False, "lora_dropout": 0.1,
    "lora_ga_config": None, "megatron_config": None, "megatron_core": "megatron.core",
    "modules_to_save": None, "monteclora_config": None, "peft_type": "LORA",
    "peft_version": "0.21.2", "qalora_group_size": 16, "r": 4, "rank_pattern": {}, "revision": None,
    "target_modules": ["query"], "target_parameters": None, "task_type": "FEATURE_EXTRACTION",
    "trainable_token_indices": None, "use_bdlora": None, "use_dora": False, "use_qalora": False,
    "use_rslora": False, "velora_config": None,
}  # fmt: skip


def settings(folder: Path, **changes: Any) -> LoraSettings:
    (folder / "adapter_config.json").write_text(json.dumps(USUAL | changes))
    return read_settings(folder, "me/lora")


def test_what_peft_writes_is_read(tmp_path: Path) -> None:
    assert settings(tmp_path) == LoraSettings(rank=4, alpha=16)
    assert scale_of(settings(tmp_path), "layer.0.query") == 4


def test_the_rank_may_be_stabilized(tmp_path: Path) -> None:
    assert scale_of(settings(tmp_path, use_rslora=True), "query") == 16 / math.sqrt(4)


@pytest.mark.parametrize(
    ("alphas", "ranks", "scale"),
    [
        ({"query": 8}, {}, 2),
        ({"0.query": 8}, {}, 2),
        ({"^layer.0.query": 8}, {}, 2),
        ({"layer.1.query": 8}, {}, 4),
        ({"ery": 8}, {}, 4),
        ({}, {"query": 2}, 8),
        ({"query": 8}, {"layer.0.query": 2}, 4),
        ({"key|query": 8, "query": 12}, {}, 2),
        ({r"layer\.0\.query": 8}, {}, 2),
    ],
)
def test_patterns_match_the_ends_of_names(
    tmp_path: Path, alphas: dict[str, int], ranks: dict[str, int], scale: float
) -> None:
    found = settings(tmp_path, alpha_pattern=alphas, rank_pattern=ranks)
    assert scale_of(found, "layer.0.query") == scale


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(.*)*", "a{9}{9}{9}", "[a-z]+", "a\nb", "(?i)a", ""]
)
def test_a_pattern_that_may_never_end_is_refused(tmp_path: Path, pattern: str) -> None:
    for key in ("alpha_pattern", "rank_pattern"):
        with pytest.raises(UnsupportedModelError, match="other characters than names of weights"):
            settings(tmp_path, **{key: {pattern: 1}})


@pytest.mark.parametrize(
    "kind", ["IA3", "LOHA", "ADALORA", "PROMPT_TUNING", None, 7, "lora\x1b[31m"]
)
def test_another_kind_of_adapter_is_refused_by_its_name(tmp_path: Path, kind: object) -> None:
    with pytest.raises(UnsupportedModelError, match="only LoRA adapters can be merged") as caught:
        settings(tmp_path, peft_type=kind)
    assert "merge_and_unload" in caught.value.hint
    assert "\x1b" not in caught.value.message
    if kind == "IA3":
        assert "'IA3'" in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alora_invocation_tokens", [1, 2]),
        ("layer_replication", [[0, 4], [2, 5]]),
        ("lora_bias", True),
        ("use_qalora", True),
        ("trainable_token_indices", [0]),
        ("kasa_config", {"beta": 1}),
        ("target_parameters", ["experts.gate_up_proj"]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "loftq"),
        ("new_in_2027", True),
        ("new_in_2027", {"a": 1}),
    ],
)
def test_a_setting_that_changes_what_is_merged_is_refused_by_its_name(
    tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(UnsupportedModelError, match=key):
        settings(tmp_path, **{key: value})


@pytest.mark.parametrize("value", [None, False, "", {}, []])
def test_an_unknown_setting_that_is_off_is_none(tmp_path: Path, value: object) -> None:
    assert settings(tmp_path, new_in_2027=value) == LoraSettings(rank=4, alpha=16)


@pytest.mark.parametrize("value", [True, "gaussian", "orthogonal", "eva", False])
def test_how_training_began_is_of_no_matter(tmp_path: Path, value: object) -> None:
    assert settings(tmp_path, init_lora_weights=value).rank == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("r", -1), ("r", "4"), ("lora_alpha", [1]), ("use_rslora", "yes"), ("rank_pattern", {"q": -1}),
     ("alpha_pattern", [1]), ("r", 0)],
)  # fmt: skip
def test_a_malformed_setting_is_an_error(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(SourceError, match=key):
        settings(tmp_path, **{key: value})


@pytest.mark.parametrize(
    "base",
    ["/etc/passwd", "../../x", "a/b/c", "x" * 9000, "", None, 7, "./here", "a/..", "b\x1b/c"],
)
def test_a_base_model_is_a_hub_id_or_none(tmp_path: Path, base: object) -> None:
    said = {"base_model_name_or_path": base, "revision": "../x"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    assert base_of(tmp_path) == (None, None)


def test_a_base_model_may_be_pinned(tmp_path: Path) -> None:
    settings(tmp_path, revision="v1.0")
    assert base_of(tmp_path) == ("a/b", "v1.0")


@pytest.mark.parametrize("value", [None, 10**400, 1e300, "16", True])
def test_alpha_is_a_number_that_can_be_divided(tmp_path: Path, value: object) -> None:
    for changes in ({"lora_alpha": value}, {"alpha_pattern": {"query": value}}):
        with pytest.raises(SourceError, match="unexpected value"):
            settings(tmp_path, **changes)


def test_patterns_are_matched_in_seconds(tmp_path: Path) -> None:
    """PEFT's file may have a pattern for each weight, but not megabytes of them."""
    many = {f"layer.{n}.query": 1.0 for n in range(5_000)}
    found = settings(tmp_path, alpha_pattern=many)
    assert {scale_of(found, f"layer.{n}.query") for n in range(0, 5_000, 50)} == {0.25}
    with pytest.raises(UnsupportedModelError, match="more than 200,000 characters"):
        settings(tmp_path, alpha_pattern={f"layer.{n}.query": 1.0 for n in range(20_000)})
