"""The code that shows how each program loads a graph."""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import yaml

from embconvert.evaluation.kinds.embedding import SCORING
from embconvert.evaluation.scoring import SIMILARITIES
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout, PoolingMode, Precision
from embconvert.models.prompts import Prompt, Prompts
from embconvert.models.source_records import FileRecord
from embconvert.models.values import TensorInfo
from embconvert.reporting.home import Home
from embconvert.reporting.snippet_parts import Snippet
from embconvert.reporting.snippets import snippets
from support.examples import published

HERE = Home(name="example-model")
HUB = Home(name="org/example", on_hub=True, address="https://huggingface.co")
BRANCH = replace(HUB, revision="int8")


def code(folder: Path, manifest: Manifest, home: Home = HERE, **changes: Any) -> dict[str, Snippet]:
    quantized: ArtifactRecord = replace(manifest.artifacts[2], **changes)
    artifacts = (*manifest.artifacts[:2], quantized)
    manifest = replace(manifest, artifacts=artifacts)
    return {s.key: s for s in snippets(manifest, quantized, folder, home=home)}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return published(tmp_path)


def test_every_program_has_its_own(tmp_path: Path, manifest: Manifest) -> None:
    assert list(code(tmp_path, manifest)) == [
        "sentence-transformers", "fastembed", "onnxruntime", "transformers.js",
        "text-embeddings-inference", "nixiesearch", "vespa", "optimum", "langchain4j", "spring-ai",
    ]  # fmt: skip


def test_all_of_it_is_what_its_language_allows(tmp_path: Path, manifest: Manifest) -> None:
    for snippet in code(tmp_path, manifest).values():
        if snippet.language == "python":
            ast.parse(snippet.code)
        elif snippet.language == "yaml":
            assert yaml.safe_load(snippet.code)["inference"]["embedding"]["example-model"]
        elif snippet.language == "xml":
            assert fromstring(snippet.code).get("type") == "hugging-face-embedder"


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("normalizes", [False, True])
def test_the_code_compares_embeddings_as_the_model_does(
    tmp_path: Path, similarity: str, normalizes: bool
) -> None:
    modules = ("Transformer", "Pooling", *(["Normalize"] if normalizes else []))
    manifest = published(tmp_path, modules=modules)
    settings = {"similarity_fn_name": similarity}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings), "utf-8")
    embeddings = np.random.default_rng(0).standard_normal((3, 8), np.float32)
    if normalizes:
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert SCORING.scores is not None
    expected = SCORING.scores(embeddings, embeddings, similarity)
    found = code(tmp_path, manifest)
    for key in ("onnxruntime", "optimum"):
        lines = found[key].code.splitlines()
        first = ("print(", "difference", "embeddings = embeddings /")
        start = next(n for n, line in enumerate(lines) if line.startswith(first))
        printed: list[Any] = []
        exec("\n".join(lines[start:]), {"embeddings": embeddings, "print": printed.append})
        np.testing.assert_allclose(printed[0], expected, atol=1e-5)


@pytest.mark.parametrize("home", [HERE, HUB, BRANCH])
def test_all_of_it_loads_the_graph_from_its_home(
    tmp_path: Path, manifest: Manifest, home: Home
) -> None:
    for key, snippet in code(tmp_path, manifest, home).items():
        elsewhere = {HERE: "org/", HUB: '"./', BRANCH: '"./'}[home]
        assert home.name in snippet.code
        assert elsewhere not in snippet.code, key
        if home is BRANCH:
            assert "int8" in snippet.code, key
        if key not in ("text-embeddings-inference", "transformers.js"):
            assert "model_opt1_QInt8.onnx" in snippet.code, key


def test_a_program_that_knows_no_branches_gets_its_files_fetched_or_nothing(
    tmp_path: Path, manifest: Manifest
) -> None:
    found = code(tmp_path, manifest, BRANCH)
    assert "nixiesearch" not in found
    assert "specific_model_path=folder" in found["fastembed"].code


def test_a_hub_that_not_all_may_see_is_not_named(tmp_path: Path, manifest: Manifest) -> None:
    found = code(tmp_path, manifest, replace(HUB, address=None))
    assert 'path="example/tokenizer.json"' in found["vespa"].code
    assert "https://" not in found["spring-ai"].code


@pytest.mark.parametrize(
    ("layout", "first"),
    [
        (Layout.HUB, "sentence-transformers"),
        (Layout.NIXIESEARCH, "nixiesearch"),
        (Layout.TRANSFORMERSJS, "transformers.js"),
        (Layout.FASTEMBED, "fastembed"),
        (Layout.TEI, "text-embeddings-inference"),
        (Layout.VESPA, "vespa"),
        (Layout.SINGLEFILE, "langchain4j"),
    ],
)
def test_a_layouts_own_program_comes_first(
    tmp_path: Path, manifest: Manifest, layout: Layout, first: str
) -> None:
    rules = LAYOUTS[layout]
    path = rules.place(manifest.artifacts[2].path, Precision.QINT8, last=True)
    assert next(iter(code(tmp_path, replace(manifest, layout=layout), path=path))) == first


def test_transformers_js_finds_a_graph_of_its_layout_by_a_dtype(
    tmp_path: Path, manifest: Manifest
) -> None:
    names = LAYOUTS[Layout.TRANSFORMERSJS].names
    dtypes = {
        "Float16": "fp16",
        "QInt8": "q8",
        "QUInt8": "uint8",
        "QInt8Static": "int8",
        "Q4": "q4",
        "Q4F16": "q4f16",
    }
    assert {str(precision) for precision in names} == set(dtypes)
    for precision, path in names.items():
        laid_out = replace(manifest, layout=Layout.TRANSFORMERSJS)
        script = code(tmp_path, laid_out, path=path)["transformers.js"]
        assert f'dtype: "{dtypes[precision]}"' in script.code
        assert "model_file_name" not in script.code
    script = code(tmp_path, manifest)["transformers.js"]
    assert 'model_file_name: "model_opt1_QInt8"' in script.code
    assert (
        'dtype: "fp32", // only means that the name has no suffix; the weights are QInt8'
        in script.code
    )
    assert "env.allowLocalModels = true" in script.code  # which browsers need
    assert '`--layout transformersjs` names this graph so that `dtype: "q8"`' in script.remark


@pytest.mark.parametrize(
    ("pooling", "modules", "idiom"),
    [
        ("mean", ("Transformer", "Pooling", "Normalize"), 'pooling: "mean",\n  normalize: true'),
        ("cls", ("Transformer", "Pooling"), 'pooling: "cls",\n  normalize: false'),
        ("lasttoken", ("Transformer", "Pooling"), "{ sentence_embedding }"),
        ("mean", ("Transformer", "Pooling", "Dense"), "{ sentence_embedding }"),
    ],
)
def test_transformers_js_pools_where_it_can_do_so_as_the_source(
    tmp_path: Path, pooling: str, modules: tuple[str, ...], idiom: str
) -> None:
    model = EmbeddingRecord(pooling=(PoolingMode(pooling),), dimension=384)
    manifest = published(tmp_path, model=model, modules=modules)
    assert idiom in code(tmp_path, manifest)["transformers.js"].code


def test_text_embeddings_inference_says_which_graph_it_serves(
    tmp_path: Path, manifest: Manifest
) -> None:
    remark = code(tmp_path, manifest)["text-embeddings-inference"].remark
    assert "It serves `onnx/model.onnx` (Float32)" in remark
    assert "with `--layout tei`, it serves QInt8" in remark
    laid_out = replace(manifest, layout=Layout.TEI)
    served = code(tmp_path, laid_out, path="model.onnx")["text-embeddings-inference"]
    assert served.remark == "It serves `model.onnx`, the only name that it looks for here."


def test_a_program_whose_onnx_runtime_is_too_old_is_left_out(
    tmp_path: Path, manifest: Manifest
) -> None:
    assert "nixiesearch" not in code(tmp_path, manifest, min_onnxruntime="1.24")


def test_only_inputs_that_the_graph_has_are_fed(tmp_path: Path, manifest: Manifest) -> None:
    names = ("input_ids", "attention_mask", "position_ids")
    inputs = tuple(TensorInfo(name=n, dtype="int64", shape=("batch", "seq")) for n in names)
    found = code(tmp_path, manifest, inputs=inputs)
    assert "token_type_ids" not in found["onnxruntime"].code
    assert 'feed["position_ids"]' in found["onnxruntime"].code
    assert "<transformer-token-type-ids/>" in found["vespa"].code


def test_the_tokenizer_is_used_as_it_was_published(tmp_path: Path, manifest: Manifest) -> None:
    """tokenizer.json says how texts are padded, cut and lower-cased; code must not repeat it."""
    (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    found = code(tmp_path, manifest)["onnxruntime"].code
    for word in ("enable_padding", "enable_truncation", ".lower()"):
        assert word not in found


def test_weights_in_a_file_of_their_own_are_named_or_the_program_is_left_out(
    tmp_path: Path, manifest: Manifest
) -> None:
    data = FileRecord(path="onnx/model_opt1_QInt8.onnx_data", sha256="0" * 64, size_bytes=9)
    found = code(tmp_path, manifest, external_data=data)
    assert data.path in found["fastembed"].code
    assert "vespa" not in found


def test_programs_that_pool_themselves_are_left_out_where_they_would_be_wrong(
    tmp_path: Path,
) -> None:
    for model in (
        EmbeddingRecord(pooling=(PoolingMode.LASTTOKEN,), dimension=384),
        EmbeddingRecord(pooling=(PoolingMode.MEAN,), dimension=128),
    ):
        found = code(tmp_path, published(tmp_path, model=model))
        assert not {"nixiesearch", "langchain4j", "spring-ai"} & set(found)


def test_a_graph_without_pooled_embeddings_has_none(tmp_path: Path, manifest: Manifest) -> None:
    tokens = manifest.artifacts[0].outputs[:1]
    assert code(tmp_path, manifest, outputs=tokens) == {}


def prompted(manifest: Manifest, default: str | None = None, **named: str) -> Manifest:
    prompts = Prompts(
        named=tuple(Prompt(name=n, text=t) for n, t in named.items()), default=default
    )
    return replace(manifest, source=replace(manifest.source, prompts=prompts))


def test_prompts_for_search_are_before_the_texts(tmp_path: Path, manifest: Manifest) -> None:
    """sentence-transformers knows them; Nixiesearch and Vespa have settings for them."""
    found = code(tmp_path, prompted(manifest, query="q: ", passage="d: ", STS="s: "))
    theirs = found.pop("sentence-transformers").code
    assert "encode_query(" in theirs
    assert 'prompt_name="passage"' in theirs
    assert "q: " not in theirs
    settings = yaml.safe_load(found.pop("nixiesearch").code)["inference"]["embedding"]
    assert settings["example-model"]["prompt"] == {"query": "q: ", "doc": "d: "}
    prepended = fromstring(found.pop("vespa").code).find("prepend")
    assert prepended is not None
    assert [(role.tag, role.text) for role in prepended] == [("query", "q:"), ("document", "d:")]
    assert "prompts before the texts" in found.pop("spring-ai").remark
    assert '"q: How' in found.pop("langchain4j").code
    for key, snippet in found.items():
        assert '"q: How' in snippet.code, key
        assert '"d: To change' in snippet.code, key


def test_a_document_prompt_is_applied_by_encode_document(
    tmp_path: Path, manifest: Manifest
) -> None:
    theirs = code(tmp_path, prompted(manifest, query="q: ", document="d: "))
    assert "model.encode_document([" in theirs["sentence-transformers"].code


def test_a_default_prompt_is_in_every_sample(tmp_path: Path, manifest: Manifest) -> None:
    found = code(tmp_path, prompted(manifest, default="all", other="o: ", all="a: "))
    theirs = found.pop("sentence-transformers").code
    assert "a: " not in theirs  # it is applied by itself
    assert "prompt_name" not in theirs
    for key in set(found) - {"nixiesearch", "vespa", "spring-ai"}:
        assert '"a: How' in found[key].code, key
    settings = yaml.safe_load(found["nixiesearch"].code)["inference"]["embedding"]
    assert settings["example-model"]["prompt"] == {"query": "a: ", "doc": "a: "}


def test_a_prompt_that_must_be_asked_for_is_no_setting_of_a_search_engine(
    tmp_path: Path, manifest: Manifest
) -> None:
    found = code(tmp_path, prompted(manifest, clustering="c: "))
    assert 'prompt_name="clustering"' in found["sentence-transformers"].code
    assert '"c: How' in found["onnxruntime"].code
    for key in ("nixiesearch", "vespa"):
        assert "c:" not in found[key].code, key


@pytest.mark.parametrize("prompt", ["Instruct: x\nQuery: ", "query:", "q:  ", " q: ", " "])
def test_vespa_gets_no_prompt_that_it_would_change(
    tmp_path: Path, manifest: Manifest, prompt: str
) -> None:
    snippet = code(tmp_path, prompted(manifest, query=prompt))["vespa"]
    assert fromstring(snippet.code).find("prepend") is None
    assert "Put the prompts before the texts" in snippet.remark
