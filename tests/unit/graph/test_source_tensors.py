"""Weights are read from the source's files as they are stored there, and merged with adapters."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from embconvert.graph.source_tensors import (
    LowRankUpdate,
    WeightLocation,
    marked,
    read_places,
    transposed,
    write_places,
)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_weight_of_any_shape_is_read_in_float32(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    """Apertus has single numbers as weights."""
    values = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32).reshape(shape)
    if dtype == "bfloat16":
        stored = (values.view(np.uint32) >> 16).astype(np.uint16)
    else:
        stored = values.astype(dtype)
    file = tmp_path / "weights"
    file.write_bytes(b"header" + bytes(2) + stored.tobytes())
    place = WeightLocation(file=str(file), offset=8, dtype=dtype, shape=shape)
    found = place.read()
    assert found.dtype == np.float32
    assert found.shape == shape
    np.testing.assert_array_equal(found, values)


def stored(folder: Path, name: str, values: np.ndarray) -> WeightLocation:
    path = folder / name
    path.write_bytes(values.astype(np.float32).tobytes())
    return WeightLocation(file=str(path), offset=0, dtype="float32", shape=values.shape)


def adapted(folder: Path, *, rows: int = 700, magnitude: bool = False) -> WeightLocation:
    """A weight with an update of rank 3, in files."""
    random = np.random.default_rng(0)
    update = LowRankUpdate(
        left=stored(folder, "left", random.normal(size=(rows, 3))),
        right=stored(folder, "right", random.normal(size=(3, 8))),
        scale=0.5,
        magnitude=stored(folder, "size", random.uniform(1, 2, rows)) if magnitude else None,
    )
    place = stored(folder, "weight", random.normal(size=(rows, 8)))
    return dataclasses.replace(place, updates=(update,))


@pytest.mark.parametrize("magnitude", [False, True])
def test_an_adapter_is_merged_with_a_weight_that_is_read(tmp_path: Path, magnitude: bool) -> None:
    place = adapted(tmp_path, magnitude=magnitude)
    update = place.updates[0]
    plain = dataclasses.replace(place, updates=())
    wanted = plain.read() + 0.5 * update.left.read() @ update.right.read()
    if update.magnitude is not None:
        wanted *= (update.magnitude.read() / np.linalg.norm(wanted, axis=1))[:, None]
    np.testing.assert_allclose(place.read(), wanted, atol=1e-5)
    assert place.read().dtype == np.float32
    assert np.abs(place.read() - plain.read()).max() > 0.1


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("rows", [slice(0, 1), slice(255, 258), slice(690, None)])
def test_merged_rows_do_not_depend_on_how_many_are_read(
    tmp_path: Path, rows: slice, magnitude: bool
) -> None:
    """A large table is quantized in parts, and written at once: the bytes must be the same."""
    place = adapted(tmp_path, magnitude=magnitude)
    np.testing.assert_array_equal(place.read(rows), place.read()[rows])


def test_a_merged_weight_may_be_transposed(tmp_path: Path) -> None:
    place = adapted(tmp_path)
    turned = transposed(place, (1, 0))
    assert turned is not None
    np.testing.assert_array_equal(turned.read(), place.read().T)


@pytest.mark.parametrize("magnitude", [False, True])
def test_the_place_of_a_merged_weight_is_kept_in_a_file(tmp_path: Path, magnitude: bool) -> None:
    place = adapted(tmp_path, magnitude=magnitude)
    graph = tmp_path / "graph.onnx"
    write_places(graph, {"w": place})
    found = read_places(graph)["w"]
    assert marked(found) == place
    np.testing.assert_array_equal(found.numpy(), place.read())
