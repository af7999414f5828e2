"""Weights are read from the disk before they are needed."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from embconvert.graph.mapped_tensors import MappedFile, MappedTensor
from embconvert.graph.read_ahead import read_ahead

Part = tuple[int, int]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """The offsets and sizes that are asked for; of each at most 48 bytes are sent."""
    found: list[Part] = []
    send = os.sendfile

    def noting(target: int, source: int, offset: int, size: int) -> int:
        found.append((offset, size))
        return send(target, source, offset, min(size, 48))

    monkeypatch.setattr(os, "sendfile", noting)
    return found


def weight(folder: Path, *, length: int = 64) -> MappedTensor:
    file = folder / "weights"
    np.arange(64, dtype=np.float32).tofile(file)
    common: Any = {"dtype": ir.DataType.FLOAT, "shape": ir.Shape([length // 4]), "name": "w"}
    return MappedTensor(MappedFile(file), offset=128, length=length, **common)


def test_what_lies_in_a_file_is_read_to_its_end(tmp_path: Path, parts: list[Part]) -> None:
    read_ahead([ir.Tensor(np.zeros(3, np.float32)), weight(tmp_path)])
    assert parts == [(128, 64), (176, 16)]


def test_a_file_that_ends_early_is_left_to_who_reads_it(tmp_path: Path, parts: list[Part]) -> None:
    read_ahead([weight(tmp_path, length=160)])
    assert parts[-1] == (256, 32)


def test_a_file_that_has_gone_is_left_to_who_reads_it(tmp_path: Path, parts: list[Part]) -> None:
    gone = weight(tmp_path)
    Path(gone.location).unlink()
    read_ahead([gone])
    assert not parts
