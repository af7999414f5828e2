"""Of a pickle, what it says of tensors is read, and whatever else it would do is refused."""

import pickle
import time
import tracemalloc

import pytest

from embconvert.errors import SourceError
from embconvert.source.pickles.state_dict import read_state_dict
from support.pickling import (
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    FALSE,
    MARK,
    ORDERED_DICT,
    PERSISTENT,
    REDUCE,
    SETITEMS,
    TRUE,
    call,
    dict_of,
    number,
    pickle_of,
    storage,
    tensor,
    text,
    tuple_of,
)


def test_a_state_dict_is_read() -> None:
    parameter = call("torch._utils", "_rebuild_parameter", tensor((4,)), TRUE, ORDERED_DICT)
    half = tensor((2,), offset=3, of=storage("7", 1 << 40, "HalfStorage", "cuda:0"))
    items = {"weight": tensor((2, 3)), "bias": parameter, "half": half}
    metadata = dict_of({"_metadata": ORDERED_DICT})
    listed = b"".join(text(name) + value for name, value in items.items())
    found = read_state_dict(
        pickle_of(ORDERED_DICT + MARK + listed + SETITEMS + metadata + BUILD), "weights.bin"
    )
    assert {name: (view.shape, view.strides, view.offset) for name, view in found.items()} == {
        "weight": ((2, 3), (3, 1), 0),
        "bias": ((4,), (1,), 0),
        "half": ((2,), (1,), 3),
    }
    stored = [(v.storage.dtype, v.storage.key, v.storage.numbers) for v in found.values()]
    assert stored == [("float32", "0", 6), ("float32", "0", 4), ("float16", "7", 1 << 40)]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "float64"), ("FloatStorage", "float32"), ("HalfStorage", "float16"),
        ("BFloat16Storage", "bfloat16"), ("LongStorage", "int64"), ("IntStorage", "int32"),
        ("ShortStorage", "int16"), ("CharStorage", "int8"), ("ByteStorage", "uint8"),
        ("BoolStorage", "bool"),
    ],
)  # fmt: skip
def test_a_storage_has_the_type_that_torch_gives_it(kind: str, dtype: str) -> None:
    content = pickle_of(dict_of({"a": tensor(of=storage(kind=kind))}))
    assert read_state_dict(content, "weights.bin")["a"].storage.dtype == dtype


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "exec"), ("builtins", "eval"), ("__builtin__", "eval"), ("os", "system"),
        ("posix", "system"), ("subprocess", "Popen"), ("builtins", "getattr"), ("torch", "load"),
        ("torch.serialization", "load"), ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch.hub", "load"), ("torch", "UntypedStorage"), ("torch", "FloatStorage.from_file"),
        ("collections", "OrderedDict.__init__"), ("collections ", "OrderedDict"),
        ("", "collections OrderedDict"), ("numpy.core.multiarray", "_reconstruct"),
        ("argparse", "Namespace"), ("__torch__", "Model"), ("torch", "floatStorage"),
    ],
)  # fmt: skip
def test_a_global_that_is_no_tensors_is_named_and_refused(module: str, name: str) -> None:
    content = pickle_of(dict_of({"a": call(module, name, text("x"))}))
    with pytest.raises(SourceError, match="only tensors are read from a pickle") as refused:
        read_state_dict(content, "weights.bin")
    assert refused.value.message.startswith("weights.bin asks for ")
    assert f"{module}.{name}".split()[-1] in refused.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # Protocols that torch does not write, and what they bring.
        (pickle.dumps({"a": 1}, 0), "instruction"),
        (pickle.dumps({"a": 1}, 4), "instruction FRAME"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "instruction SHORT_BINUNICODE"),
        (pickle_of(b"ios\nsystem\n"), "instruction INST"),
        (pickle_of(MARK + b"o"), "instruction OBJ"),
        (pickle_of(EMPTY_TUPLE + EMPTY_TUPLE + b"\x81"), "instruction NEWOBJ"),
        (pickle_of(b"\x82\x01"), "instruction EXT1"),
        (pickle_of(b"P/etc/passwd\n"), "instruction PERSID"),
        (pickle_of(b"N"), "instruction NONE"),
        (pickle_of(b"]"), "instruction EMPTY_LIST"),
        (pickle_of(text("x") + b"2"), "instruction DUP"),
        # What torch writes, with something else in it.
        (pickle_of(text("/etc/passwd") + PERSISTENT), "something else than a storage"),
        (pickle_of(tuple_of(text("module"), text("x")) + PERSISTENT), "something else"),
        (pickle_of(storage("../../secret")), "something else than a storage"),
        (pickle_of(storage("-1")), "something else than a storage"),
        (pickle_of(storage(numbers=-6)), "something else than a storage"),
        (pickle_of(call("torch", "FloatStorage", text("/etc/passwd"))), "calls torch.FloatStorage"),
        (pickle_of(call("collections", "OrderedDict", EMPTY_TUPLE)), "calls collections.Ordered"),
        (pickle_of(call("torch._utils", "_rebuild_tensor_v2")), "calls torch._utils._rebuild"),
        (pickle_of(text("x") + EMPTY_TUPLE + REDUCE), "calls something"),
        (pickle_of(tensor() + dict_of({"__class__": text("x")}) + BUILD), "BUILD"),
        (pickle_of(ORDERED_DICT + dict_of({"__dict__": text("x")}) + BUILD), "BUILD"),
        (pickle_of(ORDERED_DICT + EMPTY_TUPLE + BUILD), "BUILD"),
        (pickle_of(tensor((-1,), (1,), of=storage())), "invalid sizes"),
        (pickle_of(tensor((1 << 60,), (1,), of=storage())), "invalid sizes"),
        (pickle_of(tensor((2, 3), (3,))), "invalid sizes"),
        (pickle_of(tensor((1,) * 9, of=storage())), "invalid sizes"),
        (pickle_of(tensor((2,), (-1,))), "invalid sizes"),
        (pickle_of(tensor(offset=-1)), "invalid sizes"),
        (pickle_of(EMPTY_DICT + MARK + number(1) + number(2) + SETITEMS), "keys are not strings"),
        # What is left at the end.
        (pickle_of(tensor()), "not a dict of tensors"),
        (pickle_of(tuple_of(text("x"))), "not a dict of tensors"),
        (pickle_of(dict_of({"epoch": number(3)})), "'epoch', which is not a tensor"),
        (pickle_of(dict_of({"state_dict": dict_of({"a": tensor()})})), "'state_dict', which is no"),
        (pickle_of(dict_of({}) + dict_of({})), "not a dict of tensors"),
        (pickle_of(dict_of({"a" * 501: tensor()})), "a name of 501 characters"),
        # No pickle, or a broken one.
        (b"", "truncated or corrupt"),
        (b"\x80\x02", "truncated or corrupt"),
        (b"\xff\xff", "truncated or corrupt"),
        (b".", "out of order"),
        (pickle_of(REDUCE), "out of order"),
        (pickle_of(b"t"), "out of order"),
        (pickle_of(MARK + REDUCE), "out of order"),
        (pickle_of(b"h\x05"), "out of order"),
        (pickle_of(b"q\x05"), "out of order"),
        (pickle_of(EMPTY_DICT + MARK + text("a") + SETITEMS), "out of order"),
        (pickle_of(EMPTY_TUPLE + MARK + text("a") + FALSE + SETITEMS), "out of order"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_state_dict(content, "weights.bin")


@pytest.mark.parametrize(
    "content",
    [
        # Each level has the one before it twice: a thousand levels are 2 ** 1000 items.
        pickle_of(text("lol") + b"".join(b"q%c" % 1 + b"h%c" % 1 + b"\x86" for _ in range(10**5))),
        pickle_of(EMPTY_TUPLE + b"\x85" * 10**6),
        pickle_of(MARK * (1 << 22)),
        pickle_of(EMPTY_DICT * (1 << 22)),
        pickle_of(b"".join(EMPTY_DICT + b"r" + i.to_bytes(4, "little") for i in range(10**6))),
    ],
    ids=["memo bomb", "deep", "marks", "dicts", "memo"],
)
def test_a_bomb_takes_neither_memory_nor_time(content: bytes) -> None:
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(SourceError):
        read_state_dict(content, "weights.bin")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    assert time.process_time() - start < 60
