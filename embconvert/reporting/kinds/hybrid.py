"""Terms and code samples for hybrid models."""

from dataclasses import replace

from embconvert.reporting.embedding_snippets import onnxruntime
from embconvert.reporting.kind_words import KindWords
from embconvert.reporting.kinds.embedding import SNIPPET_MAKERS as OF_EMBEDDINGS
from embconvert.reporting.kinds.embedding import WORDS as EMBEDDING
from embconvert.reporting.snippet_parts import (
    SENTENCE,
    ServedModel,
    Snippet,
    SnippetMaker,
    runtime_snippet,
    texts_lines,
)

_WEIGHTS, _VECTORS = "token_weights", "colbert_embeddings"
#: The code that uses an output, which is in `made`, for the first two texts.
_USES = {
    SENTENCE: f"""\
dense = made["{SENTENCE}"]
print("dense", dense[0] @ dense[1])
""",
    _WEIGHTS: f"""\
words = []  # for each text the largest weight of each token id
for ids, weights in zip(feed["input_ids"].tolist(), made["{_WEIGHTS}"].tolist()):
    words.append({{}})
    for number, weight in zip(ids, weights):
        if weight > words[-1].get(number, 0.0):
            words[-1][number] = weight
print({{tokenizer.id_to_token(n): round(weight, 2) for n, weight in words[0].items()}})
print("sparse", sum(weight * words[1].get(n, 0.0) for n, weight in words[0].items()))
""",
    _VECTORS: f"""\
tokens = [  # without padding and the first token
    rows[mask == 1][1:] for rows, mask in zip(made["{_VECTORS}"], feed["attention_mask"])
]
print("late interaction", (tokens[0] @ tokens[1].T).max(axis=1).mean())
""",
}


def _all_heads(model: ServedModel) -> Snippet:
    given = [tensor.name for tensor in model.graph.outputs]
    used = [name for name in _USES if name in given]
    named = "".join(f'    "{name}",\n' for name in used)
    return runtime_snippet(
        model,
        f"""\
{texts_lines(model)}outputs = [  # those that you need
{named}]
{_run_line(model)}

{"".join(_USES[name] for name in used).rstrip()}""",
        remark=("One run gives the outputs of all heads; the scores are those of FlagEmbedding."),
    )


def _run_line(model: ServedModel) -> str:
    if model.is_ir:
        return "given = model(feed)\nmade = {name: given[name] for name in outputs}"
    return "made = dict(zip(outputs, session.run(outputs, feed)))"


def _dense_only(make: SnippetMaker) -> SnippetMaker:
    """Returns the code of a program that reads an embedding model's output."""

    def sample(model: ServedModel) -> Snippet | None:
        made = make(model)
        if made is None:
            return None
        return replace(made, remark=f"{made.remark} The dense vectors only.".strip())

    return sample


WORDS: KindWords = EMBEDDING
SNIPPET_MAKERS: tuple[SnippetMaker, ...] = (
    _all_heads,
    *(_dense_only(make) for make in OF_EMBEDDINGS if make is not onnxruntime),
)
