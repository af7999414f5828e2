"""The code that shows how to run a sparse model's graph."""

from collections.abc import Callable

from embconvert.reporting.snippet_parts import (
    ServedModel,
    Snippet,
    feed_lines,
    list_of_texts,
    lowered,
    setup_lines,
)


def _onnxruntime(model: ServedModel) -> Snippet:
    word = "tokenizer.id_to_token(int(n))" if "SpladePooling" in model.source.modules else "n"
    return Snippet(
        key="onnxruntime",
        title="ONNX Runtime",
        language="python",
        code=f"""\
{setup_lines(model)}
texts = {list_of_texts()}
encodings = tokenizer.encode_batch({lowered(model, "texts")})
{feed_lines(model)}(vectors,) = session.run(["sentence_embedding"], feed)
for vector in vectors:
    active = np.flatnonzero(vector)  # with vector[active], what a search engine indexes
    heaviest = active[np.argsort(-vector[active])][:5]
    print(len(active), {{{word}: round(float(vector[n]), 2) for n in heaviest}})
print(vectors @ vectors.T)""",
        remark="No framework, from Python or any language that ONNX Runtime has. The graph pools "
        "over the tokens: one vector a text, most of it zero.",
    )


SPARSE_CONSUMERS: tuple[Callable[[ServedModel], Snippet | None], ...] = (_onnxruntime,)
