"""The published folder in the programs that load it, each in an environment of its own.

`make test-consumers` makes the environments, `.venv-<name>` beside the product's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

import numpy as np
import pytest

from embconvert.derive import derive
from embconvert.fidelity.figures import cosines
from embconvert.fidelity.texts import verification_texts
from embconvert.graph.extensions import library as extensions_library
from embconvert.graph.onnx_file import read_artifact
from embconvert.manifest.codec import parse_manifest
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import Layout
from embconvert.models.forms import FileForm, FormKind
from embconvert.reporting.home import Home
from embconvert.reporting.sample_texts import DOCUMENTS, QUERY
from embconvert.reporting.snippet_parts import Snippet
from embconvert.reporting.snippets import snippets
from support import zoo
from support.command_line import LARGE_MODEL, ROOT, embconvert
from support.derived import derive_settings
from support.documents import DOCS, shell_commands
from support.exports import load_adapted
from support.hub_server import HubServer
from support.lora import QUERY_AND_VALUE, build_adapter

CLIENTS = Path(__file__).parent / "clients"
#: Of all kinds and lengths, and the longest, which is cut.
TEXTS = [*verification_texts().texts[::6], max(verification_texts().texts, key=len)]
PRECISIONS = "QInt8,QUInt8,QInt8Static,Float16,Q8,Q4,Q4F16,QFLOAT8E4M3FN"
#: Least mean cosine to sentence-transformers' own vectors.
FLOORS = {
    "Float32": 0.999999, "Float16": 0.99999, "Q8": 0.999,
    "QInt8": 0.98, "QUInt8": 0.98, "QInt8Static": 0.99, "Q4": 0.95,
    "Q4F16": 0.95,
    "QFLOAT8E4M3FN": 0.99,
}  # fmt: skip

#: Layouts of programs on the JVM, with the rules of the client there.
ON_THE_JVM = {
    Layout.VESPA: "vespa",
    Layout.LANGCHAIN4J: "langchain4j",
    Layout.SPRINGAI: "springai",
    Layout.OPENSEARCH: "opensearch",
}

#: Those of programs with an ONNX Runtime that fuses attention, which the library for Java there is
#: (1.17) does not: they get float32.
WITH_FUSED_ATTENTION = (Layout.VESPA, Layout.SPRINGAI)

#: What --layout makes of it, converted from one folder to the next.
Folder = Callable[[Layout], Path]


def environment(name: str) -> Path:
    path = ROOT / f".venv-{name}"
    assert path.is_dir(), f"{path} is missing: run `make test-consumers`"
    return path


def run(command: Sequence[object], texts: Sequence[object] = (), cwd: Path | None = None) -> str:
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


def in_browser(folder: Path, device: str, dtypes: Sequence[str], numbers: list[int]) -> Any:
    """What headless Chromium makes of some of TEXTS, two at a time, by dtype."""
    batches = [[TEXTS[n] for n in numbers[start : start + 2]] for start in range(0, 4, 2)]
    script = environment("transformersjs") / "embed_in_browser.mjs"
    return json.loads(run(["node", script, folder, device, *dtypes], batches))


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
            options = ["--quantize", "QInt8" if LAYOUTS[layout].serves_one else PRECISIONS]
            command = "all"
            if layout in WITH_FUSED_ATTENTION:
                command, options = "export", []
            outcome = embconvert(
                command, "--model_id", minilm, "--output_parent_dir", parent, "--layout", layout,
                *options, "--skip_validation",
            )  # fmt: skip
            assert outcome.code == 0, outcome.stderr
            # All is there already, under other names, or made from the exported graph.
            assert "load the source" not in outcome.stderr
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
    assert {a["min_onnxruntime"] for a in graphs} == {"1.15", "1.21", "1.23"}
    for graph in graphs:
        oldest = f"onnxruntime-{graph['min_onnxruntime']}"
        ours = client(oldest, "with_onnxruntime.py", hub, graph["path"])
        assert_near(ours, reference, graph["precision"])


@pytest.mark.parametrize("file", ["model.onnx", "model_opt1_QInt8.onnx"])
def test_onnxruntimes_own_format_at_the_oldest_version_that_is_stamped(
    hub: Path, reference: np.ndarray, tmp_path: Path, file: str
) -> None:
    shutil.copyfile(hub / "tokenizer.json", tmp_path / "tokenizer.json")
    form = FileForm(kind=FormKind.ORT)
    source, settings = read_artifact(hub / "onnx" / file), derive_settings(form, tmp_path)
    made = derive(source, tmp_path / form.file(file), settings).artifact
    oldest = f"onnxruntime-{made.min_onnxruntime}"
    ours = client(oldest, "with_onnxruntime.py", tmp_path, made.path.name)
    assert_near(ours, reference, "QInt8" if "QInt8" in file else "Float32")


def test_onnxruntime_1_17_runs_what_is_made_for_it(
    hub: Path, minilm: Path, reference: np.ndarray, tmp_path: Path
) -> None:
    """With fused operators that it has, and attention in older ones; level 1."""
    shutil.copytree(hub, tmp_path / hub.name)
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", tmp_path, "--skip_validation",
        "--quantize", "QInt8,Float16", "--min_onnxruntime", "1.17",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    folder = Path(outcome.stdout.strip())
    for name, precision in (("", "Float32"), ("_QInt8", "QInt8"), ("_Float16", "Float16")):
        file = f"onnx/model_opt1{name}.onnx"
        ours = client("onnxruntime-1.17", "with_onnxruntime.py", folder, file)
        assert_near(ours, reference, precision)
        manifest = json.loads((folder / "embconvert.json").read_text())
        (operators,) = (a["operators"] for a in manifest["artifacts"] if a["path"] == file)
        assert "com.microsoft.BiasGelu" in operators


@pytest.mark.parametrize("output", ["sentence_embedding", "last_hidden_state"])
@pytest.mark.parametrize("precision", ["Float32", "QInt8"])
def test_fastembed(laid_out: Folder, reference: np.ndarray, output: str, precision: str) -> None:
    file = {"Float32": "onnx/model.onnx", "QInt8": "onnx/model_opt1_QInt8.onnx"}[precision]
    folder = laid_out(Layout.FASTEMBED)
    ours = client("fastembed", "with_fastembed.py", folder, file, output, 384)
    assert_near(ours, reference, precision)


@pytest.mark.parametrize(("dtype", "precision"), [
    ("default", "Float32"), ("fp32", "Float32"), ("fp16", "Float16"), ("q8", "QInt8"),
    ("uint8", "QUInt8"), ("int8", "QInt8Static"), ("q4", "Q4"), ("q4f16", "Q4F16"),
])  # fmt: skip
def test_transformers_js(
    laid_out: Folder, reference: np.ndarray, uncut: np.ndarray, dtype: str, precision: str
) -> None:
    ours = with_transformers_js(laid_out(Layout.TRANSFORMERSJS), dtype)
    assert_near(ours[uncut], reference[uncut], precision)
    # What is cut is cut at the same place.
    assert cosines(ours, reference).min() > (0.9 if precision in ("Q4", "Q4F16") else 0.95)


@pytest.mark.parametrize(("device", "dtypes"), [
    ("wasm", {
        "default": "QInt8", "default@1": "QInt8", "fp32": "Float32", "fp16": "Float16",
        "uint8": "QUInt8", "int8": "QInt8Static", "q4": "Q4", "q4f16": "Q4F16",
        "/model_opt1_Q8": "Q8",
    }),
    # Software computes it, so it is slow; half precision needs a GPU.
    ("webgpu", {"default": "Float32", "q8": "QInt8", "q4": "Q4"}),
])  # fmt: skip
def test_transformers_js_in_a_browser(
    laid_out: Folder, reference: np.ndarray, device: str, dtypes: dict[str, str]
) -> None:
    numbers = [n for n, text in enumerate(TEXTS) if 5 <= len(text.split()) <= 9][:4]
    found = in_browser(laid_out(Layout.TRANSFORMERSJS), device, list(dtypes), numbers)
    for dtype, precision in dtypes.items():
        assert "error" not in found[dtype], f"{dtype}: {found[dtype]['error']}"
        assert found[dtype]["isolated"], "WebAssembly would have no threads"
        assert_near(np.asarray(found[dtype]["vectors"], np.float32), reference[numbers], precision)


def test_the_try_page_shows_the_similarities_of_the_source(laid_out: Folder, minilm: Path) -> None:
    """In headless Chromium, with the file that is recommended; it connects to its server only."""
    from sentence_transformers import SentenceTransformer

    folder = laid_out(Layout.TRANSFORMERSJS)
    outcome = embconvert("report", folder, "--try_page")
    assert outcome.code == 0, outcome.stderr
    script = environment("transformersjs") / "try_page.mjs"
    shown = json.loads(run(["node", script, folder]))
    assert shown["rows"], shown["status"]
    assert not shown["elsewhere"]
    texts, cosines_shown = zip(*shown["rows"], strict=True)
    model = SentenceTransformer(str(minilm), device="cpu")
    theirs = model.similarity(model.encode([shown["query"]]), model.encode(list(texts)))
    np.testing.assert_allclose(cosines_shown, theirs[0].numpy(), atol=0.05)
    assert sorted(cosines_shown, reverse=True) == list(cosines_shown)


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


@pytest.fixture(scope="session")
def for_openvino(hub: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("openvino")
    shutil.copytree(hub, parent / hub.name)
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", parent, "--layout", "openvino",
        "--quantize", "Q8", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    # The exported graph is there already.
    assert "load the source" not in outcome.stderr
    return Path(outcome.stdout.strip())


def test_sentence_transformers_on_openvino(for_openvino: Path, reference: np.ndarray) -> None:
    """Without a name it takes the float32 file."""
    both = client("openvino", "with_openvino_backend.py", for_openvino, "", "openvino_model_q8.xml")
    # OpenVINO's Q8 quantizes activations on some CPUs.
    for ours, precision in zip(both, ("Float32", "QInt8Static"), strict=True):
        assert_near(ours, reference, precision)


@pytest.mark.parametrize("key", ["sentence-transformers-openvino", "openvino"])
def test_the_code_on_the_card_for_openvino(for_openvino: Path, minilm: Path, key: str) -> None:
    from sentence_transformers import SentenceTransformer

    snippet, _ = snippet_of(for_openvino, key)
    last = run_snippet(
        snippet, "openvino", for_openvino,
        python="[list(map(float, e)) for e in embeddings]", javascript="",
    )  # fmt: skip
    theirs = SentenceTransformer(str(minilm), device="cpu").encode(texts_in(snippet.code))
    assert_near(np.asarray(last, np.float32), theirs, "QInt8Static")


def test_nixiesearch_by_its_rules(laid_out: Folder, reference: np.ndarray) -> None:
    folder = laid_out(Layout.NIXIESEARCH)
    ours = client("onnxruntime-1.23", "like_nixiesearch.py", folder, "mean", 256)
    assert_near(ours, reference, "QInt8")


def test_text_embeddings_inference_by_its_rules(laid_out: Folder, reference: np.ndarray) -> None:
    ours = client("onnxruntime-1.22", "like_tei.py", laid_out(Layout.TEI))
    assert_near(ours, reference, "QInt8")


@pytest.mark.parametrize("layout", ON_THE_JVM)
def test_programs_on_the_jvm(
    laid_out: Folder, reference: np.ndarray, uncut: np.ndarray, layout: Layout
) -> None:
    """ONNX Runtime's and DJL's libraries for Java, used as the program uses them."""
    folder = laid_out(layout)
    settings: list[str] = {Layout.VESPA: ["256"], Layout.LANGCHAIN4J: ["MEAN"]}.get(layout, [])
    if layout is Layout.OPENSEARCH:
        config = json.loads((folder / "opensearch" / "register.json").read_text())["model_config"]
        names = ("model_type", "pooling_mode", "normalize_result")
        settings = [json.dumps(config[name]).strip('"') for name in names]
    done = subprocess.run(
        ["java", "-cp", environment("jvm"), "Embed", ON_THE_JVM[layout], folder, *settings],
        input="".join(f"{b64encode(text.encode()).decode()}\n" for text in TEXTS),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = np.array([json.loads(line) for line in done.stdout.splitlines()], np.float32)
    precision = "Float32" if layout in WITH_FUSED_ATTENTION else "QInt8"
    assert_near(ours[uncut], reference[uncut], precision)
    lengths = np.linalg.norm(ours, axis=1)
    is_unit = np.allclose(lengths, 1, atol=1e-4)
    assert is_unit == (consumer_of(layout).normalizes is not False)


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What libraries for C++, C#, Go, Rust and Swift wrap."""
    program = tmp_path_factory.mktemp("c") / "embed"
    run(["gcc", "-Wall", "-Werror", "-o", program, CLIENTS.parent / "c" / "embed.c", "-ldl"])
    return program


def with_the_c_api(command: Sequence[object], lines: bytes, **env: str) -> np.ndarray:
    done = subprocess.run(
        list(map(str, command)), input=lines, capture_output=True, timeout=300, check=False,
        env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.array([list(map(float, line.split())) for line in done.stdout.splitlines()])


def test_the_c_api(hub: Path, reference: np.ndarray, c_program: Path) -> None:
    from tokenizers import Tokenizer

    (library,) = environment("onnxruntime-1.23").rglob("libonnxruntime.so.*")
    tokenizer = Tokenizer.from_file(str(hub / "tokenizer.json"))
    rows = [tokenizer.encode(text).ids for text in TEXTS]
    lines = "".join(f"{len(ids)} {' '.join(map(str, ids))}\n" for ids in rows)
    graph = hub / "onnx" / "model_opt1_QInt8.onnx"
    ours = with_the_c_api([c_program, library, graph], lines.encode())
    assert_near(ours, reference, "QInt8")


@pytest.fixture(scope="session")
def one_file(hub: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For programs that read one file, with the tokenizer in a further one."""
    parent = tmp_path_factory.mktemp("singlefile")
    shutil.copytree(hub, parent / hub.name)
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", parent, "--layout", "singlefile",
        "--quantize", "QInt8", "--tokenizer", "in_graph", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return Path(outcome.stdout.strip())


def test_programs_that_read_one_file(one_file: Path, reference: np.ndarray) -> None:
    ours = client("onnxruntime-1.23", "with_onnxruntime.py", one_file, "model.onnx", "memory")
    assert_near(ours, reference, "QInt8")


def test_the_c_api_with_the_tokenizer_in_the_graph(
    one_file: Path, reference: np.ndarray, c_program: Path
) -> None:
    """Texts in, embeddings out, without any other file."""
    import onnxruntime

    (graph,) = one_file.rglob("*_text.onnx")
    (library,) = Path(onnxruntime.__file__).parent.rglob("libonnxruntime.so.*")
    # The only library of the extension here is the one in its wheel, which refers to Python's.
    python = Path(get_config_var("LIBDIR")) / get_config_var("INSTSONAME")
    assert python.suffix != ".a", f"{sys.executable} was built without a shared library"
    lines = b"".join(b"%d\n%s" % (len(text.encode()), text.encode()) for text in TEXTS)
    command = [c_program, library, graph, extensions_library()]
    ours = with_the_c_api(command, lines, LD_PRELOAD=str(python))
    assert_near(ours, reference, "QInt8")


@pytest.fixture(scope="session")
def with_types(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For Chroma, whose graph always takes token types."""
    outcome = embconvert(
        "export", "--model_id", minilm, "--output_parent_dir", tmp_path_factory.mktemp("chroma"),
        "--layout", "chroma", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return Path(outcome.stdout.strip())


def test_chroma_by_its_rules(with_types: Path, reference: np.ndarray, uncut: np.ndarray) -> None:
    ours = client("onnxruntime-1.23", "like_chroma.py", with_types)
    assert_near(ours[uncut], reference[uncut], "Float32")


@pytest.mark.parametrize(("layout", "env", "script", "arguments"), [
    (Layout.MILVUS, "peers", "like_milvus.py", ()),
    (Layout.SEMANTICKERNEL, "onnxruntime-1.23", "like_semantic_kernel.py", (256,)),
])  # fmt: skip
def test_programs_that_send_token_types_by_their_rules(
    with_types: Path, minilm: Path, reference: np.ndarray, uncut: np.ndarray, tmp_path: Path,
    layout: Layout, env: str, script: str, arguments: tuple[int, ...],
) -> None:  # fmt: skip
    shutil.copytree(with_types, tmp_path / with_types.name)
    outcome = embconvert(
        "export", "--model_id", minilm, "--output_parent_dir", tmp_path, "--layout", layout,
        "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    ours = client(env, script, outcome.stdout.strip(), *arguments)
    assert_near(ours[uncut], reference[uncut], "Float32")


@pytest.mark.parametrize(("key", "env"), [
    ("fastembed", "fastembed"),
    ("onnxruntime", "onnxruntime-1.23"),
    ("optimum", "peers"),
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
        javascript="embeddings.tolist()",
    )  # fmt: skip
    theirs = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert_near(np.asarray(last, np.float32), theirs, precision)


@pytest.mark.parametrize(("guide", "env"), [
    ("fastembed", "fastembed"),
    ("sentence-transformers", "peers"),
    ("transformersjs", "transformersjs"),
])  # fmt: skip
def test_a_guide_that_is_followed_to_the_letter(
    guide: str, env: str, minilm: Path, tmp_path: Path
) -> None:
    """Its command and its sample, unchanged; MiniLM has the shape of the model that they name."""
    from sentence_transformers import SentenceTransformer

    page = DOCS / "guides" / f"{guide}.md"
    command, *_ = shell_commands(page, "embconvert")
    with HubServer() as hub:
        hub.add_model("intfloat/e5-small-v2", minilm)
        network = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        outcome = embconvert(*command[1:], "--skip_validation", cwd=tmp_path, env=network)
    assert outcome.code == 0, outcome.stderr
    language, code = re.findall(
        r"^```(python|javascript)\n(.*?)^```$", page.read_text(), re.M | re.S
    )[0]
    embeddings = "(*queries, *documents)" if "queries = " in code else "embeddings"
    last = run_snippet(
        Snippet(key=guide, title=guide, language=language, code=code),
        env,
        tmp_path / outcome.stdout.strip(),
        python=f"[list(map(float, e)) for e in {embeddings}]",
        javascript="embeddings.tolist()",
    )
    texts = texts_in(code)
    assert [text.partition(": ")[0] for text in texts] == ["query", "passage"]
    theirs = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert_near(np.asarray(last, np.float32), theirs, "QInt8")


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


@pytest.mark.parametrize("key", ["sentence-transformers-openvino", "openvino"])
def test_the_code_on_a_rerankers_card_for_openvino(
    reranker: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, key: str
) -> None:
    from sentence_transformers import CrossEncoder

    source, folder = reranker
    parent = tmp_path_factory.mktemp("openvino")
    shutil.copytree(folder, parent / folder.name)
    outcome = embconvert(
        "export", "--model_id", source, "--output_parent_dir", parent, "--layout", "openvino",
        "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    snippet, _ = snippet_of(parent / folder.name, key)
    last = run_snippet(
        snippet, "openvino", parent / folder.name, python="[float(x) for x in np.ravel(scores)]",
        javascript="",
    )  # fmt: skip
    theirs = CrossEncoder(str(source), device="cpu").predict([(QUERY, text) for text in DOCUMENTS])
    np.testing.assert_allclose(last, theirs, atol=1e-4)


@pytest.fixture(scope="session")
def splade(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """MiniLM with a head of random weights, and its token logits for programs that pool them."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoModelForMaskedLM

    parent = tmp_path_factory.mktemp("splade")
    source = parent / "splade"
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_pretrained(minilm)
    tokens = torch.arange(1000, 1100)[None]
    with torch.no_grad():  # most words are left out, as trained models do
        model.cls.predictions.bias -= model(tokens).logits.flatten()[::97].quantile(0.99)
    model.save_pretrained(source)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(minilm / file, source)
    modules = [Transformer(str(source), transformer_task="fill-mask"), SpladePooling()]
    SparseEncoder(modules=modules, device="cpu").save_pretrained(
        str(source), create_model_card=False
    )
    outcome = embconvert(
        "all", "--model_id", source, "--output_parent_dir", parent / "out", "--output", "logits",
        "--layout", "fastembed", "--quantize", "QInt8", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return source, Path(outcome.stdout.strip())


#: In Python, the beginning of a list of the active entries of each vector v, with their weights.
ACTIVE = "[(v.nonzero()[0].tolist(), v[v > 0].tolist())"


@pytest.mark.parametrize(("key", "env", "vectors"), [
    ("fastembed", "fastembed", "[(e.indices.tolist(), e.values.tolist()) for e in embeddings]"),
    ("onnxruntime", "onnxruntime-1.23", f"{ACTIVE} for v in vectors]"),
    ("sentence-transformers", "peers", f"{ACTIVE} for v in embeddings.to_dense().numpy()]"),
])  # fmt: skip
def test_the_code_on_the_card_of_a_sparse_models_logits(
    splade: tuple[Path, Path], key: str, env: str, vectors: str
) -> None:
    """Each program pools the logits to the vectors of SparseEncoder."""
    from sentence_transformers import SparseEncoder

    source, folder = splade
    snippet, precision = snippet_of(folder, key)
    last = run_snippet(snippet, env, folder, python=vectors, javascript="")
    chain = SparseEncoder(str(source), device="cpu")
    theirs = chain.encode(texts_in(snippet.code), convert_to_sparse_tensor=False).numpy()
    ours = np.zeros_like(theirs)
    for row, (indices, values) in zip(ours, last, strict=True):
        row[indices] = values
    assert 10 < (theirs != 0).sum(axis=1).min() < 10_000
    assert_near(ours, theirs, precision)


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
        for snippet in snippets(manifest, graph, folder, home=Home(name=folder.name)):
            if snippet.key == key and snippet.code in card:
                return snippet, str(graph.precision)
    raise AssertionError(f"the card has no code for {key}")


def texts_in(code: str) -> list[str]:
    """The texts that the code embeds: its lists of strings, in order."""
    lists = re.findall(r"\[\n((?: +\".*\",\n)+)\]", code)
    return [text for inside in lists for text in json.loads(f"[{inside.rstrip().rstrip(',')}]")]


#: What PEFT writes, by the arguments of build_adapter.
ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "half precision": {"dtype": "bfloat16"},
    "rank-stabilized": {"use_rslora": True},
    "magnitudes": {"use_dora": True},
    "embeddings": {"target": rf"embeddings\.word_embeddings|{QUERY_AND_VALUE}"},
    "other alpha": {"alpha_pattern": {"query": 3, "layer.1.attention.self.value": 5}},
    "whole weights": {
        "whole": {name: name for name in ("pooler.dense.weight", "pooler.dense.bias")},
        "modules_to_save": ["pooler"],
    },
}


def test_an_adapter_is_merged_as_by_peft(tmp_path: Path) -> None:
    """PEFT is in the environment of the peers; embconvert does not need it."""
    base = zoo.build_model("bert", tmp_path / "base")
    adapters = [build_adapter(tmp_path / name, base, **more) for name, more in ADAPTERS.items()]
    theirs = client("peers", "with_peft.py", base, *adapters)
    for name, adapter, wanted in zip(ADAPTERS, adapters, theirs, strict=True):
        choice = AdapterChoice(name=str(adapter))
        source = load_adapted(base, tmp_path / f"{name}-copy", choice)
        found = source.encode([[text] for text in TEXTS])
        vectors = np.concatenate([one.sentence for one in found if one.sentence is not None])
        np.testing.assert_allclose(vectors, wanted, atol=2e-6, err_msg=name)
