"""Small tokenizers of the algorithms that graphs can have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embconvert.derive.tokenizer.charsmap import charsmap

_TEXTS = [
    "The quick brown fox jumps over the lazy dog, naïve, don't stop.",
    "Ångström École straße Привет 中文 日本語 한국어 e-mail 3.14 (x) foo_bar",
    "the the the quick quick unbelievable believable able",
]
#: Replacements as those of NFKC: of characters, and of letters with marks.
COMPOSED: Mapping[str, str] = {
    "\uff21": "A", "\u00aa": "a", "\ufb01": "fi", "\u00a8": " \u0308", "\u3000": " ", "\t": " ",
    "\n": " ", "\u00a0": " ", "\x01": "", "\u200b": " ", "\u200d": " ", "e\u0301": "é",
    "e\u0302": "ê", "e\u0302\u0301": "ế", "A\u030a": "Å",
}  # fmt: skip


def write_wordpiece(folder: Path, *, lowercase: bool = True, **changes: Any) -> None:
    """Writes BERT's tokenizer; `changes` are those of padding and truncation."""
    import tokenizers as tk

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = tk.Tokenizer(tk.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tk.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        _TEXTS,
        tk.trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    _save(tokenizer, folder, **changes)


def write_unigram(folder: Path, *, split: bool, **changes: Any) -> None:
    """Writes XLM-R's tokenizer.

    Args:
        split: Whether white space at the end is removed, as by WhitespaceSplit.
        changes: Of padding and truncation.
    """
    import tokenizers as tk

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = tk.Tokenizer(tk.models.Unigram())
    metaspace = tk.pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.pre_tokenizer = metaspace
    tokenizer.train_from_iterator(
        _TEXTS,
        tk.trainers.UnigramTrainer(
            vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    map_ = tk.normalizers.Precompiled(charsmap(COMPOSED))
    if split:
        tokenizer.normalizer = map_
        white = tk.pre_tokenizers.WhitespaceSplit()
        tokenizer.pre_tokenizer = tk.pre_tokenizers.Sequence([white, metaspace])
    else:
        spaces = tk.normalizers.Replace(tk.Regex(" {2,}"), " ")
        tokenizer.normalizer = tk.normalizers.Sequence([map_, spaces])
    tokenizer.post_processor = tk.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    _save(tokenizer, folder, **changes)


def write_byte_bpe(folder: Path, *, adds_space: bool = False, **changes: Any) -> None:
    """Writes RoBERTa's tokenizer.

    Args:
        adds_space: Whether a text starts with a space.
        changes: Of padding and truncation.
    """
    import tokenizers as tk

    tokenizer = tk.Tokenizer(tk.models.BPE())
    tokenizer.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=adds_space)
    mask = tk.AddedToken("<mask>", lstrip=True, special=True)
    trainer = tk.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", mask],
        initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    tokenizer.post_processor = tk.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=adds_space
    )
    _save(tokenizer, folder, **changes)


def write_bytes(folder: Path, **changes: Any) -> None:
    """Writes a tokenizer of 256 tokens, one for each byte."""
    import tokenizers as tk

    letters = sorted(tk.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = tk.Tokenizer(tk.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    _save(tokenizer, folder, **changes)


def _save(
    tokenizer: Any,
    folder: Path,
    *,
    padding: Mapping[str, Any] | None = None,
    truncation: Mapping[str, Any] | None = None,
) -> None:
    if padding is not None:
        tokenizer.enable_padding(**padding)
    if truncation is not None:
        tokenizer.enable_truncation(**truncation)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
