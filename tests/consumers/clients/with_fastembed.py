"""Embeds texts with fastembed: FOLDER FILE OUTPUT DIM < texts.json > vectors.json."""

import json
import sys
from pathlib import Path

from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

folder, file, output, dim = sys.argv[1:]
data = f"{file}_data"
TextEmbedding.add_custom_model(
    model="converted",
    # Output 0 is pooled by fastembed; sentence_embedding is pooled and normalized already.
    pooling=PoolingType.DISABLED if output == "sentence_embedding" else PoolingType.MEAN,
    normalization=output != "sentence_embedding",
    output_name=output if output == "sentence_embedding" else None,
    sources=ModelSource(hf="converted/converted"),
    dim=int(dim),
    model_file=file,
    additional_files=[data] if (Path(folder) / data).exists() else [],
)
model = TextEmbedding("converted", specific_model_path=folder, local_files_only=True)
vectors = list(model.embed(json.load(sys.stdin)))
json.dump([vector.tolist() for vector in vectors], sys.stdout)
