"""Weights are read before they are needed, where the kernel does not do that by itself."""

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from embconvert.graph import read_ahead as module
from embconvert.graph.mapped_tensors import MappedFile, MappedTensor
from embconvert.graph.read_ahead import read_ahead

Advice = tuple[int, int, int]


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[Advice]:
    """What the kernel is advised of: offset, size and advice."""
    found: list[Advice] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *advice: found.append(advice))
    return found


def weight(folder: Path) -> MappedTensor:
    file = folder / "weights"
    np.arange(64, dtype=np.float32).tofile(file)
    shape = ir.Shape([8, 2])
    kind = ir.DataType.FLOAT
    return MappedTensor(MappedFile(file), offset=128, length=64, dtype=kind, shape=shape, name="w")


@pytest.mark.parametrize("is_far", [False, True])
def test_weights_in_files_are_read_ahead_where_the_kernel_does_not_do_so(
    tmp_path: Path, advised: list[Advice], monkeypatch: pytest.MonkeyPatch, is_far: bool
) -> None:
    monkeypatch.setattr(module, "_is_read_far_ahead", lambda _: is_far)
    read_ahead([ir.Tensor(np.zeros(3, np.float32)), weight(tmp_path)])
    assert advised == ([] if is_far else [(128, 64, os.POSIX_FADV_WILLNEED)])


def test_a_file_of_no_disk_is_not_known_to_be_read_far_ahead() -> None:
    assert not module._is_read_far_ahead(Path("/proc").stat().st_dev)


def test_a_file_that_has_gone_is_left_to_who_reads_it(
    tmp_path: Path, advised: list[Advice]
) -> None:
    gone = weight(tmp_path)
    Path(gone.location).unlink()
    read_ahead([gone])
    assert not advised
