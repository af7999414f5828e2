"""A tokenizer as nodes of a graph, made from a published tokenizer.json."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.derive.tokenizer.byte_bpe import add_byte_bpe, bpe_problem
from embconvert.derive.tokenizer.nodes import Nodes, Value
from embconvert.derive.tokenizer.rows import Ragged, RowRules, Special, add_rows
from embconvert.derive.tokenizer.unigram import add_unigram
from embconvert.derive.tokenizer.wordpiece import add_wordpiece
from embconvert.errors import DeriveError
from embconvert.fidelity.tokenization import padding_of
from embconvert.fidelity.tokenizer_errors import tokenizer_errors
from embconvert.json_files import read_json

FILE = "tokenizer.json"
#: As in folder.tokenizer_json, which checks the file before anything reads it.
_MOST_BYTES = 1 << 27
#: What to do about a tokenizer that no graph can have.
LET_THE_PROGRAM = "omit --tokenizer in_graph, and let the program that loads the folder tokenize"
#: By their names in tokenizer.json.
ALGORITHMS: Mapping[str, Callable[[Nodes, Value, Any, Mapping[str, Any]], Ragged]] = {
    "BPE": add_byte_bpe,
    "Unigram": add_unigram,
    "WordPiece": add_wordpiece,
}


def tokenizer_problem(parts: Mapping[str, Any]) -> str:
    """Returns why no graph can have the tokenizer of a tokenizer.json; "" if it can be tried."""
    algorithm = parts["model"].get("type")
    if algorithm not in ALGORITHMS:
        names = ", ".join(sorted(ALGORITHMS))
        return f"the tokenizer's algorithm is {algorithm}, and only {names} can be in a graph"
    problem = bpe_problem(parts) if algorithm == "BPE" else ""
    return f"the tokenizer is BPE with {problem}, which graphs cannot have" if problem else ""


@dataclass(frozen=True)
class TextGraph:
    """The onnx.NodeProtos, in order, that turn texts into a graph's inputs."""

    nodes: list[Any]
    inputs: dict[str, Value]


def text_graph(folder: Path, texts: Value, inputs: Collection[str]) -> TextGraph:
    """Makes nodes of a folder's tokenizer.json.

    Args:
        texts: The name of the input, (batch,) strings.
        inputs: Names of the inputs of the graph that gets the tokens.

    Raises:
        DeriveError: Its algorithm has no operators, or it adds tokens in an unusual way.
        SourceError: The file is broken.
    """
    from tokenizers import Tokenizer

    parts = read_json(folder / FILE, _MOST_BYTES)
    with tokenizer_errors("is broken"):
        tokenizer = Tokenizer.from_file(str(folder / FILE))
    if problem := tokenizer_problem(parts):
        raise DeriveError(f"--tokenizer in_graph: {problem}", LET_THE_PROGRAM)
    add = ALGORITHMS[parts["model"]["type"]]
    nodes = Nodes()
    ragged = add(nodes, texts, tokenizer, parts)
    return TextGraph(nodes.made, add_rows(nodes, ragged, row_rules(tokenizer), inputs))


def row_rules(tokenizer: Any) -> RowRules:
    """Returns how a tokenizers.Tokenizer makes rows; raises DeriveError for what is unusual."""
    cut, padding = tokenizer.truncation, padding_of(tokenizer.padding)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    own = tokenizer.encode("a b", add_special_tokens=False)
    full = tokenizer.encode("a b")
    if cut:
        tokenizer.enable_truncation(**cut)
    special = list(map(Special, full.ids, full.type_ids))
    before = next((n for n, added in enumerate(full.special_tokens_mask) if not added), 0)
    after = before + len(own.ids)
    if full.ids[before:after] != own.ids or len(set(full.type_ids[before:after])) != 1:
        raise DeriveError(
            "--tokenizer in_graph: the tokenizer puts special tokens between those of a text",
            "omit --tokenizer in_graph",
        )
    return RowRules(
        before=tuple(special[:before]),
        after=tuple(special[after:]),
        type_id=full.type_ids[before],
        room=max(0, cut["max_length"] - len(special) + len(own.ids)) if cut else None,
        keeps_end=bool(cut) and cut["direction"] == "left",
        padding=padding,
    )
