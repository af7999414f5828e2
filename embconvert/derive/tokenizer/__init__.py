"""Graphs that read texts: a tokenizer as operators of onnxruntime-extensions."""
