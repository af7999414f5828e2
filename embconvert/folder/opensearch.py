"""What OpenSearch's ML Commons registers: a zip with a graph and its tokenizer, and the request.

Sources: ModelHelper.verifyModelZipFile, DLModel.loadModel, BaseModelConfig and
ONNXSentenceTransformerTextEmbeddingTranslator of ml-commons (950f05600, 2026-08-20).
"""

import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Any

from embconvert.json_files import write_json
from embconvert.manifest import Manifest
from embconvert.manifest.consumers import POOLED
from embconvert.manifest.layouts import SERVED_FILE
from embconvert.models.choices import TOKEN_TYPES, PoolingMode

ARCHIVE = "opensearch/model.zip"
REGISTRATION = "opensearch/register.json"
_FILES = (SERVED_FILE, "tokenizer.json")
#: The names of its own pooling modes.
_MODES = {
    PoolingMode.MEAN: "MEAN",
    PoolingMode.CLS: "CLS",
    PoolingMode.LASTTOKEN: "LAST_TOKEN",
    PoolingMode.MAX: "MAX",
    PoolingMode.MEAN_SQRT_LEN: "MEAN_SQRT_LEN",
}
#: It gives token types to models of these types.
_WITH_TYPES = "bert"
_WITHOUT_TYPES = "roberta"
# The oldest that a zip can have: the same files give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def archive(folder: Path, manifest: Manifest) -> None:
    """Writes the zip of SERVED_FILE and tokenizer.json, if there, and what registers it."""
    if not all((folder / file).is_file() for file in _FILES):
        return
    path = folder / ARCHIVE
    path.parent.mkdir(exist_ok=True)
    # Weights hardly shrink, and a stored file is read without unpacking it first.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as pack:
        for file in _FILES:
            entry = zipfile.ZipInfo(file, _DATE)
            entry.file_size = (folder / file).stat().st_size
            with (folder / file).open("rb") as source, pack.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    write_json(folder / REGISTRATION, registration(manifest, digest))


def registration(manifest: Manifest, digest: str) -> dict[str, Any]:
    """Returns the body of POST /_plugins/_ml/models/_register, whose `url` the user replaces."""
    source = manifest.source
    graph = next(record for record in manifest.artifacts if record.path == SERVED_FILE)
    has_types = any(tensor.name == TOKEN_TYPES for tensor in graph.inputs)
    pooled = graph.outputs[-1]
    mode = PoolingMode(source.pooling[0]) if len(source.pooling) == 1 else None
    if not set(source.modules) <= POOLED or not source.prompts.pooled:
        mode = None
    config: dict[str, Any] = {
        "model_type": _WITH_TYPES if has_types else _WITHOUT_TYPES,
        "framework_type": "SENTENCE_TRANSFORMERS",
        "embedding_dimension": pooled.shape[-1],
        # NONE, since OpenSearch 3.6, takes the graph's own sentence_embedding.
        "pooling_mode": "NONE" if mode is None else _MODES.get(mode, "NONE"),
    }
    config["normalize_result"] = config["pooling_mode"] != "NONE" and "Normalize" in source.modules
    query, document = source.prompts.for_search
    prefixes = {"query_prefix": query, "passage_prefix": document}
    config |= {name: prompt for name, prompt in prefixes.items() if prompt}
    return {
        "name": source.model_id.rpartition("/")[2],
        "version": "1.0.0",
        "function_name": "TEXT_EMBEDDING",
        "model_format": "ONNX",
        "model_content_hash_value": digest,
        "model_config": config,
        "url": "https://REPLACE/model.zip",
    }
