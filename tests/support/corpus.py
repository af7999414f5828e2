"""Malicious models: each function turns a good model's folder into one."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Made by any code of a model that runs, in the folder of the environment variable of that name.
MARKER = "CODE_RAN"
CODE = f"import os; open(os.path.join(os.environ['{MARKER}'], 'ran'), 'w').close()\n"


@dataclass(frozen=True)
class Hostile:
    """A malicious model, how it ends, and what the error says.

    Attributes:
        spoil: Makes it, of a good one.
        code: The exit code; 0 where what is malicious is never looked at.
        message: A part of the error.
    """

    spoil: Callable[[Path], None]
    code: int
    message: str


def edit(path: Path, **changes: Any) -> None:
    """Sets keys of a JSON object."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def config(**changes: Any) -> Callable[[Path], None]:
    """A configuration with other values."""
    return lambda model: edit(model / "config.json", **changes)


def remote_model(model: Path) -> None:
    edit(model / "config.json", model_type="of_somebody", auto_map={"AutoConfig": "evil.Config"})
    (model / "evil.py").write_text(CODE)


def native_model_with_code(model: Path) -> None:
    """transformers knows bert itself, and must take that."""
    names = {"AutoConfig": "evil.BertConfig", "AutoModel": "evil.BertModel"}
    edit(model / "config.json", auto_map=names)
    (model / "evil.py").write_text(CODE)


def native_model_with_another_class(**names: str) -> Callable[[Path], None]:
    """An architecture that transformers knows, with code that computes something else."""

    def spoil(model: Path) -> None:
        edit(model / "config.json", auto_map=names)
        (model / "evil.py").write_text(CODE)

    return spoil


def remote_tokenizer(model: Path) -> None:
    names = {"AutoTokenizer": ["evil.Tokenizer", None]}
    edit(model / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=names)
    (model / "evil.py").write_text(CODE)


def module_type(kind: str) -> Callable[[Path], None]:
    """A module whose class is any import path."""

    def spoil(model: Path) -> None:
        modules = json.loads((model / "modules.json").read_text())
        modules[-1]["type"] = kind
        (model / "modules.json").write_text(json.dumps(modules))
        (model / "evil.py").write_text(CODE)

    return spoil


def trust_in_its_own_settings(model: Path) -> None:
    """The settings of a module are arguments of the library's calls."""
    remote_model(model)
    arguments = {"trust_remote_code": True}
    edit(model / "sentence_bert_config.json", model_args=arguments, config_args=arguments,
         model_kwargs=arguments, config_kwargs=arguments, processor_kwargs=arguments)  # fmt: skip


def activation(model: Path) -> None:
    (model / "3_Dense").mkdir()
    settings = {"in_features": 32, "out_features": 32, "activation_function": "os.getcwd"}
    (model / "3_Dense" / "config.json").write_text(json.dumps(settings))
    shutil.copy(model / "model.safetensors", model / "3_Dense" / "model.safetensors")
    modules = json.loads((model / "modules.json").read_text())
    modules.append(
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    )
    (model / "modules.json").write_text(json.dumps(modules))


def chat_template(model: Path) -> None:
    escape = (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for i in range(10**9) %}x{% endfor %}"
    )
    edit(model / "tokenizer_config.json", chat_template=escape)
    (model / "chat_template.jinja").write_text(escape)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


def pickled(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Code()))


def pickled_shard(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "weights.bin").write_bytes(pickle.dumps(Code()))
    index = {"weight_map": {"embeddings.word_embeddings.weight": "weights.bin"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def named_pickle(model: Path) -> None:
    edit(model / "config.json", transformers_weights="weights.bin")
    (model / "weights.bin").write_bytes(pickle.dumps(Code()))


def pickle_beside(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Code()))


def zip_bomb(model: Path) -> None:
    (model / "model.safetensors").unlink()
    with zipfile.ZipFile(model / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 28))


def shard_outside(model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def module_outside(model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules[0]["path"] = "../.."
    (model / "modules.json").write_text(json.dumps(modules))


def link_outside(name: str) -> Callable[[Path], None]:
    """A file that is a link to a secret."""

    def spoil(model: Path) -> None:
        secret = model.parent / "secret"
        (model / name).rename(secret)
        (model / name).symlink_to(secret)

    return spoil


def pipe(name: str) -> Callable[[Path], None]:
    """A file that nobody ever writes to: who opens it waits forever."""

    def spoil(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        os.mkfifo(model / name)

    return spoil


def json_file(name: str, content: bytes) -> Callable[[Path], None]:
    """A file with this content."""

    def spoil(model: Path) -> None:
        (model / name).write_bytes(content)

    return spoil


def sparse(name: str, size: int) -> Callable[[Path], None]:
    """A file that is large and takes no room."""

    def spoil(model: Path) -> None:
        with (model / name).open("r+b") as stream:
            stream.truncate(size)

    return spoil


def safetensors(header: dict[str, Any] | bytes, data: int = 64, length: int | None = None) -> Any:
    """Weights with a header of their own."""

    def spoil(model: Path) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if length is None else length
        (model / "model.safetensors").write_bytes(size.to_bytes(8, "little") + text + bytes(data))

    return spoil


def tensor(*offsets: int, shape: tuple[int, ...] = (8,)) -> dict[str, Any]:
    """A tensor's entry in a header."""
    return {"dtype": "F32", "shape": list(shape), "data_offsets": list(offsets)}


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
CORRUPT = "model.safetensors is truncated or corrupt"

CORPUS: dict[str, Hostile] = {
    "remote model": Hostile(remote_model, 4, "remote code"),
    "native model with code beside it": Hostile(native_model_with_code, 0, ""),
    "native model with another configuration": Hostile(
        native_model_with_another_class(AutoConfig="evil.JinaBertConfig", AutoModel="evil.Model"),
        4,
        "replaces transformers' own class by JinaBertConfig",
    ),
    "native configuration of another model": Hostile(
        native_model_with_another_class(AutoModel="evil.BertModel"), 4, "by BertModel"
    ),
    "remote tokenizer": Hostile(remote_tokenizer, 0, ""),
    "module of the system's": Hostile(module_type("os.system"), 4, "remote code"),
    "module of its own": Hostile(module_type("evil.Module"), 4, "remote code"),
    "trust in its own settings": Hostile(trust_in_its_own_settings, 4, "remote code"),
    "activation": Hostile(activation, 4, "remote code"),
    "chat template": Hostile(chat_template, 0, ""),
    "pickled weights": Hostile(pickled, 3, "not a file that torch.save() wrote"),
    "pickled shard": Hostile(pickled_shard, 3, "weights.bin, which is not a .safetensors file"),
    "weights named by the configuration": Hostile(named_pickle, 3, "transformers_weights"),
    "pickle beside the weights": Hostile(pickle_beside, 0, ""),
    "zip bomb": Hostile(zip_bomb, 3, "is compressed"),
    "shard outside": Hostile(shard_outside, 3, "outside the model's folder"),
    "module outside": Hostile(module_outside, 3, "outside the model's"),
    "tokenizer linked to a secret": Hostile(link_outside("tokenizer.json"), 3, "is a link to"),
    "weights linked to elsewhere": Hostile(link_outside("model.safetensors"), 3, "is a link to"),
    "configuration that is a pipe": Hostile(
        pipe("config.json"), 3, "config.json is not a regular file"
    ),
    "weights that are a pipe": Hostile(
        pipe("model.safetensors"), 3, "model.safetensors is not a regular file"
    ),
    "modules that are a pipe": Hostile(
        pipe("modules.json"), 3, "modules.json is a named pipe, not a regular file"
    ),
    "settings that are a pipe": Hostile(
        pipe("tokenizer_config.json"), 3, "tokenizer_config.json is not a regular file"
    ),
    "deep JSON": Hostile(json_file("config.json", DEEP), 3, "not JSON"),
    "deep tokenizer": Hostile(json_file("tokenizer.json", DEEP), 3, ""),
    "large JSON": Hostile(sparse("config.json", 1 << 30), 3, "over 16 MiB"),
    "large tokenizer": Hostile(sparse("tokenizer.json", 1 << 34), 3, "more than any model needs"),
    "huge number": Hostile(
        json_file("config.json", b'{"a":' + b"9" * 10_000 + b"}"), 3, "not JSON"
    ),
    "no UTF-8": Hostile(json_file("config.json", b"\xff\xfe"), 3, "not JSON"),
    "byte order mark": Hostile(
        json_file("config.json", b'\xef\xbb\xbf{"model_type": "bert"}'), 3, "byte order mark"
    ),
    "no number": Hostile(
        json_file("config.json", b'{"model_type": "bert", "x": NaN}'), 3, "it contains NaN"
    ),
    "two values of one key": Hostile(
        json_file("config.json", b'{"model_type": "bert", "model_type": "evil"}'), 3, "occurs twice"
    ),
    "half a surrogate pair": Hostile(
        json_file("config.json", b'{"model_type": "\\ud800"}'), 3, "is not JSON"
    ),
    "two values in the tokenizer": Hostile(
        json_file("tokenizer_config.json", b'{"pad_token": "a", "pad_token": "b"}'), 3, "twice"
    ),
    "vocabulary of a billion": Hostile(
        config(vocab_size=10**9), 3, "asks for a matrix of vocab_size"
    ),
    "a million layers": Hostile(config(num_hidden_layers=10**6), 3, "num_hidden_layers"),
    "positions without end": Hostile(
        config(max_position_embeddings=10**12), 3, "max_position_embeddings"
    ),
    "size beyond counting": Hostile(config(hidden_size=10**30), 3, "hidden_size"),
    "other sizes than the weights": Hostile(
        config(intermediate_size=10**8), 3, "asks for a matrix of intermediate_size"
    ),
    "no sizes": Hostile(config(hidden_size="many", num_attention_heads=None), 3, ""),
    "header of gigabytes": Hostile(safetensors({}, length=1 << 33), 3, CORRUPT),
    "header beyond counting": Hostile(safetensors({}, length=(1 << 64) - 1), 3, CORRUPT),
    "overlapping tensors": Hostile(
        safetensors({"a": tensor(0, 32), "b": tensor(16, 48)}, data=48), 3, CORRUPT
    ),
    "tensor outside": Hostile(safetensors({"a": tensor(0, 1 << 40, shape=(1 << 38,))}), 3, CORRUPT),
    "shape beyond counting": Hostile(
        safetensors({"a": tensor(0, 64, shape=(1 << 62, 1 << 62))}), 3, CORRUPT
    ),
    "backward offsets": Hostile(safetensors({"a": tensor(32, 0)}), 3, CORRUPT),
    "deep header": Hostile(safetensors(DEEP), 3, CORRUPT),
}
