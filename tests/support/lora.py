"""LoRA adapters as PEFT saves them, with random values, and what is merged by the formula."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Of the matrices that adapters of the tests change, in tiny BERT.
QUERY_AND_VALUE = r"encoder\.layer\.\d+\.attention\.self\.(query|value)"
RANK, ALPHA = 4, 8


def build_adapter(
    folder: Path,
    base: "Path | Mapping[str, torch.Tensor]",
    *,
    target: str = QUERY_AND_VALUE,
    base_id: str | None = "me/base",
    whole: Mapping[str, str] = MappingProxyType({}),
    prefix: str = "base_model.model.",
    dtype: str = "float32",
    pickled: bool = False,
    ranks: dict[str, int] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Path:
    """Builds an adapter.

    Args:
        base: The model's folder, with model.safetensors; or its weights by the names of modules.
        target: Regular expression of the modules that it changes.
        whole: Names of weights that it replaces, and their names in its file.
        prefix: Before the names of modules.
        ranks: Of modules whose rank is not RANK.
        settings: More of adapter_config.json, or others.
    """
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(seed)
    weights = load_file(base / "model.safetensors") if isinstance(base, Path) else base
    tensors: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int, size: float = 0.2) -> None:
        noise = torch.randn(shape, generator=generator) * size
        tensors[prefix + name] = noise.to(getattr(torch, dtype))

    for name, weight in weights.items():
        module = name.removesuffix(".weight")
        if name in whole:
            add(whole[name], *weight.shape)
        if module == name or not re.fullmatch(target, module):
            continue
        rank = (ranks or {}).get(module, RANK)
        outputs, inputs = weight.shape
        if "embeddings" in module or "embed_tokens" in module:
            add(f"{module}.lora_embedding_A", rank, outputs)
            add(f"{module}.lora_embedding_B", inputs, rank)
        elif settings.get("fan_in_fan_out"):
            add(f"{module}.lora_A.weight", rank, outputs)
            add(f"{module}.lora_B.weight", inputs, rank)
        else:
            add(f"{module}.lora_A.weight", rank, inputs)
            add(f"{module}.lora_B.weight", outputs, rank)
        if settings.get("use_dora"):
            growth = 1 + 0.3 * torch.rand(outputs, generator=generator)
            norms = weight.float().norm(dim=1) * growth
            tensors[f"{prefix}{module}.lora_magnitude_vector"] = norms
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": base_id,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.1,
        "bias": "none",
        "target_modules": target,
        "inference_mode": True,
    } | settings
    (folder / "adapter_config.json").write_text(json.dumps(said))
    if pickled:
        torch.save(tensors, folder / "adapter_model.bin")
    else:
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def saved_with_modules(folder: Path, base: Path, modules: Sequence[str]) -> Path:
    """Builds an adapter as sentence-transformers saves one, with a pooling and prompts."""
    entries = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if i == 0 else f"{i}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for i, name in enumerate(modules)
    ]
    build_adapter(folder, base)
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "find: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


def add_products(model: Any, adapter: Path) -> None:
    """Adds an adapter's products, of rank RANK and with ALPHA, to a model of transformers."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, down in tensors.items():
            module, is_first, _ = name.removeprefix("base_model.model.").partition(".lora_A")
            if is_first:
                up = tensors[name.replace("lora_A", "lora_B")]
                model.get_submodule(module).weight.add_(ALPHA / RANK * (up @ down))


def merged_by_formula(base: Path, adapter: Path, folder: Path, *, scale: float) -> Path:
    """Writes the base model with an adapter merged, W + scale * B A, in float64 and rounded once.

    Source: https://arxiv.org/abs/2106.09685 (LoRA), https://arxiv.org/abs/2402.09353 (DoRA).
    """
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    weights = {n: w.double() for n, w in load_file(base / "model.safetensors").items()}
    said = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors = {n.removeprefix("base_model.model."): t.double() for n, t in tensors.items()}
    for name, tensor in tensors.items():
        if (whole := name.replace(".base_layer", "")) in weights:
            weights[whole] = tensor
        module, is_first, _ = name.partition(".lora_A")
        if is_first:
            product = tensors[f"{module}.lora_B.weight"] @ tensor
            if said.get("fan_in_fan_out"):
                product = product.T
            total = weights[f"{module}.weight"] + scale * product
            if said.get("use_dora"):
                size = tensors[f"{module}.lora_magnitude_vector"]
                total = total * (size / total.norm(dim=1))[:, None]
            weights[f"{module}.weight"] = total
        module, is_table, _ = name.partition(".lora_embedding_A")
        if is_table:
            product = tensors[f"{module}.lora_embedding_B"] @ tensor
            weights[f"{module}.weight"] += scale * product.T
    save_file(
        {n: w.float().contiguous() for n, w in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder
