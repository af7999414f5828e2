"""The tables of sentence-transformers' settings, by file and module."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from embconvert.source.settings.pooling import POOLING_KEYS
from embconvert.source.settings.rules import (
    Setting,
    SettingsTable,
    Use,
    each,
    ignored,
    nested,
    not_null,
    read,
    refused,
)
from embconvert.source.settings.transformer import ActivationName
from embconvert.source.settings.transformer_module import QUERY_EXPANSION, TRANSFORMER, UNKNOWN
from embconvert.source.settings.values import (
    Count,
    Flag,
    Number,
    PaddedLength,
    PositiveCount,
    Repetitions,
    Text,
    Word,
    Words,
)

# Parallel parts of one module.
_MAX_PARTS = 64
_NAMES = {"module_input_name": read(Word), "module_output_name": read(Word)}
_DIMENSION = {"embedding_dimension": read(Count), "word_embedding_dimension": read(Count)}


@dataclass(frozen=True, kw_only=True)
class ModuleRules:
    """A sentence-transformers class that a module may have.

    Attributes:
        path: Import path that the libraries get.
        unsupported: Why it cannot be converted; None if it can.
    """

    path: str
    table: SettingsTable
    file: str = "config.json"
    unsupported: str | None = None


def _module(title: str, *, others: Setting = UNKNOWN, **keys: Setting) -> SettingsTable:
    return SettingsTable(title=title, keys=keys, others=others)


def _own(
    path: str,
    file: str = "config.json",
    unsupported: str | None = None,
    /,
    *,
    others: Setting = UNKNOWN,
    **keys: Setting,
) -> dict[str, ModuleRules]:
    """Returns the rules of a class by its name, which is the title of its table, too."""
    name = path.rpartition(".")[2]
    table = _module(name, others=others, **keys)
    return {name: ModuleRules(path=path, file=file, table=table, unsupported=unsupported)}


_BASE = "sentence_transformers.base.modules"
_DENSE = "sentence_transformers.sentence_transformer.modules"
_SPARSE = "sentence_transformers.sparse_encoder.modules"
_MULTI = "sentence_transformers.multi_vector_encoder.modules"
_WORDS = "it reads words as Python code splits them, for which there is no tokenizer.json"

#: Asym's is config.json.
ROUTER_FILE = "router_config.json"
ROUTER = SettingsTable(
    title="Router",
    keys={
        "types": read(dict[str, Text]),
        "structure": read(dict[str, list[Text]]),
        "parameters": nested(
            _module(
                "Parameters of a router",
                default_route=read(Text),
                allow_empty_key=read(Flag),
                route_mappings=read(dict[str, Text]),
            )
        ),
    },
    others=UNKNOWN,
)

#: By class name, which is the last part of all its old and new import paths.
MODULES: dict[str, ModuleRules] = {
    "Transformer": ModuleRules(
        path=f"{_BASE}.transformer.Transformer", file="sentence_bert_config.json", table=TRANSFORMER
    ),
    "MLMTransformer": ModuleRules(
        path=f"{_SPARSE}.mlm_transformer.MLMTransformer",
        file="sentence_bert_config.json",
        table=TRANSFORMER,
    ),
    "CLIPModel": ModuleRules(
        path=f"{_DENSE}.clip_model.CLIPModel", file="sentence_bert_config.json", table=TRANSFORMER
    ),
    **_own(
        f"{_DENSE}.static_embedding.StaticEmbedding",
        others=Setting(use=Use.IGNORED),
        **dict.fromkeys(
            ("embedding_dim", "embedding_weights", "tokenizer"),
            ignored("is read from the module's other files"),
        ),
    ),
    **_own(
        f"{_DENSE}.pooling.Pooling",
        pooling_mode=not_null(read(Word | Annotated[list[Word], Field(max_length=_MAX_PARTS)])),
        include_prompt=read(Flag),
        **{name: not_null(setting) for name, setting in _DIMENSION.items()},
        **{name: read(Flag) for name in POOLING_KEYS},
    ),
    **_own(
        f"{_BASE}.dense.Dense",
        # sentence-transformers also ignores other keys: pylate writes more.
        others=Setting(use=Use.IGNORED),
        in_features=not_null(read(Count)),
        out_features=not_null(read(Count)),
        bias=read(Flag),
        use_residual=read(Flag),
        activation_function=not_null(Setting(use=Use.READ, kind=ActivationName, unsupported=True)),
        init_weight=refused("is a tensor, which JSON cannot contain"),
        init_bias=refused("is a tensor, which JSON cannot contain"),
        **_NAMES,
    ),
    **_own(f"{_BASE}.normalize.Normalize", others=Setting(use=Use.IGNORED), **_NAMES),
    **_own(f"{_DENSE}.layer_norm.LayerNorm", dimension=read(Count)),
    **_own(f"{_DENSE}.dropout.Dropout", dropout=read(Number)),
    **_own(
        f"{_DENSE}.cnn.CNN",
        "cnn_config.json",
        in_embedding_dimension=read(Count),
        in_word_embedding_dimension=read(Count),
        out_channels=read(Count),
        kernel_sizes=read(Annotated[list[Count], Field(max_length=_MAX_PARTS)]),
        stride_sizes=read(Annotated[list[Count], Field(max_length=_MAX_PARTS)]),
    ),
    **_own(
        f"{_DENSE}.lstm.LSTM",
        "lstm_config.json",
        hidden_dim=read(Count),
        num_layers=read(Repetitions),
        dropout=read(Number),
        bidirectional=read(Flag),
        **_DIMENSION,
    ),
    **_own(
        f"{_DENSE}.weighted_layer_pooling.WeightedLayerPooling",
        layer_start=read(Repetitions),
        num_hidden_layers=read(Repetitions),
        layer_weights=refused("is a tensor, which JSON cannot contain"),
        **_DIMENSION,
    ),
    **_own(
        f"{_DENSE}.word_weights.WordWeights",
        "config.json",
        "it weights words outside the model",
        vocab=read(list[Text]),
        word_weights=read(dict[str, Number]),
        unknown_word_weight=read(Number),
    ),
    **_own(
        f"{_SPARSE}.splade_pooling.SpladePooling",
        pooling_strategy=read(Literal["max", "sum"]),
        activation_function=read(Literal["relu", "log1p_relu"]),
        chunk_size=read(Count),
        **_DIMENSION,
    ),
    **_own(
        f"{_SPARSE}.sparse_static_embedding.SparseStaticEmbedding",
        frozen=ignored("is about training"),
        weight=refused("is a tensor, which JSON cannot contain"),
        tokenizer=refused("is an object, which JSON cannot contain"),
        path=refused("names a file of weights anywhere on this machine or on the hub"),
    ),
    **_own(
        f"{_SPARSE}.sparse_auto_encoder.SparseAutoEncoder",
        input_dim=read(Count),
        hidden_dim=read(Count),
        k=read(Count),
        k_aux=read(Count),
        normalize=read(Flag),
        dead_threshold=read(Number),
    ),
    **_own(
        f"{_MULTI}.multi_vector_mask.MultiVectorMask",
        skiplist_words=read(list[Text]),
        skiplist_tasks=read(Words),
        keep_only_token_ids=read(list[Count]),
    ),
    **_own(
        "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
        true_token_id=read(Count),
        false_token_id=read(Count),
        module_input_name=read(Word),
    ),
    **_own(
        f"{_MULTI}.token_pooling.HierarchicalTokenPooling",
        pool_factor=read(Number),
        num_protected_tokens=read(Count),
        normalize_embeddings=read(Flag),
        tasks=read(Words),
    ),
    # The libraries get the modules of one route instead.
    **dict.fromkeys(("Router", "Asym"), ModuleRules(path="", file=ROUTER_FILE, table=ROUTER)),
    **{
        name: ModuleRules(path="", table=_module(name), unsupported=why)
        for name, why in {
            "WordEmbeddings": _WORDS,
            "BoW": _WORDS,
            "LambdaTokenPooling": "it is defined by a function of the author",
        }.items()
    },
}

#: config_sentence_transformers.json.
WHOLE_MODEL = SettingsTable(
    title="The whole model",
    keys={
        # sentence-transformers takes null for another kind of model, whose modules it replaces.
        "model_type": not_null(read(Word)),
        "prompts": not_null(read(dict[str, Text | None])),
        **each(read(Text), "default_prompt_name query_prefix document_prefix"),
        "similarity_fn_name": read(Word),
        "truncate_dim": read(PositiveCount),
        "matryoshka_dimensions": read(list[Count]),
        "max_active_dims": read(Count),
        "keep_in_fp32_modules": read(Words),
        "requirements": read(dict[str, Text | dict[str, Text]]),
        "query_length": read(PaddedLength),
        "document_length": read(PaddedLength),
        "activation_fn": Setting(use=Use.READ, kind=ActivationName, unsupported=True),
        "query_expansion": nested(QUERY_EXPANSION),
        **each(read(Flag), "do_query_expansion attend_to_expansion_tokens attend_to_mask_tokens"),
        "skiplist_words": read(list[Text]),
        "__version__": ignored("is the version of the writer"),
    },
)

#: config.json of model2vec.
MODEL2VEC = SettingsTable(
    title="model2vec",
    keys={
        "normalize": read(Flag),
        "max_length": read(PaddedLength),
        **each(ignored("describes how the table was made, which has it all"), """
            model_type architectures tokenizer_name apply_pca apply_zipf sif_coefficient hidden_dim
            seq_length pooling embedding_dtype vocabulary_quantization head_config cache_dir
        """),
    },
)  # fmt: skip

#: artifact.metadata of the original ColBERT.
STANFORD_COLBERT = SettingsTable(
    title="The original ColBERT",
    keys={
        "query_token_id": read(Text),
        "doc_token_id": read(Text),
        "query_maxlen": read(PaddedLength),
        "doc_maxlen": read(PaddedLength),
        "attend_to_mask_tokens": read(Flag),
        "mask_punctuation": read(Flag),
    },
)

#: An entry of modules.json; `type` is replaced by ModuleRules.path, `name` by a number.
MODULE_ENTRY = SettingsTable(
    title="A module",
    keys={"idx": read(Count), **each(read(Text), "name path type"), "kwargs": read(list[Word])},
)
