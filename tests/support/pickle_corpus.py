"""Malicious weights in pickles: each function gives a good model's folder such weights."""

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from support.corpus import CODE, MARKER, Hostile, config, link_outside, pipe
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
    ZipEntry,
    archive_of,
    call,
    dict_of,
    imported,
    local_header,
    number,
    pickle_of,
    storage,
    tensor,
    text,
    tuple_of,
    zip_of,
)

FILE = "pytorch_model.bin"
SIX = bytes(24)
SHELL = f'touch "${MARKER}/ran"'
#: Each runs code when it is unpickled.
RUN = {
    "exec": call("builtins", "exec", text(CODE)),
    "exec of Python 2": call("__builtin__", "eval", text(f"exec({CODE!r})")),
    "a command": call("posix", "system", text(SHELL)),
    "a process": call("subprocess", "check_output", tuple_of(*map(text, ("sh", "-c", SHELL)))),
    "an instruction for instances": MARK + text(CODE) + b"ibuiltins\nexec\n",
    "an instruction for objects": MARK + imported("builtins", "exec") + text(CODE) + b"o",
    "a global of protocol 4": b"\x8c\x08builtins\x8c\x04exec\x93" + tuple_of(text(CODE)) + REDUCE,
    "the arguments of a tensor": call(
        "torch._utils", "_rebuild_tensor_v2", storage(), number(0), tuple_of(number(6)),
        tuple_of(number(1)), FALSE, call("builtins", "exec", text(CODE)),
    ),
    "the type of a storage": tuple_of(
        text("storage"), call("builtins", "exec", text(CODE)), text("0"), text("cpu"), number(6)
    ) + PERSISTENT,
}  # fmt: skip
EVIL = RUN["exec"]


def zipped(content: bytes) -> Callable[[Path], None]:
    """A model whose weights are a file with this content."""

    def spoil(model: Path) -> None:
        (model / "model.safetensors").unlink()
        (model / FILE).write_bytes(content)

    return spoil


def pickled(value: bytes, storages: Mapping[str, bytes] | None = None) -> Callable[[Path], None]:
    """A model whose weights are this value, as torch.save() zips it."""
    return zipped(
        zip_of(archive_of(pickle_of(value), {"0": SIX} if storages is None else storages))
    )


def tensors(storages: Mapping[str, bytes] | None = None, **values: bytes) -> Callable[[Path], None]:
    """A model with these tensors."""
    return pickled(dict_of(values), storages)


def entries(*more: ZipEntry) -> Callable[[Path], None]:
    """A model whose weights are good ones, with more entries in their archive."""
    own = archive_of(pickle_of(dict_of({"a": tensor()})), {"0": SIX})
    return zipped(zip_of([*own, *more]))


def compressed(model: Path) -> None:
    zipped(b"")(model)
    with zipfile.ZipFile(model / FILE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle_of(tensor()))
        archive.writestr("archive/data/0", bytes(1 << 28))


def overlapping_entries(model: Path) -> None:
    """A bomb without compression: each storage has the next ones in it."""
    inner = ZipEntry(name="archive/data/1", content=SIX)
    hidden = local_header(inner) + SIX
    outer = ZipEntry(name="archive/data/0", content=hidden)
    first = ZipEntry(name="archive/data.pkl", content=pickle_of(dict_of({"a": tensor()})))
    follows = 16
    before = len(local_header(first)) + len(first.content) + follows
    at = before + len(local_header(outer))
    listed = ZipEntry(name="archive/data/1", content=SIX, header=at)
    zipped(zip_of([first, outer, listed]))(model)


def index(shard: str, content: bytes | None = None) -> Callable[[Path], None]:
    """A model whose weights an index names."""

    def spoil(model: Path) -> None:
        (model / "model.safetensors").unlink()
        if content is not None:
            (model / shard).write_bytes(content)
        listed = {"weight_map": {"embeddings.word_embeddings.weight": shard}}
        (model / f"{FILE}.index.json").write_text(json.dumps(listed))

    return spoil


def in_a_module(model: Path) -> None:
    (model / "3_Dense").mkdir()
    settings = {
        "in_features": 32, "out_features": 32,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }  # fmt: skip
    (model / "3_Dense" / "config.json").write_text(json.dumps(settings))
    (model / "3_Dense" / FILE).write_bytes(zip_of(archive_of(pickle_of(EVIL), {})))
    modules = json.loads((model / "modules.json").read_text())
    modules.append(
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    )
    (model / "modules.json").write_text(json.dumps(modules))


def good(then: Callable[[Path], None]) -> Callable[[Path], None]:
    """A model whose pickle is good before something is done to it."""

    def spoil(model: Path) -> None:
        tensors(a=tensor())(model)
        then(model)

    return spoil


def many_names_of_one_table(model: Path) -> None:
    """Weights that are tied a thousand times do not make room for a larger vocabulary."""
    pickled(dict_of({f"a{i}": tensor() for i in range(1000)}))(model)
    config(vocab_size=100, hidden_size=32)(model)


FORMER = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\0."
ONLY = "only tensors are read from a pickle"
CORRUPT = f"{FILE} is truncated or corrupt"

PICKLES: dict[str, Hostile] = {
    **{
        f"{how} by {name}": Hostile(pickled(value), 3, ONLY)
        for name, code in RUN.items()
        for how, value in {
            "code run": code,
            "code run for a tensor": dict_of({"a": code}),
        }.items()
    },
    "code run for the attributes of a state dict": Hostile(
        pickled(ORDERED_DICT + dict_of({"_metadata": EVIL}) + BUILD), 3, "asks for builtins.exec"
    ),
    "code run for a name": Hostile(
        pickled(EMPTY_DICT + MARK + EVIL + tensor() + SETITEMS), 3, "asks for builtins.exec"
    ),
    "attributes that are methods": Hostile(
        pickled(ORDERED_DICT + dict_of({"__reduce__": text("x")}) + BUILD), 3, "BUILD"
    ),
    "attributes of a tensor": Hostile(
        pickled(dict_of({"a": tensor() + dict_of({"_backward_hooks": text("x")}) + BUILD})), 3,
        "BUILD",
    ),
    "an object without its constructor": Hostile(
        pickled(imported("collections", "OrderedDict") + EMPTY_TUPLE + b"\x81"), 3, "NEWOBJ"
    ),
    "an extension by number": Hostile(pickled(b"\x82\x01"), 3, "EXT1"),
    "a file that is read": Hostile(
        pickled(call("torch", "load", text("/etc/passwd"))), 3, "asks for torch.load"
    ),
    "a file that is mapped": Hostile(
        pickled(call("torch", "FloatStorage.from_file", text("/etc/passwd"))), 3,
        "asks for torch.FloatStorage.from_file",
    ),
    "a storage that is called": Hostile(
        pickled(call("torch", "FloatStorage", number(1 << 40))), 3, "calls torch.FloatStorage"
    ),
    "a module that is imported": Hostile(
        pickled(imported("evil", "name")), 3, "asks for evil.name"
    ),
    "a name that forges a line": Hostile(
        pickled(imported("os\x1b[2J\rerror", "name")), 3, "asks for os"
    ),
    "a storage in another file": Hostile(
        pickled(storage("../../../../etc/passwd")), 3, "something else than a storage"
    ),
    "a persistent id that is a path": Hostile(
        pickled(text("/etc/passwd") + PERSISTENT), 3, "something else than a storage"
    ),
    "a persistent id that is a line": Hostile(pickled(b"P/etc/passwd\n"), 3, "PERSID"),
    "a persistent id with source code": Hostile(
        pickled(tuple_of(text("module"), text("a"), text("b"), text(CODE)) + PERSISTENT), 3,
        "something else than a storage",
    ),
    "a memo bomb": Hostile(pickled(text("lol") + b"q\1h\1\x86" * 400_000), 3, "over 1000000"),
    "deep recursion": Hostile(pickled(EMPTY_TUPLE + b"\x85" * 900_000), 3, "not a dict of tensors"),
    "a million dicts": Hostile(pickled(EMPTY_DICT * (1 << 21)), 3, "over 1000000"),
    "a text of gigabytes": Hostile(pickled(b"X\xff\xff\xff\xff"), 3, CORRUPT),
    "a number of gigabytes": Hostile(pickled(b"\x8b\xff\xff\xff\x7f"), 3, CORRUPT),
    "a pickle of gigabytes": Hostile(
        entries(ZipEntry(name="archive/x", content=b"", size=1 << 31)), 3, CORRUPT
    ),
    "a pickle in a pickle": Hostile(
        pickled(pickle_of(dict_of({"a": tensor()}))[2:-1] + pickle.dumps(b"", 2)), 3, ONLY
    ),
    "a tensor without end": Hostile(
        tensors(a=tensor((1 << 30, 1 << 30), of=storage())), 3, "beyond its storage"
    ),
    "a tensor of one number, repeated": Hostile(
        tensors(a=tensor((1 << 30, 1 << 30), (0, 0), of=storage())), 3, "gaps or repetitions"
    ),
    "a tensor of sixty dimensions": Hostile(
        tensors(a=tensor((1,) * 60, of=storage())), 3, "invalid sizes"
    ),
    "a tensor before its storage": Hostile(
        tensors(a=tensor(offset=-1)), 3, "invalid sizes"
    ),
    "a tensor backwards": Hostile(
        tensors(a=tensor((6,), (-1,), of=storage(), offset=5)), 3, "invalid sizes"
    ),
    "a tensor behind its storage": Hostile(
        tensors(a=tensor((6,), offset=1)), 3, "beyond its storage"
    ),
    "tensors across each other": Hostile(
        tensors(a=tensor((4,), of=storage()), b=tensor((4,), of=storage(), offset=1)), 3,
        "across another",
    ),
    "a storage of two types": Hostile(
        tensors(a=tensor(), b=tensor(of=storage(kind="IntStorage"))), 3, "two types"
    ),
    "a storage of another size": Hostile(tensors({"0": bytes(4)}, a=tensor()), 3, CORRUPT),
    "a storage that is missing": Hostile(tensors({}, a=tensor()), 3, CORRUPT),
    "what is no tensor": Hostile(tensors(a=tensor(), epoch=number(3)), 3, "'epoch'"),
    "many names of one table": Hostile(many_names_of_one_table, 3, "asks for a matrix"),
    "no tensors": Hostile(tensors({}), 3, ""),
    "compressed storages": Hostile(compressed, 3, "is compressed"),
    "two pickles of one name": Hostile(
        entries(ZipEntry(name="archive/data.pkl", content=pickle_of(EVIL))), 3, "is there twice"
    ),
    "a pickle that is called otherwise": Hostile(
        entries(
            ZipEntry(name="archive/x", own_name="archive/data.pkl", content=pickle_of(EVIL))
        ), 3, "another header",
    ),
    "an entry in another": Hostile(overlapping_entries, 3, "across another"),
    "an encrypted entry": Hostile(
        entries(ZipEntry(name="archive/x", content=b"", flags=1)), 3, "not as torch saves it"
    ),
    "two prefixes": Hostile(
        entries(ZipEntry(name="evil/data.pkl", content=pickle_of(EVIL))), 3, CORRUPT
    ),
    "a path that climbs": Hostile(entries(ZipEntry(name="../../evil", content=b"x")), 3, CORRUPT),
    "a program of TorchScript": Hostile(
        entries(ZipEntry(name="archive/constants.pkl", content=pickle_of(EVIL))), 3, "TorchScript"
    ),
    "an archive behind a pickle": Hostile(
        zipped(pickle_of(EVIL) + zip_of(archive_of(pickle_of(dict_of({"a": tensor()})), {}))), 3,
        CORRUPT,
    ),
    "a pickle behind an archive": Hostile(
        zipped(zip_of(archive_of(pickle_of(dict_of({"a": tensor()})), {})) + pickle_of(EVIL)), 3,
        CORRUPT,
    ),
    "the former format": Hostile(zipped(FORMER + pickle_of(EVIL)), 3, "torch before 1.6"),
    "the format before that": Hostile(
        zipped(bytes(257) + b"ustar" + pickle_of(EVIL)), 3, "torch before 0.1.10"
    ),
    "code run in a shard": Hostile(
        index("pytorch_model-00001-of-00001.bin", zip_of(archive_of(pickle_of(EVIL), {}))), 3,
        "asks for builtins.exec",
    ),
    "a shard that is elsewhere": Hostile(index("../outside.bin"), 3, "outside the model's folder"),
    "a shard of another kind": Hostile(
        index("weights.pt", pickle_of(EVIL)), 3, "which is not a .bin file"
    ),
    "code run in a module": Hostile(in_a_module, 3, "asks for builtins.exec"),
    "a pickle linked to elsewhere": Hostile(good(link_outside(FILE)), 3, "is a link to"),
    "a pickle that is a pipe": Hostile(good(pipe(FILE)), 3, f"{FILE} is not a regular file"),
}  # fmt: skip
