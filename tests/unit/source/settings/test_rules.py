"""Settings of models that people use pass the tables: nothing needed is lost, nothing is refused.

The values are those of the public files, abridged of figures that need no thought; each has its
origin beside it.
"""

from typing import Any

import pytest

from embconvert.errors import EmbconvertError, SourceError
from embconvert.source.settings.files import TABLES
from embconvert.source.settings.modules import MODULES, WHOLE_MODEL
from embconvert.source.settings.rules import SettingsTable, Use, filtered
from embconvert.source.settings.transformer_module import TRANSFORMER

_CONFIG: dict[str, dict[str, Any]] = {
    # sentence-transformers/all-MiniLM-L6-v2; BAAI/bge-small-en-v1.5 and intfloat/e5-* are alike
    "all-MiniLM-L6-v2": {
        "_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 384, "initializer_range": 0.02,
        "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
        "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 6, "pad_token_id": 0,
        "position_embedding_type": "absolute", "transformers_version": "4.8.2",
        "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522, "classifier_dropout": None,
        "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "torch_dtype": "float32",
    },
    # sentence-transformers/LaBSE
    "LaBSE": {
        "architectures": ["BertModel"], "directionality": "bidi", "hidden_act": "gelu",
        "hidden_size": 768, "model_type": "bert", "pooler_fc_size": 768,
        "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3,
        "pooler_size_per_head": 128, "pooler_type": "first_token_transform", "vocab_size": 501153,
    },
    # BAAI/bge-m3; intfloat/multilingual-e5-base has output_past, too
    "bge-m3": {
        "architectures": ["XLMRobertaModel"], "bos_token_id": 0, "eos_token_id": 2,
        "hidden_act": "gelu", "hidden_size": 1024, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 8194, "model_type": "xlm-roberta", "output_past": True,
        "pad_token_id": 1, "position_embedding_type": "absolute", "torch_dtype": "float32",
        "type_vocab_size": 1, "use_cache": True, "vocab_size": 250002, "_name_or_path": "",
    },
    # nomic-ai/nomic-embed-text-v1.5
    "nomic-embed-text-v1.5": {
        "activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        },
        "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0,
        "eos_token_id": None, "fused_bias_fc": True, "fused_dropout_add_ln": True,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-12, "max_trained_positions": 2048,
        "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert", "n_embd": 768,
        "n_head": 12, "n_inner": 3072, "n_layer": 12, "n_positions": 8192,
        "pad_vocab_size_multiple": 64, "parallel_block": False, "parallel_block_tied_norm": False,
        "prenorm": False, "qkv_proj_bias": False, "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None, "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True, "summary_activation": None, "summary_first_dropout": 0.0,
        "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
        "type_vocab_size": 2, "use_flash_attn": True, "use_rms_norm": False, "use_xentropy": True,
        "vocab_size": 30528,
    },
    # Alibaba-NLP/gte-multilingual-base
    "gte-multilingual-base": {
        "architectures": ["NewModel", "NewForTokenClassification"], "hidden_act": "gelu",
        "hidden_size": 768, "id2label": {"0": "LABEL_0"}, "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False, "logn_attention_scale": False, "model_type": "gte",
        "pack_qkv": True, "position_embedding_type": "rope", "rope_theta": 20000,
        "rope_scaling": {"factor": 8.0, "type": "ntk"}, "torch_dtype": "float16",
        "unpad_inputs": "true", "use_memory_efficient_attention": "true", "vocab_size": 250048,
    },
    # jinaai/jina-embeddings-v3-hf
    "jina-embeddings-v3-hf": {
        "architectures": ["JinaEmbeddingsV3Model"], "hidden_act": "gelu",
        "lora_adaptations": [
            "retrieval.query", "retrieval.passage", "separation", "classification", "text-matching",
        ],
        "lora_alpha": 1, "lora_dropout_p": 0.0, "lora_main_params_trainable": False,
        "lora_rank": 4, "matryoshka_dimensions": [32, 64, 128, 256, 512, 768, 1024],
        "model_type": "jina_embeddings_v3", "position_embedding_type": "rotary",
        "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"},
        "task_instructions": {
            "retrieval.query": "Represent the query for retrieving evidence documents: ",
        },
        "truncate_dim": None, "use_flash_attn": True, "vocab_size": 250002,
    },
    # google/embeddinggemma-300m
    "embeddinggemma-300m": {
        "_sliding_window_pattern": 6, "architectures": ["Gemma3TextModel"],
        "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": None,
        "bos_token_id": 2, "dtype": "float32", "eos_token_id": 1, "final_logit_softcapping": None,
        "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 768,
        "layer_types": ["sliding_attention", "full_attention"], "model_type": "gemma3_text",
        "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0, "rope_scaling": None, "rope_theta": 1000000.0,
        "sliding_window": 257, "use_bidirectional_attention": True, "vocab_size": 262144,
    },
    # Qwen/Qwen3-Embedding-0.6B; tomaarsen/Qwen3-Reranker-0.6B-seq-cls is alike
    "Qwen3-Embedding-0.6B": {
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "bos_token_id": 151643,
        "eos_token_id": 151643, "head_dim": 128, "hidden_act": "silu", "max_window_layers": 28,
        "model_type": "qwen3", "rope_scaling": None, "rope_theta": 1000000,
        "sliding_window": None, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "use_cache": True, "use_sliding_window": False, "vocab_size": 151669,
        "max_position_embeddings": 32768, "num_key_value_heads": 8, "is_causal": False,
    },
    # Alibaba-NLP/gte-modernbert-base; jhu-clsp/mmBERT and ibm-granite r2 are alike
    "gte-modernbert-base": {
        "architectures": ["ModernBertModel"], "classifier_activation": "gelu",
        "classifier_bias": False, "classifier_dropout": 0.0, "classifier_pooling": "mean",
        "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
        "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "gradient_checkpointing":
        False, "hidden_activation": "gelu", "local_attention": 128, "local_rope_theta": 10000.0,
        "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "pad_token_id": 50283,
        "position_embedding_type": "absolute", "reference_compile": None, "repad_logits_with_grad":
        False, "sparse_pred_ignore_index": -100, "sparse_prediction": False, "vocab_size": 50368,
        "layer_norm_eps": 1e-05,
    },
    # microsoft/deberta-v3-base, of which mixedbread-ai/mxbai-rerank-base-v1 is made
    "deberta-v3-base": {
        "model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
        "max_relative_positions": -1, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
        "share_att_key": True, "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-07,
        "position_biased_input": False, "relative_attention": True, "pooler_dropout": 0,
        "pooler_hidden_act": "gelu", "pooler_hidden_size": 768, "legacy": True,
        "type_vocab_size": 0, "vocab_size": 128100, "id2label": {"0": "LABEL_0"},
        "architectures": ["DebertaV2ForSequenceClassification"],
    },
    # sentence-transformers/gtr-t5-base and sentence-t5-base
    "gtr-t5-base": {
        "architectures": ["T5EncoderModel"], "d_ff": 3072, "d_kv": 64, "d_model": 768,
        "decoder_start_token_id": 0, "dense_act_fn": "relu", "dropout_rate": 0.1,
        "feed_forward_proj": "relu", "initializer_factor": 1.0, "is_encoder_decoder": True,
        "is_gated_act": False, "layer_norm_epsilon": 1e-06, "model_type": "t5",
        "n_positions": 512, "num_decoder_layers": 12, "output_past": True,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
        "task_specific_params": {"summarization": {"prefix": "summarize: ", "num_beams": 4}},
        "use_cache": True, "vocab_size": 32128,
    },
    # cross-encoder/ms-marco-MiniLM-L6-v2
    "ms-marco-MiniLM-L6-v2": {
        "architectures": ["BertForSequenceClassification"], "hidden_act": "gelu",
        "model_type": "bert", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
        "sentence_transformers": {
            "activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0.dev0",
        },
    },
    # cross-encoder/stsb-roberta-base, before version 4
    "stsb-roberta-base": {
        "architectures": ["RobertaForSequenceClassification"], "model_type": "roberta",
        "sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid",
    },
    # BAAI/bge-reranker-v2-m3
    "bge-reranker-v2-m3": {
        "architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta",
        "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"},
        "problem_type": None, "finetuning_task": None, "num_labels": 1,
    },
    # colbert-ir/colbertv2.0
    "colbertv2.0": {
        "architectures": ["HF_ColBERT"], "hidden_act": "gelu", "model_type": "bert",
        "_name_or_path": "../../../../msmarco.psg.kldR2.nway64.ib__colbert-400000",
    },
    # sentence-transformers/distiluse-base-multilingual-cased-v2
    "distiluse": {
        "activation": "gelu", "architectures": ["DistilBertModel"], "dim": 768, "dropout": 0.1,
        "hidden_dim": 3072, "model_type": "distilbert", "n_heads": 12, "n_layers": 6,
        "output_hidden_states": True, "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False, "tie_weights_": True, "vocab_size": 119547,
    },
    # sentence-transformers/all-mpnet-base-v2
    "all-mpnet-base-v2": {
        "architectures": ["MPNetForMaskedLM"], "model_type": "mpnet", "hidden_act": "gelu",
        "relative_attention_num_buckets": 32, "vocab_size": 30527, "layer_norm_eps": 1e-05,
    },
    # dangvantuan/sentence-camembert-base
    "sentence-camembert-base": {
        "architectures": ["CamembertModel"], "model_type": "camembert", "output_past": True,
        "hidden_act": "gelu", "vocab_size": 32005,
    },
    # what transformers saves of any mpt
    "mpt": {
        "architectures": ["MptModel"], "model_type": "mpt", "d_model": 32, "n_heads": 4,
        "attn_config": {"alibi": True, "attn_type": "multihead_attention", "model_type": ""},
    },
    # jinaai/jina-embeddings-v2-small-en has a native class by another name, and ALiBi
    "snowflake-arctic-embed-l-v2.0": {
        "architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_act": "gelu",
        "matryoshka_dimensions": [256],
    },
}  # fmt: skip


_TOKENIZERS: dict[str, dict[str, Any]] = {
    # sentence-transformers/all-MiniLM-L6-v2
    "all-MiniLM-L6-v2": {
        "do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
        "cls_token": "[CLS]", "mask_token": "[MASK]", "tokenize_chinese_chars": True,
        "strip_accents": None, "name_or_path": "nreimers/MiniLM-L6-H384-uncased",
        "do_basic_tokenize": True, "never_split": None, "tokenizer_class": "BertTokenizer",
        "model_max_length": 512, "special_tokens_map_file": "/root/.cache/special_tokens_map.json",
    },
    # mixedbread-ai/mxbai-embed-large-v1, as tokenizers saved since 2024
    "mxbai-embed-large-v1": {
        "added_tokens_decoder": {
            "0": {
                "content": "[PAD]", "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True,
            },
        },
        "additional_special_tokens": [], "clean_up_tokenization_spaces": True, "max_length": 512,
        "pad_to_multiple_of": None, "pad_token_type_id": 0, "padding_side": "right",
        "stride": 0, "truncation_side": "right", "truncation_strategy": "longest_first",
        "tokenizer_class": "BertTokenizer", "model_max_length": 512, "extra_special_tokens": {},
    },
    # BAAI/bge-m3
    "bge-m3": {
        "bos_token": "<s>", "sp_model_kwargs": {}, "tokenizer_class": "XLMRobertaTokenizer",
        "mask_token": {
            "__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": True,
            "rstrip": False, "single_word": False,
        },
        "model_max_length": 8192,
    },
    # google/embeddinggemma-300m
    "embeddinggemma-300m": {
        "add_bos_token": True, "add_eos_token": True, "boi_token": "<start_of_image>",
        "extra_special_tokens": {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        "model_max_length": 2048, "padding_side": "right", "processor_class": "Gemma3Processor",
        "sp_model_kwargs": None, "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer", "use_default_system_prompt": False,
    },
    # Qwen/Qwen3-Embedding-0.6B
    "Qwen3-Embedding-0.6B": {
        "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "errors": "replace",
        "chat_template": "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n{%- endif %}",
        "clean_up_tokenization_spaces": False, "model_max_length": 131072,
        "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
    },
    # answerdotai/ModernBERT-base
    "ModernBERT-base": {
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 8192,
        "tokenizer_class": "PreTrainedTokenizerFast",
    },
    # microsoft/deberta-v3-base
    "deberta-v3-base": {
        "do_lower_case": False, "vocab_type": "spm", "split_by_punct": False,
        "tokenizer_class": "DebertaV2Tokenizer", "sp_model_kwargs": {},
        "model_max_length": 1000000000000000019884624838656,
    },
    # sentence-transformers/gtr-t5-base
    "gtr-t5-base": {
        "eos_token": "</s>", "extra_ids": 100, "additional_special_tokens": ["<extra_id_0>"],
        "tokenizer_class": "T5Tokenizer", "legacy": True, "model_max_length": 512,
    },
    # transformers 5 itself
    "saved by transformers 5": {
        "backend": "tokenizers", "is_local": False, "tokenizer_class": "TokenizersBackend",
        "local_files_only": False, "model_specific_special_tokens": {"boi_token": "<boi>"},
        "extra_special_tokens": ["<a>"],
    },
    # answerdotai/answerai-colbert-small-v1
    "answerai-colbert-small-v1": {
        "max_length": 510, "model_max_length": 512, "tokenizer_class": "BertTokenizer",
        "padding_side": "right", "do_lower_case": True,
    },
}  # fmt: skip

_WHOLE: dict[str, dict[str, Any]] = {
    # sentence-transformers/all-MiniLM-L6-v2
    "all-MiniLM-L6-v2": {
        "__version__": {
            "sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1",
        },
    },
    # google/embeddinggemma-300m
    "embeddinggemma-300m": {
        "model_type": "SentenceTransformer", "__version__": {"pytorch": "2.8.0+cu128"},
        "prompts": {"query": "task: search result | query: ", "document": "title: none | text: "},
        "default_prompt_name": None, "similarity_fn_name": "cosine",
    },
    # lightonai/GTE-ModernColBERT-v1, by PyLate
    "GTE-ModernColBERT-v1": {
        "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
        "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 32,
        "document_length": 300, "attend_to_expansion_tokens": False, "skiplist_words": ["!", '"'],
        "do_query_expansion": True, "__version__": {"sentence_transformers": "4.0.2"},
    },
    # naver/splade-v3
    "splade-v3": {
        "model_type": "SparseEncoder", "similarity_fn_name": "dot", "max_active_dims": None,
        "prompts": {"query": "", "document": ""}, "default_prompt_name": None,
    },
}  # fmt: skip

_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "all-MiniLM-L6-v2": {"max_seq_length": 256, "do_lower_case": False},
    # sentence-transformers 5.4 and later
    "saved by sentence-transformers 6": {
        "transformer_task": "feature-extraction",
        "modality_config": {
            "text": {"method": "forward", "method_output_name": "last_hidden_state"},
        },
        "module_output_name": "token_embeddings",
    },
    "saved for sparse models": {
        "transformer_task": "fill-mask",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        "module_output_name": "token_embeddings", "max_seq_length": 512, "do_lower_case": False,
    },
}  # fmt: skip

_MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    # sentence-transformers/LaBSE
    "LaBSE's Dense": (
        "Dense",
        {
            "in_features": 768, "out_features": 768, "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    ),
    # sentence-transformers/gtr-t5-base
    "gtr-t5-base's Dense": (
        "Dense",
        {
            "in_features": 768, "out_features": 768, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    ),
    # lightonai/GTE-ModernColBERT-v1
    "PyLate's Dense": (
        "Dense",
        {
            "in_features": 768, "out_features": 128, "bias": False, "use_residual": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    ),
    # hkunlp/instructor-base
    "instructor's Pooling": (
        "Pooling",
        {
            "word_embedding_dimension": 768, "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False, "include_prompt": False,
            "pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": False,
        },
    ),
    # naver/splade-v3
    "splade-v3's Pooling": (
        "SpladePooling",
        {
            "pooling_strategy": "max", "activation_function": "relu",
            "word_embedding_dimension": 30522,
        },
    ),
}  # fmt: skip


def check(value: dict[str, Any], table: Any, file: str) -> None:
    found = filtered(value, table, file)
    may_go = {key for key in value if table.setting(key).use is Use.IGNORED}
    missing = {key for key in value if key not in found.value} - may_go
    assert missing == set()
    for key in set(found.value) & set(value):
        if table.setting(key).nested is None and not str(value[key]).startswith("torch."):
            assert found.value[key] == value[key]


#: Text under names that no class of transformers' has: it is not used.
_TEXT_FOR_OTHERS = {
    "LaBSE": ("directionality", "pooler_type"),
    "gte-multilingual-base": (
        "layer_norm_type", "unpad_inputs", "use_memory_efficient_attention",
    ),
    "jina-embeddings-v3-hf": ("lora_adaptations", "task_instructions"),
}  # fmt: skip


@pytest.mark.parametrize("name", _CONFIG)
def test_config(name: str) -> None:
    value = dict(_CONFIG[name])
    filtered(value, TABLES["config.json"], "config.json")  # all of it is accepted
    for key in _TEXT_FOR_OTHERS.get(name, ()):
        del value[key]
    check(value, TABLES["config.json"], "config.json")


@pytest.mark.parametrize("name", _TOKENIZERS)
def test_tokenizer_config(name: str) -> None:
    check(_TOKENIZERS[name], TABLES["tokenizer_config.json"], "tokenizer_config.json")


@pytest.mark.parametrize("name", _WHOLE)
def test_whole_model(name: str) -> None:
    check(_WHOLE[name], WHOLE_MODEL, "config_sentence_transformers.json")


@pytest.mark.parametrize("name", _TRANSFORMERS)
def test_transformer(name: str) -> None:
    check(_TRANSFORMERS[name], TRANSFORMER, "sentence_bert_config.json")


@pytest.mark.parametrize("name", _MODULES)
def test_module(name: str) -> None:
    kind, value = _MODULES[name]
    check(value, MODULES[kind].table, "config.json")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (WHOLE_MODEL, "prompts"),
        (WHOLE_MODEL, "model_type"),
        (MODULES["Pooling"].table, "word_embedding_dimension"),
        (MODULES["Dense"].table, "activation_function"),
        (TRANSFORMER, "modality_config"),
        (TABLES["tokenizer_config.json"], "model_input_names"),
    ],
)
def test_null_is_refused_where_the_libraries_do_not_take_it_for_no_value(
    table: SettingsTable, key: str
) -> None:
    with pytest.raises(EmbconvertError, match=rf"the setting {key} .* should not be null"):
        filtered({key: None}, table, "a.json")


def test_null_is_no_value_elsewhere() -> None:
    for table, key in ((WHOLE_MODEL, "default_prompt_name"), (TRANSFORMER, "max_seq_length"),
                       (MODULES["SpladePooling"].table, "embedding_dimension")):  # fmt: skip
        assert filtered({key: None}, table, "a.json").value == {key: None}


def test_embeddings_are_not_cut_to_nothing() -> None:
    with pytest.raises(SourceError, match=r"truncate_dim .* greater than or equal to 1"):
        filtered({"truncate_dim": 0}, WHOLE_MODEL, "a.json")
