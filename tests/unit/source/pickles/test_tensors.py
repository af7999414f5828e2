"""Each tensor of a file of torch.save() is found where it lies in the file."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from embconvert.errors import SourceError
from embconvert.source.pickles.tensors import PickledTensor, read_pickle
from support.pickling import dict_of, pickle_of, save, save_pickle, storage, tensor, zip_of

SIX = np.arange(6, dtype=np.float32).tobytes()


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors, as numpy has them of the same file, offsets and strides."""
    content = path.read_bytes()

    def array(tensor: PickledTensor) -> np.ndarray:
        kind = np.dtype(tensor.dtype)
        strides = [stride * kind.itemsize for stride in tensor.strides]
        return np.ndarray(tensor.shape, kind, content, tensor.offset, strides)

    return {name: array(tensor) for name, tensor in read_pickle(path).items()}


def test_tensors_are_where_they_say(tmp_path: Path) -> None:
    six, halves = storage("0", 6), storage("1", 4, "HalfStorage")
    tensors = {
        "whole": tensor((2, 3), of=six),
        "second half": tensor((2,), of=halves, offset=2),
        "first half": tensor((1, 2), (77, 1), of=halves),
    }
    content = {"0": SIX, "1": np.arange(4, dtype=np.float16).tobytes()}
    found = read(save(tmp_path / "weights.bin", tensors, content))
    assert found["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["first half"].tolist() == [[0, 1]]
    assert found["second half"].tolist() == [2, 3]
    assert found["second half"].dtype == np.float16


@pytest.mark.parametrize(
    ("shape", "strides", "values"),
    [
        ((3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
        ((3, 1, 2), (1, 0, 3), [[[0, 3]], [[1, 4]], [[2, 5]]]),
        ((1, 6), (0, 1), [[0, 1, 2, 3, 4, 5]]),
    ],
)
def test_a_tensor_may_be_transposed(
    shape: tuple[int, ...], strides: tuple[int, ...], values: object, tmp_path: Path
) -> None:
    tensors = {"a": tensor(shape, strides, of=storage("0", 6))}
    assert read(save(tmp_path / "weights.bin", tensors, {"0": SIX}))["a"].tolist() == values


@pytest.mark.parametrize(("shape", "numbers"), [((), 1), ((0, 3), 0), ((3, 0), 0)])
def test_a_tensor_may_be_one_number_or_none(
    shape: tuple[int, ...], numbers: int, tmp_path: Path
) -> None:
    path = save(tmp_path / "weights.bin", {"a": tensor(shape)}, {"0": bytes(4 * numbers)})
    (found,) = read_pickle(path).values()
    assert (found.shape, found.numbers, found.nbytes) == (shape, numbers, 4 * numbers)


def test_tied_weights_are_one_tensor(tmp_path: Path) -> None:
    tensors = {"embeddings": tensor(), "head": tensor()}
    found = read_pickle(save(tmp_path / "weights.bin", tensors, {"0": SIX}))
    assert list(found) == ["embeddings", "head"]
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(
    ("tensors", "storages", "message"),
    [
        ({"a": tensor((2, 2), (3, 1), of=storage())}, {"0": SIX}, "with gaps or repetitions"),
        ({"a": tensor((9, 9), (0, 0), of=storage())}, {"0": SIX}, "with gaps or repetitions"),
        ({"a": tensor((4, 3), (1, 1), of=storage())}, {"0": SIX}, "with gaps or repetitions"),
        ({"a": tensor((1 << 20, 1 << 20), (0, 1), of=storage())}, {"0": SIX}, "with gaps or rep"),
        ({"a": tensor((7,), of=storage())}, {"0": SIX}, "goes on beyond its storage"),
        ({"a": tensor((1,), of=storage(), offset=6)}, {"0": SIX}, "goes on beyond its storage"),
        (
            {"a": tensor((1 << 30, 1 << 22), of=storage())},
            {"0": SIX},
            "goes on beyond its storage",
        ),
        (
            {"a": tensor((4,), of=storage()), "b": tensor((4,), of=storage(), offset=2)},
            {"0": SIX},
            "'b' across another",
        ),
        ({"a": tensor(), "b": tensor((6,), of=storage())}, {"0": SIX}, "across another"),
        (
            {"a": tensor(), "b": tensor(of=storage("0", 6, "IntStorage"))},
            {"0": SIX},
            "two types of tensors",
        ),
        ({"a": tensor()}, {}, "its storage 0 is missing"),
        ({"a": tensor()}, {"0": SIX[:-1]}, "its storage 0 has another size"),
        ({"a": tensor()}, {"0": SIX + SIX}, "its storage 0 has another size"),
    ],
)
def test_a_tensor_that_is_not_a_part_of_its_storage_is_refused(
    tensors: Mapping[str, bytes], storages: Mapping[str, bytes], message: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "weights.bin", tensors, storages)
    with pytest.raises(SourceError, match=message):
        read_pickle(path)


def test_a_program_is_refused(tmp_path: Path) -> None:
    pickled = pickle_of(dict_of({"a": tensor()}))
    others = {"constants.pkl": b".", "code/model.py": b""}
    path = save_pickle(tmp_path / "weights.bin", pickled, {"0": SIX}, others)
    with pytest.raises(SourceError, match="TorchScript"):
        read_pickle(path)


def test_numbers_of_a_big_endian_machine_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.bin", {"a": tensor()}, {"0": SIX}, {"byteorder": b"big"})
    with pytest.raises(SourceError, match="another order of bytes"):
        read_pickle(path)


def test_a_pickle_of_megabytes_is_refused(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "weights.bin", bytes((1 << 24) + 1))
    with pytest.raises(SourceError, match="a pickle of 17 MB"):
        read_pickle(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file that torch.save"),
        (pickle.dumps({"a": 1}), "not a file that torch.save"),
        (zip_of([]), "not a file that torch.save"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(500), "torch before 1.6"),
        (bytes(257) + b"ustar" + bytes(500), "torch before 0.1.10"),
    ],
)
def test_another_format_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_pickle(path)
