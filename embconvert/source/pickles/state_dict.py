"""The tensors of a pickled state dict, without unpickling it.

A pickle is a program that can call anything. This interpreter knows the instructions and the
globals that torch.save() writes for a dict of tensors, by name, and refuses all others. It makes
records instead of calls: nothing in the pickle is imported or executed.
Source: torch/_utils.py and torch/serialization.py (2.13), pickletools of Python.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.errors import SourceError
from embconvert.source.pickles.refusals import corrupt, refused

# A tensor takes about 40.
_MAX_INSTRUCTIONS = 1_000_000
_MAX_NAME = 500
_MAX_DIMENSIONS = 8
_MAX_FIGURE = 1 << 53
_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Storage:
    """An array of numbers, one entry of the archive."""

    dtype: str
    key: str
    numbers: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A tensor: a view of a storage. Offset and strides are in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    """A global that unpickling would import, as `module name`."""

    name: str


_DICT = _Global("collections OrderedDict")
_TENSOR = _Global("torch._utils _rebuild_tensor_v2")
_PARAMETER = _Global("torch._utils _rebuild_parameter")
#: torch's storage classes, and the dtypes of their numbers.
_STORAGES = {
    _Global("torch DoubleStorage"): "float64",
    _Global("torch FloatStorage"): "float32",
    _Global("torch HalfStorage"): "float16",
    _Global("torch BFloat16Storage"): "bfloat16",
    _Global("torch LongStorage"): "int64",
    _Global("torch IntStorage"): "int32",
    _Global("torch ShortStorage"): "int16",
    _Global("torch CharStorage"): "int8",
    _Global("torch ByteStorage"): "uint8",
    _Global("torch BoolStorage"): "bool",
}
_GLOBALS = {known.name: known for known in (_DICT, _TENSOR, _PARAMETER, *_STORAGES)}
_MARK = object()


def read_state_dict(content: bytes, file: str) -> Mapping[str, View]:
    """Returns the tensors of a pickled state dict by name; raises SourceError for anything else."""
    machine = _PickleMachine(file)
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if number > _MAX_INSTRUCTIONS:
                raise refused(file, f"has over {_MAX_INSTRUCTIONS} instructions in its pickle")
            machine.run(instruction.name, argument)
    except ValueError as error:  # of genops
        raise corrupt(file, f"its pickle has no end or is damaged ({error})") from error
    return machine.result()


class _PickleMachine:
    """An unpickler's stack and memo, with only records and plain values on them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, instruction: str, argument: Any) -> None:
        """Executes one instruction."""
        if instruction not in _INSTRUCTIONS:
            raise refused(self._file, f"uses the pickle instruction {instruction}")
        _INSTRUCTIONS[instruction](self, argument)

    def result(self) -> dict[str, View]:
        """Returns the tensors at the end of the pickle."""
        found = self._pop()
        if self._stack or not isinstance(found, dict):
            raise refused(self._file, "is not a dict of tensors")
        for name, tensor in found.items():
            if not isinstance(tensor, View):
                raise refused(self._file, f"holds {name[:_SHOWN]!r}, which is not a tensor")
        return found

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._out_of_order()
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        found: list[Any] = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                return found[::-1]
            found.append(item)
        raise self._out_of_order()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _memoize(self, place: int) -> None:
        value = self._pop()
        self._memo[place] = value
        self._push(value)

    def _recall(self, place: int) -> None:
        if place not in self._memo:
            raise self._out_of_order()
        self._push(self._memo[place])

    def _find(self, name: str) -> None:
        known = _GLOBALS.get(name)
        if known is None:
            raise refused(self._file, f"asks for {name.replace(' ', '.')[:_SHOWN]}")
        self._push(known)

    def _name(self, text: str) -> None:
        if len(text) > _MAX_NAME:
            raise refused(self._file, f"has a name of {len(text)} characters in its pickle")
        self._push(text)

    def _tuple(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._push(tuple(items[::-1]))

    def _set_items(self, items: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise self._out_of_order()
        self._push(target)
        for name, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(name, str):
                raise refused(self._file, "has a dict whose keys are not strings")
            target[name] = value

    def _set_item(self) -> None:
        value, name = self._pop(), self._pop()
        self._set_items([name, value])

    def _build(self) -> None:
        """Accepts the one attribute of a state dict: its modules' versions, `_metadata`."""
        state = self._pop()
        is_metadata = isinstance(state, dict) and set(state) == {"_metadata"}
        if not (is_metadata and self._stack and isinstance(self._stack[-1], dict)):
            raise refused(self._file, "sets attributes of an object (the instruction BUILD)")

    def _storage(self) -> None:
        """Replaces a persistent id, (class, entry, device, size), by the storage that it means."""
        match self._pop():
            case ("storage", _Global() as kind, str() as key, str(), int() as numbers):
                if kind in _STORAGES and key.isascii() and key.isdigit() and self._counts(numbers):
                    self._push(Storage(dtype=_STORAGES[kind], key=key, numbers=numbers))
                    return
        raise refused(self._file, "refers to something else than a storage of tensors")

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        match function, arguments:
            case _Global(), () if function == _DICT:
                self._push({})
            case _Global(), (Storage() as storage, offset, tuple() as shape, tuple() as strides,
                             bool(), dict()) if function == _TENSOR:  # fmt: skip
                view = View(storage=storage, offset=offset, shape=shape, strides=strides)
                self._check(view)
                self._push(view)
            case _Global(), (View() as view, bool(), dict()) if function == _PARAMETER:
                self._push(view)
            case _:
                name = function.name if isinstance(function, _Global) else "something"
                name = name.replace(" ", ".")
                raise refused(self._file, f"calls {name} otherwise than torch does")

    def _check(self, view: View) -> None:
        fits = len(view.shape) == len(view.strides) <= _MAX_DIMENSIONS
        if not fits or not self._counts(view.offset, *view.shape, *view.strides):
            raise refused(self._file, "has a tensor with invalid sizes")

    @staticmethod
    def _counts(*numbers: object) -> bool:
        return all(type(n) is int and 0 <= n < _MAX_FIGURE for n in numbers)

    def _out_of_order(self) -> SourceError:
        return corrupt(self._file, "the instructions of its pickle are out of order")


def _instructions() -> Iterator[tuple[str, Callable[[_PickleMachine, Any], None]]]:
    machine = _PickleMachine
    yield "PROTO", lambda _, __: None
    yield "STOP", lambda _, __: None
    yield "GLOBAL", machine._find
    yield "MARK", lambda m, _: m._push(_MARK)
    yield "EMPTY_TUPLE", lambda m, _: m._push(())
    yield "EMPTY_DICT", lambda m, _: m._push({})
    yield "NEWTRUE", lambda m, _: m._push(True)
    yield "NEWFALSE", lambda m, _: m._push(False)
    for name in ("BININT", "BININT1", "BININT2", "LONG1"):
        yield name, machine._push
    yield "BINUNICODE", machine._name
    yield "TUPLE1", lambda m, _: m._tuple(1)
    yield "TUPLE2", lambda m, _: m._tuple(2)
    yield "TUPLE3", lambda m, _: m._tuple(3)
    yield "TUPLE", lambda m, _: m._push(tuple(m._pop_to_mark()))
    yield "SETITEM", lambda m, _: m._set_item()
    yield "SETITEMS", lambda m, _: m._set_items(m._pop_to_mark())
    for name in ("BINPUT", "LONG_BINPUT"):
        yield name, machine._memoize
    for name in ("BINGET", "LONG_BINGET"):
        yield name, machine._recall
    yield "BINPERSID", lambda m, _: m._storage()
    yield "REDUCE", lambda m, _: m._call()
    yield "BUILD", lambda m, _: m._build()


_INSTRUCTIONS = dict(_instructions())
