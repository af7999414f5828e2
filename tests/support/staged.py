"""Records of files in a staging folder, and file systems that lack something."""

from pathlib import Path
from typing import Any

from embconvert.folder.parent import Parent
from embconvert.folder.staging import Staging
from embconvert.graph.streams import hash_file
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.values import TensorInfo
from support.examples import manifest_of


def record(path: Path, file: str, **changes: Any) -> ArtifactRecord:
    values: dict[str, Any] = {
        "path": file,
        "sha256": hash_file(path),
        "size_bytes": path.stat().st_size,
        "external_data": None,
        "precision": Precision.FLOAT32,
        "optimization_level": OptimizationLevel.NONE,
        "opset": 17,
        "inputs": (TensorInfo(name="input_ids", dtype="int64", shape=("batch", "seq")),),
        "outputs": (TensorInfo(name="sentence_embedding", dtype="float", shape=("batch", 4)),),
        "operators": {"com.microsoft.Attention": 2, "Softmax": 1},
        "method": "trace",
        "settings": {},
        "key": "0" * 64,
        "made_from": None,
        "fidelity": None,
        "duration_s": 1.5,
        "peak_memory_bytes": 10,
        "min_onnxruntime": "1.14",
    }
    return ArtifactRecord(**(values | changes))


def manifest(staging: Staging, *records: ArtifactRecord) -> Manifest:
    return manifest_of(*records, files=staging.other_files())


class FolderWithoutSwap(Parent):
    """A folder on a file system such as NFS."""

    def swap(self, a: str, b: str) -> bool:  # noqa: ARG002
        return False
