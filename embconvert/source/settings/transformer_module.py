"""The tables of a transformer module's settings: sentence_bert_config.json."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

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
from embconvert.source.settings.transformer import AttentionName, LabelCount
from embconvert.source.settings.values import Count, Flag, Number, PaddedLength, Text, Word, Words

_TRUST = ignored("is replaced by --trust_remote_code")
_HANDED_ON = Setting(
    use=Use.REFUSED,
    why="would be passed to transformers, where it could name files, repositories or code",
)

#: What no table has.
UNKNOWN = Setting(
    use=Use.REFUSED,
    why="is unknown to sentence-transformers, and dropping it could change the embeddings",
    unsupported=True,
)

#: How transformers loads the weights.
_MODEL_ARGUMENTS = SettingsTable(
    title="Arguments for AutoModel.from_pretrained",
    keys={
        "dtype": ignored("embconvert loads every model in float32"),
        "torch_dtype": ignored("embconvert loads every model in float32"),
        "attn_implementation": read(AttentionName),
        "add_pooling_layer": read(Flag),
        "low_cpu_mem_usage": ignored("does not change which weights are loaded"),
        "trust_remote_code": _TRUST,
    },
    others=_HANDED_ON,
)
#: Figures that replace those of config.json.
_CONFIG_ARGUMENTS = SettingsTable(
    title="Arguments for AutoConfig.from_pretrained",
    keys={
        "trust_remote_code": _TRUST,
        **each(read(Flag), """
            is_causal is_decoder use_cache output_hidden_states reference_compile
            use_memory_efficient_attention unpad_inputs
        """),
        "num_labels": read(LabelCount),
        "max_position_embeddings": read(Count),
        **each(read(Number), """
            layer_norm_eps attention_probs_dropout_prob hidden_dropout_prob attention_dropout
        """),
        "use_bidirectional_attention": read(Words),
    },
    others=_HANDED_ON,
)  # fmt: skip
#: How the tokenizer is created.
_TOKENIZER_ARGUMENTS = SettingsTable(
    title="Arguments for AutoProcessor.from_pretrained",
    keys={
        "trust_remote_code": _TRUST,
        "use_fast": ignored("transformers has fast tokenizers only"),
        "padding_side": read(Literal["left", "right"]),
        "truncation_side": read(Literal["left", "right"]),
        "model_max_length": read(Annotated[Number, Field(ge=1)]),
        "max_length": read(Count),
        **each(read(Flag), """
            add_eos_token add_bos_token add_prefix_space do_lower_case clean_up_tokenization_spaces
            fix_mistral_regex legacy
        """),
    },
    others=_HANDED_ON,
)  # fmt: skip
#: Arguments of each call of the tokenizer.
_CALL_ARGUMENTS = SettingsTable(
    title="Arguments of the tokenizer's calls",
    keys={
        "padding": read(Literal["longest", "max_length"] | bool),
        "truncation": read(
            Literal["longest_first", "only_first", "only_second", "do_not_truncate"] | bool
        ),
        "max_length": read(PaddedLength),
        "pad_to_multiple_of": read(PaddedLength),
        **each(read(Flag), """
            add_special_tokens add_generation_prompt continue_final_message restore_suffix
            enable_thinking
        """),
        "padding_side": read(Literal["left", "right"]),
        "logits_to_keep": read(Count),
    },
    others=_HANDED_ON,
)  # fmt: skip
_CALLS = SettingsTable(
    title="Arguments of the tokenizer's calls, by input",
    keys={
        "text": nested(_CALL_ARGUMENTS),
        "common": nested(_CALL_ARGUMENTS),
        "chat_template": nested(_CALL_ARGUMENTS),
        "image": ignored("is for images"),
        "audio": ignored("is for audio"),
        "video": ignored("is for video"),
    },
    others=_HANDED_ON,
)

#: An attribute of the model's output; none of Python's own.
OutputName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_]{0,99}$")]
_READING = SettingsTable(
    title="How the transformer processes text",
    keys={
        # sentence-transformers calls the model's method of this name.
        "method": read(Literal["forward", "get_text_features"]),
        "method_output_name": read(OutputName | Annotated[list[OutputName], Field(max_length=8)]),
        "format": read(Literal["auto", "flat", "structured"]),
    },
    others=_HANDED_ON,
)
_MODALITIES = SettingsTable(
    title="How the transformer processes each kind of input",
    keys={
        "text": nested(_READING),
        "message": nested(_READING),
        **dict.fromkeys(("image", "audio", "video"), ignored("is for images, audio and video")),
    },
    others=Setting(use=Use.IGNORED),
)
QUERY_EXPANSION = SettingsTable(
    title="Query expansion",
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
        # `retrieval` would import the architecture that config.json names.
        "transformer_task": read(
            Literal["feature-extraction", "fill-mask", "sequence-classification", "text-generation"]
        ),
        "modality_config": not_null(nested(_MODALITIES)),
        "module_output_name": read(Word),
        "unpad_inputs": read(Flag),
        "query_length": read(PaddedLength),
        "document_length": read(PaddedLength),
        "query_expansion": nested(QUERY_EXPANSION),
        "model_args": nested(_MODEL_ARGUMENTS),
        "model_kwargs": nested(_MODEL_ARGUMENTS),
        "config_args": nested(_CONFIG_ARGUMENTS),
        "config_kwargs": nested(_CONFIG_ARGUMENTS),
        "tokenizer_args": nested(_TOKENIZER_ARGUMENTS),
        "processor_kwargs": nested(_TOKENIZER_ARGUMENTS),
        "processor_args": nested(_TOKENIZER_ARGUMENTS),
        "processing_kwargs": nested(_CALLS),
        "tokenizer_name_or_path": refused(
            "names another folder or repository for the tokenizer, but a model may only use its "
            "own files"
        ),
    },
    others=UNKNOWN,
)
