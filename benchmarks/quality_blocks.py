"""Other forms of Q8: what its error is made of, and what it would cost to lower it.

They are made of a published Q8 file and the float32 graph that it was made of: products are rounded
again, in other blocks or with zero points, or keep their activations in float32.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.models.choices import DEFAULT_RECIPES, Precision, Recipe

FloatArray = npt.NDArray[np.float32]

#: Products by what they read: the state of a layer, or the wide one inside of a feed-forward layer.
_ATTENTION, _SECOND = "queries, keys and values", "second feed-forward product"


@dataclass(frozen=True)
class Form:
    """A form of Q8.

    Attributes:
        label: What the table calls it.
        recipes: Of the file that it is made of.
        floats: The products whose activations stay float32; None means all.
        block_size: Weights per scale.
        zero_points: Whether a block's integers reach from its lowest to its highest weight.
    """

    label: str
    recipes: tuple[Recipe, ...] = DEFAULT_RECIPES[Precision.Q8]
    floats: tuple[str, ...] | None = ()
    block_size: int = 32
    zero_points: bool = False


FORMS = (
    Form("`Q8` as it is"),
    Form("float32 activations", floats=None),
    Form(f"float32 activations: {_ATTENTION}", floats=(_ATTENTION,)),
    Form("the same, and of the second feed-forward products", floats=(_ATTENTION, _SECOND)),
    Form("zero points", zero_points=True),
    Form(
        f"zero points; float32 activations: {_ATTENTION}, second feed-forward products",
        floats=(_ATTENTION, _SECOND), zero_points=True,
    ),
    Form("zero points, float32 activations", floats=None, zero_points=True),
    Form("blocks of 16", block_size=16),
    Form("blocks of 16, zero points", block_size=16, zero_points=True),
    Form(
        "blocks of 16, zero points, `smooth,split`",
        recipes=(Recipe.SMOOTH, Recipe.SPLIT), block_size=16, zero_points=True,
    ),
    Form(
        f"blocks of 16, zero points; float32 activations: {_ATTENTION}",
        floats=(_ATTENTION,), block_size=16, zero_points=True,
    ),
)  # fmt: skip


def write_form(float32: Path, published: Path, form: Form, path: Path) -> None:
    """Writes another form of a published Q8 file, of BERT's architecture."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(published)
    exact = {tensor.name: tensor for tensor in onnx.load(float32).graph.initializer}
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, int] = {}
    products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    for node in products:
        readers[node.input[0]] = readers.get(node.input[0], 0) + 1
    for node in products:
        attributes = {a.name: a for a in node.attribute}
        shape = attributes["K"].i, attributes["N"].i
        role = _ATTENTION if readers[node.input[0]] == 3 else _SECOND if shape[0] > shape[1] else ""
        rounded_again = form.zero_points or form.block_size != attributes["block_size"].i
        attributes["block_size"].i = form.block_size
        if form.floats is None or role in form.floats:
            node.attribute.remove(attributes["accuracy_level"])
        if not rounded_again:
            continue
        name, transposed = node.input[1].removesuffix("_quantized").rsplit("_", 1)
        stored = numpy_helper.to_array(exact[name])
        weights = stored.T if transposed == "columns" else stored
        maker = makers.get(node.input[0])
        if maker is not None and maker.op_type == "Mul" and maker.input[1] in known:
            # 0 for a channel that is multiplied separately.
            weights = weights * _reciprocals(numpy_helper.to_array(known[maker.input[1]]))
        names = [f"{node.output[0]}_{part}" for part in ("integers", "scales", "zero_points")]
        arrays = _rounded(weights, form)
        node.input[1:] = names[: len(arrays)]
        model.graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    part = path.with_suffix(".part")
    onnx.save(model, part)
    part.rename(path)


def _rounded(weights: FloatArray, form: Form) -> list[npt.NDArray[Any]]:
    """Rounds (rows, inner) in blocks; returns integers, scales and, if there are, zero points."""
    cut = weights.reshape(len(weights), -1, form.block_size)
    low, high = np.minimum(cut.min(axis=2), 0), np.maximum(cut.max(axis=2), 0)
    if form.zero_points:
        zero = np.rint(-low * (255 / np.maximum(high - low, 1e-30)))
        # Both ends must fit although the zero point is rounded.
        steps = -low / np.maximum(zero, 1), high / np.maximum(255 - zero, 1)
        scales = np.maximum(*steps)
    else:
        zero = np.full(low.shape, 128, np.float32)
        scales = np.where(-low > high, low, high) / -128
    integers = np.rint(cut * _reciprocals(scales)[..., None]) + zero[..., None]
    found = [integers.clip(0, 255).astype(np.uint8), scales.astype(np.float32)]
    return [*found, zero.astype(np.uint8)] if form.zero_points else found


def _reciprocals(values: FloatArray) -> FloatArray:
    """Returns 1 / values, and 0 for 0."""
    found: FloatArray = np.divide(1, values, out=np.zeros_like(values), where=values != 0)
    return found
