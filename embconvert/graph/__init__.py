"""ONNX graphs on disk and in ONNX Runtime, with few weights in memory."""
