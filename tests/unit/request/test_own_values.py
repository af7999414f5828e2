"""Values that only one option has."""

import pytest

from embconvert.errors import UsageError
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import PRECISION_SYNONYMS, QUANTIZED_PRECISIONS, Precision
from embconvert.request.own_values import adapters as parse_adapters
from embconvert.request.own_values import precisions, size

MB = 10**6


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("25MB", 25 * MB),
        ("1.5GB", 1500 * MB),
        ("900kB", 900_000),
        ("30%", 27 * MB),
        ("25 mb", 25 * MB),
        ("2MiB", 2 << 20),
    ],
)
def test_a_size_is_bytes_or_a_share_of_float32(text: str, size_bytes: int) -> None:
    assert size(text).in_bytes(90 * MB) == size_bytes


@pytest.mark.parametrize("text", ["", "big", "-3MB", "0", "130%", "nan", "infGB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        size(text)


@pytest.mark.parametrize(
    ("word", "understood"),
    [
        ("int8", Precision.QINT8),
        ("INT8", Precision.QINT8),
        ("uint8", Precision.QUINT8),
        ("fp16", Precision.FLOAT16),
        ("f16", Precision.FLOAT16),
        ("float16", Precision.FLOAT16),
        ("q4", Precision.Q4),
        ("q8", Precision.Q8),
        ("int8-static", Precision.QINT8_STATIC),
        ("fp8", Precision.QFLOAT8),
    ],
)
def test_a_precision_has_its_usual_names(word: str, understood: Precision) -> None:
    assert precisions(word) == (understood,)


@pytest.mark.parametrize("word", ["bf16", "nf4", "int16", "f1", "8"])
def test_an_ambiguous_or_unsupported_precision_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is unknown"):
        precisions(word)


@pytest.mark.parametrize("word", ["", "QInt8,", ",Q8"])
def test_an_empty_precision_is_named_as_such(word: str) -> None:
    with pytest.raises(UsageError, match="--quantize has an empty value"):
        precisions(word)


def test_no_synonym_is_the_name_of_a_precision_or_another_word_of_the_option() -> None:
    names = {precision.lower() for precision in QUANTIZED_PRECISIONS} | {"auto"}
    assert not names & set(PRECISION_SYNONYMS)
    assert all(word == word.lower() and "-" not in word for word in PRECISION_SYNONYMS)


@pytest.mark.parametrize(
    ("words", "adapters"),
    [
        ("me/lora", [AdapterChoice(name="me/lora")]),
        ("me/lora@v1", [AdapterChoice(name="me/lora", revision="v1")]),
        ("me/lora@v1=0.5", [AdapterChoice(name="me/lora", revision="v1", weight=0.5)]),
        ("retrieval.query", [AdapterChoice(name="retrieval.query")]),
        ("a/b,c/d=-2", [AdapterChoice(name="a/b"), AdapterChoice(name="c/d", weight=-2)]),
        ("./a@b", [AdapterChoice(name="./a@b")]),
    ],
)
def test_an_adapter_may_have_a_revision_and_a_factor(
    words: str, adapters: list[AdapterChoice]
) -> None:
    assert list(parse_adapters(words)) == adapters
    assert ",".join(map(str, adapters)) == words


@pytest.mark.parametrize(
    "words", ["", ",", "a/b,", "a/b@", "@v1", "a/b=", "a/b=0", "a/b=x", "a/b=nan", "a/b=1e9", "=2"]
)
def test_an_adapter_without_a_name_or_with_another_factor_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="--adapter"):
        parse_adapters(words)
