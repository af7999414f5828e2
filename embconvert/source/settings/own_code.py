"""Repositories whose own code computes what a class of transformers does, recognized by name.

Their code is not run: the libraries get settings for transformers' class, and the task's adapter is
merged with its weights, as any adapter is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from embconvert.json_files import read_json
from embconvert.models.adapters import LoraSettings
from embconvert.source.settings.adapter import Alpha, Rank
from embconvert.source.settings.module_list import ModuleEntry, listed, own_module
from embconvert.source.settings.modules import MODULES
from embconvert.source.settings.values import WrongValueError, checked
from embconvert.source.weights import weight_files

#: Their class that reads texts and chooses an adapter; both versions have it.
_TRANSFORMER = "custom_st.Transformer"
_CONFIG = "config.json"
_LENGTH_FILE = MODULES["Transformer"].file
_V3_CODE = "jinaai/xlm-roberta-flash-implementation--"
_V3 = {
    "AutoConfig": f"{_V3_CODE}configuration_xlm_roberta.XLMRobertaFlashConfig",
    "AutoModel": f"{_V3_CODE}modeling_lora.XLMRobertaLoRA",
}
_V5 = {
    "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
    "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
}
#: What transformers' JinaEmbeddingsV3Config has of the code's configuration.
_V3_KEYS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings",
    "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id", "bos_token_id",
    "eos_token_id", "matryoshka_dimensions",
)  # fmt: skip
#: Of these, what the code has other defaults for in its versions, or what must be a number.
_V3_NEEDED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
)  # fmt: skip
#: Settings with which the code of v3 computes what transformers' class does. Every other setting
#: that it reads is in _V3_KEYS, changes only the speed, or is about training.
_V3_MUST_BE: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("rotary",),
    "hidden_act": ("gelu",),
    "load_trained_adapters": (True,),
    "emb_pooler": (None, "mean"),
    "fused_mlp": (None, False),
    "last_layer_subset": (None, False),
    "pad_vocab_size_multiple": (None, 1),
    "rotary_emb_dim": (None,),
    "rotary_emb_scale_base": (None,),
    "rotary_emb_interleaved": (None, False),
}
_Task = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,49}$")]
_Tasks = Annotated[list[_Task], Field(min_length=1, max_length=50)]
_Base = Annotated[int | float, Field(gt=0, le=1e12)]
_Quantity = Annotated[int | float, Field(gt=0, le=1 << 24)]
_Length = Annotated[int, Field(ge=1, le=1 << 24)]


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """What the libraries get in place of a repository's own code.

    Attributes:
        modules: Of sentence-transformers; those in modules.json if its code is not known.
        written: The settings files, by path, that stand for the repository's or are added.
        tasks: The names of its adapters, one for each task.
        inner: How those are merged that are inside of the weights; None for folders of their own.
        max_seq_length: Its limit in tokens; None for the usual one.
    """

    modules: tuple[ModuleEntry, ...]
    written: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    inner: LoraSettings | None = None
    max_seq_length: int | None = None


def settle_code(
    folder: Path, modules: Sequence[ModuleEntry], *, trust_remote_code: bool
) -> OwnCode:
    """Returns what stands for a repository's own code: nothing if it is not known, or trusted.

    Raises SourceError if config.json cannot be read, or weights are missing.
    """
    found = None if trust_remote_code else _recognized(folder, modules)
    return OwnCode(modules=tuple(modules)) if found is None else found


def _recognized(folder: Path, modules: Sequence[ModuleEntry]) -> OwnCode | None:
    if not modules or modules[0].type != _TRANSFORMER or modules[0].path:
        return None
    if not (folder / _CONFIG).is_file():
        return None
    config = read_json(folder / _CONFIG)
    names = config.get("auto_map")
    names = names if isinstance(names, Mapping) else {}
    try:
        if config.get("model_type") == "xlm-roberta" and _V3.items() <= names.items():
            # Names in an index of several files would be those with the adapters.
            return _v3(config, modules) if len(weight_files(folder)) == 1 else None
        if config.get("model_type") == "jina_embeddings_v5" and names == _V5:
            return _v5(config, modules)
    except WrongValueError:
        return None
    return None


def _v3(config: Mapping[str, Any], modules: Sequence[ModuleEntry]) -> OwnCode | None:
    """jina-embeddings-v3, whose adapters are inside of the weights.

    Source: configuration_xlm_roberta.py, modeling_xlm_roberta.py and modeling_lora.py of
    jinaai/xlm-roberta-flash-implementation; transformers' conversion of its weights.
    """
    if any(config.get(key) not in allowed for key, allowed in _V3_MUST_BE.items()):
        return None
    if not all(module.is_own for module in modules[1:]):
        return None
    for key in _V3_NEEDED:
        checked(config.get(key), _Quantity)
    base = checked(config.get("rotary_emb_base"), _Base)
    native = {key: config[key] for key in _V3_KEYS if key in config}
    native |= {
        "model_type": "jina_embeddings_v3",
        "architectures": ["JinaEmbeddingsV3Model"],
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
    }
    entries = (own_module("Transformer", ""), *modules[1:])
    return OwnCode(
        written={_CONFIG: native, "modules.json": listed(entries)},
        modules=entries,
        tasks=_tasks(config.get("lora_adaptations")),
        inner=LoraSettings(
            rank=checked(config.get("lora_rank"), Rank),
            alpha=checked(config.get("lora_alpha"), Alpha),
        ),
    )


def _v5(config: Mapping[str, Any], modules: Sequence[ModuleEntry]) -> OwnCode | None:
    """jina-embeddings-v5-text, whose adapters are PEFT's, in the folder `adapters`.

    Its code is Qwen3 (-small) or EuroBERT (-nano), takes the last token's vector, and normalizes.

    Source: custom_st.py and modeling_jina_embeddings_v5.py of -nano, which are those of -small with
    another base class; vLLM's jina.py tells them apart by is_decoder.
    """
    if len(modules) != 1:
        return None
    name = "EuroBertModel" if config.get("is_decoder") is False else "Qwen3Model"
    native = {
        key: value for key, value in config.items() if key not in ("auto_map", "task_names")
    } | {"model_type": name.removesuffix("Model").lower(), "architectures": [name]}
    length = checked(config.get("max_position_embeddings"), _Length)
    entries = (
        own_module("Transformer", ""),
        own_module("Pooling", "1_Pooling"),
        own_module("Normalize", "2_Normalize"),
    )
    pooling = {
        "word_embedding_dimension": checked(config.get("hidden_size"), _Length),
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_lasttoken": True,
        "include_prompt": True,
    }
    return OwnCode(
        written={
            _CONFIG: native,
            "modules.json": listed(entries),
            _LENGTH_FILE: {"max_seq_length": length, "do_lower_case": False},
            "1_Pooling/config.json": pooling,
        },
        modules=entries,
        tasks=_tasks(config.get("task_names")),
        max_seq_length=length,
    )


def _tasks(names: Any) -> tuple[str, ...]:
    """Returns the names of tasks; raises WrongValueError if they are no plain, different names."""
    found = tuple(checked(names, _Tasks))
    if len(set(found)) < len(found):
        raise WrongValueError("", "it has a name twice")
    return found
