"""Models with a tower for texts and one for images give the vectors of transformers' texts."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from support import multimodal, zoo
from support.command_line import Outcome, convert, embconvert

pytestmark = pytest.mark.integration

TEXTS = ("a", "", "Где библиотека?", zoo.SENTENCES[2], zoo.LONG_SENTENCE * 2)


@pytest.fixture(scope="module", params=("clip", "siglip"))
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Converts a model, the weights of whose image tower are none."""
    folder = tmp_path_factory.mktemp(request.param)
    model = multimodal.build(request.param, folder / request.param)
    state = load_file(model / "model.safetensors")
    for name, values in state.items():
        if "vision" in name or "visual" in name:
            state[name] = np.full_like(values, np.nan)
    save_file(state, model / "model.safetensors", {"format": "pt"})
    return convert(model, folder / "out", "--quantize", "Q8")


def theirs(model: Path, texts: Sequence[str]) -> Any:
    """Returns what transformers documents: SigLIP's texts are filled up, CLIP's are not."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tower = AutoModel.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    inputs = tokenizer(
        list(texts), truncation=True, max_length=multimodal.POSITIONS, return_tensors="pt",
        padding="max_length" if "siglip" in model.name else True,
    )  # fmt: skip
    with torch.no_grad():
        return tower.get_text_features(**inputs).pooler_output.numpy()


def ours(folder: Path, file: str, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(folder / "onnx" / file))
    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(list(texts))
    known = {
        "input_ids": np.array([e.ids for e in encodings]),
        "attention_mask": np.array([e.attention_mask for e in encodings]),
    }
    feed = {i.name: known[i.name] for i in session.get_inputs()}
    (found,) = session.run(["sentence_embedding"], feed)
    return np.asarray(found)


def _model(outcome: Outcome) -> Path:
    return outcome.folder.parents[1] / outcome.folder.name


def test_texts_get_the_vectors_of_transformers(converted: Outcome) -> None:
    wanted = theirs(_model(converted), TEXTS)
    for file in ("model.onnx", "model_opt1.onnx"):
        np.testing.assert_allclose(ours(converted.folder, file, TEXTS), wanted, atol=1e-4)
        alone = [ours(converted.folder, file, [text])[0] for text in TEXTS]
        np.testing.assert_allclose(alone, wanted, atol=1e-4)
    assert "fused: 2 of 2 attention" in converted.stderr
    assert converted.graph("model_opt1_Q8.onnx")["fidelity"]["similarity"]["mean"] > 0.999


def test_what_reads_images_is_left_out_and_said(converted: Outcome) -> None:
    state = load_file(_model(converted) / "model.safetensors")
    images = sum(math.prod(v.shape) for n, v in state.items() if "vision" in n or "visual" in n)
    text = sum(math.prod(v.shape) for v in state.values()) - images
    assert converted.graph("model.onnx")["size_bytes"] < 4 * (text + images // 2)
    assert "only texts are converted: no graph reads images" in converted.stderr
    assert converted.manifest["source"]["left_out"] == ["images"]
    assert not (converted.folder / "preprocessor_config.json").exists()
    card = (converted.folder / "README.md").read_text(encoding="utf-8")
    assert "| Left out | the parts that read images: the graphs read text only |" in card


def test_the_cards_code_runs(converted: Outcome) -> None:
    card = (converted.folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(embeddings.tolist())"],
        cwd=converted.folder.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = json.loads("[" + code.split("texts = [")[1].split("]")[0].strip().rstrip(",") + "]")
    wanted = theirs(_model(converted), texts)
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    assert ((wanted * found).sum(axis=1) / lengths).min() > 0.99


@pytest.mark.parametrize("converted", ["siglip"], indirect=True)
def test_it_is_verified_against_its_source(converted: Outcome) -> None:
    verified = embconvert("verify", converted.folder, "--against", _model(converted))
    assert verified.code == 0, verified.stderr
