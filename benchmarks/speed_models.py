"""The models of `make bench-speed`, and the ways to run each: ours and the peers'.

Everything is made once, in build/bench-speed, and found there by the next run.
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import MODEL, ROOT

from embconvert.export.exporter import Exporter, trace
from embconvert.graph.onnx_file import read_artifact, write_model
from embconvert.models.choices import OptimizationLevel, Overrides
from embconvert.rewrite.optimizer import Optimizer, optimize
from embconvert.source.folder import resolve_folder
from embconvert.source.kinds.embedding import EmbeddingModel

sys.path.insert(0, str(ROOT / "tests"))

from support import zoo

FOLDER = ROOT / "build" / "bench-speed"
#: The contenders, in the order of the tables; torch runs the source itself.
TORCH, PLAIN, RUNTIME, TRANSFORMERS, LEVEL_1, LEVEL_2 = (
    "torch eager", "plain export", "ORT optimizer", "transformers", "level 1", "level 2",
)  # fmt: skip
GRAPHS = (PLAIN, RUNTIME, TRANSFORMERS, LEVEL_1, LEVEL_2)
_POSITIONS = {"max_position_embeddings": 514}
_BASE = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 3}


@dataclass(frozen=True)
class Model:
    """A model to measure.

    Attributes:
        architecture: transformers' name.
        config: Of the real model, with fewer layers; None for the real all-MiniLM-L6-v2.
    """

    architecture: str
    config: Mapping[str, Any] | None


# Sizes are those of the models' own config.json; the vocabulary, which is only looked up, is not.
MODELS = {
    "MiniLM-L6": Model("bert", None),
    "bert-base": Model("bert", {**_BASE, "intermediate_size": 3072, **_POSITIONS}),
    "xlm-roberta-base": Model("xlm-roberta", {**_BASE, "intermediate_size": 3072, **_POSITIONS}),
    "modernbert-base": Model(
        "modernbert",
        {**_BASE, "intermediate_size": 1152, "local_attention": 128,
         "max_position_embeddings": 8192},
    ),
    "gte-base": Model("gte", {**_BASE, "intermediate_size": 3072, **_POSITIONS}),
    "nomic-bert": Model(
        "nomic_bert", {**_BASE, "intermediate_size": 3072, "max_position_embeddings": 2048}
    ),
    "longformer-base": Model(
        "longformer",
        {**_BASE, "intermediate_size": 3072, "attention_window": [512] * 3,
         "max_position_embeddings": 4098},
    ),
    "qwen3-0.6b": Model(
        "qwen3",
        {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
         "head_dim": 128, "intermediate_size": 3072, "num_hidden_layers": 3,
         "max_position_embeddings": 32768},
    ),
}  # fmt: skip


def source_folder(name: str) -> Path:
    """Returns a model's folder; random weights are made once."""
    model = MODELS[name]
    if model.config is None:
        return MODEL.resolve()
    folder = FOLDER / name / "source"
    if not folder.exists():
        made = folder.with_name("unfinished")
        shutil.rmtree(made, ignore_errors=True)
        zoo.build_model(model.architecture, made, overrides=model.config, max_seq_length=512)
        made.rename(folder)
    return folder


def graph(name: str, contender: str) -> Path:
    """Returns a contender's graph."""
    return FOLDER / name / f"{contender.replace(' ', '-')}.onnx"


def prepare(name: str) -> dict[str, str]:
    """Makes the graphs of a model that are not there; returns what failed, by contender."""
    failures: dict[str, str] = {}
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    for contender in GRAPHS:
        path = graph(name, contender)
        # Ours are made anew: they are what changes.
        if path.exists() and contender not in (LEVEL_1, LEVEL_2):
            continue
        print(f"making {path.relative_to(ROOT)}", file=sys.stderr, flush=True)
        try:
            _MAKERS[contender](name, path)
        except Exception as error:  # noqa: BLE001 - a peer may not know a model
            failures[contender] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return failures


def _make_plain(name: str, path: Path) -> None:
    source = EmbeddingModel.load(
        resolve_folder(source_folder(name), model_id=name),
        source_folder(name),
        device="cpu",
        overrides=Overrides(),
        trust_remote_code=False,
        warn=lambda _: None,
    )
    write_model(trace(source, opset=17, exporter=Exporter.TRACE), path)


def _make_optimized(name: str, path: Path, level: OptimizationLevel) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        optimize(
            read_artifact(graph(name, PLAIN)),
            path,
            level=level,
            optimizer=Optimizer.FUSION,
            skip_shape_inference=False,
            work=Path(work),
        )


def _make_with_runtime(name: str, path: Path) -> None:
    """ONNX Runtime's optimizer, told what it needs to know."""
    from onnxruntime.transformers.optimizer import optimize_model

    config = resolve_folder(source_folder(name), model_id=name).architecture
    made = optimize_model(
        str(graph(name, PLAIN)),
        model_type="bert",
        num_heads=config.num_heads or 0,
        hidden_size=config.hidden_size or 0,
        opt_level=1,
    )
    made.save_model_to_file(str(path))


def _make_with_transformers(name: str, path: Path) -> None:
    """The exporter of transformers itself, with its fusions for ONNX Runtime's CPU provider."""
    import onnx_ir as ir
    import torch
    import transformers
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    model = transformers.AutoModel.from_pretrained(source_folder(name)).eval()
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    mask = torch.ones(2, 13, dtype=torch.int64)
    mask[0, 9:] = 0
    features = {"input_ids": torch.full((2, 13), 7), "attention_mask": mask}
    if name == "MiniLM-L6":
        features["token_type_ids"] = torch.zeros_like(mask)
    config = OnnxConfig(dynamic=True, ort_fusions="cpu")
    made = OnnxExporter().export(model, features, config=config)
    ir.save(made.program, path)


_MAKERS: Mapping[str, Any] = {
    PLAIN: _make_plain,
    RUNTIME: _make_with_runtime,
    TRANSFORMERS: _make_with_transformers,
    LEVEL_1: lambda name, path: _make_optimized(name, path, OptimizationLevel.BASIC),
    LEVEL_2: lambda name, path: _make_optimized(name, path, OptimizationLevel.EXTENDED),
}
