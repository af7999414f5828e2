"""Every text model that transformers has, tiny and random, as a plain transformers folder."""

from pathlib import Path
from typing import Any

from support import zoo

_SMALL = {
    "vocab_size": zoo.VOCAB_SIZE, "vocab_size_per_layer_input": zoo.VOCAB_SIZE,
    "pad_token_id": zoo.PAD_ID, "bos_token_id": zoo.BOS_ID, "eos_token_id": zoo.EOS_ID,
    "decoder_start_token_id": zoo.PAD_ID,
}  # fmt: skip
# What configurations call their sizes, and how small they can be.
_SIZES = {
    32: ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim", "embedding_size", "emb_dim",
         "projection_dim", "d_embed", "width", "attention_hidden_size", "lru_width",
         "hidden_size_per_layer_input"),
    2: ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers",
        "decoder_layers", "num_encoder_layers", "num_decoder_layers", "num_hidden_groups",
        "num_blocks", "depth", "num_key_value_heads", "num_global_key_value_heads",
        "num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "n_group",
        "index_n_heads"),
    4: ("num_attention_heads", "num_heads", "n_heads", "n_head", "encoder_attention_heads",
        "decoder_attention_heads", "num_experts", "num_local_experts", "n_routed_experts",
        "moe_num_experts"),
    64: ("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "d_inner",
         "n_inner", "ffn_hidden_size", "moe_intermediate_size", "shared_expert_intermediate_size"),
    1: ("topk_group",),
    8: ("head_dim", "d_kv", "d_head", "global_head_dim", "qk_rope_head_dim", "qk_nope_head_dim",
        "v_head_dim", "rotary_dim", "linear_head_dim", "linear_key_head_dim",
        "linear_value_head_dim", "index_head_dim", "mamba_d_head", "mamba_head_dim"),
    16: ("kv_lora_rank", "q_lora_rank", "o_lora_rank", "mamba_d_state", "state_size",
         "ssm_state_size"),
    # An index of keys takes as many as a text has: with fewer, equal scores are decided at random.
    zoo.MAX_POSITIONS: ("max_position_embeddings", "n_positions", "max_source_positions",
                        "max_target_positions", "max_seq_len", "index_topk"),
}  # fmt: skip
_MULTIMODAL_ROTARY = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
}
_MAMBA = {"mamba_n_heads": 8, "mamba_n_groups": 1}
# Layers that see a whole text have larger heads.
_GEMMA4 = {"per_layer_config": {"1": {"head_dim": 16}}}
#: What else an architecture needs to be small, where its sizes depend on each other.
_MORE: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "dbrx": {
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0},
        "num_key_value_heads": 2,
        "ffn_config": {"hidden_size": 32, "moe_top_k": 2},
    },
    "dory": {"n_input_layers": 1, "n_recurrent_layers": 1, "n_output_layers": 0},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots3_note_text": {
        "num_key_value_heads": 4, "head_dim": 16, "per_layer_config": {"1": {"head_dim": 16}}
    },
    "embedding_gemma2_text": {
        "per_layer_config": {"1": {"head_dim": 16, "num_key_value_heads": 1}}
    },
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64, "mamba_chunk_size": 16},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "architectures": ["FunnelModel"]},
    "gemma3n_text": {
        "num_kv_shared_layers": 0, "intermediate_size": [64, 64],
        "activation_sparsity_pattern": [0.5, 0.0],
    },
    "gemma4_text": _GEMMA4,
    "gemma4_unified_text": _GEMMA4,
    "glm4v_moe_text": {
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
            "mrope_section": [1, 1, 0],
        }
    },
    "glm4v_text": _MULTIMODAL_ROTARY,
    "glm5_next_text": {"num_key_value_heads": 4},
    "glm_image_text": _MULTIMODAL_ROTARY,
    "glm_ocr_text": _MULTIMODAL_ROTARY,
    "gpt_neo": {
        "attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"],
        "window_size": 8,
    },
    "granitemoehybrid": {**_MAMBA, "layer_types": ["linear_attention", "full_attention"]},
    "hrm_text": {"num_layers_per_stack": 1, "num_hidden_layers": 8},
    "hunyuan_vl_text": _MULTIMODAL_ROTARY,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "laguna": {"num_attention_heads_per_layer": [4, 4]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lilt": {"hidden_size": 48},
    "longcat_flash": {
        "expert_ffn_hidden_size": 64, "zero_expert_num": 2, "qk_head_dim": 16,
    },
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 16},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "mistral4": {"head_dim": 16},
    "neomme": {"head_dim": 16, "per_layer_config": {"1": {"sliding_window": None}}},
    "nemotron": {"num_key_value_heads": 2},
    "qwen2_5_vl_text": _MULTIMODAL_ROTARY,
    "qwen2_vl_text": _MULTIMODAL_ROTARY,
    "qwen4_exp_text": {
        # With few heads, several blocks of keys have the score of zero, of which torch takes any.
        "indexer_n_heads": 16, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16,
        "indexer_compress_ratio": 2, "ple_layer_ids": [1], "ngram_vocab_size_base": 100,
        "eos_token_id": 2,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (8, 16)},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "num_blocks": 2},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "attention_hidden_size": 64, "attention_head_dim": 16, "mamba_dt_rank": 4,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"], "num_hidden_layers": 3,
    },
    "zamba2": {
        "n_mamba_heads": 8, "mamba_headdim": 8, "mamba_ngroups": 1, "attention_hidden_size": 64,
        "attention_head_dim": 16, "layers_block_type": ["linear_attention", "hybrid"],
        "hybrid_layer_ids": [1],
    },
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
_MOST_PARAMETERS = 30_000_000


def text_model_types() -> list[str]:
    """Returns the model types whose class reads token ids, and no images or sound."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    found = []
    for model_type, names in MODEL_MAPPING_NAMES.items():
        name = names if isinstance(names, str) else names[0]
        try:
            model = getattr(transformers, name)
            reads, main_input = model.input_modalities, model.main_input_name
        except Exception:  # noqa: BLE001 - it needs a library that is not there
            continue
        if main_input == "input_ids" and reads in ("text", ("text",), ["text"]):
            found.append(model_type)
    return sorted(found)


def config_of(model_type: str) -> Any:
    """Returns a configuration as small as the architecture allows, with each kind of layer."""
    import transformers

    config = transformers.AutoConfig.for_model(model_type)
    _shrink(config)
    for name, value in _MORE.get(model_type, {}).items():
        part = vars(config).get(name)  # an attribute may be one per layer, and refuse to be read
        if hasattr(part, "to_dict"):
            for inner, inner_value in value.items():
                setattr(part, inner, inner_value)
        else:
            setattr(config, name, value)
    return config


class Unbuilt(Exception):  # noqa: N818 - names what the model is
    """No small model can be made without knowing more of it; the message says why."""


def build(model_type: str, folder: Path, gain: float | None = None, **settings: Any) -> Path | None:
    """Builds a model as make() does; returns None where it cannot."""
    try:
        return make(model_type, folder, gain, **settings)
    except Unbuilt:
        return None


def make(model_type: str, folder: Path, gain: float | None = None, **settings: Any) -> Path:
    """Builds a model.

    Args:
        gain: Redraws the weights, as zoo.Recipe; None keeps those of transformers.
        settings: Of the configuration, instead of small ones.

    Raises:
        Unbuilt: transformers has no small one of these sizes.
    """
    import torch
    import transformers

    try:
        config = config_of(model_type)
        for name, value in settings.items():
            setattr(config, name, value)
        with torch.device("meta"):
            size = sum(p.numel() for p in transformers.AutoModel.from_config(config).parameters())
        if size > _MOST_PARAMETERS:
            raise Unbuilt(f"the smallest one has {size // 10**6} million parameters")
        model = transformers.AutoModel.from_config(config)
        if gain is not None:
            zoo.randomize(model, zoo.Recipe(gain=gain), seed=0)
        folder.mkdir(parents=True)
        model.save_pretrained(folder)
    except Unbuilt:
        raise
    except Exception as error:
        raise Unbuilt(f"{type(error).__name__}: {error}") from error
    zoo.save_tokenizer(folder, "right", False, 64)
    return folder


def _shrink(config: Any) -> None:
    """Sets all sizes that a configuration has, and those of its parts."""
    for name, part in list(vars(config).items()):
        if hasattr(part, "to_dict"):
            _shrink(part)
        elif name in _SMALL:
            setattr(config, name, _SMALL[name])
    for value, names in _SIZES.items():
        for name in names:
            found = vars(config).get(name, 0)
            if (isinstance(found, int) and found) or (name == "head_dim" and found is None):
                setattr(config, name, value)
    if "kv_lora_rank" in vars(config):  # latent attention has as many keys as queries
        config.num_key_value_heads = 4
    kinds = _layers_of_each_kind(config)
    if kinds:
        config.num_hidden_layers = len(kinds)
    layers = getattr(config, "num_hidden_layers", 2)
    for name, value in list(vars(config).items()):
        if name == "layer_types" and kinds:
            config.layer_types = kinds
        elif isinstance(value, list) and name.endswith(("attn_layers", "_types", "block_type")):
            setattr(config, name, value[:layers])
    rotary = vars(config).get("rope_parameters")
    if isinstance(rotary, dict) and "mrope_section" in rotary:
        config.rope_parameters = {**rotary, "mrope_section": [2, 1, 1]}


def _layers_of_each_kind(config: Any) -> list[str]:
    """Returns one layer of each kind, two at least, in the order in which a model has them."""
    kinds = vars(config).get("layer_types")
    if not isinstance(kinds, list) or not kinds:
        return []
    found = list(dict.fromkeys(kinds))
    return found if len(found) > 1 else found * 2
