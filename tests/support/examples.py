"""A published folder as a conversion leaves it, made of nothing: for tests of what reads it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from embconvert.fidelity.figures import (
    HISTOGRAM_EDGES,
    Fidelity,
    LayerCosine,
    Similarity,
    WorstText,
)
from embconvert.fidelity.ranking import Neighbours
from embconvert.graph.streams import hash_file
from embconvert.manifest import (
    MANIFEST_FILE,
    ArtifactRecord,
    MachineRecord,
    Manifest,
    OverridesRecord,
    SourceRecord,
    ToolRecord,
    VerificationRecord,
)
from embconvert.manifest.codec import as_text
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.manifest.recommended import recommended
from embconvert.models.choices import OptimizationLevel, Output, PoolingMode, Precision
from embconvert.models.kinds import Measure
from embconvert.models.shapes import CONVERSION_SHAPES
from embconvert.models.source_records import FileRecord, SourceCard
from embconvert.models.values import TensorInfo
from embconvert.speed.records import GraphSpeed, ShapeSpeed, SpeedsRecord, Speedup

#: The smallest tokenizer.json that is one.
TOKENIZER = '{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def similarity(loss: float, measure: Measure = Measure.COSINE) -> Similarity:
    """How near a graph is that is about this far (1 - cosine) from the reference."""
    return Similarity(
        measure=measure,
        mean=1 - loss,
        error=loss / 20,
        p1=1 - 2 * loss,
        min=1 - 3 * loss,
        batch=1 - 2 * loss,
    )


def fidelity(loss: float, *, bin_number: int, **changes: Any) -> Fidelity:
    """Figures of a graph that is about this far (1 - cosine) from the reference."""
    histogram = [0] * (len(HISTOGRAM_EDGES) + 1)
    histogram[bin_number], histogram[bin_number + 1] = 200, 88
    values: dict[str, Any] = {
        "texts": 300,
        "max_abs_diff": loss,
        "relative_diff": loss,
        "similarity": similarity(loss),
        "rank_correlation": 1 - loss,
        "neighbours": Neighbours(kept=max(0.0, 1 - 5 * loss), of=10, texts=297),
        "token_mean_cosine": 1 - loss,
        "worst_texts": tuple(
            WorstText(text=f"multilingual-ko-00{n}", similarity=1 - loss * (4 - n))
            for n in (1, 2, 3)
        ),
        "histogram": tuple(histogram),
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


def speeds(
    waited: float | None = 0.01, **times: float | tuple[float, float] | None
) -> SpeedsRecord:
    """Speeds of graphs by name, as multiples of the exported one's, with their spread or 0.05.

    None is the exported one.
    """

    def record(name: str, given: float | tuple[float, float] | None) -> GraphSpeed:
        factor, spread = given if isinstance(given, tuple) else (given or 1.0, 0.05)
        ratio = None if given is None else Speedup(times=factor, spread=spread)
        return GraphSpeed(
            path=f"onnx/{name}.onnx",
            shapes=tuple(
                ShapeSpeed(
                    shape=shape, texts_per_second=1600 * factor / shape.tokens, speedup=ratio
                )
                for shape in CONVERSION_SHAPES
            ),
            speedup=ratio,
        )

    graphs = tuple(record(name, given) for name, given in times.items())
    return SpeedsRecord(threads=2, waited=waited, graphs=graphs)


#: Of the graphs of a usual conversion; see published().
USUAL_SPEEDS = speeds(
    model=None, model_opt1=1.2, model_opt1_QInt8=(2.1, 0.1), model_opt1_Float16=1.02
)


def published(
    folder: Path, *graphs: ArtifactRecord, speeds: SpeedsRecord | None = None, **source: Any
) -> Manifest:
    """The folder's manifest, written; without graphs, of a usual conversion."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = speeds if graphs else USUAL_SPEEDS
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
            fidelity=fidelity(1e-9, bin_number=0),
        )  # fmt: skip
        optimized["made_from"] = faster.sha256
        graphs = (
            whole,
            faster,
            graph(
                folder, "model_opt1_QInt8", 23_000, **optimized,
                precision=Precision.QINT8,
                fidelity=fidelity(0.011, bin_number=20),
            ),
            graph(
                folder, "model_opt1_Float16", 45_000, **optimized,
                precision=Precision.FLOAT16,
                fidelity=fidelity(1e-6, bin_number=3),
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
        speeds=measured,
        **source,
    )
    (folder / MANIFEST_FILE).write_text(as_text(manifest), encoding="utf-8")
    return manifest


def manifest_of(
    *graphs: ArtifactRecord,
    files: tuple[FileRecord, ...] = (),
    speeds: SpeedsRecord | None = None,
    **source: Any,
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
    manifest = Manifest(
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
            texts=300,
            skipped=False,
            execution="whole graph",
            reference="sentence-transformers encode(), float32",
        ),
        artifacts=graphs,
        files=files,
        speeds=speeds,
    )  # fmt: skip
    return replace(manifest, recommended=recommended(manifest))
