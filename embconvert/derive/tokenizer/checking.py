"""Compares a tokenizer in a graph with the tokenizers library."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from embconvert.derive.tokenizer.nodes import OPSETS
from embconvert.derive.tokenizer.text_graph import FILE, LET_THE_PROGRAM, TextGraph
from embconvert.errors import DeriveError
from embconvert.fidelity.odd_texts import COUNT, odd_texts
from embconvert.fidelity.texts import joined, verification_items
from embconvert.fidelity.tokenization import TextTokenizer, TokenizedTexts
from embconvert.foreign_text import one_line, python_string
from embconvert.graph.extensions import with_extensions
from embconvert.graph.runtime import open_session, session_options
from embconvert.json_files import read_json
from embconvert.models.forms import TEXT_INPUT
from embconvert.models.kinds import Reading

_AT_A_TIME = 50
# Of the vocabulary.
_WORDS = 500
_SHOWN = 100
# SentencePiece adds scores in float32.
_SAME_SCORE = 1e-5


def check_tokens(graph: TextGraph, folder: Path, count: int = COUNT) -> int:
    """Compares the inputs that a graph computes of unusual and of the built-in texts.

    Args:
        graph: Made of the folder's tokenizer.json.

    Returns:
        How many texts are split otherwise, but with the same total score: of equally probable
        splits, Unigram's sums of rounded scores decide.

    Raises:
        DeriveError: The inputs differ.
    """
    parts = read_json(folder / FILE, 1 << 27)
    texts = list(_texts(parts, count))
    tokenizer = TextTokenizer(folder)
    session = open_session(tokenizer_model(graph), with_extensions(session_options()))
    ties = 0
    for start in range(0, len(texts), _AT_A_TIME):
        some = texts[start : start + _AT_A_TIME]
        expected = tokenizer.tokenize(some)
        found = dict(
            zip(
                graph.inputs,
                session.run(list(graph.inputs), {TEXT_INPUT: np.array(some, dtype=object)}),
                strict=True,
            )
        )
        batch = expected.batch(range(len(some)), graph.inputs)
        if all(np.array_equal(found[name], batch[name]) for name in graph.inputs):
            continue
        for number, text in enumerate(some):
            ties += _difference(session, graph, text, expected.subset([number]), parts)
    return ties


def tokenizer_model(graph: TextGraph) -> bytes:
    """Returns a model from texts to the inputs."""
    from onnx import TensorProto, helper

    nodes = [
        *graph.nodes,
        *(helper.make_node("Identity", [value], [name]) for name, value in graph.inputs.items()),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tokenizer",
            [helper.make_tensor_value_info(TEXT_INPUT, TensorProto.STRING, ["batch"])],
            [helper.make_tensor_value_info(n, TensorProto.INT64, None) for n in graph.inputs],
        ),
        opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS.items()],
        ir_version=8,
    )
    content: bytes = model.SerializeToString()
    return content


def _texts(parts: Mapping[str, Any], count: int) -> Iterator[str]:
    for item in verification_items(Reading.TEXT).items:
        text = joined(item)
        assert isinstance(text, str)
        yield text
    vocabulary = parts["model"]["vocab"]
    words = [word if isinstance(word, str) else word[0] for word in vocabulary]
    some = Random(0).sample(words, min(_WORDS, len(words)))
    added = [token["content"] for token in parts.get("added_tokens") or ()]
    most = (parts.get("truncation") or {}).get("max_length")
    yield from odd_texts(added, some, most)[:count]


def _difference(
    session: Any, graph: TextGraph, text: str, expected: TokenizedTexts, parts: Mapping[str, Any]
) -> bool:
    """Whether a text is split otherwise with the same score; raises DeriveError if not the same."""
    values = session.run(list(graph.inputs), {TEXT_INPUT: np.array([text], dtype=object)})
    found = dict(zip(graph.inputs, values, strict=True))
    batch = expected.batch([0], graph.inputs)
    if all(np.array_equal(found[name], batch[name]) for name in graph.inputs):
        return False
    ours, theirs = (ids["input_ids"].ravel().tolist() for ids in (found, batch))
    if parts["model"].get("type") == "Unigram" and _is_tie(ours, theirs, parts["model"]["vocab"]):
        return True
    place = next(
        (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    raise DeriveError(
        f"--tokenizer in_graph: the operators tokenize {one_line(python_string(text), _SHOWN)} "
        f"differently from tokenizer.json: token {place + 1} is {_at(ours, place)}, not "
        f"{_at(theirs, place)}",
        LET_THE_PROGRAM,
    )


def _at(ids: Sequence[int], place: int) -> str:
    return str(ids[place]) if place < len(ids) else "missing"


def _is_tie(ours: Sequence[int], theirs: Sequence[int], vocabulary: Collection[Any]) -> bool:
    """Whether two splits have the same text and, but for rounding, the same score."""
    pieces = list(vocabulary)
    if max(*ours, *theirs) >= len(pieces):
        return False
    first, second = ([pieces[n] for n in ids] for ids in (ours, theirs))
    scores = [sum(score for _, score in split) for split in (first, second)]
    same_text = "".join(p for p, _ in first) == "".join(p for p, _ in second)
    return same_text and abs(scores[0] - scores[1]) <= _SAME_SCORE * abs(scores[0])
