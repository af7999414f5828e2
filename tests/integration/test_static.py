"""Static embeddings: a table and a mean give the vectors of the model's library."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.models.choices import Inputs
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert
from support.exports import export, load
from support.model2vec import vectors

pytestmark = pytest.mark.integration

TEXTS = [*zoo.SENTENCES, zoo.LONG_SENTENCE, ""]


def ours(folder: Path, file: str = "model_opt1.onnx") -> Any:
    """What a program makes of a folder that has tokenizer.json, tokenizers and ONNX Runtime."""
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(folder / "onnx" / file))
    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(TEXTS)
    feed = {
        "input_ids": np.array([e.ids for e in encodings]),
        "attention_mask": np.array([e.attention_mask for e in encodings]),
    }
    return session.run(["last_hidden_state", "sentence_embedding"], feed)


def test_every_precision_gives_the_vectors_of_sentence_transformers(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = zoo.build_static(tmp_path / "m", size=64, dtype="float16")
    outcome = convert(model, tmp_path / "out", "--quantize", "Q8,Q4,QInt8,Float16")
    folder = tmp_path / "out" / "m"
    chain = SentenceTransformer(str(model), device="cpu").float()
    tokens, vectors = ours(folder)
    np.testing.assert_allclose(vectors, chain.encode(TEXTS), atol=1e-5)
    assert tokens.shape[-1] == 64
    source = outcome.manifest["source"]
    assert (source["model_type"], source["max_seq_length"]) == ("StaticEmbedding", None)
    assert source["model"]["pooling"] == ["mean"]
    sizes = {a["path"]: a["size_bytes"] for a in outcome.manifest["artifacts"]}
    assert sizes["onnx/model_opt1_Q4.onnx"] < sizes["onnx/model_opt1_Q8.onnx"]
    assert sizes["onnx/model_opt1_Q8.onnx"] < 0.4 * sizes["onnx/model.onnx"]
    assert outcome.graph("model_opt1_Q8.onnx")["fidelity"]["similarity"]["min"] > 0.999

    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "text-embeddings-inference" not in card
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint((embeddings @ embeddings.T).tolist())"],
        cwd=tmp_path / "out", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = json.loads("[" + code.split("texts = [")[1].split("]")[0].strip().rstrip(",") + "]")
    theirs = chain.encode(texts)
    printed = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(printed, theirs @ theirs.T, atol=0.02)

    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr


def test_the_search_makes_a_table_of_model2vec_small(tmp_path: Path) -> None:
    """With fewer rows than tokens, a weight for each token, and a limit."""
    model = zoo.build_model2vec(tmp_path / "m", clusters=130, weights=True, max_length=12)
    outcome = convert(model, tmp_path / "out", "--quantize", "auto", "--min_cosine", 0.99)
    folder = tmp_path / "out" / "m"
    np.testing.assert_allclose(ours(folder)[1], vectors(model, TEXTS, 12), atol=1e-5)
    assert outcome.manifest["source"]["max_seq_length"] == 12
    assert "model2vec also cuts texts after" in outcome.stderr
    smallest = min(a["size_bytes"] for a in outcome.manifest["artifacts"])
    assert smallest < 0.5 * outcome.graph("model.onnx")["size_bytes"]
    # What another library of the folder makes of it is what modules.json says.
    (module,) = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    assert module["type"].endswith("StaticEmbedding")


def test_little_memory_and_no_float32(tmp_path: Path) -> None:
    model = zoo.build_static(tmp_path / "m", size=64, dense=True, dtype="bfloat16")
    little = convert(model, tmp_path / "out", "--quantize", "Q8", "--no_float32", env=LITTLE_MEMORY)
    assert little.manifest["verification"]["execution"] == "layer by layer"
    assert little.manifest["source"]["model"]["dimension"] == zoo.DENSE_SIZE
    assert len(list((tmp_path / "out" / "m" / "onnx").glob("*.onnx"))) == 1


@pytest.mark.parametrize(
    ("options", "length"),
    [({"normalize": True}, 512), ({"dtype": "int8", "weights": True, "max_length": None}, None)],
)
def test_model2vec_leaves_unknown_words_out(
    options: dict[str, Any], length: int | None, tmp_path: Path
) -> None:
    """Of vectors that are normalized, and of integers."""
    model = zoo.build_model2vec(tmp_path / "m", **options)
    source = load(model)
    graph = export(source, tmp_path / "model.onnx")
    wanted = vectors(model, TEXTS, length)
    (reference,) = source.encode([TEXTS])
    assert reference.sentence is not None
    np.testing.assert_allclose(reference.sentence, wanted, rtol=1e-5, atol=1e-4)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph))
    feed = {name: value.numpy() for name, value in source.reading.features(TEXTS).items()}
    (found,) = session.run(["sentence_embedding"], feed)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_a_layer_that_model2vec_does_not_read_is_told(tmp_path: Path) -> None:
    """And what the message advises converts the layer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    model = zoo.build_model2vec(tmp_path / "m")
    names = ("StaticEmbedding", "Dense")
    (model / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": n,
                    "name": str(n),
                    "path": path,
                    "type": f"sentence_transformers.models.{name}",
                }
                for n, (path, name) in enumerate(zip(("", "1_Dense"), names, strict=True))
            ]
        ),
        encoding="utf-8",
    )
    (model / "1_Dense").mkdir()
    Dense(load(model).token_dimension, 8).save(str(model / "1_Dense"))
    told: list[str] = []
    load(model, warn=told.append)
    assert "its Dense is left out; remove config.json" in told[0]
    (model / "config.json").unlink()
    told.clear()
    (vectors,) = load(model, warn=told.append).encode([TEXTS])
    assert not told
    theirs = SentenceTransformer(str(model), device="cpu").encode(TEXTS)
    assert vectors.sentence is not None
    np.testing.assert_allclose(vectors.sentence, theirs, atol=1e-5)
    assert theirs.shape[1] == 8


@pytest.mark.parametrize("form", ["model2vec", "sentence-transformers"])
def test_tokens_in_a_row_give_the_same_vectors(form: str, tmp_path: Path) -> None:
    """As model2vec's own export and its users have them."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    row = ("--inputs", "input_ids,offsets")
    if form == "model2vec":
        model = zoo.build_model2vec(tmp_path / "m", clusters=130, weights=True, max_length=12)
        source = load(model)
        export(source, tmp_path / "m.onnx", inputs=Inputs.IN_A_ROW)
        wanted = vectors(model, TEXTS, 12)
        tokenizer, file = source.reading.backend(), tmp_path / "m.onnx"
    else:
        model = zoo.build_static(tmp_path / "m", dense=True)
        outcome = convert(model, tmp_path / "out", "--quantize", "QInt8", *row)
        assert "feed = {" in (outcome.folder / "README.md").read_text(encoding="utf-8")
        wanted = SentenceTransformer(str(model), device="cpu").encode(TEXTS)
        tokenizer = Tokenizer.from_file(str(outcome.folder / "tokenizer.json"))
        file = outcome.folder / "onnx" / "model_opt1.onnx"
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(str(file))
    assert [i.name for i in session.get_inputs()] == ["input_ids", "offsets"]
    for texts, rows in ((TEXTS, wanted), ([""], wanted[-1:]), (["", ""], wanted[[-1, -1]])):
        ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        feed = {
            "input_ids": np.array([i for text in ids for i in text], np.int64),
            "offsets": np.cumsum([0, *map(len, ids[:-1])]),
        }
        (found,) = session.run(["sentence_embedding"], feed)
        np.testing.assert_allclose(found, rows, atol=1e-5)
