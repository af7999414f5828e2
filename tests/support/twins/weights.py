"""Weights in the files of a repository: format, precision, names and shards."""

import json
from pathlib import Path
from typing import Any

from support.twins.records import Weights

#: Of adapters inside of the weights: lora_rank and lora_alpha of jina-embeddings-v3.
RANK, ALPHA = 4, 1
#: Buffers that old versions of transformers saved; whole numbers.
_COUNTS = "position_ids"


def save(model: Any, record: Weights, folder: Path, *, task: str | None = None) -> None:
    """Saves the weights of a model of transformers.

    Args:
        model: In float32.
        record: How.
        folder: Where to; must exist.
        task: Which of the adapters inside of the weights is merged, if one is.
    """
    import torch

    state = _names_in_files(model, folder)
    if record.prefix is not None:
        own = model.base_model_prefix
        state = {
            record.prefix + name.removeprefix(f"{own}." if own else ""): tensor
            for name, tensor in state.items()
        }
    for old, new in record.renamed.items():
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    size = model.config.get_text_config().hidden_size
    for name, (rows, columns) in record.more.items():
        random = torch.Generator().manual_seed(rows)
        state[name] = torch.randn(rows * size // columns, size, generator=random) / size**0.5
    if task is not None:
        _merge_task(state, record.tasks.index(task), len(record.tasks))
    elif record.tasks:
        _add_tasks(state, len(record.tasks))
    save_state(state, record, folder)


def _factors(name: str, matrix: Any, tasks: int) -> tuple[Any, Any]:
    """The factors of all tasks' updates of a weight, which jina's code calls lora_A and lora_B.

    As in that code, a table of embeddings has them the other way round. Their values are those that
    bfloat16 has.
    """
    import torch

    random = torch.Generator().manual_seed(len(name) + matrix.numel())

    def noise(*shape: int) -> Any:
        return (torch.randn(tasks, *shape, generator=random) / 2).bfloat16().float()

    rows, columns = matrix.shape
    if "embeddings." in name:
        return noise(rows, RANK), noise(RANK, columns)
    return noise(RANK, columns), noise(rows, RANK)


def _matrices(state: dict[str, Any]) -> list[str]:
    return [name for name, tensor in state.items() if tensor.ndim == 2]


def _add_tasks(state: dict[str, Any], tasks: int) -> None:
    """Adds adapters to all matrices, as torch's parametrizations store them."""
    for name in _matrices(state):
        factors = _factors(_without_prefix(name), state[name], tasks)
        place = name.removesuffix("weight") + "parametrizations.weight"
        state[f"{place}.original"] = state.pop(name)
        for letter, factor in zip("AB", factors, strict=True):
            state[f"{place}.0.lora_{letter}"] = factor


def _merge_task(state: dict[str, Any], task: int, tasks: int) -> None:
    """Adds one adapter's products to all matrices.

    Source: lora_forward() in modeling_lora.py of jinaai/xlm-roberta-flash-implementation.
    """
    for name in _matrices(state):
        first, second = (f[task] for f in _factors(_without_prefix(name), state[name], tasks))
        product = first @ second if "embeddings." in name else second @ first
        state[name] = state[name] + product * (ALPHA / RANK)


def _without_prefix(name: str) -> str:
    return name.removeprefix("roberta.")


def _names_in_files(model: Any, folder: Path) -> dict[str, Any]:
    """The weights by the names that transformers writes, which differ from those in memory."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    state: dict[str, Any] = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "generation_config.json").unlink(missing_ok=True)
    return state


def save_state(state: dict[str, Any], record: Weights, folder: Path) -> None:
    import torch

    dtype = getattr(torch, record.dtype)
    state = {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}
    for name, shape in record.unused.items():
        kind = torch.int64 if name.endswith(_COUNTS) else dtype
        state[name] = torch.zeros(shape, dtype=kind)
    if "safetensors" in record.formats:
        _save_shards(state, record.shards, folder, "model", "safetensors")
    if "pickle" in record.formats:
        _save_shards(state, record.shards, folder, "pytorch_model", "bin")


def _save_shards(state: dict[str, Any], shards: int, folder: Path, stem: str, ending: str) -> None:
    import torch
    from safetensors.torch import save_file

    def write(part: dict[str, Any], path: Path) -> None:
        if ending == "bin":
            torch.save(part, path)
        else:
            save_file(part, path, metadata={"format": "pt"})

    if shards == 1:
        write(state, folder / f"{stem}.{ending}")
        return
    names = list(state)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05}-of-{shards:05}.{ending}"
        part = {name: state[name] for name in names[number::shards]}
        write(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
