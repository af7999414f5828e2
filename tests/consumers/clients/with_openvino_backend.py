"""Embeds texts with sentence-transformers on OpenVINO: FOLDER FILE... < texts.json > vectors.json.

Gives the vectors of each file; one without a name is the one that sentence-transformers finds.
"""

import json
import sys

from sentence_transformers import SentenceTransformer

folder, *files = sys.argv[1:]
texts = json.load(sys.stdin)
vectors = []
for file in files:
    named = {"file_name": file} if file else {}
    options = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}, "export": False}
    model = SentenceTransformer(
        folder, backend="openvino", local_files_only=True, model_kwargs={**named, **options}
    )
    vectors.append(model.encode(texts).tolist())
json.dump(vectors, sys.stdout)
