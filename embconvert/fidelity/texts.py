"""The built-in texts for verification and calibration."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.models.kinds import Reading
from embconvert.user_files import UnreadableFileError, read_lines

#: A text, or a pair.
Plain = str | tuple[str, str]


@dataclass(frozen=True)
class Prompted:
    """An input after a prompt; the prompt of a pair is before its first text."""

    item: Plain
    prompt: str


#: The input of a model.
Item = Plain | Prompted


def plain(item: Item) -> Plain:
    """Returns an input without its prompt."""
    return item.item if isinstance(item, Prompted) else item


def prompt_of(item: Item) -> str:
    """Returns an input's prompt; an empty one if it has none."""
    return item.prompt if isinstance(item, Prompted) else ""


def joined(item: Item) -> Plain:
    """Returns an input as one text or pair, with its prompt."""
    if not isinstance(item, Prompted):
        return item
    if isinstance(item.item, str):
        return item.prompt + item.item
    return item.prompt + item.item[0], item.item[1]


class Query(str):
    """A search query, for models that read queries and documents differently."""

    __slots__ = ()


_QUERY_MARK = "query:"
# Number of queries, and their maximum length in characters.
_QUERIES = 48
_QUERY_LETTERS = 200

#: Separates the ids of a pair's texts.
PAIR_SIGN = "+"

#: Limits of a file of calibration texts, which are also in `--help`.
MAX_CALIBRATION_BYTES = 1 << 26
MAX_TEXT_BYTES = 1 << 20
MAX_TEXTS = 1_000_000
# A prompt that would get fewer texts gets none.
_FEWEST_TEXTS = 4
# Minimum share of text in a batch; padding costs as much time as text.
_LEAST_FILLED = 0.8


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Some texts with ids."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def digest(self) -> str:
        return _digest(self.texts)


@dataclass(frozen=True, kw_only=True)
class Items:
    """Inputs of a model.

    Attributes:
        ids: For a pair, the ids of its texts joined by PAIR_SIGN.
    """

    ids: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """Of the inputs without prompts."""
        return _digest([plain(item) for item in self.items])

    @property
    def shares(self) -> dict[str, int]:
        """Number of inputs for each prompt; "" is none."""
        return dict(Counter(map(prompt_of, self.items)))


def _digest(items: Sequence[Plain]) -> str:
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def verification_texts() -> Texts:
    lines = _data("verification_texts.jsonl").splitlines()
    entries = [json.loads(line) for line in lines]
    return Texts(ids=tuple(e["id"] for e in entries), texts=tuple(e["text"] for e in entries))


def verification_items(reading: Reading, prompts: Sequence[str] = ()) -> Items:
    """Returns the built-in texts as inputs of a model, which prompts are shared out among.

    As pairs, each text occurs once on each side: every second one with the text after it, which has
    the same language or sort, the others with a distant one. As queries and documents, all texts
    are documents, and some short ones also queries; their prompts are part of how they are read.
    """
    items = _verification_items(reading)
    if not prompts or reading is Reading.QUERY_OR_DOCUMENT:
        return items
    shared = _shared_out(items.ids, prompts)
    return replace(items, items=tuple(map(Prompted, map(plain, items.items), shared)))


def _shared_out(ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """Returns a prompt for each id: each about equally often, and those of neighbours unrelated."""
    usable = prompts[: max(1, len(ids) // _FEWEST_TEXTS)]
    order = sorted(ids, key=lambda text_id: hashlib.sha256(text_id.encode()).digest())
    places = {text_id: place for place, text_id in enumerate(order)}
    return [usable[places[text_id] % len(usable)] for text_id in ids]


def _verification_items(reading: Reading) -> Items:
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
    return text_id.startswith(_QUERY_MARK)


def text_id_of(text_id: str) -> str:
    """Returns the id of a query as a document."""
    return text_id.removeprefix(_QUERY_MARK)


def is_blank_id(text_id: str) -> bool:
    """Whether an id belongs to a text without visible characters, or to a pair with one."""
    names = text_id_of(text_id).split(PAIR_SIGN)
    return not _blank_ids().isdisjoint(names)


@functools.cache
def _blank_ids() -> frozenset[str]:
    built_in = verification_texts()
    pairs = zip(built_in.ids, built_in.texts, strict=True)
    return frozenset(name for name, text in pairs if not text.strip())


def calibration_items(
    texts: Texts, reading: Reading, prompts: Sequence[str] = ()
) -> tuple[Item, ...]:
    """Returns calibration texts as inputs of a model, which prompts are shared out among.

    As pairs, a text with a tab is a pair; others are paired with the next text. Texts that begin
    with a prompt keep it.
    """
    items = _calibration_items(texts, reading)
    if not prompts or reading is Reading.QUERY_OR_DOCUMENT:
        return items
    known = tuple(filter(None, prompts))
    return tuple(
        item if _first(item).startswith(known) else Prompted(item, prompt)
        for item, prompt in zip(items, _shared_out(texts.ids, prompts), strict=True)
    )


def _first(item: Plain) -> str:
    return item if isinstance(item, str) else item[0]


def _calibration_items(texts: Texts, reading: Reading) -> tuple[Plain, ...]:
    if reading is Reading.TEXT:
        return texts.texts
    if reading is Reading.QUERY_OR_DOCUMENT:  # every fourth text is a query
        return tuple(Query(t) if n % 4 == 3 else t for n, t in enumerate(texts.texts))
    pairs = []
    following = [*texts.texts[1:], texts.texts[0]]
    for text, other in zip(texts.texts, following, strict=True):
        first, tab, second = text.partition("\t")
        pairs.append((first, second) if tab else (text, other.partition("\t")[0]))
    return tuple(pairs)


def calibration_texts(path: Path | None) -> Texts:
    """Returns the calibration texts.

    They are those of a UTF-8 file with one text per line; without one, the built-in texts, which
    differ from those for verification. Raises UsageError if it is not a regular file, not UTF-8,
    empty, or exceeds a limit above.
    """
    if path is None:
        lines: Iterable[str] = _data("calibration_texts.txt").split("\n")
    else:
        lines = read_lines(path, most_bytes=MAX_CALIBRATION_BYTES, most_line_bytes=MAX_TEXT_BYTES)
    hint = "give a UTF-8 text file with one text per line, or remove --calibration_dataset"
    texts: list[str] = []
    try:
        for line in lines:
            text = line.strip()
            if text:
                texts.append(text)
            if len(texts) > MAX_TEXTS:
                raise UsageError(
                    f"--calibration_dataset {path} has more than {MAX_TEXTS:,} texts",
                    "use fewer texts: some hundred are enough",
                )
    except UnreadableFileError as error:
        raise UsageError(f"--calibration_dataset {path} {error}", hint) from error
    if not texts:
        raise UsageError(f"--calibration_dataset {path} has no texts", "write one text per line")
    return Texts(ids=tuple(f"line {n}" for n in range(1, len(texts) + 1)), texts=tuple(texts))


def _data(name: str) -> str:
    return resources.files("embconvert").joinpath("data", name).read_text(encoding="utf-8")


def batches(lengths: Sequence[int], *, texts: int = 32, tokens: int = 2048) -> list[list[int]]:
    """Groups texts of similar length; at most a fifth of a batch is padding.

    A batch has at most so many texts, and tokens including padding; a longer text is alone.
    Returns indices of texts, longest first.
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
