"""Made-up token types cost no lookup for each token."""

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.same_row import look_up_rows_once
from support.rewriting import apply, operators

TABLE = "table = Constant<value = float[2, 4] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}>()"


def graph(body: str) -> str:
    return f"""g (float[batch, seq, 4] x, int64[batch, seq] ids) => (float[batch, seq, 4] y) {{
      {TABLE} {body} y = Add(x, row)
    }}"""


@pytest.mark.parametrize(
    "body",
    [
        "all = Shape(ids) t = ConstantOfShape<value = int64[1] {1}>(all) row = Gather(table, t)",
        """b = Constant<value = int64[1, 6] {1, 1, 1, 1, 1, 1}>() all = Shape(ids)
           i = Constant<value = int64[1] {0}>() n = Gather(all, i)
           six = Constant<value = int64[1] {6}>() wide = Concat<axis = 0>(n, six)
           e = Expand(b, wide) z = Constant<value = int64 {0}>() zero = Mul(ids, z)
           t = GatherElements<axis = 1>(e, zero) row = Gather(table, t)""",
        """o = Constant<value = float[1, 4] {1.0, 2.0, 3.0, 4.0}>()
           z = Constant<value = int64 {0}>() zero = Mul(ids, z) row = Gather(o, zero)""",
    ],
)
def test_the_row_is_looked_up_once(body: str) -> None:
    found = operators(apply(graph(body), *TIDYING, look_up_rows_once))
    # The table is small: the row is a constant now.
    assert (found["Gather"], found["Expand"], found["Add"]) == (0, 0, 1)
    assert not found["GatherElements"]


def test_types_that_are_given_are_looked_up() -> None:
    editor = apply(graph("row = Gather(table, ids)"), *TIDYING, look_up_rows_once)
    (gather,) = (node for node in editor.graph if node.op_type == "Gather")
    assert gather.inputs[1] in editor.graph.inputs
