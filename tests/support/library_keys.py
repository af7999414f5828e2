"""Which keys of a model's settings files the installed libraries read, found in their code.

Two ways: the functions that load are parsed for the names that they look up in what they read from
a file; and classes are asked for their fields and parameters. What neither finds are keys that are
looked up by a computed name, and attributes of a configuration that only a model's code reads.

    python tests/support/library_keys.py    # records them, after an upgrade
"""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import pkgutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: For each file: module, function (* for all) and the variables that hold what the file says.
TRANSFORMERS: dict[str, list[tuple[str, str, str]]] = {
    "config.json": [
        ("configuration_utils", "*", "config_dict kwargs"),
        ("modeling_rope_utils", "*", "kwargs rope_parameters rope_parameters_dict rope_scaling"),
        ("backbone_utils", "*", "kwargs backbone_config config_dict"),
        ("models.auto.configuration_auto", "AutoConfig.from_pretrained", "config_dict"),
        ("quantizers.auto", "*", "quantization_config_dict"),
    ],
    "tokenizer_config.json": [
        ("models.auto.tokenization_auto", "AutoTokenizer.from_pretrained", "tokenizer_config"),
        ("models.auto.processing_auto", "AutoProcessor.from_pretrained", "config_dict"),
        (
            "tokenization_utils_base",
            "PreTrainedTokenizerBase.from_pretrained",
            "tokenizer_config",
        ),
        ("tokenization_utils_base", "PreTrainedTokenizerBase._from_pretrained", "init_kwargs"),
        ("tokenization_utils_base", "PreTrainedTokenizerBase.__init__", "kwargs"),
        ("tokenization_utils_tokenizers", "TokenizersBackend.__init__", "kwargs"),
        (
            "tokenization_utils_tokenizers",
            "TokenizersBackend.convert_to_native_format",
            "local_kwargs kwargs",
        ),
        ("tokenization_utils_sentencepiece", "SentencePieceBackend.__init__", "kwargs"),
    ],
    "model.safetensors.index.json": [
        ("utils.hub", "get_checkpoint_shard_files", "index sharded_metadata"),
        ("modeling_utils", "_get_dtype", "sharded_metadata"),
    ],
}
#: The same for sentence-transformers; its modules' files are found by their classes.
SENTENCE_TRANSFORMERS: dict[str, list[tuple[str, str, str]]] = {
    "modules.json": [("base.model", "BaseModel._load_config_modules", "module_config")],
    "config_sentence_transformers.json": [
        ("base.model", "BaseModel._load_config_modules", "model_config"),
        ("base.model", "BaseModel._parse_model_config", "model_config"),
        ("base.model", "BaseModel._get_model_type", "config"),
        ("sentence_transformer.model", "*", "model_config"),
        ("sparse_encoder.model", "*", "model_config"),
        ("cross_encoder.model", "*", "model_config"),
        ("multi_vector_encoder.model", "*", "model_config"),
    ],
    "artifact.metadata": [("multi_vector_encoder.model", "*", "metadata")],
    "sentence_bert_config.json": [
        ("base.modules.transformer", "Transformer.load_config", "config"),
        ("base.modules.transformer", "Transformer._load_init_kwargs", "config"),
    ],
}


def library_keys() -> dict[str, list[str]]:
    """Returns the keys by file; those of sentence-transformers' modules by class."""
    found: dict[str, set[str]] = {}
    for package, table in (
        ("transformers", TRANSFORMERS),
        ("sentence_transformers", SENTENCE_TRANSFORMERS),
    ):
        for file, places in table.items():
            for module, function, variables in places:
                keys = _looked_up(package, module, function, set(variables.split()))
                found.setdefault(file, set()).update(keys)
    found["config.json"] |= set(config_fields())
    found["tokenizer_config.json"] |= _tokenizer_parameters()
    for name, keys in _module_parameters().items():
        found[f"module {name}"] = keys
    return {file: sorted(keys) for file, keys in sorted(found.items())}


def _looked_up(package: str, module: str, function: str, variables: set[str]) -> set[str]:
    """Returns the constants by which a function looks something up in one of its variables."""
    source = inspect.getsource(importlib.import_module(f"{package}.{module}"))
    nodes = dict(_functions(ast.parse(source), ""))
    chosen = list(nodes.values()) if function == "*" else [nodes[function]]
    return {key for node in chosen for key in _keys(node, variables)}


def _functions(node: ast.AST, above: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{above}{child.name}"
            if isinstance(child, ast.FunctionDef):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, above)


def _keys(function: ast.AST, variables: set[str]) -> Iterator[str]:
    for node in ast.walk(function):
        key: Any = None
        value: ast.AST | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("get", "pop", "setdefault"):
                key, value = node.args[0], node.func.value
        elif isinstance(node, ast.Subscript):
            key, value = node.slice, node.value
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            key, value = node.left, node.comparators[0]
        is_text = isinstance(key, ast.Constant) and isinstance(key.value, str)
        if is_text and _variable(value) in variables:
            yield key.value


def _variable(node: ast.AST | None) -> str | None:
    """Returns the variable at the start of `x["a"].get("b", {})`."""
    while node is not None and not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.BoolOp):
            node = node.values[0]
        else:
            return None
    return node.id if node is not None else None


def config_fields() -> dict[str, set[str]]:
    """Returns the fields of all configurations, with their annotations."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found: dict[str, set[str]] = {}
    waiting: list[Any] = [CONFIG_MAPPING[name] for name in CONFIG_MAPPING]
    seen: set[Any] = set()
    while waiting:
        kind = waiting.pop()
        if kind in seen or not hasattr(kind, "__dataclass_fields__"):
            continue
        seen.add(kind)
        for field in dataclasses.fields(kind):
            found.setdefault(field.name, set()).add(str(field.type))
        for alias, name in kind.attribute_map.items():
            found.setdefault(alias, set()).update(found.get(name, ()))
        after_init = getattr(kind, "__post_init__", None)
        if after_init is not None:
            code = ast.parse(textwrap.dedent(inspect.getsource(after_init)))
            for key in _keys(code, {"kwargs"}):
                found.setdefault(key, set())
        for part in kind.sub_configs_defaults.values():
            if isinstance(part.config_class, type):
                waiting.append(part.config_class)
    return found


def text_fields() -> set[str]:
    """Returns the fields of all configurations that may hold text, or an object with some."""
    kinds = ("str", "Any", "dict", "Config", "Literal")
    return {
        name
        for name, annotations in config_fields().items()
        if any(_may_hold_text(a, kinds) for a in annotations)
    }


def _may_hold_text(annotation: str, kinds: tuple[str, ...]) -> bool:
    for numbers in ("dict[str, int]", "dict[str, float]", "dict[str, bool]"):
        annotation = annotation.replace(numbers, "")
    return any(kind in annotation for kind in kinds)


def _tokenizer_parameters() -> set[str]:
    import transformers
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    names = {n for n in dir(transformers) if n.endswith(("Tokenizer", "TokenizerFast", "Backend"))}
    found: set[str] = set()
    for name in sorted(names):
        kind = tokenizer_class_from_name(name)
        if not inspect.isclass(kind) or getattr(kind, "is_dummy", False):
            continue
        for base in kind.__mro__:
            if "__init__" in base.__dict__ and base is not object:
                found |= _parameters(base.__dict__["__init__"])
    return found


def _module_parameters() -> dict[str, set[str]]:
    import sentence_transformers
    from sentence_transformers.base.modules.module import Module

    for info in pkgutil.walk_packages(sentence_transformers.__path__, "sentence_transformers."):
        importlib.import_module(info.name)

    def below(kind: Any) -> Iterator[Any]:
        for child in kind.__subclasses__():
            if child.__module__.startswith("sentence_transformers."):
                yield child
                yield from below(child)

    return {
        kind.__name__: _parameters(inspect.unwrap(kind.__dict__.get("__init__", kind.__init__)))
        | set(kind.config_key_renames)
        for kind in below(Module)
    }


def _parameters(function: Any) -> set[str]:
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    recorded = Path(__file__).with_suffix(".json")
    recorded.write_text(json.dumps(library_keys(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {recorded}", file=sys.stderr)  # noqa: T201
