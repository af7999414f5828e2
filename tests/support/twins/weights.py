"""Weights in the files of a repository: format, precision, names and shards."""

import json
from pathlib import Path
from typing import Any

from support.twins.records import Weights

#: Buffers that old versions of transformers saved; whole numbers.
_COUNTS = "position_ids"


def save(model: Any, record: Weights, folder: Path) -> None:
    """Saves the weights of a model of transformers.

    Args:
        model: In float32.
        record: How.
        folder: Where to; must exist.
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
    save_state(state, record, folder)


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
