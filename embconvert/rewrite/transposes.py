"""A product of transposed tokens whose result is transposed back is taken of the tokens themselves.

Needs: A Transpose that leaves the last axis where it is, a product with a matrix, with or without a
bias, and the opposite Transpose.
Guarantees: The same numbers: rows are multiplied one by one, in whatever order they are.

It saves two copies. ONNX Runtime 1.32 also crashes as it loads a graph with such a Transpose in
half precision (its NchwcTransformer).
"""

from embconvert.rewrite.editing import Editor, producer
from embconvert.rewrite.products import product_of
from embconvert.rewrite.shapes import permutation


def multiply_untransposed(editor: Editor) -> bool:
    """Replaces Transposes around products; returns whether there was one."""
    changed = False
    for back in editor.nodes("Transpose"):
        product = product_of(back.inputs[0]) if back.inputs[0] is not None else None
        transpose = producer(product.data, "Transpose") if product is not None else None
        if product is None or transpose is None:
            continue
        rank = len(permutation(transpose, 0)) or len(permutation(back, 0))
        perm, opposite = permutation(transpose, rank), permutation(back, rank)
        if tuple(perm[axis] for axis in opposite) != tuple(range(rank)) or perm[-1] != rank - 1:
            continue
        output = editor.add("MatMul", [transpose.inputs[0], product.weights], back)
        if product.bias is not None:
            output = editor.add("Add", [output, product.bias], back)
        editor.replace(back.outputs[0], output)
        changed = True
    return changed
