"""Terms and code samples for late-interaction models."""

from embconvert.foreign_text import python_string
from embconvert.models.kinds import Measure
from embconvert.reporting.kind_words import KindWords
from embconvert.reporting.sample_texts import QUERY, query_lines
from embconvert.reporting.snippet_parts import (
    ServedModel,
    Snippet,
    SnippetMaker,
    feed_lines,
    output_line,
    runtime_snippet,
    setup_lines,
    side_argument,
)


def _onnxruntime(model: ServedModel) -> Snippet | None:
    late = model.source.model.late_interaction
    if late is None:  # the source was not loaded
        return None
    feed = "\n".join(f"    {line}".rstrip() for line in feed_lines(model).splitlines())
    fill = late.expansion
    prompts = [python_string(prompt) for prompt in (late.query_prompt, late.document_prompt)]
    limits = [late.limit(model.max_tokens, query=is_query) for is_query in (True, False)]
    filled = ""
    if fill is not None:
        around, near = "(0, width - x.shape[1])", f"np.arange(width) < {fill.length!r}"
        if model.tokenizer.get("padding_side") == "left":
            around, near = "(width - x.shape[1], 0)", f"np.arange(width) >= width - {fill.length!r}"
        filled = (
            f"""\
    if query:  # short queries are padded with tokens that are scored
        width = max({fill.length!r}, feed["input_ids"].shape[1])
        feed = {{n: np.pad(x, ((0, 0), {around})) for n, x in feed.items()}}
        fills = (feed["attention_mask"] == 0) & ({near})
        feed["input_ids"][fills] = {fill.token_id!r}
        counts = (feed["attention_mask"] == 1) | fills
{'        feed["attention_mask"][fills] = 1' if fill.attend else ""}
""".rstrip()
            + "\n"
        )
    skipped = ""
    if late.skipped_ids and late.skipped_in:
        line = f'counts &= ~np.isin(feed["input_ids"], {list(late.skipped_ids)!r})'
        skipped = f"    {line}\n"
        if len(late.skipped_in) == 1:
            condition = "query" if "query" in late.skipped_in else "not query"
            skipped = f"    if {condition}:  # tokens that are not scored\n        {line}\n"
    return runtime_snippet(
        model,
        f"""\
{setup_lines(model)}

def encode(texts, query):
    prompt = {prompts[0]} if query else {prompts[1]}
    limit = {limits[0]!r} if query else {limits[1]!r}
    tokenizer.no_truncation()
    if limit:
        tokenizer.enable_truncation(limit{side_argument(model)})
    encodings = tokenizer.encode_batch([prompt + text for text in texts])
{feed}
    counts = feed["attention_mask"] == 1
{filled}{skipped}    {output_line(model, "vectors", "token_embeddings")}
    return [tokens[mask] for tokens, mask in zip(vectors, counts)]


{query_lines(QUERY)}(query_vectors,) = encode([query], query=True)
scores = [
    float((query_vectors @ vectors.T).max(axis=1).sum())
    for vectors in encode(documents, query=False)
]
print(scores)""",
        remark=(
            "The graph gives one vector per token. The code applies prompts, query expansion, "
            "skipped tokens and MaxSim as sentence-transformers does."
        ),
    )


WORDS = KindWords(
    measure=Measure.COSINE,
    gives="vectors",
    one="vectors",
    all="vectors",
    between=(
        "between the vectors of a text's tokens and the source's, the mean over the scored tokens"
    ),
    neighbours="how many of each query's ten best documents stay, by MaxSim",
    rank="between the scores (MaxSim) of all documents for all queries before and after",
    output_title="Vector of each token",
    as_head=(
        "one L2-normalized vector per token, `(batch, seq, dim)`, zero for the first token and "
        "padding: leave these out; the score of a document is the mean over the query's tokens of "
        "the largest product with one of the document's (MaxSim)"
    ),
)
SNIPPET_MAKERS: tuple[SnippetMaker, ...] = (_onnxruntime,)
