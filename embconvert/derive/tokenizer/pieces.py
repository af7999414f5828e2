"""SentencePiece as an operator of onnxruntime-extensions."""

import base64

from embconvert.derive.tokenizer.nodes import EXTENSIONS, Nodes, Value


def add_pieces(nodes: Nodes, texts: Value, model: bytes, *, ends: bool) -> list[Value]:
    """Splits texts with SentencePiece, with its end token if `ends`.

    Returns the ids of all texts, (tokens,) int32, and where each starts, (batch + 1,) int64.
    """
    from onnx import TensorProto, helper

    none = nodes.add("Constant", value=helper.make_tensor("", TensorProto.FLOAT, [1], [0.0]))
    no = nodes.flag(False)
    return nodes.several(
        "SentencepieceTokenizer", texts, nodes.numbers([0]), none, no, nodes.flag(ends), no, no,
        outputs=2, domain=EXTENSIONS, model=base64.b64encode(model),
    )  # fmt: skip
