"""Other forms of Q8: what its error is made of, and what it would cost to lower it.

They are made of a published Q8 file and the float32 graph that it was made of: products are rounded
again (in other blocks, with zero points, by GPTQ, after other smoothing), or keep their activations
in float32.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.texts import batches, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import tokenize
from embconvert.models.choices import Precision
from embconvert.models.kinds import KINDS
from embconvert.models.recipes import DEFAULT_RECIPES, QuantizeOptions, Recipe
from embconvert.quantize.blocks import BlockFormat
from embconvert.quantize.channels import Channels, channel_statistics
from embconvert.quantize.gptq import gptq_blocks
from embconvert.quantize.moments import Moments, second_moments
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.smooth import smoothed, smoothing
from embconvert.quantize.surgery import Surgery

FloatArray = npt.NDArray[np.float32]

_LONGEST = 256

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
        resized: The products whose blocks have that size; None means all.
        zero_points: Whether a block's integers reach from its lowest to its highest weight.
        gptq: Whether weights compensate for the errors of those rounded before.
        alpha: Of smoothing, instead of the published file's.
    """

    label: str
    recipes: tuple[Recipe, ...] = DEFAULT_RECIPES[Precision.Q8]
    floats: tuple[str, ...] | None = ()
    block_size: int = 32
    resized: tuple[str, ...] | None = None
    zero_points: bool = False
    gptq: bool = False
    alpha: float | None = None


FORMS = (
    Form("`Q8` as it is"),
    *(Form(f"alpha {alpha}", alpha=alpha) for alpha in (0.4, 0.5, 0.7)),
    Form("GPTQ", gptq=True),
    Form("float32 activations", floats=None),
    Form("GPTQ, float32 activations", floats=None, gptq=True),
    Form(f"float32 activations: {_ATTENTION}", floats=(_ATTENTION,)),
    Form("the same, and of the second feed-forward products", floats=(_ATTENTION, _SECOND)),
    Form("zero points", zero_points=True),
    Form(
        f"zero points; float32 activations: {_ATTENTION}, second feed-forward products",
        floats=(_ATTENTION, _SECOND), zero_points=True,
    ),
    Form("zero points, float32 activations", floats=None, zero_points=True),
    Form(f"blocks of 16: {_ATTENTION}", block_size=16, resized=(_ATTENTION,)),
    Form("the same, GPTQ", block_size=16, resized=(_ATTENTION,), gptq=True),
    Form(
        "blocks of 16: the same, and the second feed-forward products",
        block_size=16, resized=(_ATTENTION, _SECOND),
    ),
    Form("blocks of 16", block_size=16),
    Form("blocks of 16, GPTQ", block_size=16, gptq=True),
    Form("blocks of 16, zero points", block_size=16, zero_points=True),
    Form(
        "blocks of 16, zero points, float32 activations",
        floats=None, block_size=16, zero_points=True,
    ),
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
        inner, rows = attributes["K"].i, attributes["N"].i
        role = _ATTENTION if readers[node.input[0]] == 3 else _SECOND if inner > rows else ""
        published_size = attributes["block_size"].i
        resized = form.resized is None or role in form.resized
        size = form.block_size if resized else published_size
        attributes["block_size"].i = size
        if form.floats is None or role in form.floats:
            node.attribute.remove(attributes["accuracy_level"])
        again = form.zero_points or form.gptq or form.alpha is not None
        if not again and size == published_size:
            continue
        matrix = node.input[1].removesuffix("_quantized")
        name, transposed = matrix.rsplit("_", 1)
        stored = numpy_helper.to_array(exact[name])
        weights = stored.T if transposed == "columns" else stored
        maker = makers.get(node.input[0])
        factors = np.ones(inner, np.float32)
        if maker is not None and maker.op_type == "Mul" and maker.input[1] in known:
            if form.alpha is not None:
                factors = _observed(float32).factors(maker.input[0], form.alpha)
                other = numpy_helper.from_array(1 / factors, maker.input[1])
                known[maker.input[1]].CopyFrom(other)
            # 0 for a channel that is multiplied separately.
            factors = _reciprocals(numpy_helper.to_array(known[maker.input[1]]))
        if form.gptq:
            moments = smoothed(_observed(float32).moments(matrix), factors)
            blocks = gptq_blocks(weights * factors, BlockFormat(bits=8, block_size=size), moments)
            arrays: list[npt.NDArray[Any]] = [blocks.packed, blocks.scales]
        else:
            arrays = _rounded(weights * factors, size, zero_points=form.zero_points)
        names = [f"{node.output[0]}_{part}" for part in ("integers", "scales", "zero_points")]
        node.input[1:] = names[: len(arrays)]
        model.graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    part = path.with_suffix(".part")
    onnx.save(model, part)
    part.rename(path)


class _Observed:
    """What a graph's activations are on the calibration texts."""

    def __init__(self, graph: Path) -> None:
        texts = calibration_items(calibration_texts(None), next(iter(KINDS.values())).reading)
        read = tokenize(graph.parent.parent, texts, most=_LONGEST)

        def feeds(inputs: list[str], tokens: int | None = None) -> Iterator[Any]:
            some = read if tokens is None else read.sample(tokens)
            for group in batches(some.lengths, texts=16):
                yield some.batch(group, inputs)

        surgery = Surgery(graph)
        self._products = surgery.products()
        with tempfile.TemporaryDirectory(dir=graph.parent) as work:
            settings = QuantizeSettings(
                options=QuantizeOptions(), calibration=feeds, work=Path(work)
            )
            self._channels: dict[str, Channels] = channel_statistics(
                surgery, self._products, settings
            )
            self._moments = second_moments(surgery, self._products, settings)

    def moments(self, matrix: str) -> Moments:
        """Returns those of the activation of a matrix."""
        return next(self._moments[p.activation] for p in self._products if p.matrix.name == matrix)

    def factors(self, activation: str, alpha: float) -> FloatArray:
        """Returns the divisors of an activation by smoothing."""
        read = [p.matrix.rows() for p in self._products if p.activation == activation]
        return smoothing(self._channels[activation].squares, read, alpha)


_observed = cache(_Observed)


def _rounded(weights: FloatArray, size: int, *, zero_points: bool) -> list[npt.NDArray[Any]]:
    """Rounds (rows, inner) in blocks; returns integers, scales and, if wanted, zero points."""
    cut = weights.reshape(len(weights), -1, size)
    low, high = np.minimum(cut.min(axis=2), 0), np.maximum(cut.max(axis=2), 0)
    if zero_points:
        zero = np.rint(-low * (255 / np.maximum(high - low, 1e-30)))
        # Both ends must fit although the zero point is rounded.
        steps = -low / np.maximum(zero, 1), high / np.maximum(255 - zero, 1)
        scales = np.maximum(*steps)
    else:
        zero = np.full(low.shape, 128, np.float32)
        scales = np.where(-low > high, low, high) / -128
    integers = np.rint(cut * _reciprocals(scales)[..., None]) + zero[..., None]
    found = [integers.clip(0, 255).astype(np.uint8), scales.astype(np.float32)]
    return [*found, zero.astype(np.uint8)] if zero_points else found


def _reciprocals(values: FloatArray) -> FloatArray:
    """Returns 1 / values, and 0 for 0."""
    found: FloatArray = np.divide(1, values, out=np.zeros_like(values), where=values != 0)
    return found
