"""What the files of a tokenizer may say."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from embconvert.source.settings.rules import Setting, SettingsTable, Use, ignored, read
from embconvert.source.settings.values import (
    Count,
    Flag,
    Number,
    Text,
    TokenizerClass,
    Word,
    Words,
)
from embconvert.source.tokenizer_file import MAX_TOKEN_ID

_FILE = "names a file, and the tokenizer's files are found by their own names"
_WHERE = "says where it came from"
_CODE = "names code that comes with a model, which is what --trust_remote_code is for"
_IMAGES = "is for images or sound, which no text embedding needs"

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
        raise ValueError(f"an id is over {MAX_TOKEN_ID}")
    return {key: _token(item) for key, item in value.items()}


#: A special token, or several: text, or objects that say how it is found in a text.
Tokens = Annotated[Any, AfterValidator(_tokens)]
AddedTokens = Annotated[Any, AfterValidator(_added)]
#: An id; some tokenizers make all tokens up to the largest.
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
#: A length in tokens; "unlimited" is 1e30.
Length = Annotated[int | float, Field(ge=1)]
#: How many tokens a tokenizer makes up itself.
TokenCount = Annotated[int, Field(ge=0, le=10_000)]
_TOKEN_NAMES = {
    r"[a-z0-9_]+_token": read(Tokens),
    r"[a-z0-9_]+_tokens": read(Tokens),
    r"[a-z0-9_]+_token_id": read(TokenId),
}
_NO_TOKENS = dict.fromkeys(
    ("use_auth_token", "auth_token", "hf_token"), ignored("would sign requests to a hub")
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
        "stride": read(Count),
        "pad_to_multiple_of": read(TokenCount),
        "pad_token_type_id": read(Count),
        "padding_side": read(Word),
        "truncation_side": read(Word),
        "truncation_strategy": read(Word),
        "truncation": read(Word | Flag),
        "padding": read(Word | Flag),
        "add_bos_token": read(Flag),
        "add_eos_token": read(Flag),
        "add_prefix_space": read(Flag),
        "add_dummy_prefix": read(Flag),
        "clean_up_tokenization_spaces": read(Flag),
        "clean_text": read(Flag),
        "do_basic_tokenize": read(Flag),
        "do_clean_text": read(Flag),
        "do_lowercase_and_remove_accent": read(Flag),
        "do_split_on_punc": read(Flag),
        "do_subword_tokenize": read(Flag),
        "do_upper_case": read(Flag),
        "do_word_tokenize": read(Flag),
        "max_input_chars_per_word": read(Count),
        "normalize": read(Flag),
        "should_strip_spaces": read(Flag),
        "do_lower_case": read(Flag),
        "do_lowercase": read(Flag),
        "lowercase": read(Flag),
        "do_split_by_punc": read(Flag),
        "split_by_punct": read(Flag),
        "keep_accents": read(Flag),
        "legacy": read(Flag),
        "legacy_behaviour": read(Flag),
        "remove_space": read(Flag),
        "normalization": read(Flag),
        "spaces_between_special_tokens": read(Flag),
        "split_special_tokens": read(Flag),
        "strip_accents": read(Flag),
        "tokenize_chinese_chars": read(Flag),
        "trim_offsets": read(Flag),
        "use_default_system_prompt": read(Flag),
        "use_token_type_ids": read(Flag),
        "return_token_type_ids": read(Flag),
        "only_label_first_subword": read(Flag),
        "fix_mistral_regex": read(Flag),
        "from_slow": read(Flag),
        "errors": read(Word),
        "vocab_type": read(Word),
        "wordpieces_prefix": read(Text),
        "never_split": read(list[Text]),
        "model_input_names": read(list[Word]),
        "sp_model_kwargs": ignored("names files, and makes ids random"),
        "extra_ids": read(TokenCount),
        "num_additional_special_tokens": read(TokenCount),
        "offset": read(TokenCount),
        "vocab_size": read(TokenId),
        "unk_id": read(TokenId),
        "pad_id": read(TokenId),
        "bos_id": read(TokenId),
        "eos_id": read(TokenId),
        "monolingual_vocab": read(Flag),
        "word_tokenizer_type": read(Word),
        "subword_tokenizer_type": read(Word),
        "lang": read(Word),
        "src_lang": read(Word),
        "tgt_lang": read(Word),
        "language": read(Word),
        "language_codes": read(Words),
        "backend": ignored("chooses how transformers makes the tokenizer, which embconvert does"),
        "use_fast": ignored("transformers has fast tokenizers only"),
        "is_local": ignored(_WHERE),
        "local_files_only": ignored(_WHERE),
        "name_or_path": ignored(_WHERE),
        "tokenizer_name_or_path": ignored(_WHERE),
        "_name_or_path": ignored(_WHERE),
        "_commit_hash": ignored(_WHERE),
        "transformers_version": ignored("says who wrote it"),
        "special_tokens_map_file": ignored(_FILE),
        "tokenizer_file": ignored(_FILE),
        "vocab_file": ignored(_FILE),
        "merges_file": ignored(_FILE),
        "spm_file": ignored(_FILE),
        "sp_model_file": ignored(_FILE),
        "emoji_file": ignored(_FILE),
        "normalizer_file": ignored(_FILE),
        "tokenizer_config_file": ignored(_FILE),
        "added_tokens_file": ignored(_FILE),
        "chat_template_file": ignored(_FILE),
        "fast_tokenizer_files": ignored(_FILE),
        "gguf_file": ignored(_FILE),
        **dict.fromkeys(
            (
                "entity_vocab",
                "entity_vocab_file",
                "jumanpp_kwargs",
                "mecab_dic",
                "mecab_kwargs",
                "mecab_option",
                "monolingual_vocab_file",
                "source_spm",
                "src_vocab_file",
                "sudachi_kwargs",
                "tags_dict",
                "target_spm",
                "target_vocab_file",
                "tgt_vocab_file",
                "tokenizer_object",
                "word_pronunciation_file",
                "word_shape_file",
            ),
            ignored(_FILE),
        ),
        "vocab": ignored(_FILE),
        "merges": ignored(_FILE),
        "init_inputs": ignored(_FILE),
        "auto_map": ignored(_CODE),
        "processor_class": ignored(_IMAGES),
        "image_processor_type": ignored(_IMAGES),
        "feature_extractor_type": ignored(_IMAGES),
        "audio_tokenizer": ignored(_IMAGES),
        "tokenizer_type": ignored("names a class; `tokenizer_class` does, too"),
        "device": ignored("is for another program"),
        "device_map": ignored("is for another program"),
    },
    patterns=_TOKEN_NAMES,
)

#: special_tokens_map.json; transformers takes its keys for the tokenizer's settings.
SPECIAL_TOKENS = SettingsTable(title="Special tokens", keys=_NO_TOKENS, patterns=_TOKEN_NAMES)
#: added_tokens.json: ids by text.
ADDED_TOKENS = SettingsTable(title="Added tokens", patterns={r"(?s).*": read(TokenId)})
