"""Quantizes a model to OpenVINO's int8; the interpreter of .venv-openvino runs this.

Arguments: the model's folder, its exported float32 graph, a file of calibration texts, and the
folder to write to. Prints a JSON object: what failed, with the reason. The settings are those of
optimum-intel: weights alone (`load_in_8bit`), or weights and activations (OVQuantizer's defaults).
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(model: str, graph: str, texts: str, target: str) -> None:
    """Writes openvino_int8_weights.xml and openvino_int8.xml."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    failures = {}
    with contextlib.redirect_stdout(sys.stderr):
        import nncf
        import openvino

        feeds = list(_feeds(model, Path(texts).read_text(encoding="utf-8").splitlines(), graph))
        for name, make in (
            ("openvino_int8_weights", nncf.compress_weights),
            (
                "openvino_int8",
                lambda read: nncf.quantize(
                    read,
                    nncf.Dataset(feeds),
                    subset_size=len(feeds),
                    preset=nncf.QuantizationPreset.MIXED,
                    model_type=nncf.ModelType.TRANSFORMER,
                ),
            ),
        ):
            try:
                made = make(openvino.Core().read_model(graph))
                openvino.save_model(made, str(Path(target) / f"{name}.xml"), compress_to_fp16=False)
            except Exception as error:  # noqa: BLE001 - a failure is a result, too
                failures[name] = f"{type(error).__name__}: {error}".splitlines()[0][:160]
    print(json.dumps(failures))


def _feeds(model: str, texts: list[str], graph: str) -> Iterator[dict[str, Any]]:
    import openvino
    from transformers import AutoTokenizer

    names = [value.any_name for value in openvino.Core().read_model(graph).inputs]
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    for text in texts:
        found = tokenizer(text, return_tensors="np", truncation=True, max_length=256)
        # A model without segments has no such input, or its tokenizer gives none.
        found.setdefault("token_type_ids", found["input_ids"] * 0)
        yield {name: found[name] for name in names}


if __name__ == "__main__":
    main(*sys.argv[1:])
