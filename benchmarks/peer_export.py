"""Exports a model by transformers' own exporter, which verifies nothing: token vectors alone."""

import sys


def main(source: str, target: str) -> None:
    """Writes the ONNX file.

    Args:
        source: The model's folder.
        target: The new folder.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    model = AutoModel.from_pretrained(source, dtype="float32").eval()
    texts = ["A short text.", "Another text, which is quite a bit longer than the first one."]
    inputs = AutoTokenizer.from_pretrained(source)(texts, padding=True, return_tensors="pt")
    exported = OnnxExporter().export(model, dict(inputs), OnnxConfig(dynamic=True))
    exported.save_pretrained(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
