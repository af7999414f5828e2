"""The table of config.json: the figures of a transformer, and the names of its parts.

Numbers and flags are allowed for any key, because they name nothing. Text is allowed only for the
keys below, as a bare word.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from embconvert.source.settings.rules import (
    FOR_IMAGES,
    NAMES_CODE,
    PLAIN_OTHERS,
    Setting,
    SettingsTable,
    Use,
    each,
    ignored,
    nested,
    read,
    refused,
)
from embconvert.source.settings.values import (
    Flag,
    Number,
    PlainValue,
    Text,
    TokenizerClass,
    Word,
    Words,
)

_MAX_LABELS = 100_000
_ELSEWHERE = "names a file or a repository elsewhere"

#: Names in transformers' ACT2FN are bare words; a name with a dot would be imported.
_ACTIVATIONS = (
    "act_fn", "activation", "activation_fn", "activation_function", "adapter_act", "afn",
    "classifier_activation", "conv_activation", "conv_norm_activation", "csp_activation",
    "decoder_activation", "decoder_activation_function", "decoder_hidden_act", "dense_act_fn",
    "depth_decoder_activation", "encoder_activation_function", "encoder_feedforward_activation",
    "encoder_hidden_act", "feat_extract_activation", "feed_forward_proj", "ff_activation",
    "gelu_activation", "hidden_act", "hidden_activation", "hidden_mamba_act", "mamba_hidden_act",
    "mask_downsampler_hidden_act", "memory_attention_feed_forward_hidden_act",
    "memory_attention_mlp_hidden_act", "memory_fuser_hidden_act", "mlp_activation_function",
    "mlp_hidden_act", "nemo_activation", "pooler_act", "pooler_hidden_act", "projection_hidden_act",
    "projector_hidden_act", "prompt_hidden_act", "readout_activation",
    "segmentation_head_activation_function", "speech_encoder_hidden_act", "stem_act_func",
    "summary_activation",
)  # fmt: skip

#: Names of variants, which transformers looks up in its own lists.
_CHOICES = (
    "aggregation_labels", "alpha_initializer", "alpha_type", "approx_mode",
    "attention_type", "attention_types", "attn_layers", "attn_type", "attractor_kind",

    "average_approximation_function", "bin_centers_type", "bins_strategy", "block_types",
    "chunkwise_kernel", "class_distance_type", "classifier_pooling", "compress_rates",
    "conv_glu_type",
    "cross_attention_shape_for_attention", "ctc_loss_reduction", "decoder_method",
    "default_language", "depth_estimation_type", "distribution_output", "downsample_mode",
    "downsample_rate", "encoder_attention_type", "encoder_fuse_op", "encoder_type",
    "expert_selection_fn", "feat_extract_norm", "force_dequant", "fusion_type", "gating",
    "global_padding", "gnn_layers_types", "head_aggregation", "indexer_types",
    "init_device", "interpolate_mode", "langs", "languages", "layer_type",
    "layer_types", "layers_block_type", "link_tower_type", "logit_scale", "loss", "loss_reduction",
    "mamba_d_head", "mamba_dt_rank", "mask_type", "mlp_layer_types",
    "mode", "mtp_layer_types", "mtp_layers_block_type", "mtp_mlp_layer_types", "norm", "norm_mlp",
    "norm_rel_ebd", "norm_strategy", "norm_type", "normalization_type", "offsets",
    "output_gate_type", "pad_mode", "padding_mode", "patching_mode", "pooling", "pooling_type",
    "pos_att_type", "position_embedding_type", "position_embeddings_type",
    "positional_encoding_type", "qk_norm_type", "qkv_projection_method", "readout_type",
    "recurrent_kv_cache_mode",
    "resi_connection", "scaling", "scoring_func", "second_expert_policy",
    "sequence_kernel", "shared_expert_combination_strategy", "sliding_window_pattern",
    "spatial_pool_mode", "stem_type", "step_kernel", "summary_type", "time_step_init_scheme",
    "time_step_rank", "topk_method",
    "upsampler", "use_bidirectional_attention", "vision_aspect_ratio",
    "vision_feature_select_strategy", "visual_prompter_apply", "visual_prompter_type",
    "weight_mode",
)  # fmt: skip

#: Settings of parts of the model that are transformers themselves.
_PARTS = (
    "acoustic_model_config", "acoustic_tokenizer_encoder_config", "adaptor_config", "asr_config",
    "atom_encoder", "attn_config", "audio_config", "audio_encoder", "audio_encoder_config",
    "audio_video_config", "backbone_config", "bigvgan_config", "coarse_acoustics_config",
    "code2wav_config", "codec_config", "confidence_head", "dac_config", "decoder",
    "decoder_config", "depth_decoder_config", "detector_config", "detr_decoder_config",
    "detr_encoder_config", "diarization_config", "diffusion_head_config", "dit_config", "encoder",
    "encoder_config", "esmc_config", "esmfold_config", "ffn_config", "fine_acoustics_config",
    "flow_head_config", "fov_model_config", "generator", "geometry_encoder_config",
    "global_config", "head_config", "high_res_vision_config", "image_codebook_config",
    "image_config", "image_model_config", "intraclass_block_config", "keypoint_detector_config",
    "lm_encoder", "mask_decoder_config", "model_config", "msa_encoder", "multimodal_config",
    "patch_model_config", "patcher_config", "perceiver_config", "projector_config",
    "prompt_encoder_config", "protein_encoder_config", "qformer_config", "question_encoder",
    "reading_order_config", "sam_config", "semantic_config", "semantic_model_config",
    "semantic_tokenizer_encoder_config", "speech_config", "streaming_config", "structure_head",
    "talker_config", "text_config", "text_encoder", "thinker_config", "token2wav_config",
    "tracker_config", "video_config", "vision_config", "vlm_config", "vocoder_config",
    "vq_config", "word_timestamp_config",
)  # fmt: skip

#: Allowed classes in an activation's import path.
ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU",
    "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softplus",
    "Softsign", "Tanh", "Tanhshrink",
)  # fmt: skip
_ACTIVATION_PATHS = ("torch.nn.", "torch.nn.modules.activation.", "torch.nn.modules.linear.")


def _activation(path: str) -> str:
    for prefix in _ACTIVATION_PATHS:
        if path.startswith(prefix) and path.removeprefix(prefix) in ACTIVATIONS:
            # A single path per class: not every class is in every module.
            return f"torch.nn.{path.removeprefix(prefix)}"
    raise ValueError(f"{path} is remote code; activations can be torch.nn.{', '.join(ACTIVATIONS)}")


#: Import path of an activation.
ActivationName = Annotated[str, StringConstraints(max_length=200), AfterValidator(_activation)]
#: Number of labels; transformers creates a name for each.
LabelCount = Annotated[int, Field(ge=0, le=_MAX_LABELS)]
#: transformers' own attention implementations; other names are kernels on the hub.
AttentionName = Literal[
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"
]  # fmt: skip

_BASE: dict[str, Setting] = {
    "model_type": read(Word),
    "architectures": read(list[Word]),
    "id2label": read(dict[str, Text | Number]),
    "label2id": read(dict[str, Text | Number]),
    "problem_type": read(Word),
    **each(read(Flag), "is_encoder_decoder output_hidden_states return_dict"),
    "chunk_size_feed_forward": ignored("only saves memory, and fails at most lengths of texts"),
    **each(read(Words), """
        rope_parameters rope_scaling relative_bias_args per_layer_config mtp_per_layer_config
    """),
    "tokenizer_class": read(TokenizerClass),
    "base_model_name_or_path": refused(f"{_ELSEWHERE}; a model may only use its own files"),
    "_attn_implementation": read(AttentionName, "embconvert loads every model with `eager`"),
    "_attn_implementation_internal": read(AttentionName),
    "attn_implementation": read(AttentionName),
    **each(ignored("is chosen by embconvert"), """
        experts_implementation _experts_implementation _experts_implementation_internal
    """),
    "num_labels": read(LabelCount),
    **dict.fromkeys(
        ("autocast_kernel_dtype", "inference_state_dtype", "mamba_ssm_cache_dtype", "router_dtype"),
        # transformers looks up the name in torch.
        read(Literal["float32", "float16", "bfloat16"]),
    ),
    # One letter per layer.
    **each(read(Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*|+-]{0,10000}$")]), """
        hybrid_override_pattern mtp_hybrid_override_pattern index_topk_pattern
    """),
    "vocab_list": read(list[Text]),
    **each(ignored(FOR_IMAGES), """
        vocabulary_map speaker_id flow_type diffusion_module adapter_config _out_features
        out_features backbone use_pretrained_backbone use_timm_backbone backbone_kwargs model_args
        architecture pretrained_cfg image_processor_type feature_extractor_type bin_configurations
        detectron2_config_args
    """),
    "projector_patch_to_query_dict": read(PlainValue),
    "attribute_map": refused("renames settings, which could hide them"),
    "configuration_files": refused("names another configuration file"),
    "fusion_config": ignored("changes transformers itself"),
    **each(ignored(NAMES_CODE), "kernel_config auto_map custom_pipelines"),
    "distributed_config": ignored("is for distributed computation"),
    **each(ignored("is for text generation"), "generation_config task_specific_params prefix"),
    "sbert_ce_default_activation_function": Setting(
        use=Use.READ, kind=ActivationName, unsupported=True
    ),
    "sentence_transformers": nested(
        SettingsTable(
            title="Settings of CrossEncoder",
            keys={
                "activation_fn": Setting(use=Use.READ, kind=ActivationName, unsupported=True),
                "version": ignored("is the version of the writer"),
            },
        )
    ),
    "dtype": ignored("embconvert loads every model in float32"),
    "torch_dtype": ignored("embconvert loads every model in float32"),
    "transformers_version": ignored("is the version of the writer"),
    **each(ignored("is the origin of the files"), "_name_or_path name_or_path _commit_hash"),
    "processor_class": ignored("names a processor of images or audio"),
    "classifier_from_token": read(list[Text], "the words whose logits are a score, as for vLLM"),
    "method": Setting(use=Use.READ, kind=Word, why="how they are one score", lenient=True),
    "finetuning_task": ignored("is about training"),
    "transformers.js_config": ignored("is for another program"),
    "image_size": read(PlainValue),
    **each(ignored("is for another kind of model"), "tokenize_function doc_sep title_sep"),
    **each(ignored(_ELSEWHERE), """
        dataset dataset_revision dataset_split index_name index_path passages_path
    """),
    "transformers_weights": refused("names the weights file, which may be a pickle"),
    "gguf_file": refused("names the weights file"),
    "quantization_config": refused(
        "declares weights that are already quantized, by a library that embconvert does not "
        "have; use the original model",
        unsupported=True,
    ),
    "compression_config": refused("declares compressed weights", unsupported=True),
}  # fmt: skip


def _config() -> SettingsTable:
    keys = dict(_BASE)
    patterns: dict[str, Setting] = {}
    table = SettingsTable(
        title="The transformer's configuration", keys=keys, patterns=patterns, others=PLAIN_OTHERS
    )
    # For example text_config_dict of CLIP, which is merged into text_config.
    patterns["[a-z0-9_]+_config(_dict)?"] = nested(table)
    # transformers sets unknown keys as attributes, and __dict__ would replace all of them.
    patterns["(?s)__.*"] = ignored("is Python's own")
    for name in (*_ACTIVATIONS, *_CHOICES):
        keys.setdefault(name, read(Words))
    for name in _PARTS:
        keys[name] = nested(table)
    return table


#: config.json of a transformer; the settings of parts have the same table.
CONFIG: SettingsTable = _config()
