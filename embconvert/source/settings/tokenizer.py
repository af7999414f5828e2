"""The tables of the tokenizer's settings files."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from embconvert.source.settings.rules import (
    FOR_IMAGES,
    NAMES_CODE,
    Setting,
    SettingsTable,
    Use,
    each,
    ignored,
    not_null,
    read,
)
from embconvert.source.settings.values import Count, Flag, Number, Text, TokenizerClass, Word, Words
from embconvert.source.tokenizer_file import MAX_TOKEN_ID

_FILE = "names a file, but the tokenizer's files are found by their usual names"
_WHERE = "is the origin of the files"

_ID = re.compile(r"[0-9]{1,18}")
_TOKEN_KEYS = frozenset(("content", "lstrip", "rstrip", "single_word", "normalized", "special"))


def _token(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        flags = {key: item for key, item in value.items() if key in _TOKEN_KEYS - {"content"}}
        if value.get("__type", "AddedToken") == "AddedToken" and all(
            isinstance(flag, bool) for flag in flags.values()
        ):
            kept = {key: item for key, item in value.items() if key in _TOKEN_KEYS}
            return {**kept, **({"__type": "AddedToken"} if "__type" in value else {})}
    raise ValueError("it should be a token: text, or an object with `content`")


def _tokens(value: Any) -> Any:
    if isinstance(value, list):
        return [_token(item) for item in value]
    if isinstance(value, dict) and "content" not in value:
        return {key: _token(item) for key, item in value.items()}
    return _token(value)


def _added(value: Any) -> Any:
    if not isinstance(value, dict) or not all(_ID.fullmatch(key) for key in value):
        raise ValueError("it should be an object from ids to tokens")
    if max(map(int, value), default=0) > MAX_TOKEN_ID:
        raise ValueError(f"an id is larger than {MAX_TOKEN_ID}")
    return {key: _token(item) for key, item in value.items()}


#: Special tokens: text, or objects that say how they are matched.
Tokens = Annotated[Any, AfterValidator(_tokens)]
AddedTokens = Annotated[Any, AfterValidator(_added)]
#: An id; some tokenizers create all tokens up to the largest.
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
#: A length in tokens; 1e30 means unlimited.
Length = Annotated[int | float, Field(ge=1)]
#: Number of tokens that a tokenizer creates itself.
TokenCount = Annotated[int, Field(ge=0, le=10_000)]
_TOKEN_NAMES = {
    r"[a-z0-9_]+_token": read(Tokens),
    r"[a-z0-9_]+_tokens": read(Tokens),
    r"[a-z0-9_]+_token_id": read(TokenId),
}
_NO_TOKENS = dict.fromkeys(
    ("use_auth_token", "auth_token", "hf_token"), ignored("would authenticate requests to a hub")
)

TOKENIZER = SettingsTable(
    title="The tokenizer",
    keys={
        **_NO_TOKENS,
        "tokenizer_class": Setting(use=Use.READ, kind=TokenizerClass, lenient=True),
        "added_tokens_decoder": read(AddedTokens),
        "chat_template": read(Text | list[dict[str, Text]] | dict[str, Text]),
        "model_max_length": read(Length),
        "max_length": read(Number),
        "max_len": read(Length),
        **each(read(Count), "stride pad_token_type_id max_input_chars_per_word"),
        **each(read(TokenCount), """
            pad_to_multiple_of extra_ids num_additional_special_tokens offset
        """),
        **each(read(Word), """
            padding_side truncation_side truncation_strategy errors vocab_type word_tokenizer_type
            subword_tokenizer_type lang src_lang tgt_lang language
        """),
        "truncation": read(Word | Flag),
        "padding": read(Word | Flag),
        **each(read(Flag), """
            add_bos_token add_eos_token add_prefix_space add_dummy_prefix
            clean_up_tokenization_spaces clean_text do_basic_tokenize do_clean_text
            do_lowercase_and_remove_accent do_split_on_punc do_subword_tokenize do_upper_case
            do_word_tokenize normalize should_strip_spaces do_lower_case do_lowercase lowercase
            do_split_by_punc split_by_punct keep_accents legacy legacy_behaviour remove_space
            normalization spaces_between_special_tokens split_special_tokens strip_accents
            tokenize_chinese_chars trim_offsets use_default_system_prompt use_token_type_ids
            return_token_type_ids only_label_first_subword fix_mistral_regex from_slow
            monolingual_vocab
        """),
        "wordpieces_prefix": read(Text),
        "never_split": read(list[Text]),
        "model_input_names": not_null(read(list[Word])),
        "sp_model_kwargs": ignored("names files, and can make ids random"),
        **each(read(TokenId), "vocab_size unk_id pad_id bos_id eos_id"),
        "language_codes": read(Words),
        "backend": ignored("is the tokenizer's implementation, which embconvert chooses"),
        "use_fast": ignored("transformers has fast tokenizers only"),
        **each(ignored(_WHERE), """
            is_local local_files_only name_or_path tokenizer_name_or_path _name_or_path _commit_hash
        """),
        "transformers_version": ignored("is the version of the writer"),
        **each(ignored(_FILE), """
            special_tokens_map_file tokenizer_file vocab_file merges_file spm_file sp_model_file
            emoji_file normalizer_file tokenizer_config_file added_tokens_file chat_template_file
            fast_tokenizer_files gguf_file entity_vocab entity_vocab_file jumanpp_kwargs mecab_dic
            mecab_kwargs mecab_option monolingual_vocab_file source_spm src_vocab_file
            sudachi_kwargs tags_dict target_spm target_vocab_file tgt_vocab_file tokenizer_object
            word_pronunciation_file word_shape_file vocab merges init_inputs
        """),
        "auto_map": ignored(NAMES_CODE),
        **each(ignored(FOR_IMAGES), """
            processor_class image_processor_type feature_extractor_type audio_tokenizer
        """),
        "tokenizer_type": ignored("names a class, as `tokenizer_class` does"),
        "device": ignored("is for another program"),
        "device_map": ignored("is for another program"),
    },
    patterns=_TOKEN_NAMES,
)  # fmt: skip

#: special_tokens_map.json; transformers merges its keys into the tokenizer's settings.
SPECIAL_TOKENS = SettingsTable(title="Special tokens", keys=_NO_TOKENS, patterns=_TOKEN_NAMES)
#: added_tokens.json: ids by text.
ADDED_TOKENS = SettingsTable(title="Added tokens", patterns={r"(?s).*": read(TokenId)})
