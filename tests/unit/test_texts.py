"""The built-in texts, and how texts become a graph's inputs."""

import itertools
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embconvert.errors import SourceError, UsageError
from embconvert.fidelity.texts import batches, calibration_texts, verification_texts
from embconvert.fidelity.tokenization import tokenize
from embconvert.fidelity.workload import make_workload


def test_verification_texts_are_many_and_varied() -> None:
    texts = verification_texts()
    assert len(texts.texts) >= 256
    assert len(set(texts.ids)) == len(set(texts.texts)) == len(texts.texts)
    assert "" in texts.texts
    assert sum(len(text.split()) > 380 for text in texts.texts) >= 2
    letters = {unicodedata.name(c, "").split(" ")[0] for text in texts.texts for c in text}
    scripts = {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "THAI", "CJK",
               "HIRAGANA", "HANGUL", "TAMIL", "GEORGIAN"}  # fmt: skip
    assert scripts <= letters


def test_calibration_texts_are_others_than_those_that_verify() -> None:
    assert not set(calibration_texts(None).texts) & set(verification_texts().texts)
    assert len(calibration_texts(None).texts) >= 128


def test_a_calibration_file_is_one_text_a_line(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\ufeffone\n\n two \n", encoding="utf-8")
    assert calibration_texts(file).texts == ("one", "two")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        calibration_texts(file)


@given(st.lists(st.integers(1, 600), min_size=1), st.integers(1, 40), st.integers(1, 3000))
def test_batches_hold_every_text_once_within_their_bounds(
    lengths: list[int], most_texts: int, most_tokens: int
) -> None:
    groups = batches(lengths, texts=most_texts, tokens=most_tokens)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) <= most_texts
        padded = len(group) * max(lengths[i] for i in group)
        assert len(group) == 1 or padded <= most_tokens
        assert sum(lengths[i] for i in group) >= 0.8 * padded


@given(st.lists(st.integers(1, 600), min_size=1, max_size=300))
def test_a_workload_embeds_some_texts_alone_and_in_a_mixed_batch(lengths: list[int]) -> None:
    workload = make_workload(lengths)
    mixed = [lengths[i] for i in workload.mixed]
    assert min(mixed) == min(lengths)
    assert sorted(index for group in workload.similar for index in group) == [*range(len(lengths))]
    assert workload.size == len(lengths) + len(mixed) + len(workload.alone)
    assert workload.mixed in workload.groups
    assert all((index,) in workload.groups for index in workload.mixed)


@given(st.lists(st.integers(1, 600), min_size=1), st.sampled_from([0.0, 1e12]))
def test_no_text_is_embedded_alone_twice(lengths: list[int], flop_per_token: float) -> None:
    workload = make_workload(lengths, flop_per_token)
    others = list(workload.groups)
    others.remove(workload.mixed)
    assert len(others) == len(set(others))


@given(st.lists(st.integers(1, 600), min_size=20, max_size=60))
def test_a_large_model_is_compared_on_a_sample_of_all_lengths(lengths: list[int]) -> None:
    """Here a token costs so much that 16 texts, or few tokens, are all that may be."""
    workload = make_workload(lengths, flop_per_token=1e12)
    chosen = [index for group in workload.similar for index in group]
    assert len(chosen) == len(set(chosen)) == workload.texts
    assert 1 <= workload.texts <= 16 or sum(lengths[i] for i in chosen) <= 320
    assert {(index,) for index in workload.mixed} <= set(workload.similar)
    assert min(lengths[i] for i in chosen) == min(lengths)


def test_most_texts_of_a_sample_are_short_and_a_long_one_is_among_them() -> None:
    lengths = list(range(1, 201))
    workload = make_workload(lengths, flop_per_token=4e8)
    chosen = sorted(lengths[index] for group in workload.similar for index in group)
    assert chosen[len(chosen) // 2] < max(chosen) / 2
    assert max(chosen) > 100


# No lengths that ten texts in one batch would take it over its limit of tokens.
@given(st.lists(st.integers(1, 50), min_size=2, max_size=10))
def test_no_batches_of_a_sample_cost_less(lengths: list[int]) -> None:
    """Each costs what ten more tokens would; texts that are mixed as well are not in one."""
    workload = make_workload(lengths, flop_per_token=1e12)
    groups = [group for group in workload.similar if not set(group) <= set(workload.mixed)]
    chosen = sorted(lengths[index] for group in groups for index in group)

    def cost(groups: Iterable[Sequence[int]]) -> int:
        return sum(10 + len(group) * max(group) for group in groups)

    def cut(places: Sequence[int]) -> list[list[int]]:
        return [chosen[a:b] for a, b in itertools.pairwise([0, *places, len(chosen)])]

    inner = range(1, len(chosen))
    ways = (way for n in range(len(chosen)) for way in itertools.combinations(inner, n))
    ours = cost([lengths[index] for index in group] for group in groups)
    assert ours == min((cost(cut(way)) for way in ways), default=0)


def test_the_sample_is_as_large_as_its_cost_allows() -> None:
    lengths = [1 + n % 60 for n in range(288)]
    sizes = [make_workload(lengths, flop).texts for flop in (1e7, 1e9, 2e9, 1e10)]
    assert sizes[0] == 288
    assert sizes == sorted(sizes, reverse=True)
    assert 16 <= sizes[-1] < 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "c"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_padding(length=20)  # as all-MiniLM-L6-v2's file has it
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def configure(folder: Path, **values: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("right", [[1, 4, 5, 6, 2], [1, 4, 2, 0, 0]], [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        ("left", [[1, 4, 5, 6, 2], [0, 0, 1, 4, 2]], [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]),
    ],
)
def test_padding_is_on_the_tokenizers_side(
    side: str, ids: list[list[int]], mask: list[list[int]], folder: Path
) -> None:
    configure(folder, pad_token={"content": "[PAD]"}, padding_side=side)
    batch = tokenize(folder, ["a b c", "a"], max_length=None).batch(
        [0, 1], ["attention_mask", "input_ids"]
    )
    assert list(batch) == ["attention_mask", "input_ids"]
    assert batch["input_ids"].tolist() == ids
    assert batch["attention_mask"].tolist() == mask


def test_texts_are_cut_and_lower_cased_as_the_model_wants(folder: Path) -> None:
    configure(folder, pad_token="[PAD]")
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    tokens = tokenize(folder, ["A B C", ""], max_length=4)
    assert [ids.tolist() for ids in tokens.ids] == [[1, 4, 5, 2], [1, 2]]


def test_an_input_that_no_tokenizer_gives_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="task_id"):
        tokenize(folder, ["a"], max_length=None).batch([0], ["input_ids", "task_id"])


def test_a_missing_or_broken_tokenizer_is_a_source_error(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(SourceError, match="broken"):
        tokenize(folder, ["a"], max_length=None)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"no tokenizer\.json"):
        tokenize(folder, ["a"], max_length=None)
