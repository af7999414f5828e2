"""The published folder in the programs that load it, each in an environment of its own.

`make test-consumers` makes the environments, `.venv-<name>` beside the product's.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LARGE_MODEL, ROOT, embconvert

from embconvert.fidelity.figures import cosines
from embconvert.fidelity.texts import verification_texts
from embconvert.manifest.codec import parse_manifest
from embconvert.models.choices import Layout
from embconvert.reporting.snippet_parts import DOCUMENTS, QUERY, Snippet
from embconvert.reporting.snippets import snippets

CLIENTS = Path(__file__).parent / "clients"
#: Of all kinds and lengths, and the longest, which is cut.
TEXTS = [*verification_texts().texts[::6], max(verification_texts().texts, key=len)]
PRECISIONS = "QInt8,QUInt8,QInt8Static,Float16,Q8,Q4,QFLOAT8E4M3FN"
#: Least mean cosine to sentence-transformers' own vectors.
FLOORS = {
    "Float32": 0.999999, "Float16": 0.99999, "Q8": 0.999,
    "QInt8": 0.98, "QUInt8": 0.98, "QInt8Static": 0.99, "Q4": 0.95,
    "QFLOAT8E4M3FN": 0.99,
}  # fmt: skip

#: What --layout makes of it, converted from one folder to the next.
Folder = Callable[[Layout], Path]


def environment(name: str) -> Path:
    path = ROOT / f".venv-{name}"
    assert path.is_dir(), f"{path} is missing: run `make test-consumers`"
    return path


def run(command: Sequence[object], texts: Sequence[str] = (), cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), input=json.dumps(list(texts)), capture_output=True, text=True,
        cwd=cwd, timeout=300, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def client(env: str, script: str, *arguments: object) -> np.ndarray:
    """Embeds TEXTS with a client in its environment."""
    python = environment(env) / "bin" / "python"
    vectors = json.loads(run([python, CLIENTS / script, *arguments], TEXTS))
    return np.asarray(vectors, np.float32)


def with_transformers_js(folder: Path, dtype: str) -> np.ndarray:
    script = environment("transformersjs") / "embed.mjs"
    vectors = json.loads(run(["node", script, folder, dtype, "mean"], TEXTS))
    return np.asarray(vectors, np.float32)


@pytest.fixture(scope="session")
def uncut(minilm: Path) -> np.ndarray:
    """Which texts are whole: transformers.js 4.3 cuts the closing [SEP] of a long one off, too."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_truncation()
    whole = np.array([len(tokenizer.encode(text).ids) <= 256 for text in TEXTS])
    assert 0 < (~whole).sum() < 10
    return whole


@pytest.fixture(scope="session")
def reference(minilm: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    vectors: np.ndarray = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS)
    return vectors


@pytest.fixture(scope="session")
def hub(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("hub")
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", parent,
        "--quantize", PRECISIONS, "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return Path(outcome.stdout.strip())


@pytest.fixture(scope="session")
def laid_out(hub: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made: dict[Layout, Path] = {Layout.HUB: hub}

    def lay_out(layout: Layout) -> Path:
        if layout not in made:
            parent = tmp_path_factory.mktemp(str(layout))
            shutil.copytree(hub, parent / hub.name)
            serves_one = layout in (Layout.NIXIESEARCH, Layout.TEI, Layout.VESPA)
            outcome = embconvert(
                "all", "--model_id", minilm, "--output_parent_dir", parent, "--layout", layout,
                "--quantize", "QInt8" if serves_one else PRECISIONS, "--skip_validation",
            )  # fmt: skip
            assert outcome.code == 0, outcome.stderr
            assert "loading" not in outcome.stderr  # all is there already, under other names
            made[layout] = Path(outcome.stdout.strip())
        return made[layout]

    return lay_out


def assert_near(ours: np.ndarray, reference: np.ndarray, precision: str) -> None:
    assert ours.shape == reference.shape
    found = cosines(ours, reference)
    assert found.mean() > FLOORS[precision], f"{precision}: {found.mean()}"


def test_tokenizers_and_onnxruntime_at_each_oldest_version_that_is_stamped(
    hub: Path, reference: np.ndarray
) -> None:
    manifest = json.loads((hub / "embconvert.json").read_text())
    graphs = manifest["artifacts"]
    assert {a["precision"] for a in graphs} == set(FLOORS)
    for graph in graphs:
        oldest = f"onnxruntime-{graph['min_onnxruntime']}"
        ours = client(oldest, "with_onnxruntime.py", hub, graph["path"])
        assert_near(ours, reference, graph["precision"])


@pytest.mark.parametrize("output", ["sentence_embedding", "last_hidden_state"])
@pytest.mark.parametrize("precision", ["Float32", "QInt8"])
def test_fastembed(laid_out: Folder, reference: np.ndarray, output: str, precision: str) -> None:
    file = {"Float32": "onnx/model.onnx", "QInt8": "onnx/model_opt1_QInt8.onnx"}[precision]
    folder = laid_out(Layout.FASTEMBED)
    ours = client("fastembed", "with_fastembed.py", folder, file, output, 384)
    assert_near(ours, reference, precision)


@pytest.mark.parametrize(("dtype", "precision"), [
    ("default", "Float32"), ("fp32", "Float32"), ("fp16", "Float16"), ("q8", "QInt8"),
    ("uint8", "QUInt8"), ("int8", "QInt8Static"), ("q4", "Q4"),
])  # fmt: skip
def test_transformers_js(
    laid_out: Folder, reference: np.ndarray, uncut: np.ndarray, dtype: str, precision: str
) -> None:
    ours = with_transformers_js(laid_out(Layout.TRANSFORMERSJS), dtype)
    assert_near(ours[uncut], reference[uncut], precision)
    # What is cut is cut at the same place.
    assert cosines(ours, reference).min() > (0.9 if precision == "Q4" else 0.95)


def test_external_data(
    minilm: Path, reference: np.ndarray, uncut: np.ndarray, tmp_path: Path
) -> None:
    """What models over 2 GB have; transformers.js must be told, and fastembed named the file."""
    outcome = embconvert(
        "export", "--model_id", minilm, "--output_parent_dir", tmp_path, "--skip_validation",
        "--layout", "transformersjs", env=LARGE_MODEL,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    folder = Path(outcome.stdout.strip())
    assert (folder / "onnx" / "model.onnx_data").stat().st_size > 80e6
    ours = with_transformers_js(folder, "fp32")
    assert_near(ours[uncut], reference[uncut], "Float32")
    arguments = (folder, "onnx/model.onnx", "sentence_embedding", 384)
    assert_near(client("fastembed", "with_fastembed.py", *arguments), reference, "Float32")


@pytest.mark.parametrize("precision", ["Float32", "QInt8", "Q8"])
def test_sentence_transformers(hub: Path, reference: np.ndarray, precision: str) -> None:
    name = "model.onnx" if precision == "Float32" else f"model_opt1_{precision}.onnx"
    ours = client("peers", "with_sentence_transformers.py", hub, f"onnx/{name}")
    assert_near(ours, reference, precision)


def test_nixiesearch_by_its_rules(laid_out: Folder, reference: np.ndarray) -> None:
    folder = laid_out(Layout.NIXIESEARCH)
    ours = client("onnxruntime-1.23", "like_nixiesearch.py", folder, "mean", 256)
    assert_near(ours, reference, "QInt8")


def test_text_embeddings_inference_by_its_rules(laid_out: Folder, reference: np.ndarray) -> None:
    ours = client("onnxruntime-1.22", "like_tei.py", laid_out(Layout.TEI))
    assert_near(ours, reference, "QInt8")


@pytest.mark.parametrize(("key", "env"), [
    ("fastembed", "fastembed"),
    ("onnxruntime", "onnxruntime-1.23"),
    ("sentence-transformers", "peers"),
    ("transformers.js", "transformersjs"),
])  # fmt: skip
def test_the_code_on_the_model_card(hub: Path, minilm: Path, key: str, env: str) -> None:
    """It runs as it stands, in the folder's parent, and says what is alike."""
    from sentence_transformers import SentenceTransformer

    snippet, precision = snippet_of(hub, key)
    assert snippet.code in (hub / "README.md").read_text(encoding="utf-8")
    texts = texts_in(snippet.code)
    last = run_snippet(
        snippet, env, hub,
        python="[list(map(float, e)) for e in embeddings]",
        javascript="sentence_embedding.tolist()",
    )  # fmt: skip
    theirs = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert_near(np.asarray(last, np.float32), theirs, precision)


@pytest.fixture(scope="session")
def reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """MiniLM with a head of random weights, and what becomes of it."""
    import torch
    from transformers import AutoModelForSequenceClassification

    parent = tmp_path_factory.mktemp("reranker")
    source = parent / "reranker"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=1)
    model.classifier.weight.data.normal_(0, 0.5)
    model.save_pretrained(source)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(minilm / file, source)
    outcome = embconvert(
        "all", "--model_id", source, "--output_parent_dir", parent / "out",
        "--quantize", "QInt8", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return source, Path(outcome.stdout.strip())


@pytest.mark.parametrize(("key", "env", "applies"), [
    ("fastembed", "fastembed", False),
    ("onnxruntime", "onnxruntime-1.23", True),
    ("sentence-transformers", "peers", True),
    ("transformers.js", "transformersjs", False),
])  # fmt: skip
def test_the_code_on_a_rerankers_card(
    reranker: tuple[Path, Path], key: str, env: str, applies: bool
) -> None:
    """It scores as CrossEncoder does; fastembed and transformers.js give logits."""
    import torch
    from sentence_transformers import CrossEncoder

    source, folder = reranker
    snippet, _ = snippet_of(folder, key)
    scores = "[float(x) for x in np.ravel(scores)]"
    last = run_snippet(snippet, env, folder, python=scores, javascript="logits.tolist().flat()")
    theirs = CrossEncoder(str(source), device="cpu").predict(
        [(QUERY, document) for document in DOCUMENTS],
        activation_fn=None if applies else torch.nn.Identity(),
    )
    np.testing.assert_allclose(last, theirs, atol=0.1 if applies else 0.3)


def run_snippet(snippet: Snippet, env: str, folder: Path, *, python: str, javascript: str) -> Any:
    """Runs the card's code as it stands, in the folder's parent.

    Args:
        snippet: The code.
        env: Its environment.
        folder: The converted model.
        python: What to return, as an expression that may use numpy.
        javascript: Likewise.
    """
    if snippet.language == "javascript":
        script = environment(env) / "card.mjs"
        report = f"console.log(JSON.stringify({javascript}))"
        command: list[object] = ["node", script]
    else:
        script = folder.parent / "card.py"
        report = f"import json, numpy as np; print(json.dumps({python}))"
        command = [environment(env) / "bin" / "python", script]
    script.write_text(f"{snippet.code}\n{report}\n", encoding="utf-8")
    return json.loads(run(command, cwd=folder.parent).strip().splitlines()[-1])


def snippet_of(folder: Path, key: str) -> tuple[Snippet, str]:
    """The card's code for a program, and the precision of the graph that it loads."""
    manifest = parse_manifest((folder / "embconvert.json").read_bytes())
    card = (folder / "README.md").read_text(encoding="utf-8")
    for graph in manifest.artifacts:  # the card shows one of them
        for snippet in snippets(manifest, graph, folder, name=folder.name):
            if snippet.key == key and snippet.code in card:
                return snippet, str(graph.precision)
    raise AssertionError(f"the card has no code for {key}")


def texts_in(code: str) -> list[str]:
    """The texts that the code embeds: its one list of strings."""
    inside = code[code.index("[\n") + 1 :].split("]", maxsplit=1)[0].rstrip().removesuffix(",")
    texts: list[str] = json.loads(f"[{inside}]")
    return texts
