"""What the settings of sentence-transformers may say, file by file and module by module."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from embconvert.source.settings.rules import (
    Setting,
    SettingsTable,
    Use,
    ignored,
    nested,
    read,
    refused,
)
from embconvert.source.settings.transformer import Activation, Attention, LabelCount
from embconvert.source.settings.values import (
    Count,
    Flag,
    Number,
    PaddedLength,
    Text,
    Times,
    Word,
    Words,
)

_TRUST = ignored("is for --trust_remote_code alone to say")
_HANDED_ON = Setting(
    use=Use.REFUSED,
    why="would be handed to transformers, where it may name files, repositories or code",
)

_UNKNOWN = Setting(
    use=Use.REFUSED,
    why="is none that sentence-transformers knows, and a model must not be computed without it",
    unsupported=True,
)

#: What a model may say of how transformers loads its weights.
_MODEL_ARGUMENTS = SettingsTable(
    title="Arguments for AutoModel.from_pretrained",
    keys={
        "dtype": ignored("embconvert loads every model in float32"),
        "torch_dtype": ignored("embconvert loads every model in float32"),
        "attn_implementation": read(Attention),
        "add_pooling_layer": read(Flag),
        "low_cpu_mem_usage": ignored("changes how weights are loaded, not which"),
        "trust_remote_code": _TRUST,
    },
    others=_HANDED_ON,
)
#: What it may change of config.json: figures.
_CONFIG_ARGUMENTS = SettingsTable(
    title="Arguments for AutoConfig.from_pretrained",
    keys={
        "trust_remote_code": _TRUST,
        "is_causal": read(Flag),
        "is_decoder": read(Flag),
        "num_labels": read(LabelCount),
        "use_cache": read(Flag),
        "output_hidden_states": read(Flag),
        "reference_compile": read(Flag),
        "use_memory_efficient_attention": read(Flag),
        "unpad_inputs": read(Flag),
        "max_position_embeddings": read(Count),
        "layer_norm_eps": read(Number),
        "attention_probs_dropout_prob": read(Number),
        "hidden_dropout_prob": read(Number),
        "attention_dropout": read(Number),
        "use_bidirectional_attention": read(Words),
    },
    others=_HANDED_ON,
)
#: What it may say of how the tokenizer is made.
_TOKENIZER_ARGUMENTS = SettingsTable(
    title="Arguments for AutoProcessor.from_pretrained",
    keys={
        "trust_remote_code": _TRUST,
        "use_fast": ignored("transformers has fast tokenizers only"),
        "padding_side": read(Literal["left", "right"]),
        "truncation_side": read(Literal["left", "right"]),
        "model_max_length": read(Annotated[Number, Field(ge=1)]),
        "max_length": read(Count),
        "add_eos_token": read(Flag),
        "add_bos_token": read(Flag),
        "add_prefix_space": read(Flag),
        "do_lower_case": read(Flag),
        "clean_up_tokenization_spaces": read(Flag),
        "fix_mistral_regex": read(Flag),
        "legacy": read(Flag),
    },
    others=_HANDED_ON,
)
#: What it may say of each call of the tokenizer.
_CALL_ARGUMENTS = SettingsTable(
    title="Arguments of the tokenizer's calls",
    keys={
        "padding": read(Literal["longest", "max_length"] | bool),
        "truncation": read(
            Literal["longest_first", "only_first", "only_second", "do_not_truncate"] | bool
        ),
        "max_length": read(PaddedLength),
        "pad_to_multiple_of": read(PaddedLength),
        "add_special_tokens": read(Flag),
        "padding_side": read(Literal["left", "right"]),
        "add_generation_prompt": read(Flag),
        "continue_final_message": read(Flag),
        "restore_suffix": read(Flag),
        "enable_thinking": read(Flag),
        "logits_to_keep": read(Count),
    },
    others=_HANDED_ON,
)
_CALLS = SettingsTable(
    title="Arguments of the tokenizer's calls, by what is read",
    keys={
        "text": nested(_CALL_ARGUMENTS),
        "common": nested(_CALL_ARGUMENTS),
        "chat_template": nested(_CALL_ARGUMENTS),
        "image": ignored("is for images"),
        "audio": ignored("is for sound"),
        "video": ignored("is for films"),
    },
    others=_HANDED_ON,
)

#: An attribute of what the model gives; none of Python's own.
OutputName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_]{0,99}$")]
_READING = SettingsTable(
    title="How a text goes through the transformer",
    keys={
        # sentence-transformers calls the model's method of this name.
        "method": read(Literal["forward", "get_text_features"]),
        "method_output_name": read(OutputName | Annotated[list[OutputName], Field(max_length=8)]),
        "format": read(Literal["auto", "flat", "structured"]),
    },
    others=_HANDED_ON,
)
_MODALITIES = SettingsTable(
    title="How each kind of input goes through the transformer",
    keys={
        "text": nested(_READING),
        "message": nested(_READING),
        **dict.fromkeys(("image", "audio", "video"), ignored("is for images, sound and films")),
    },
    others=Setting(use=Use.IGNORED),
)
_EXPANSION = SettingsTable(
    title="How queries are filled up",
    keys={
        "strategy": read(Word),
        "attend": read(Flag),
        "token": read(Text),
        "length": read(PaddedLength),
    },
    others=_HANDED_ON,
)

TRANSFORMER = SettingsTable(
    title="Transformer",
    keys={
        "max_seq_length": read(Count),
        "do_lower_case": read(Flag),
        # `retrieval` would import whatever config.json calls an architecture.
        "transformer_task": read(
            Literal["feature-extraction", "fill-mask", "sequence-classification", "text-generation"]
        ),
        "modality_config": nested(_MODALITIES),
        "module_output_name": read(Word),
        "unpad_inputs": read(Flag),
        "query_length": read(PaddedLength),
        "document_length": read(PaddedLength),
        "query_expansion": nested(_EXPANSION),
        "model_args": nested(_MODEL_ARGUMENTS),
        "model_kwargs": nested(_MODEL_ARGUMENTS),
        "config_args": nested(_CONFIG_ARGUMENTS),
        "config_kwargs": nested(_CONFIG_ARGUMENTS),
        "tokenizer_args": nested(_TOKENIZER_ARGUMENTS),
        "processor_kwargs": nested(_TOKENIZER_ARGUMENTS),
        "processor_args": nested(_TOKENIZER_ARGUMENTS),
        "processing_kwargs": nested(_CALLS),
        "tokenizer_name_or_path": refused(
            "names another folder or repository for the tokenizer, and a model may only use its "
            "own files"
        ),
    },
    others=_UNKNOWN,
)

# Of one module, side by side.
_MAX_PARTS = 64
_POOLING_FLAGS = (
    "pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
)  # fmt: skip
_NAMES = {"module_input_name": read(Word), "module_output_name": read(Word)}
_DIMENSION = {"embedding_dimension": read(Count), "word_embedding_dimension": read(Count)}


@dataclass(frozen=True, kw_only=True)
class ModuleRules:
    """A class of sentence-transformers that a module may be of.

    Attributes:
        path: Its import path, by which the libraries are told of it.
        file: Its settings file, in the module's folder.
        table: The keys of that file.
        unsupported: Why no graph can be made of it; None when one can.
    """

    path: str
    table: SettingsTable
    file: str = "config.json"
    unsupported: str | None = None


def _module(title: str, *, others: Setting = _UNKNOWN, **keys: Setting) -> SettingsTable:
    return SettingsTable(title=title, keys=keys, others=others)


_BASE = "sentence_transformers.base.modules"
_DENSE = "sentence_transformers.sentence_transformer.modules"
_SPARSE = "sentence_transformers.sparse_encoder.modules"
_MULTI = "sentence_transformers.multi_vector_encoder.modules"
_STATIC = "it looks its tokens up in a table instead of running a transformer"

#: By the class's name, which is the last part of every import path that it ever had.
MODULES: dict[str, ModuleRules] = {
    "Transformer": ModuleRules(
        path=f"{_BASE}.transformer.Transformer",
        file="sentence_bert_config.json",
        table=TRANSFORMER,
    ),
    "MLMTransformer": ModuleRules(
        path=f"{_SPARSE}.mlm_transformer.MLMTransformer",
        file="sentence_bert_config.json",
        table=TRANSFORMER,
    ),
    "Pooling": ModuleRules(
        path=f"{_DENSE}.pooling.Pooling",
        table=_module(
            "Pooling",
            pooling_mode=read(Word | Annotated[list[Word], Field(max_length=_MAX_PARTS)]),
            include_prompt=read(Flag),
            **_DIMENSION,
            **{name: read(Flag) for name in _POOLING_FLAGS},
        ),
    ),
    "Dense": ModuleRules(
        path=f"{_BASE}.dense.Dense",
        # sentence-transformers ignores the rest as well: pylate writes more.
        table=_module(
            "Dense",
            others=Setting(use=Use.IGNORED),
            in_features=read(Count),
            out_features=read(Count),
            bias=read(Flag),
            use_residual=read(Flag),
            activation_function=Setting(use=Use.READ, kind=Activation, unsupported=True),
            init_weight=refused("is a tensor, which no JSON file holds"),
            init_bias=refused("is a tensor, which no JSON file holds"),
            **_NAMES,
        ),
    ),
    "Normalize": ModuleRules(
        path=f"{_BASE}.normalize.Normalize",
        table=_module("Normalize", others=Setting(use=Use.IGNORED), **_NAMES),
    ),
    "LayerNorm": ModuleRules(
        path=f"{_DENSE}.layer_norm.LayerNorm", table=_module("LayerNorm", dimension=read(Count))
    ),
    "Dropout": ModuleRules(
        path=f"{_DENSE}.dropout.Dropout", table=_module("Dropout", dropout=read(Number))
    ),
    "CNN": ModuleRules(
        path=f"{_DENSE}.cnn.CNN",
        file="cnn_config.json",
        table=_module(
            "CNN",
            in_embedding_dimension=read(Count),
            in_word_embedding_dimension=read(Count),
            out_channels=read(Count),
            kernel_sizes=read(Annotated[list[Count], Field(max_length=_MAX_PARTS)]),
            stride_sizes=read(Annotated[list[Count], Field(max_length=_MAX_PARTS)]),
        ),
    ),
    "LSTM": ModuleRules(
        path=f"{_DENSE}.lstm.LSTM",
        file="lstm_config.json",
        table=_module(
            "LSTM",
            hidden_dim=read(Count),
            num_layers=read(Times),
            dropout=read(Number),
            bidirectional=read(Flag),
            **_DIMENSION,
        ),
    ),
    "WeightedLayerPooling": ModuleRules(
        path=f"{_DENSE}.weighted_layer_pooling.WeightedLayerPooling",
        table=_module(
            "WeightedLayerPooling",
            layer_start=read(Times),
            num_hidden_layers=read(Times),
            layer_weights=refused("is a tensor, which no JSON file holds"),
            **_DIMENSION,
        ),
    ),
    "WordWeights": ModuleRules(
        path=f"{_DENSE}.word_weights.WordWeights",
        table=_module(
            "WordWeights",
            vocab=read(list[Text]),
            word_weights=read(dict[str, Number]),
            unknown_word_weight=read(Number),
        ),
        unsupported="it weighs words outside of the model",
    ),
    "SpladePooling": ModuleRules(
        path=f"{_SPARSE}.splade_pooling.SpladePooling",
        table=_module(
            "SpladePooling",
            pooling_strategy=read(Literal["max", "sum"]),
            activation_function=read(Literal["relu", "log1p_relu"]),
            chunk_size=read(Count),
            **_DIMENSION,
        ),
    ),
    "SparseAutoEncoder": ModuleRules(
        path=f"{_SPARSE}.sparse_auto_encoder.SparseAutoEncoder",
        table=_module(
            "SparseAutoEncoder",
            input_dim=read(Count),
            hidden_dim=read(Count),
            k=read(Count),
            k_aux=read(Count),
            normalize=read(Flag),
            dead_threshold=read(Number),
        ),
    ),
    "MultiVectorMask": ModuleRules(
        path=f"{_MULTI}.multi_vector_mask.MultiVectorMask",
        table=_module(
            "MultiVectorMask",
            skiplist_words=read(list[Text]),
            skiplist_tasks=read(Words),
            keep_only_token_ids=read(list[Count]),
        ),
    ),
    "LogitScore": ModuleRules(
        path="sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
        table=_module(
            "LogitScore",
            true_token_id=read(Count),
            false_token_id=read(Count),
            module_input_name=read(Word),
        ),
    ),
    "HierarchicalTokenPooling": ModuleRules(
        path=f"{_MULTI}.token_pooling.HierarchicalTokenPooling",
        table=_module(
            "HierarchicalTokenPooling",
            pool_factor=read(Number),
            num_protected_tokens=read(Count),
            normalize_embeddings=read(Flag),
            tasks=read(Words),
        ),
    ),
    **{
        name: ModuleRules(path="", table=_module(name), unsupported=why)
        for name, why in {
            "Router": "it chooses between routes for queries and documents",
            "Asym": "it chooses between routes for queries and documents",
            "StaticEmbedding": _STATIC,
            "SparseStaticEmbedding": _STATIC,
            "WordEmbeddings": _STATIC,
            "BoW": "it counts words instead of running a transformer",
            "CLIPModel": "it reads images",
            "LambdaTokenPooling": "it is made by a function of the author's",
        }.items()
    },
}

#: config_sentence_transformers.json.
WHOLE_MODEL = SettingsTable(
    title="The whole model",
    keys={
        "model_type": read(Word),
        "prompts": read(dict[str, Text | None]),
        "default_prompt_name": read(Text),
        "similarity_fn_name": read(Word),
        "truncate_dim": read(Count),
        "matryoshka_dimensions": read(list[Count]),
        "max_active_dims": read(Count),
        "keep_in_fp32_modules": read(Words),
        "requirements": read(dict[str, Text | dict[str, Text]]),
        "query_length": read(PaddedLength),
        "document_length": read(PaddedLength),
        "activation_fn": Setting(use=Use.READ, kind=Activation, unsupported=True),
        "query_expansion": nested(_EXPANSION),
        "query_prefix": read(Text),
        "document_prefix": read(Text),
        "do_query_expansion": read(Flag),
        "attend_to_expansion_tokens": read(Flag),
        "attend_to_mask_tokens": read(Flag),
        "skiplist_words": read(list[Text]),
        "__version__": ignored("says who wrote it"),
    },
)

#: artifact.metadata of ColBERT as its authors published it.
STANFORD_COLBERT = SettingsTable(
    title="ColBERT as its authors published it",
    keys={
        "query_token_id": read(Text),
        "doc_token_id": read(Text),
        "query_maxlen": read(PaddedLength),
        "doc_maxlen": read(PaddedLength),
        "attend_to_mask_tokens": read(Flag),
        "mask_punctuation": read(Flag),
    },
)

#: One entry of modules.json; `type` is replaced by ModuleRules.path, `name` by a number.
MODULE_ENTRY = SettingsTable(
    title="A module",
    keys={
        "idx": read(Count),
        "name": read(Text),
        "path": read(Text),
        "type": read(Text),
        "kwargs": read(list[Word]),
    },
)
