"""Whatever a file of weights holds, its reader ends with tensors inside of the file or an error."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.errors import SourceError
from embconvert.source.pickles.tensors import read_pickle
from support import pickling
from support.fuzzing import damaged, fuzz

PICKLE = pickling.pickle_of(
    pickling.dict_of(
        {
            "a": pickling.tensor((2, 3)),
            "b": pickling.tensor((3, 2), (1, 3), of=pickling.storage("1")),
        }
    )
)
STORAGES = {"0": bytes(24), "1": bytes(24)}
ARCHIVE = pickling.zip_of(pickling.archive_of(PICKLE, STORAGES))
INSTRUCTIONS = st.sampled_from(
    [
        *(bytes([code]) for code in b"(.RbQ)}tus\x85\x86\x87\x88\x89NKJX"), b"q\1", b"h\1",
        pickling.imported("torch._utils", "_rebuild_tensor_v2"),
        pickling.imported("torch._utils", "_rebuild_parameter"),
        pickling.imported("collections", "OrderedDict"), pickling.ORDERED_DICT,
        pickling.storage(), pickling.tensor(), pickling.text("a"), pickling.number(3),
        pickling.number(1 << 62), pickling.number(-1),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def file() -> Path:
    return Path(tempfile.mkdtemp(prefix="embconvert-fuzz-")) / "weights.bin"


def assert_bounded(path: Path) -> None:
    try:
        found = read_pickle(path)
    except SourceError as error:
        assert error.message
        return
    size = path.stat().st_size
    for tensor in found.values():
        last = sum(s * (n - 1) for s, n in zip(tensor.strides, tensor.shape, strict=True))
        assert min(tensor.strides, default=0) >= 0
        assert not tensor.numbers or last < tensor.numbers
        assert 0 <= tensor.offset <= tensor.offset + tensor.nbytes <= size


@fuzz
@given(damaged(ARCHIVE))
def test_a_damaged_archive(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_bounded(file)


@fuzz
@given(damaged(PICKLE))
def test_a_damaged_pickle(file: Path, content: bytes) -> None:
    assert_bounded(pickling.save_pickle(file, content, STORAGES))


@fuzz
@given(st.lists(INSTRUCTIONS, max_size=30).map(b"".join))
def test_instructions_in_any_order(file: Path, content: bytes) -> None:
    assert_bounded(pickling.save_pickle(file, pickling.pickle_of(content), STORAGES))
