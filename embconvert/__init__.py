"""embconvert turns embedding models into ONNX and proves that they give the same embeddings."""

__version__ = "0.1.0"
