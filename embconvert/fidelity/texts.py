"""The built-in texts: those that verify a conversion, and those that calibrate one."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.models.kinds import Reading
from embconvert.user_files import UnreadableFileError, read_lines

#: What a model reads at a time: a text, or two.
Item = str | tuple[str, str]


class Query(str):
    """A text that is searched with, where those that are searched in are read otherwise."""

    __slots__ = ()


_QUERY_MARK = "query:"
# So many queries, of at most so many letters.
_QUERIES = 48
_QUERY_LETTERS = 200

#: Between the ids of a pair's texts.
PAIR_SIGN = "+"

#: Bounds of a file of calibration texts; `--help` says them.
MAX_CALIBRATION_BYTES = 1 << 26
MAX_TEXT_BYTES = 1 << 20
MAX_TEXTS = 1_000_000
# How much of a batch is text at least; what fills it up costs as much.
_LEAST_FILLED = 0.8


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Some texts.

    Attributes:
        ids: One for each text.
        texts: In the files' order.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Identifies the texts."""
        return _digest(self.texts)


@dataclass(frozen=True, kw_only=True)
class Items:
    """Texts as a model reads them.

    Attributes:
        ids: One for each item; of a pair, those of its texts with PAIR_SIGN between.
        items: Texts, or pairs of them.
    """

    ids: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """Identifies the items."""
        return _digest(self.items)


def _digest(items: Sequence[Item]) -> str:
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def verification_texts() -> Texts:
    """Returns the built-in texts that every graph is compared on."""
    lines = _data("verification_texts.jsonl").splitlines()
    entries = [json.loads(line) for line in lines]
    return Texts(ids=tuple(e["id"] for e in entries), texts=tuple(e["text"] for e in entries))


def verification_items(reading: Reading) -> Items:
    """Returns the built-in texts as a model reads them.

    As pairs, each text comes once as the first and once as the second: every other with the text
    that follows it, which is of its language or sort, the rest with one from far off. As queries
    and documents, all texts are documents, and some short ones queries, too.
    """
    built_in = verification_texts()
    ids, texts = built_in.ids, built_in.texts
    if reading is Reading.TEXT:
        return Items(ids=ids, items=texts)
    if reading is Reading.QUERY_OR_DOCUMENT:
        short = [i for i, text in enumerate(texts) if len(text) <= _QUERY_LETTERS]
        queries = short[:: max(1, len(short) // _QUERIES)]
        return Items(
            ids=(*ids, *(f"{_QUERY_MARK}{ids[i]}" for i in queries)),
            items=(*texts, *(Query(texts[i]) for i in queries)),
        )
    count = len(texts)
    near = {i: (i + 1) % count for i in range(0, count, 2)}
    left = sorted(set(range(count)) - set(near.values()))
    far = {i: left[(n + len(left) // 2) % len(left)] for n, i in enumerate(range(1, count, 2))}
    partners = [(near | far)[i] for i in range(count)]
    return Items(
        ids=tuple(f"{ids[i]}{PAIR_SIGN}{ids[j]}" for i, j in enumerate(partners)),
        items=tuple((texts[i], texts[j]) for i, j in enumerate(partners)),
    )


def is_query_id(text_id: str) -> bool:
    """Whether an id is of a query among documents."""
    return text_id.startswith(_QUERY_MARK)


def calibration_items(texts: Texts, reading: Reading) -> tuple[Item, ...]:
    """Returns calibration texts as a model reads them.

    As pairs, a text with a tab in it is one; of the others, each is the first and the next one the
    second.
    """
    if reading is Reading.TEXT:
        return texts.texts
    if reading is Reading.QUERY_OR_DOCUMENT:  # every fourth is a query
        return tuple(Query(t) if n % 4 == 3 else t for n, t in enumerate(texts.texts))
    pairs = []
    following = [*texts.texts[1:], texts.texts[0]]
    for text, other in zip(texts.texts, following, strict=True):
        first, tab, second = text.partition("\t")
        pairs.append((first, second) if tab else (text, other.partition("\t")[0]))
    return tuple(pairs)


def calibration_texts(path: Path | None) -> Texts:
    """Returns the texts that calibrate static quantization.

    Args:
        path: A UTF-8 file with one text a line; None means the built-in ones, which are others
            than those that verify.

    Raises:
        UsageError: It is no regular file, is empty, not UTF-8, or over one of the bounds above.
    """
    if path is None:
        lines: Iterable[str] = _data("calibration_texts.txt").split("\n")
    else:
        lines = read_lines(path, most_bytes=MAX_CALIBRATION_BYTES, most_line_bytes=MAX_TEXT_BYTES)
    hint = "give a UTF-8 text file with one text a line, or leave --calibration_dataset out"
    texts: list[str] = []
    try:
        for line in lines:
            text = line.strip()
            if text:
                texts.append(text)
            if len(texts) > MAX_TEXTS:
                raise UsageError(
                    f"--calibration_dataset {path} has over {MAX_TEXTS:,} texts",
                    "give fewer: some hundred calibrate a model",
                )
    except UnreadableFileError as error:
        raise UsageError(f"--calibration_dataset {path} {error}", hint) from error
    if not texts:
        raise UsageError(f"--calibration_dataset {path} has no texts", "write one text a line")
    return Texts(ids=tuple(f"line {n}" for n in range(1, len(texts) + 1)), texts=tuple(texts))


def _data(name: str) -> str:
    return resources.files("embconvert").joinpath("data", name).read_text(encoding="utf-8")


def batches(lengths: Sequence[int], *, texts: int = 32, tokens: int = 2048) -> list[list[int]]:
    """Groups texts of similar length; at most a fifth of a batch is padding.

    Args:
        lengths: Tokens of each text.
        texts: Most texts in a batch.
        tokens: Most tokens in a batch, padding included; a longer text is alone.

    Returns:
        Indices of texts, longest first.
    """
    grouped: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        group = grouped[-1] if grouped else []
        padded = (len(group) + 1) * max(1, lengths[group[0]] if group else 0)
        real = sum(lengths[i] for i in group) + lengths[index]
        if group and len(group) < texts and padded <= tokens and real >= _LEAST_FILLED * padded:
            group.append(index)
        else:
            grouped.append([index])
    return grouped
