"""ONNX graphs on disk and in ONNX Runtime, without more of their weights in memory than needed."""
