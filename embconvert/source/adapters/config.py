"""Reads adapter_config.json, which is as foreign as the rest of an adapter."""

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError
from embconvert.json_files import read_json
from embconvert.models.adapters import ADAPTER_FILE, LoraSettings
from embconvert.source.settings.adapter import ADAPTER, USUAL_BEGINNINGS
from embconvert.source.settings.rules import Use
from embconvert.source.settings.values import WrongValueError, checked

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
# PEFT matches the names of weights with these regular expressions. Without repetition none of them
# can take long.
_PATTERN = re.compile(r"\^?(?:[\w.|]|\\\.)+", re.ASCII)
# A pattern for each of a thousand weights takes 50,000.
_MOST_CHARACTERS = 200_000
_OFF: tuple[Any, ...] = (None, False, "", {}, [])
# PEFT would not compute with others.
_MAY_BE_NULL = ("base_model_name_or_path", "revision", "rank_pattern", "alpha_pattern", "use_dora",
                "use_rslora", "init_lora_weights")  # fmt: skip
_MERGE_YOURSELF = (
    "merge it with PEFT (merge_and_unload), save the model with save_pretrained(), and convert that"
)


def read_settings(folder: Path, name: str) -> LoraSettings:
    """Reads and checks the settings of an adapter, which has a name for messages.

    Raises SourceError if the file is malformed, and UnsupportedModelError for another kind than
    LoRA, or a setting with which the merged weights would not be those of PEFT.
    """
    value = read_json(folder / ADAPTER_FILE)
    kind = value.get("peft_type")
    if kind != "LORA":
        said = f"the peft_type {kind[:100]!r}" if isinstance(kind, str) else "no peft_type"
        raise UnsupportedModelError(
            f"the adapter {name} has {said} in {ADAPTER_FILE}; only LoRA adapters can be merged",
            _MERGE_YOURSELF,
        )
    found = {
        key: _checked(key, item, name)
        for key, item in value.items()
        if ADAPTER.setting(key).use is Use.READ and not (item is None and key in _MAY_BE_NULL)
    }
    for key, item in value.items():
        setting = ADAPTER.setting(key)
        if setting.use is Use.REFUSED and item not in _OFF:
            raise _unsupported(name, f"the setting {key[:100]!r} {setting.why}")
    beginning = found.get("init_lora_weights", True)
    if beginning not in USUAL_BEGINNINGS:
        raise _unsupported(
            name,
            f"the setting init_lora_weights is {str(beginning)[:100]!r}, which changes the base "
            "model's own weights",
        )
    patterns = (*found.get("rank_pattern", {}), *found.get("alpha_pattern", {}))
    if sum(map(len, patterns)) > _MOST_CHARACTERS:
        raise _unsupported(
            name, f"rank_pattern and alpha_pattern have more than {_MOST_CHARACTERS:,} characters"
        )
    for key in patterns:
        if not _PATTERN.fullmatch(key):
            raise _unsupported(
                name,
                f"the pattern {key[:100]!r} (rank_pattern or alpha_pattern) has other characters "
                "than names of weights and | between them",
            )
    return LoraSettings(
        rank=found.get("r", 8),
        alpha=found.get("lora_alpha", 8),
        ranks=found.get("rank_pattern", {}),
        alphas=found.get("alpha_pattern", {}),
        is_rank_stabilized=found.get("use_rslora", False),
        has_magnitudes=found.get("use_dora", False),
    )


def base_of(folder: Path) -> tuple[str | None, str | None]:
    """Returns the hub id and the revision of the base model that an adapter names.

    None stands for a name that is none of a hub: an adapter cannot name a local folder, which
    would be one of the machine on which it was trained.
    """
    value = read_json(folder / ADAPTER_FILE)
    base, revision = value.get("base_model_name_or_path"), value.get("revision")
    return (
        base if isinstance(base, str) and _HUB_ID.fullmatch(base) and ".." not in base else None,
        revision if isinstance(revision, str) and _REVISION.fullmatch(revision) else None,
    )


def rank_of(settings: LoraSettings, module: str) -> int:
    """Returns the rank of a module's update; see PEFT 0.21, utils/other.py: get_pattern_key."""
    return int(_by_pattern(settings.ranks, module, settings.rank))


def scale_of(settings: LoraSettings, module: str) -> float:
    """Returns the factor of a module's update."""
    rank = rank_of(settings, module)
    alpha = _by_pattern(settings.alphas, module, settings.alpha)
    return alpha / (math.sqrt(rank) if settings.is_rank_stabilized else rank)


def _by_pattern(patterns: Mapping[str, float], module: str, usual: float) -> float:
    for pattern, value in patterns.items():
        if _compiled(pattern).match(module):
            return value
    return usual


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(.*\.)?({pattern})$")


def _checked(key: str, item: Any, name: str) -> Any:
    try:
        return checked(item, ADAPTER.setting(key).kind)
    except WrongValueError as error:
        raise SourceError(
            f"the adapter {name}: {ADAPTER_FILE}: the setting {key}{error.place} has an unexpected "
            f"value: {error.reason}",
            "download the adapter again",
        ) from error


def _unsupported(name: str, problem: str) -> EmbconvertError:
    return UnsupportedModelError(
        f"the adapter {name} cannot be merged: {ADAPTER_FILE}: {problem}", _MERGE_YOURSELF
    )
