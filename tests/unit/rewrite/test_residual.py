"""A residual is added apart from the norm behind it."""

import onnx
import onnx_ir as ir
import onnxruntime

from embconvert.rewrite.residual import keep_residual_apart
from support.rewriting import apply, operators

TEXT = """g (float[batch, seq, 8] x, float[batch, seq, 8] z) => (float[batch, seq, 8] y) {
  w = Constant<value = float[8] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}>()
  a = Add(x, z) y = LayerNormalization<axis = -1>(a, w, w)
}"""


def test_onnx_runtime_does_not_make_them_one(tmp_path: object) -> None:
    editor = apply(TEXT, keep_residual_apart)
    assert operators(editor) == {"Sum": 1, "LayerNormalization": 1}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/loaded.onnx"
    onnxruntime.InferenceSession(ir.to_proto(editor.model).SerializeToString(), options)
    loaded = onnx.load(options.optimized_model_filepath)
    assert sorted(node.op_type for node in loaded.graph.node) == ["LayerNormalization", "Sum"]


def test_an_add_elsewhere_stays() -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { y = Add(x, x) }"
    assert operators(apply(text, keep_residual_apart)) == {"Add": 1}
