"""The files that sentence-transformers writes: modules, their settings and weights."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import zoo
from support.twins import tokenizers, weights
from support.twins.records import Module, Twin, Weights

#: Where classes were until version 5, and are since 6.
_OLD = {
    "MLMTransformer": "sentence_transformers.sparse_encoder.models",
    "SpladePooling": "sentence_transformers.sparse_encoder.models",
    "SparseStaticEmbedding": "sentence_transformers.sparse_encoder.models",
    "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules",
    "LogitScore": "sentence_transformers.cross_encoder.modules",
}
_NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer",
    "Dense": "sentence_transformers.base.modules.dense",
    "Normalize": "sentence_transformers.base.modules.normalize",
    "Router": "sentence_transformers.base.modules.router",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling",
    "StaticEmbedding": "sentence_transformers.sentence_transformer.modules.static_embedding",
    "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling",
    "LogitScore": "sentence_transformers.cross_encoder.modules.logit_score",
    "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask",
}
_NEW_SINCE = 6
_TRANSFORMERS = ("Transformer", "MLMTransformer", "CLIPModel")
#: Settings files with another name than config.json.
_FILES = dict.fromkeys(_TRANSFORMERS, "sentence_bert_config.json")
#: Pooling modes, by the flags that each version writes.
_FLAGS = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens",
          "mean_sqrt_len": "mean_sqrt_len_tokens"}  # fmt: skip
_LATER_FLAGS = {"weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken"}
#: Settings that name sizes, which become the zoo's.
_SIZES = ("in_features", "out_features")
_LENGTHS = ("max_seq_length", "query_length", "document_length", "query_maxlen", "doc_maxlen")

Length = Callable[[int | None], int | None]


@dataclass(frozen=True)
class _Placed:
    """A module at its place in the repository."""

    name: str
    path: str
    settings: dict[str, Any]


def _placed(module: Module, path: str) -> _Placed:
    name, settings = next(iter(module.items()))
    settings = dict(settings or {})
    return _Placed(name, settings.pop("_path", path), settings)


def _chain(modules: Sequence[Module]) -> list[_Placed]:
    return [
        _placed(module, f"{number}_{next(iter(module))}" if number else "")
        for number, module in enumerate(modules)
    ]


def _routes(router: _Placed) -> dict[str, list[_Placed]]:
    return {
        route: [
            _placed(module, f"{route}_{number}_{next(iter(module))}")
            for number, module in enumerate(modules)
        ]
        for route, modules in router.settings["routes"].items()
    }


def _all(twin: Twin) -> Iterator[_Placed]:
    for module in _chain(twin.modules or ()):
        yield module
        if module.name == "Router":
            for chain in _routes(module).values():
                yield from chain


def place_of_transformer(twin: Twin) -> str:
    """The folder of the transformer's files, relative to the repository."""
    return next((m.path for m in _all(twin) if m.name in _TRANSFORMERS), "")


def save(twin: Twin, folder: Path, length: Length) -> None:
    """Writes modules.json and all that belongs to it; nothing for a plain transformers model.

    Args:
        length: From real lengths to the twin's.
    """
    if twin.modules is None:
        return
    entries = []
    for number, module in enumerate(_chain(twin.modules)):
        kind = module.settings.pop("_type", _type(twin, module.name))
        entries.append({"idx": number, "name": str(number), "path": module.path, "type": kind})
        if module.name == "Router":
            _save_router(twin, module, folder, length)
        else:
            _save_module(twin, module, folder / module.path, length)
    (folder / "modules.json").write_text(json.dumps(entries, indent=2))
    if twin.written_by is not None:
        versions = {"sentence_transformers": twin.written_by, "transformers": "4.40.0"}
        whole = {"__version__": versions, **with_lengths(twin.library, length)}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(whole))


def _save_router(twin: Twin, router: _Placed, folder: Path, length: Length) -> None:
    chains = _routes(router)
    config = {
        "types": {m.path: _type(twin, m.name) for chain in chains.values() for m in chain},
        "structure": {route: [m.path for m in chain] for route, chain in chains.items()},
        "parameters": {"default_route": router.settings.get("default_route"),
                       "allow_empty_key": True},
    }  # fmt: skip
    place = folder / router.path
    place.mkdir(exist_ok=True)
    (place / router.settings.get("_file", "router_config.json")).write_text(json.dumps(config))
    for chain in chains.values():
        for module in chain:
            _save_module(twin, module, place / module.path, length)


def _save_module(twin: Twin, module: _Placed, place: Path, length: Length) -> None:
    """Writes a module's folder."""
    settings = dict(module.settings)
    file = settings.pop("_file", _FILES.get(module.name, "config.json"))
    if module.name == "Pooling":
        settings = _pooling(settings, twin.written_by)
    for key in _SIZES:
        if key in settings:
            settings[key] = max(1, settings[key] * zoo.HIDDEN_SIZE // twin.hidden_size)
    settings = with_lengths(settings, length)
    place.mkdir(parents=True, exist_ok=True)
    if settings:
        (place / file).write_text(json.dumps(settings))
    state = _state(twin, module.name, settings, place)
    if state:
        weights.save_state(
            state, Weights(formats=twin.module_weights, dtype=twin.weights.dtype), place
        )


def with_lengths(settings: dict[str, Any], length: Length) -> dict[str, Any]:
    """Returns settings with the twin's lengths."""
    return {k: length(v) if k in _LENGTHS else v for k, v in settings.items()}


def _state(twin: Twin, name: str, settings: dict[str, Any], place: Path) -> dict[str, Any]:
    """The weights of a module after the transformer, and its tokenizer if it has one."""
    import torch

    random = torch.Generator().manual_seed(len(name) + len(twin.model))
    if name == "Dense":
        rows, columns = settings["out_features"], settings["in_features"]
        state = {"linear.weight": torch.randn(rows, columns, generator=random) / columns**0.5}
        if settings.get("bias", True):
            state["linear.bias"] = 0.1 * torch.randn(rows, generator=random)
        if settings.get("use_residual") and rows != columns:
            state["residual.weight"] = torch.randn(rows, columns, generator=random) / columns**0.5
        return state
    if name in ("StaticEmbedding", "SparseStaticEmbedding"):
        assert twin.tokenizer is not None
        tokenizers.save(twin.tokenizer, place, None)
        table = torch.randn(zoo.VOCAB_SIZE, zoo.HIDDEN_SIZE, generator=random)
        if name == "SparseStaticEmbedding":
            return {"weight": table[:, 0].abs()}
        is_model2vec = twin.config.get("model_type") == "model2vec"
        return {"embeddings" if is_model2vec else "embedding.weight": table}
    return {}


def _pooling(settings: dict[str, Any], written_by: str | None) -> dict[str, Any]:
    """The settings of a Pooling as a version of sentence-transformers writes them."""
    mode = settings.pop("mode")
    version = _version(written_by)
    if version[0] >= _NEW_SINCE:
        return {"embedding_dimension": zoo.HIDDEN_SIZE, "pooling_mode": mode, **settings}
    flags = dict(_FLAGS)
    if version >= (2, 3) or mode in _LATER_FLAGS:
        flags |= _LATER_FLAGS
    found = {f"pooling_mode_{flag}": mode == name for name, flag in flags.items()}
    if version >= (2, 4):
        found["include_prompt"] = True
    return {"word_embedding_dimension": zoo.HIDDEN_SIZE, **found, **settings}


def _type(twin: Twin, name: str) -> str:
    if _version(twin.written_by)[0] >= _NEW_SINCE:
        return f"{_NEW[name]}.{name}"
    return f"{_OLD.get(name, 'sentence_transformers.models')}.{name}"


def _version(written_by: str | None) -> tuple[int, int]:
    """The first two numbers; without any, those of the first version with modules."""
    major, minor = (written_by or "2.0").split(".")[:2]
    return int(major), int(minor)
