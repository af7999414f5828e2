"""Half precision where values fit into it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper, parser

from embconvert.graph.onnx_file import read_artifact
from embconvert.models.choices import Precision
from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize import quantize
from embconvert.quantize.settings import QuantizeSettings
from support.halves import largest_half_values

WIDTH = 64
IDS = np.arange(300, dtype=np.int64).reshape(10, 30)
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((300, WIDTH), np.float32)
SQUARE = RANDOM.standard_normal((WIDTH, WIDTH), np.float32) / 8
LARGE = [("table", TABLE), ("square", SQUARE)]


@dataclass(frozen=True)
class Halved:
    """A graph and what Float16 makes of it."""

    source: Path
    made: Path
    said: list[str]
    kept: dict[str, str]

    def results(self, ids: np.ndarray = IDS) -> tuple[np.ndarray, np.ndarray]:
        """What both make of the same."""
        paths = (self.source, self.made)
        sessions = (onnxruntime.InferenceSession(str(path)) for path in paths)
        theirs, ours = (np.asarray(s.run(None, {"ids": ids})[0]) for s in sessions)
        return theirs, ours

    def assert_near(self, ids: np.ndarray = IDS, rtol: float = 2e-3) -> None:
        """Both make nearly the same."""
        theirs, ours = self.results(ids)
        assert np.isfinite(ours).all()
        assert np.linalg.norm(ours - theirs) < rtol * np.linalg.norm(theirs)

    @property
    def weights(self) -> dict[str, int]:
        """Type of each weight."""
        return {t.name: t.data_type for t in onnx.load(str(self.made)).graph.initializer}


def halved(folder: Path, body: str, ids: np.ndarray = IDS, **constants: Any) -> Halved:
    """Quantizes a graph that makes y of ids; calibrated with these."""
    arrays: Mapping[str, Any] = {**dict(LARGE), **constants}
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (int64[batch, seq] ids) => (float y) {{{body}}}'
    )
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array, getattr(array, "dtype", np.float32)), name)
        for name, array in arrays.items()
        if name in used or name == "captured"
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{number}"
    path = folder / "a.onnx"
    onnx.save(model, str(path))
    said: list[str] = []
    settings = QuantizeSettings(
        options=QuantizeOptions(),
        calibration=lambda *_, **__: feeds(ids),
        work=folder,
        warn=said.append,
    )
    source = read_artifact(path)
    made = quantize(source, folder / "b.onnx", precision=Precision.FLOAT16, settings=settings)
    return Halved(path, made.artifact.path, said, {n.node: n.reason for n in made.kept})


def feeds(ids: np.ndarray) -> Iterator[Any]:
    yield {"ids": ids, "attention_mask": np.ones_like(ids)}


def test_values_that_fit_are_all_half_precision(tmp_path: Path) -> None:
    found = halved(tmp_path, "x = Gather(table, ids) z = MatMul(x, square) y = MatMul(z, square)")
    found.assert_near()
    assert found.made.stat().st_size < 0.55 * found.source.stat().st_size
    assert (found.said, found.kept) == ([], {})
    assert set(found.weights.values()) == {TensorProto.FLOAT16}


def test_values_that_would_overflow_stay_float32_and_are_said(tmp_path: Path) -> None:
    # Of 1e6 in between: also what reads it stays float32, and nothing between the two is half.
    found = halved(
        tmp_path,
        """x = Gather(table, ids) z = MatMul(x, square) big = Mul(z, million)
        less = Mul(big, millionth) y = MatMul(less, square)""",
        million=np.float32(1e6),
        millionth=np.float32(1e-6),
    )
    found.assert_near()
    reason = "its values exceed the range of half precision"
    assert found.kept == {"Mul2": reason, "Mul3": reason}
    assert found.said == [
        f"Float16: 2 nodes stay float32, because {reason}: Mul2, Mul3; "
        "the manifest and the report name them all"
    ]


def test_weights_are_halves_where_the_values_are_not(tmp_path: Path) -> None:
    found = halved(
        tmp_path, "x = Gather(table, ids) z = MatMul(x, square) y = Mul(z, millionth)",
        square=SQUARE * 2e4, millionth=np.float32(1e-6),
    )  # fmt: skip
    found.assert_near()
    assert found.kept.keys() == {"MatMul1", "Mul2"}
    assert found.weights["square"] == TensorProto.FLOAT16
    assert found.made.stat().st_size < 0.55 * found.source.stat().st_size


def test_there_is_room_for_texts_that_nobody_saw(tmp_path: Path) -> None:
    # What calibration sees is a seventh of what another text has, and fits.
    table = TABLE.copy()
    table[200:] *= 7
    found = halved(
        tmp_path, "x = Gather(table, ids) z = MatMul(x, square) y = Mul(z, less)",
        IDS[:6], table=table, square=SQUARE * 4e3, less=np.float32(1e-3),
    )  # fmt: skip
    theirs, _ = found.results()
    assert np.abs(theirs).max() > 65504 * 1e-3
    assert np.abs(found.results(IDS[:6])[0]).max() < 65504 * 1e-3
    found.assert_near()


@pytest.mark.parametrize("number", [2e4, -7e4, 3e5])
def test_a_table_with_large_numbers_is_stored_in_halves(tmp_path: Path, number: float) -> None:
    table = TABLE.copy()
    table[7, 5] = number
    body = "x = Gather(table, ids) less = Mul(x, small) y = MatMul(less, square)"
    found = halved(tmp_path, body, IDS[1:], table=table, small=np.float32(1e-4))
    found.assert_near()
    found.assert_near(IDS[1:])
    assert found.weights["table"] == TensorProto.FLOAT16


def test_a_matrix_with_numbers_beyond_the_range_is_stored_in_halves(tmp_path: Path) -> None:
    square = SQUARE.copy()
    square[3, 4] = 2e5
    found = halved(tmp_path, "x = Gather(table, ids) y = MatMul(x, square)", square=square)
    found.assert_near()
    assert found.weights["square"] == TensorProto.FLOAT16
    assert found.kept.keys() == {"MatMul1"}


def test_a_matrix_of_which_too_little_would_be_left_stays_float32(tmp_path: Path) -> None:
    square = SQUARE.copy()
    square[3, 4] = 1e8
    found = halved(tmp_path, "x = Gather(table, ids) y = MatMul(x, square)", square=square)
    found.assert_near()
    assert found.weights["square"] == TensorProto.FLOAT


def test_a_norm_that_amplifies_is_not_clipped(tmp_path: Path) -> None:
    weight, bias = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    weight[5], bias[9] = 9e4, -2e4
    back = np.ones(WIDTH, np.float32)
    back[[5, 9]] = 1e-4
    found = halved(
        tmp_path,
        """x = Gather(table, ids) z = LayerNormalization(x, weight, bias) w = Mul(z, back)
        y = MatMul(w, square)""",
        weight=weight, bias=bias, back=back,
    )  # fmt: skip
    found.assert_near()
    assert found.kept.keys() == {"LayerNormalization1", "Mul2"}


def test_a_residual_stream_keeps_the_digits_of_what_is_added(tmp_path: Path) -> None:
    # One channel is 7000 until it is taken away: half precision would leave steps of 4.
    bias = np.zeros(WIDTH, np.float32)
    bias[5] = 7000
    found = halved(
        tmp_path,
        """e = Gather(table, ids) x = Add(e, bias)
        n = LayerNormalization(x, ones, zeros) f = MatMul(n, square) x1 = Add(x, f)
        n1 = LayerNormalization(x1, ones, zeros) f1 = MatMul(n1, square) f2 = Sub(f1, bias)
        x2 = Add(x1, f2) y = MatMul(x2, square)""",
        bias=bias, ones=np.ones(WIDTH, np.float32), zeros=np.zeros(WIDTH, np.float32),
    )  # fmt: skip
    found.assert_near()
    digits = "half precision rounds off what is added to its largest values"
    assert {found.kept[node] for node in ("Add4", "Add8", "Sub7")} == {digits}
    assert found.weights["square"] == TensorProto.FLOAT16


def test_sums_over_tokens_are_float32_for_longer_texts(tmp_path: Path) -> None:
    body = """x = Gather(table, ids) z = MatMul(x, square) s = ReduceSum <keepdims = 0> (z, axis)
    w = Mul(s, less) y = Add(w, w)"""
    found = halved(
        tmp_path, body, IDS[:, :2],
        square=np.abs(SQUARE) * 100, table=np.abs(TABLE), axis=np.array([1]), less=np.float32(1e-3),
    )  # fmt: skip
    assert found.kept == {}
    longest = np.arange(300, dtype=np.int64).reshape(1, 300)
    assert found.results(longest)[0].max() > 2 * 65504 * 1e-3
    found.assert_near(longest)


def test_an_epsilon_does_not_vanish(tmp_path: Path) -> None:
    found = halved(
        tmp_path,
        """x = Gather(table, ids) z = MatMul(x, square) two = Constant <value = float {2.0}> ()
        p = Pow(z, two) m = ReduceMean <axes = [-1]> (p) v = Add(m, epsilon) r = Sqrt(v)
        n = Div(z, r) y = MatMul(n, square)""",
        IDS[:9], table=np.where(np.arange(300)[:, None] < 290, TABLE, 0),
        epsilon=np.float32(1e-12),
    )  # fmt: skip
    theirs, ours = found.results()
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, atol=2e-2)


ATTENTION = """x = Gather(table, ids) q = MatMul(x, square) k = MatMul(x, key)
t = Transpose <perm = [0, 2, 1]> (k) s = MatMul(q, t) first = Equal(ids, one)
a = Unsqueeze(first, axis) b = Where(a, lowest, zero) m = Add(s, b) p = Softmax <axis = -1> (m)
y = MatMul(p, x)"""
MASK: dict[str, Any] = {
    "one": np.array(1), "axis": np.array([1]), "zero": np.float32(0),
    "lowest": np.float32(np.finfo(np.float32).min),
}  # fmt: skip


@pytest.mark.parametrize("scale", [0.1, 30.0, 1000.0])
def test_masks_hide_whatever_the_scores_are(tmp_path: Path, scale: float) -> None:
    ids = IDS.copy()
    ids[:, 20:] = 1  # padding; the last text is nothing else
    ids[9] = 1
    found = halved(tmp_path, ATTENTION, ids, key=SQUARE * np.float32(scale), **MASK)
    theirs, ours = found.results(ids)
    assert np.isfinite(theirs[9]).all()
    assert np.isfinite(ours).all()
    found.assert_near(ids[:9], rtol=0.05)
    assert ("Softmax9" in found.kept) == (scale > 0.1)


def test_coarse_scores_stay_float32_and_are_said(tmp_path: Path) -> None:
    found = halved(tmp_path, ATTENTION, key=SQUARE * 5, **MASK)
    reason = "half precision rounds its scores too far"
    assert found.kept["Softmax9"] == found.kept["MatMul4"] == reason


def test_what_a_branch_reads_from_outside_of_it_stays_float32(tmp_path: Path) -> None:
    found = halved(
        tmp_path,
        """x = Gather(table, ids) z = MatMul(x, square) n = Size(ids) c = Greater(n, few)
        w = If (c) <
            then_branch = t () => (float r) { r = MatMul(z, square) },
            else_branch = e () => (float q) { q = Identity(z) }
        >
        v = Add(w, z) y = MatMul(v, square)""",
        few=np.array(20),
    )  # fmt: skip
    found.assert_near()
    found.assert_near(IDS[:1, :9])


def test_no_half_overflows_on_texts_within_the_margin(tmp_path: Path) -> None:
    found = halved(tmp_path, "x = Gather(table, ids) z = MatMul(x, square) y = MatMul(z, square)")
    largest = largest_half_values(found.made, [{"ids": IDS}])
    assert largest.keys() >= {"x", "z"}
    assert max(largest.values()) < 100
