"""Quantizes a model with the peers' own presets; the peers' interpreter runs this.

Arguments: the model's folder, its exported float32 graph, and the folder to write to. Prints a
JSON object: what failed, with the reason.
"""

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

_PRESETS = ("avx2", "avx512_vnni", "arm64")


def main(model: str, graph: str, target: str) -> None:
    """Writes optimum_*.onnx from the graph, and sentence_transformers_*.onnx from the model."""
    failures = {}
    with contextlib.redirect_stdout(sys.stderr):
        for preset in _PRESETS:
            for name, make in (("optimum", _optimum), ("sentence_transformers", _sentences)):
                path = Path(target) / f"{name}_{preset}.onnx"
                try:
                    make(preset, Path(model), Path(graph), path)
                except Exception as error:  # noqa: BLE001 - a failure is a result, too
                    reason = f"{type(error).__name__}: {error}".splitlines()[0]
                    failures[path.name] = reason[:160]
    print(json.dumps(failures))


def _optimum(preset: str, model: Path, graph: Path, path: Path) -> None:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    del model
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        quantizer = ORTQuantizer(graph)
        settings = getattr(AutoQuantizationConfig, preset)(is_static=False)
        quantizer.quantize(save_dir=work, quantization_config=settings)
        shutil.move(next(Path(work).glob("*.onnx")), path)


def _sentences(preset: str, model: Path, graph: Path, path: Path) -> None:
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    del graph
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        loaded = SentenceTransformer(
            str(model), backend="onnx", device="cpu", local_files_only=True,
            model_kwargs={"export": True, "provider": "CPUExecutionProvider"},
        )  # fmt: skip
        export_dynamic_quantized_onnx_model(loaded, preset, work)
        shutil.move(next(Path(work).rglob("*.onnx")), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
