"""Embeds texts with sentence-transformers on ONNX: FOLDER FILE < texts.json > vectors.json."""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from sentence_transformers import SentenceTransformer

folder, file = sys.argv[1:]
model = SentenceTransformer(
    folder, backend="onnx", local_files_only=True,
    model_kwargs={"file_name": file, "provider": "CPUExecutionProvider", "export": False},
)  # fmt: skip
json.dump(model.encode(json.load(sys.stdin)).tolist(), sys.stdout)
