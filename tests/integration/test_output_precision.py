"""Embeddings of integers: graphs give what sentence-transformers' quantize_embeddings does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embconvert.fidelity.vector_codes import decoded, ranges_of, rounded
from embconvert.models.choices import OutputPrecision
from embconvert.models.vector_code import VectorCode
from embconvert.source.coded import coded
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert, run_published

pytestmark = pytest.mark.integration

TEXTS = [*zoo.SENTENCES, zoo.LONG_SENTENCE]
#: As lines of a file.
CALIBRATION = [" ".join(text.split()) for text in zoo.SENTENCES if text.strip()]


def embeddings(model: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    vectors: np.ndarray = SentenceTransformer(str(model), device="cpu").encode(texts)
    return vectors


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("dimension", [16, 13])
def test_integers_are_those_of_quantize_embeddings(precision: str, dimension: int) -> None:
    """Also outside of the ranges, and of a dimension that is constant or zero."""
    import torch
    from sentence_transformers.util import quantize_embeddings

    random = np.random.default_rng(0)
    vectors = random.standard_normal((50, dimension), np.float32)
    vectors[:, 2], vectors[:, 3] = 0.25, 0.0
    lows, highs = ranges_of(vectors[:25])
    code = VectorCode(
        precision=OutputPrecision(precision), dimension=dimension, lows=lows, highs=highs
    )
    ranges = np.array([lows, highs], np.float32)
    wanted = quantize_embeddings(vectors, precision=precision, ranges=ranges)
    found = coded(torch.from_numpy(vectors), code).numpy()
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(decoded(found, code), rounded(vectors, code), atol=1e-6)


@pytest.mark.parametrize("precision", ["int8", "ubinary"])
def test_every_stage_gives_what_quantize_embeddings_does(precision: str, tmp_path: Path) -> None:
    from sentence_transformers.util import quantize_embeddings

    model = zoo.build_model("bert", tmp_path / "m")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(CALIBRATION * 2), encoding="utf-8")
    outcome = convert(
        model, tmp_path / "out", "--output_precision", precision, "--output", "sentence",
        "--quantize", "QInt8,Q8,Float16", "--min_cosine", 0.5,
        *(["--calibration_dataset", texts] if precision.endswith("int8") else []),
    )  # fmt: skip
    folder = tmp_path / "out" / "m"
    code = outcome.manifest["source"]["model"]["code"]
    floats = embeddings(model, TEXTS)
    ranges = None
    if precision.endswith("int8"):
        ranges = np.array([code["lows"], code["highs"]], np.float32)
        own = embeddings(model, CALIBRATION)
        np.testing.assert_allclose(ranges, [own.min(axis=0), own.max(axis=0)], atol=1e-5)
    wanted = quantize_embeddings(floats, precision=precision, ranges=ranges)
    for file in ("model.onnx", "model_opt1.onnx"):
        found = run_published(folder, f"onnx/{file}", "sentence_embedding", TEXTS)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        # Float32 rounding moves a value over the edge of its step now and then.
        assert (found != wanted).mean() < 0.03
        (output,) = outcome.graph(file)["outputs"]
        assert (output["dtype"], output["shape"]) == (str(wanted.dtype), ["batch", wanted.shape[1]])
    for graph in outcome.manifest["artifacts"]:
        assert graph["fidelity"]["similarity"]["mean"] > 0.9
    check_the_cards_code(folder, model, precision, ranges)
    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr
    assert embconvert("verify", folder).code == 0

    pairs = tmp_path / "pairs.csv"
    gold = [n * n % 7 for n in range(1, len(TEXTS))]
    rows = [f'"{TEXTS[0]}","{text}",{score}' for text, score in zip(TEXTS[1:], gold, strict=True)]
    pairs.write_text("\n".join(["sentence1,sentence2,score", *rows]), encoding="utf-8")
    evaluated = embconvert(
        "evaluate", folder, "--data", pairs, "--files", "model.onnx", "--json", "--output", tmp_path
    )
    assert evaluated.code == 0, evaluated.stderr
    figures = json.loads(evaluated.stdout)["evaluations"][0]["graphs"][0]["figures"]
    searched = wanted.astype(np.float32)
    if precision == "ubinary":
        searched = np.unpackbits(wanted, axis=1).astype(np.float32) * 2 - 1
    searched /= np.linalg.norm(searched, axis=1, keepdims=True)
    expected = np.corrcoef(gold, searched[1:] @ searched[0])[0, 1]
    assert figures[1]["value"] == pytest.approx(expected, abs=0.02)


def check_the_cards_code(
    folder: Path, model: Path, precision: str, ranges: np.ndarray | None
) -> None:
    """Its integers are those of its file, and it compares them as search engines do."""
    from sentence_transformers.util import quantize_embeddings

    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (file,) = re.findall(r'"/(onnx/.*\.onnx)"', code)
    is_bits = precision == "ubinary"
    compared = "distances" if is_bits else "vectors @ vectors.T"
    shown = f"[texts, codes.tolist(), str(codes.dtype), ({compared}).tolist()]"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json\nprint(json.dumps({shown}))"],
        cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts, codes, dtype, found = json.loads(done.stdout.splitlines()[-1])
    own = run_published(folder, file, "sentence_embedding", texts)
    np.testing.assert_array_equal(codes, own)
    assert dtype == precision.replace("ubinary", "uint8")
    wanted = quantize_embeddings(embeddings(model, texts), precision=precision, ranges=ranges)
    if is_bits:
        assert np.unpackbits(own ^ wanted).mean() < 0.2  # the file's weights have 4 or 8 bits
        differ = [
            [sum((a ^ b).bit_count() for a, b in zip(x, y, strict=True)) for y in codes]
            for x in codes
        ]
        np.testing.assert_array_equal(found, differ)
    else:
        floats = np.array(codes, np.float64)
        floats /= np.linalg.norm(floats, axis=1, keepdims=True)
        np.testing.assert_allclose(found, floats @ floats.T, atol=1e-5)
        assert np.abs(own.astype(int) - wanted).mean() < 25


def test_ranges_stay_when_a_folder_gets_more_files(tmp_path: Path) -> None:
    """`quantize` takes those of the export, whatever its own calibration texts."""
    model = zoo.build_model("bert", tmp_path / "m")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(CALIBRATION), encoding="utf-8")
    options = ("--model_id", model, "--output_parent_dir", tmp_path / "out")
    exported = embconvert(
        "export", *options, "--output_precision", "int8", "--calibration_dataset", texts,
        env=LITTLE_MEMORY,
    )  # fmt: skip
    assert exported.code == 0, exported.stderr
    tokens, sentence = exported.graph("model.onnx")["outputs"]
    assert (tokens["dtype"], sentence["dtype"]) == ("float", "int8")
    before = exported.manifest["source"]["model"]["code"]
    quantized = embconvert("quantize", *options, "--quantize", "QInt8", "--min_cosine", 0.5)
    assert quantized.code == 0, quantized.stderr
    assert quantized.manifest["source"]["model"]["code"] == before
    assert len(quantized.manifest["artifacts"]) == 2
    card = (tmp_path / "out" / "m" / "README.md").read_text()
    assert "Compare embeddings by the cosine of the integers" in card
    assert "SentenceTransformer(" not in card


@pytest.mark.parametrize(("options", "message"), [
    (["--layout", "tei"], "--layout tei does not support --output_precision int8"),
    (["--task", "fill-mask"], "--output_precision is for embedding models"),
])  # fmt: skip
def test_programs_and_kinds_without_integers_are_refused(
    options: list[str], message: str, tmp_path: Path
) -> None:
    model = zoo.build_sparse("bert", tmp_path / "m", modules=False)
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--output_precision", "int8", *options,
    )  # fmt: skip
    assert (outcome.code, message in outcome.stderr) == (2, True), outcome.stderr
