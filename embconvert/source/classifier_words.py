"""What config.json says of a reranker's words, as vLLM reads it: `classifier_from_token`.

vLLM makes a classifier of a language model whose config.json has a `method` for it, whatever its
architecture is called: the files are those of the language model, without a head for scores. The
text around a pair is the tokenizer's chat template, if that reads a query and a document.
"""

import re
from collections.abc import Mapping
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.models.architectures import text_settings
from embconvert.models.reranker_templates import NextToken

#: The key of config.json with the words, those of low scores first.
WORDS = "classifier_from_token"
_DIFFERENCE, _LOGITS = "from_2_way_softmax", "no_post_processing"
#: vLLM's older flag for the first method.
_QWEN3 = "is_original_qwen3_reranker"
_LONGEST_WORD = 100
_ROLES = (r"""['"]query['"]""", r"""['"]document['"]""")


def words_of(config: Mapping[str, Any]) -> NextToken | None:
    """Returns the words whose logits are the score; None if config.json does not say.

    Raises:
        SourceError: They are no words.
        UnsupportedModelError: They are combined by an unknown method, or are several scores.
    """
    settings = text_settings(config)
    words, method = settings.get(WORDS), settings.get("method")
    if method is None and settings.get(_QWEN3) is True:
        method = _DIFFERENCE
    if words is None or method is None:  # vLLM ignores one without the other
        return None
    if not isinstance(words, list) or not words or not all(map(_is_word, words)):
        raise SourceError(
            f"{WORDS} in config.json should be a list of words, but is {words!r:.100}",
            f"correct {WORDS} in a copy of the model",
        )
    if method == _DIFFERENCE and len(words) == 2:
        return NextToken(true=words[1], false=words[0], are_entries=True)
    if method == _LOGITS and len(words) == 1:
        return NextToken(true=words[0], are_entries=True)
    raise UnsupportedModelError(
        f"config.json takes scores from {len(words)} next tokens ({WORDS}) by {method!r:.100}, "
        "which is not supported",
        f"two words can be scored by {_DIFFERENCE}, and one by {_LOGITS}",
    )


def reads_pairs(chat_template: object) -> bool:
    """Whether a chat template reads messages of a query and of a document."""
    return isinstance(chat_template, str) and all(re.search(r, chat_template) for r in _ROLES)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD
