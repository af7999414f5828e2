"""Builds the twin of a repository: its files as they are there, with a tiny random model.

Sizes are the zoo's. Lengths keep their relation to the model's positions: what is beyond them in
the record is beyond them in the twin.
"""

import json
from pathlib import Path
from typing import Any

from embconvert.models.architectures import text_settings
from embconvert.models.kinds import Kind
from support import multimodal, zoo
from support.lora import add_products, build_adapter
from support.twins import code, modules, tokenizers, weights
from support.twins.records import Twin

#: transformers' classes for what an architecture ends in; any other is a model without a head.
_HEADS = {
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForMaskedLM": "AutoModelForMaskedLM",
}
#: Names of sizes in some configurations, by the name that all have.
_ALIASES = {
    "d_model": "hidden_size", "dim": "hidden_size", "n_embd": "hidden_size",
    "n_layers": "num_hidden_layers", "n_layer": "num_hidden_layers",
    "n_heads": "num_attention_heads", "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings", "n_inner": "intermediate_size",
}  # fmt: skip
#: Rows that xlm-roberta's numbering of positions leaves out: a length that is so near is kept so.
_SKIPPED_ROWS = 2
#: The shortest length of a twin, in tokens.
_SHORTEST = 24


def build(twin: Twin, folder: Path, *, merged: str | None = None) -> Path:
    """Writes a twin into a new folder.

    Args:
        merged: One of its adapters, whose products are added to the weights.

    Returns:
        The folder.
    """
    import torch

    folder.mkdir(parents=True)
    place = folder / modules.place_of_transformer(twin)
    place.mkdir(exist_ok=True)
    length = _lengths(twin)
    known = twin.architecture in (*zoo.ARCHITECTURES, *multimodal.CONFIGS)
    if twin.tokenizer is not None and known:
        ids = tokenizers.save(twin.tokenizer, place, length(twin.tokenizer.length))
        settings = _settings(twin, ids)
        model = _model(twin, settings)
        stored = twin.weights
        for adapter, target in twin.adapters.items():
            parameters = dict(model.named_parameters())
            build_adapter(folder / adapter, parameters, target=target)
        if merged is not None:
            model.to(getattr(torch, stored.dtype)).float()
            if merged in twin.adapters:
                add_products(model, folder / merged)
            stored = stored.model_copy(update={"dtype": "float32"})
        weights.save(model, stored, place, task=merged if merged in stored.tasks else None)
        _write_config(twin, model.config, settings, place)
        code.save(twin, place)
        if twin.metadata:
            metadata = modules.with_lengths(twin.metadata, length)
            (place / "artifact.metadata").write_text(json.dumps(metadata))
    elif twin.config:
        (place / "config.json").write_text(json.dumps(twin.config))
    modules.save(twin, folder, length)
    code.save_modules(twin, folder)
    for name, value in twin.settings.items():
        (folder / name).write_text(json.dumps(value))
    if twin.heads:
        sizes = {file: 1 if file == "sparse_linear.pt" else zoo.HIDDEN_SIZE for file in twin.heads}
        zoo.add_heads(folder, sizes)
    for name in twin.others:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("is not needed", encoding="utf-8")
    return folder


def _lengths(twin: Twin) -> modules.Length:
    """Returns a function from real lengths to the twin's."""
    recipe = zoo.ARCHITECTURES.get(twin.architecture, zoo.Recipe())
    own = text_settings(multimodal.CONFIGS.get(twin.architecture, recipe.config))
    tiny = int(own.get("max_position_embeddings", zoo.MAX_POSITIONS))
    names = ("max_position_embeddings", "n_positions")
    said = text_settings(twin.config)
    real = next((int(said[name]) for name in names if name in said), 512)

    def length(of: int | None) -> int | None:
        if of is None:
            return None
        if abs(of - real) <= _SKIPPED_ROWS:
            return tiny + of - real
        return max(_SHORTEST, tiny * of // real)

    return length


def _settings(twin: Twin, ids: dict[str, int]) -> dict[str, Any]:
    """The twin's configuration: flags and names of the record, sizes of the zoo."""
    if twin.architecture in multimodal.CONFIGS:
        return multimodal.settings_of(twin.architecture, twin.config, ids)
    settings = {k: v for k, v in twin.config.items() if k not in _ALIASES and k != "model_type"}
    for key, value in zoo.settings_of(twin.architecture, **twin.sizes).items():
        is_kept = key in settings and isinstance(settings[key], str | bool | None)
        if not (is_kept or key.endswith("_token_id")):
            settings[key] = value
    if twin.keeps_ids:
        return settings
    # A token that the twin's tokenizer lacks would be one beyond its vocabulary.
    named = {k for k, v in settings.items() if k.endswith("_token_id") and v is not None}
    return settings | {key: ids.get(key, ids.get("eos_token_id", 0)) for key in named}


def _model(twin: Twin, settings: dict[str, Any]) -> Any:
    said = (twin.config.get("architectures") or [""])[0]
    head = next((name for end, name in _HEADS.items() if said.endswith(end)), "AutoModel")
    if twin.kind is Kind.RERANKER and said.endswith("ForCausalLM"):
        head = "AutoModelForCausalLM"  # embedding models keep such a name without the head
    seed = sum(map(ord, twin.model))
    if twin.architecture in multimodal.CONFIGS:
        return multimodal.random_model(twin.architecture, settings, seed=seed)
    model = zoo.random_model(twin.architecture, settings, seed=seed, auto_class=head)
    if head == "AutoModelForMaskedLM":
        zoo.leave_most_words_out(model)
    return model


def _write_config(twin: Twin, config: Any, settings: dict[str, Any], place: Path) -> None:
    """Writes config.json: the record's keys, and the twin's sizes."""
    if twin.architecture in multimodal.CONFIGS:
        (place / "config.json").write_text(json.dumps(config.to_diff_dict(), indent=2))
        return
    written = config.to_diff_dict() | {k: v for k, v in settings.items() if k in twin.config}
    written |= {key: getattr(config, name) for key, name in _ALIASES.items() if key in twin.config}
    written |= {"model_type": twin.config["model_type"], "torch_dtype": twin.weights.dtype}
    written.pop("dtype", None)
    (place / "config.json").write_text(json.dumps(written, indent=2))
