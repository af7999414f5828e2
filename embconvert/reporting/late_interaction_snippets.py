"""The code that shows how to run a late-interaction model's graph."""

from collections.abc import Callable

from embconvert.foreign_text import python_string
from embconvert.reporting.snippet_parts import (
    QUERY_LINES,
    ServedModel,
    Snippet,
    feed_lines,
    setup_lines,
)


def _onnxruntime(model: ServedModel) -> Snippet | None:
    late = model.source.late_interaction
    if late is None:  # nobody has loaded the source
        return None
    lower = ".lower()" if model.lowercase else ""
    feed = "\n".join(f"    {line}".rstrip() for line in feed_lines(model).splitlines())
    fill = late.expansion
    prompts = [python_string(prompt) for prompt in (late.query_prompt, late.document_prompt)]
    limits = [late.limit(model.max_tokens, query=is_query) for is_query in (True, False)]
    filled = ""
    if fill is not None:
        filled = (
            f"""\
    if query:  # short queries are filled up, and what fills them counts
        width = max({fill.length!r}, feed["input_ids"].shape[1])
        feed = {{n: np.pad(x, ((0, 0), (0, width - x.shape[1]))) for n, x in feed.items()}}
        fills = (feed["attention_mask"] == 0) & (np.arange(width) < {fill.length!r})
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
            skipped = f"    if {condition}:  # tokens that do not count\n        {line}\n"
    return Snippet(
        key="onnxruntime",
        title="ONNX Runtime",
        language="python",
        code=f"""\
{setup_lines(model)}

def encode(texts, query):
    prompt = {prompts[0]} if query else {prompts[1]}
    limit = {limits[0]!r} if query else {limits[1]!r}
    tokenizer.no_truncation()
    if limit:
        tokenizer.enable_truncation(limit)
    encodings = tokenizer.encode_batch([prompt + text{lower} for text in texts])
{feed}
    counts = feed["attention_mask"] == 1
{filled}{skipped}    (vectors,) = session.run(["token_embeddings"], feed)
    return [tokens[mask] for tokens, mask in zip(vectors, counts)]


{QUERY_LINES}(query_vectors,) = encode([query], query=True)
scores = [
    float((query_vectors @ vectors.T).max(axis=1).sum())
    for vectors in encode(documents, query=False)
]
print(scores)""",
        remark="The graph gives a vector for each token. The code does the rest as "
        "sentence-transformers does: prompts, what fills queries up, tokens that do not count, and "
        "MaxSim.",
    )


LATE_INTERACTION_CONSUMERS: tuple[Callable[[ServedModel], Snippet | None], ...] = (_onnxruntime,)
