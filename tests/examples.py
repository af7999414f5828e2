"""A published folder as a conversion leaves it, made of nothing: for tests of what reads it."""

import json
from pathlib import Path
from typing import Any

from embconvert.fidelity.figures import (
    HISTOGRAM_EDGES,
    Fidelity,
    LayerCosine,
    Similarity,
    WorstText,
)
from embconvert.graph.streams import hash_file
from embconvert.manifest import (
    MANIFEST_FILE,
    ArtifactRecord,
    EmbeddingRecord,
    MachineRecord,
    Manifest,
    OverridesRecord,
    SourceRecord,
    ToolRecord,
    VerificationRecord,
)
from embconvert.manifest.codec import as_text
from embconvert.models.choices import OptimizationLevel, Output, PoolingMode, Precision
from embconvert.models.kinds import Measure
from embconvert.models.values import FileRecord, SourceCard, TensorInfo

#: The smallest tokenizer.json that is one.
TOKENIZER = '{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def similarity(loss: float, measure: Measure = Measure.COSINE) -> Similarity:
    """How near a graph is that is about this far (1 - cosine) from the reference."""
    return Similarity(
        measure=measure, mean=1 - loss, p1=1 - 2 * loss, min=1 - 3 * loss, batch=1 - 2 * loss
    )


def fidelity(loss: float, *, bin_number: int, speed: float = 100.0, **changes: Any) -> Fidelity:
    """Figures of a graph that is about this far (1 - cosine) from the reference."""
    histogram = [0] * (len(HISTOGRAM_EDGES) + 1)
    histogram[bin_number], histogram[bin_number + 1] = 200, 88
    values: dict[str, Any] = {
        "texts": 270,
        "max_abs_diff": loss,
        "relative_diff": loss,
        "similarity": similarity(loss),
        "rank_correlation": 1 - loss,
        "token_mean_cosine": 1 - loss,
        "worst_texts": tuple(
            WorstText(text=f"multilingual-ko-00{n}", similarity=1 - loss * (4 - n))
            for n in (1, 2, 3)
        ),
        "histogram": tuple(histogram),
        "texts_per_second": speed,
        "layers": tuple(
            LayerCosine(layer=layer, cosine=1 - loss * (layer + 1) / 6) for layer in range(6)
        ),
    }
    return Fidelity(**(values | changes))


def graph(folder: Path, name: str, size_bytes: int, **changes: Any) -> ArtifactRecord:
    """A graph that stands in the folder; it is no ONNX."""
    path = folder / "onnx" / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode() * (size_bytes // len(name)))
    values: dict[str, Any] = {
        "path": f"onnx/{name}.onnx",
        "sha256": hash_file(path),
        "size_bytes": path.stat().st_size,
        "external_data": None,
        "precision": Precision.FLOAT32,
        "optimization_level": OptimizationLevel.NONE,
        "opset": 17,
        "inputs": tuple(TensorInfo(name=n, dtype="int64", shape=("batch", "seq")) for n in _INPUTS),
        "outputs": (
            TensorInfo(name="last_hidden_state", dtype="float", shape=("batch", "seq", 384)),
            TensorInfo(name="sentence_embedding", dtype="float", shape=("batch", 384)),
        ),
        "operators": {"MatMul": 48, "Softmax": 6, "Add": 90, "LayerNormalization": 13},
        "method": "trace",
        "settings": {"opset": 17},
        "key": "0" * 64,
        "made_from": None,
        "fidelity": fidelity(1e-9, bin_number=0),
        "duration_s": 1.5,
        "peak_memory_bytes": 500_000_000,
        "min_onnxruntime": "1.16",
    }
    return ArtifactRecord(**(values | changes))


def published(folder: Path, *graphs: ArtifactRecord, **source: Any) -> Manifest:
    """The folder's manifest, written; without graphs, of a usual conversion."""
    folder.mkdir(parents=True, exist_ok=True)
    if not graphs:
        whole = graph(folder, "model", 90_000)
        fused = {"com.microsoft.Attention": 6, "MatMul": 24, "com.microsoft.BiasGelu": 6}
        optimized: dict[str, Any] = {
            "optimization_level": OptimizationLevel.BASIC,
            "operators": fused,
            "made_from": whole.sha256,
        }
        faster = graph(
            folder, "model_opt1", 89_000, **optimized,
            fidelity=fidelity(1e-9, bin_number=0, speed=120),
        )  # fmt: skip
        optimized["made_from"] = faster.sha256
        graphs = (
            whole,
            faster,
            graph(
                folder, "model_opt1_QInt8", 23_000, **optimized,
                precision=Precision.QINT8,
                fidelity=fidelity(0.011, bin_number=20, speed=210),
            ),
            graph(
                folder, "model_opt1_Float16", 45_000, **optimized,
                precision=Precision.FLOAT16,
                fidelity=fidelity(1e-6, bin_number=3, speed=110),
            ),
        )  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    config = folder / "tokenizer_config.json"
    manifest = manifest_of(
        *graphs,
        files=(
            FileRecord(
                path=config.name, sha256=hash_file(config), size_bytes=config.stat().st_size
            ),
        ),
        **source,
    )
    (folder / MANIFEST_FILE).write_text(as_text(manifest), encoding="utf-8")
    return manifest


def manifest_of(
    *graphs: ArtifactRecord, files: tuple[FileRecord, ...] = (), **source: Any
) -> Manifest:
    """A manifest of some graphs, of a usual source."""
    values: dict[str, Any] = {
        "model_id": "org/example-model",
        "revision": "1234567890" * 4,
        "digest": "0" * 64,
        "model_type": "bert",
        "hidden_size": 384,
        "num_heads": 12,
        "max_seq_length": 256,
        "modules": ("Transformer", "Pooling"),
        "model": EmbeddingRecord(pooling=(PoolingMode.MEAN,), dimension=384),
        "overrides": OverridesRecord(),
        "output": Output.BOTH,
        "trust_remote_code": False,
        "card": SourceCard(license="apache-2.0", languages=("en",)),
        "files": (FileRecord(path="config.json", sha256="0" * 64, size_bytes=1),),
    }
    return Manifest(
        tool=ToolRecord(
            version="0.1.0",
            commands=("embconvert all --model_id org/example-model --quantize QInt8,Float16",),
        ),
        source=SourceRecord(**(values | source)),
        stack={
            "python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0",
            "onnxruntime": "1.32.0",
        },
        machine=MachineRecord(platform="Linux", processor="AMD EPYC", cpus=2),
        verification=VerificationRecord(
            texts_digest="0" * 64,
            texts=270,
            skipped=False,
            execution="whole graph",
            reference="sentence-transformers encode(), float32, no prompt",
        ),
        artifacts=graphs,
        files=files,
    )  # fmt: skip
