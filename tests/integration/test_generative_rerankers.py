"""Generative rerankers: graphs score pairs as CrossEncoder does with a language model."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.models.kinds import Kind
from embconvert.source.chat_template import PairReading
from support import zoo
from support.command_line import convert, embconvert
from support.corpus import edit
from support.exports import export, load, load_adapted

pytestmark = pytest.mark.integration

PAIRS = list(zip(zoo.SENTENCES, [*zoo.SENTENCES[5:], zoo.LONG_SENTENCE, *["b"] * 4], strict=True))


def theirs(model: Path, pairs: Sequence[tuple[str, str]]) -> Any:
    import torch
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(model), device="cpu").predict(
        list(pairs), activation_fn=torch.nn.Identity(), batch_size=4
    )


def test_every_file_scores_through_the_template_as_the_code_on_the_card_does(
    tmp_path: Path,
) -> None:
    model = zoo.build_generative_reranker(
        "qwen3", tmp_path / "m", prompts={"query": "Is it an answer?"}, max_seq_length=40
    )
    outcome = convert(
        model, tmp_path / "out", "--quantize", "Q8,QInt8,Float16", "--min_cosine", 0.9
    )
    folder = tmp_path / "out" / "m"
    template = outcome.manifest["source"]["model"]["template"]
    assert template["prefix"].endswith("Is it an answer?<Query>: ")
    assert template["middle"] == "\n<Document>: "
    assert template["suffix"].endswith("is it?\n\n")
    assert outcome.graph("model.onnx")["outputs"][0]["shape"] == ["batch", 1]

    # The longest is truncated; its suffix stays.
    query, documents = zoo.SENTENCES[0], [second for _, second in PAIRS]
    wanted = theirs(model, [(query, document) for document in documents])
    np.testing.assert_allclose(scores_by_card(folder, query, documents), wanted, atol=1e-3)

    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr


def scores_by_card(folder: Path, query: str, documents: Sequence[str]) -> list[float]:
    """Returns what the code on a folder's card prints for the optimized graph."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = re.sub(r"query = .*", lambda _: f"query = {query!r}", code, count=1)
    listed = re.compile(r"documents = \[.*?\]", re.DOTALL)
    code = listed.sub(lambda _: f"documents = {documents!r}", code, count=1)
    code = re.sub(r"onnx/[a-zA-Z0-9_]*\.onnx", "onnx/model_opt1.onnx", code)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(logits[:, 0].tolist())"],
        cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores: list[float] = json.loads(done.stdout.splitlines()[-1])
    return scores


def build_bare(folder: Path, **options: Any) -> Path:
    """Builds a generative reranker whose files are those of a language model only."""
    zoo.build_generative_reranker("qwen3", folder, template=None, max_seq_length=512, **options)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_LogitScore")
    return folder


def test_a_template_by_its_name_makes_a_reranker_of_a_language_model(tmp_path: Path) -> None:
    """The document is first; a later stage and a check need no option."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = build_bare(tmp_path / "m", overrides={"max_position_embeddings": 512})
    (model / "chat_template.jinja").write_text("its own, for chats", encoding="utf-8")
    outcome = convert(model, tmp_path / "out", "--reranker_template", "ctxl-rerank-v2")
    assert "as on the card of ContextualAI/ctxl-rerank-v2" in outcome.stderr
    folder = tmp_path / "out" / "m"
    assert "its own" not in (folder / "chat_template.jinja").read_text(encoding="utf-8")

    query, documents = zoo.SENTENCES[0], zoo.SENTENCES[5:10]
    tokenizer = AutoTokenizer.from_pretrained(model)
    language_model = AutoModelForCausalLM.from_pretrained(model).eval()
    wanted = []
    for document in documents:
        text = (
            "Check whether a given document contains information helpful to answer the query.\n"
            f"<Document> {document}\n<Query> {query} ??"
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            wanted.append(language_model(input_ids=ids).logits[0, -1, 0].item())
    np.testing.assert_allclose(scores_by_card(folder, query, documents), wanted, atol=1e-3)

    quantized = embconvert(
        "quantize", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--quantize", "Q8",
    )  # fmt: skip
    assert quantized.code == 0, quantized.stderr
    verified = embconvert("verify", folder, "--against", model)
    assert verified.code == 0, verified.stderr


@pytest.mark.parametrize("architecture", ["Qwen3ForCausalLM", "Qwen3ForSequenceClassification"])
def test_the_words_that_config_json_has_for_vllm_are_scored(
    architecture: str, tmp_path: Path
) -> None:
    """As vLLM does: the second word's logit minus the first one's, after the chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = build_bare(tmp_path / "m")
    (model / "chat_template.jinja").write_text(zoo.PAIR_TEMPLATE, encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(model)
    language_model = AutoModelForCausalLM.from_pretrained(model).eval()
    no, yes = tokenizer.convert_ids_to_tokens([70, 81])
    edit(
        model / "config.json", architectures=[architecture],
        classifier_from_token=[no, yes], method="from_2_way_softmax",
    )  # fmt: skip
    source = load_adapted(model, tmp_path / "copy")
    wanted = []
    for query, document in PAIRS[:4]:
        messages = [
            {"role": role, "content": text}
            for role, text in (("query", query), ("document", document))
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert "is it?" not in text
        tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            logits = language_model(**tokens).logits[0, -1]
        wanted.append([(logits[81] - logits[70]).item()])
    (found,) = source.encode([PAIRS[:4]])
    assert found.sentence is not None
    np.testing.assert_allclose(found.sentence, wanted, atol=1e-4)
    assert isinstance(source.record, RerankerRecord)
    assert source.record.template is not None
    assert source.record.template.suffix == "</s>\n<s>assistant\n"
    assert source.record.template_name is None


def test_a_word_that_is_two_tokens_is_refused(tmp_path: Path) -> None:
    model = build_bare(tmp_path / "zerank-2")
    outcome = embconvert("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 4
    assert 'the word "Yes", whose logit is the score, is 2 tokens' in outcome.stderr


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("gemma2", {"overrides": {"final_logit_softcapping": 2.0}}),
        ("llama", {"false_token": False, "dtype": "bfloat16"}),
        ("qwen2", {"template": None, "overrides": {"tie_word_embeddings": True}}),
    ],
)
def test_only_the_rows_that_count_are_in_the_graph(
    architecture: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """With what a model does to its logits, with one token, and with pairs without a template."""
    import onnx
    import onnxruntime

    model = zoo.build_generative_reranker(architecture, tmp_path / "m", **options)
    source = load(model, Kind.RERANKER)
    graph = export(source, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(graph))
    features = source.reading.features(PAIRS)
    (scores,) = session.run(
        ["logits"], {i.name: features[i.name].numpy() for i in session.get_inputs()}
    )
    (reference,) = source.encode([PAIRS])
    assert reference.sentence is not None
    np.testing.assert_allclose(scores, reference.sentence, atol=2e-4)
    if options.get("dtype") is None:
        np.testing.assert_allclose(scores[:, 0], theirs(model, PAIRS), atol=2e-4)
    shapes = [tuple(w.dims) for w in onnx.load(graph).graph.initializer]
    assert [shape for shape in shapes if zoo.VOCAB_SIZE in shape] == [
        (zoo.VOCAB_SIZE, zoo.HIDDEN_SIZE)
    ]


@pytest.mark.parametrize(
    "template",
    [
        zoo.PAIR_TEMPLATE.replace(".content }}</s>", ".content | trim }}</s>"),
        zoo.PAIR_TEMPLATE.replace(".content }}</s>", ".content | upper }}</s>"),
        zoo.PAIR_TEMPLATE.replace(".content }}</s>", ".content[:1000] }}</s>"),
        zoo.PAIR_TEMPLATE * 2,
        "{{ messages[0].content }}",
        "{{ messages | length }}",
        "{{ 'x' * 10**12 }}",
        "{{ raise_exception('no') }}",
        "{{ strftime_now('%d %b %Y') }}" + zoo.PAIR_TEMPLATE,
    ],
)
def test_a_template_that_does_more_is_refused(template: str, tmp_path: Path) -> None:
    model = zoo.build_generative_reranker("llama", tmp_path / "m")
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match="the model's chat template"):
        load(model, Kind.RERANKER)


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_that_is_not_in_the_files_is_refused(tied: bool, tmp_path: Path) -> None:
    """The graph has only two of its rows, which transformers would make up."""
    from safetensors.torch import load_file, save_file

    model = zoo.build_generative_reranker(
        "llama", tmp_path / "m", overrides={"tie_word_embeddings": tied}
    )
    file = model / "model.safetensors"
    weights = load_file(file)
    assert (weights.pop("lm_head.weight", None) is None) is tied
    save_file(weights, file, metadata={"format": "pt"})
    source = load(model, Kind.RERANKER)
    if tied:
        export(source, tmp_path / "model.onnx")
        return
    with pytest.raises(
        SourceError, match=r"the weight lm_head\.weight is not in the model's files"
    ):
        export(source, tmp_path / "model.onnx")


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_a_classifier_with_a_chat_template_scores_through_it(
    padding_side: str, tmp_path: Path
) -> None:
    import onnxruntime

    model = zoo.build_reranker("qwen3", tmp_path / "m", max_seq_length=40)
    (model / "chat_template.jinja").write_text(zoo.PAIR_TEMPLATE, encoding="utf-8")
    edit(model / "tokenizer_config.json", padding_side=padding_side)
    named = {"method": "forward", "method_output_name": "logits"}
    edit(
        model / "sentence_bert_config.json",
        modality_config={"text": named, "message": {**named, "format": "flat"}},
        processing_kwargs={"chat_template": {"add_generation_prompt": True}},
    )
    source = load(model, Kind.RERANKER)
    graph = export(source, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(graph))
    features = source.reading.features(PAIRS)
    (scores,) = session.run(
        ["logits"], {i.name: features[i.name].numpy() for i in session.get_inputs()}
    )
    np.testing.assert_allclose(scores[:, 0], theirs(model, PAIRS), atol=2e-4)
    assert isinstance(source.record, RerankerRecord)
    assert source.record.template is not None
    assert source.record.template.middle == "\n<Document>: "


def test_a_template_that_takes_long_is_refused(tmp_path: Path) -> None:
    model = zoo.build_generative_reranker("llama", tmp_path / "m")
    reading = load(model, Kind.RERANKER).reading
    assert isinstance(reading, PairReading)
    slow = "{% for i in range(90000) %}{% for j in range(20) %}{% endfor %}{% endfor %}"
    reading.tokenizer.chat_template = slow + zoo.PAIR_TEMPLATE
    with pytest.raises(UnsupportedModelError, match=r"takes longer than 0\.01 seconds"):
        reading.template(0.01)


def test_layouts_that_pad_on_the_right_are_refused(tmp_path: Path) -> None:
    model = zoo.build_generative_reranker("llama", tmp_path / "m")
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--layout", "tei"
    )
    assert outcome.code == 2
    assert "--layout can be hub, singlefile" in outcome.stderr
