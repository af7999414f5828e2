"""Models with random weights and planted outlier channels, as large models grow them.

In a trained model of some size, few channels of what goes into a product are tens of times as
large as the rest, and the weights that read them small in turn (Dettmers et al., "LLM.int8()"
(2022), https://arxiv.org/abs/2208.07339, section 4). Here the weight of a norm is multiplied for
some channels, and the columns that read them are divided, so that all channels matter alike.
Layers are fewer than the real models', and the widths theirs.
"""

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pipelines import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from support import zoo

FOLDER = ROOT / "build" / "bench-quality"
LAYERS = 4
# How many channels of each are planted, and how large they are made, in both signs of luck.
_CHANNELS = 6
_LEAST, _MOST = 20.0, 80.0


@dataclass(frozen=True)
class Shape:
    """A model's shape, and where outliers are planted.

    Attributes:
        architecture: transformers' name.
        config: Of the real model, with fewer layers.
        plant: From what gives channels, a norm's weight or a matrix's rows, to the matrices that
            read them: patterns of parameters' names, in which `{}` is the layer and `{next}` the
            one after it.
    """

    architecture: str
    config: Mapping[str, Any]
    plant: Mapping[str, tuple[str, ...]]


_BASE = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": LAYERS}
SHAPES = {
    "bert-base": Shape(
        "bert",
        {**_BASE, "intermediate_size": 3072, "max_position_embeddings": 514},
        {
            "encoder.layer.{}.attention.output.LayerNorm.weight": (
                "encoder.layer.{}.intermediate.dense.weight",
            ),
            "encoder.layer.{}.output.LayerNorm.weight": tuple(
                f"encoder.layer.{{next}}.attention.self.{part}.weight"
                for part in ("query", "key", "value")
            ),
        },
    ),
    "modernbert-base": Shape(
        "modernbert",
        {**_BASE, "intermediate_size": 1152, "local_attention": 128,
         "max_position_embeddings": 8192},
        {
            "layers.{}.attn_norm.weight": ("layers.{}.attn.Wqkv.weight",),
            "layers.{}.mlp_norm.weight": ("layers.{}.mlp.Wi.weight",),
        },
    ),
    "qwen3-0.6b": Shape(
        "qwen3",
        {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
         "head_dim": 128, "intermediate_size": 3072, "num_hidden_layers": LAYERS,
         "max_position_embeddings": 32768},
        {
            "layers.{}.input_layernorm.weight": tuple(
                f"layers.{{}}.self_attn.{part}_proj.weight" for part in "qkv"
            ),
            "layers.{}.post_attention_layernorm.weight": (
                "layers.{}.mlp.gate_proj.weight", "layers.{}.mlp.up_proj.weight",
            ),
            # Linear in the rows of up_proj: what goes into down_proj gets outliers, too.
            "layers.{}.mlp.up_proj.weight": ("layers.{}.mlp.down_proj.weight",),
        },
    ),
}  # fmt: skip


def source_folder(name: str) -> Path:
    """Returns a model's folder; it is made once."""
    folder = FOLDER / name / "source"
    if not folder.exists():
        shape = SHAPES[name]
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = folder.with_name("unfinished")
        shutil.rmtree(made, ignore_errors=True)
        zoo.build_model(shape.architecture, made, overrides=shape.config, max_seq_length=256)
        _plant(made / "model.safetensors", shape)
        made.rename(folder)
    return folder


def _plant(path: Path, shape: Shape) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(path)
    random = np.random.default_rng(0)
    for layer in range(LAYERS):
        for giver, readers in shape.plant.items():
            name = giver.format(layer)
            found = [r.format(layer, next=layer + 1) for r in readers]
            if name not in weights or not any(reader in weights for reader in found):
                continue
            width = len(weights[name])
            chosen = random.choice(width, _CHANNELS, replace=False)
            factors = np.ones(width, np.float32)
            factors[chosen] = random.uniform(_LEAST, _MOST, _CHANNELS)
            given = weights[name]
            weights[name] = given * (factors if given.ndim == 1 else factors[:, None])
            for reader in found:
                if reader in weights:
                    weights[reader] = weights[reader] / factors
    missing = [
        giver
        for giver in shape.plant
        if not any(re.fullmatch(re.escape(giver).replace(r"\{\}", r"\d+"), n) for n in weights)
    ]
    if missing:
        raise ValueError(f"{shape.architecture} has no {', '.join(missing)}")
    save_file(weights, path, metadata={"format": "pt"})
