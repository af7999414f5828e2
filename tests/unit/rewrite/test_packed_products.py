"""Products that are cut afterwards are cut before, whatever cuts them."""

import onnx_ir as ir
import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.packed_products import unpack_products
from support.rewriting import apply, operators

WEIGHTS = ", ".join(str(number % 7) for number in range(8 * 12))
CONSTANTS = """z = Constant<value = int64[1] {0}>() a = Constant<value = int64[1] {4}>()
  b = Constant<value = int64[1] {8}>() far = Constant<value = int64[1] {9223372036854775807}>()
  end = Constant<value = int64[1] {-1}>()"""


def graph(body: str) -> str:
    return f"""g (float[batch, seq, 8] x) => (float y) {{
      w = Constant<value = float[8, 12] {{{WEIGHTS}}}>() p = MatMul(x, w) {CONSTANTS}
      {body} t = Mul(u, v) y = Sub(t, r)
    }}"""


@pytest.mark.parametrize(
    "body",
    [
        "u, v, r = Split<axis = -1>(p)",
        "u = Slice(p, z, a, end) v = Slice(p, a, b, end) r = Slice(p, b, far, end)",
        """h = Constant<value = int64[5] {0, 0, 3, 2, 2}>() q = Reshape(p, h)
           ones = Constant<value = int64[3] {1, 1, 1}>() u, v, r = Split<axis = 2>(q, ones)""",
    ],
)
def test_every_way_to_cut_is_known(body: str) -> None:
    editor = apply(graph(body), *TIDYING, unpack_products, tolerance=1e-3)
    found = operators(editor)
    assert (found["MatMul"], found["Split"], found["Slice"]) == (3, 0, 0)
    weights = [v.const_value for v in editor.graph.initializers.values() if v.name != "sizes"]
    assert all(isinstance(t, ir.LazyTensor) for t in weights if t is not None and len(t.shape) == 2)


@pytest.mark.parametrize(
    "body",
    [
        "u = Slice(p, z, a, end) v = Slice(p, a, b, end) r = Slice(p, a, b, end)",  # not all of it
        "u, v, r0 = Split<axis = -1>(p) all = ReduceSum(p) r = Add(r0, all)",  # also as a whole
    ],
)
def test_a_product_that_is_used_otherwise_stays(body: str) -> None:
    assert operators(apply(graph(body), *TIDYING, unpack_products, tolerance=1e-3))["MatMul"] == 1
