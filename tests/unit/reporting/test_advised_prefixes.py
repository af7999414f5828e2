"""Prefixes that only a model's card asks for are quoted as advice, and are in the code's texts."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.manifest import Manifest
from embconvert.models.prompts import NO_PROMPTS, Prompt, Prompts
from embconvert.reporting.advised_prefixes import ADVICE, Advice, advice_for, advised_prompts
from embconvert.reporting.card import model_card
from embconvert.reporting.home import Home
from embconvert.reporting.snippets import snippets
from support.examples import published

E5 = "intfloat/e5-small-v2"


def of(manifest: Manifest, model_id: str, revision: str | None = "1" * 40) -> Manifest:
    return replace(manifest, source=replace(manifest.source, model_id=model_id, revision=revision))


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.models[0])
def test_every_row_has_its_source_and_models_of_no_other(advice: Advice) -> None:
    assert advice.source.startswith("https://huggingface.co/")
    assert advice.source.removeprefix("https://huggingface.co/") in advice.models
    others = {model for other in ADVICE if other is not advice for model in other.models}
    assert not others & set(advice.models)
    assert all(prefix.endswith((" ", "：")) for _, prefix in advice.prefixes)


def code_of(manifest: Manifest, folder: Path) -> dict[str, str]:
    made = snippets(manifest, manifest.artifacts[2], folder, home=Home(name="a"))
    return {snippet.key: snippet.code for snippet in made}


def test_the_card_quotes_it(tmp_path: Path) -> None:
    manifest = of(published(tmp_path), E5)
    card = model_card(manifest, tmp_path, home=Home(name="a"))
    assert f"[model card](https://huggingface.co/{E5})" in card
    assert '`"passage: "`' in card
    assert "the code below has it in its texts" in card


def test_the_code_of_each_program_has_it_in_its_texts(tmp_path: Path) -> None:
    code = code_of(of(published(tmp_path), E5), tmp_path)
    one_text_only = {"langchain4j"}
    no_texts = {"spring-ai"}
    for program in code.keys() - no_texts:
        assert "query:" in code[program], program
        assert "passage:" in code[program] or program in one_text_only, program


def test_sentence_transformers_is_not_asked_for_prompts_that_it_does_not_know(
    tmp_path: Path,
) -> None:
    code = code_of(of(published(tmp_path), E5), tmp_path)["sentence-transformers"]
    assert 'queries = model.encode([\n    "query: ' in code
    assert 'documents = model.encode([\n    "passage: ' in code
    assert "encode_query" not in code


def test_a_document_without_a_prefix_stays_as_it_is(tmp_path: Path) -> None:
    code = code_of(of(published(tmp_path), "BAAI/bge-small-en-v1.5"), tmp_path)
    assert '"Represent this sentence for searching relevant passages: How' in code["onnxruntime"]
    assert '    "To change your login' in code["onnxruntime"]


def test_prefixes_that_need_suffixes_are_in_no_code(tmp_path: Path) -> None:
    manifest = of(published(tmp_path), "tomaarsen/Qwen3-Reranker-0.6B-seq-cls")
    assert advised_prompts(manifest) == NO_PROMPTS
    assert advised_prompts(of(published(tmp_path), "someone/model")) == NO_PROMPTS


def test_what_goes_after_a_text_is_quoted_with_what_it_is_for(tmp_path: Path) -> None:
    manifest = of(published(tmp_path), "tomaarsen/Qwen3-Reranker-0.6B-seq-cls")
    card = model_card(manifest, tmp_path, home=Home(name="a"))
    assert '`"<Document>: "` before a document; and for a suffix: `"\\n"` after a query' in card
    assert '" after a document. Neither' in card
    assert "puts them there" in card


def test_a_model_is_known_by_its_repository_only(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    assert advice_for(of(manifest, E5)) is not None
    assert advice_for(of(manifest, "./e5-small-v2", revision=None)) is None
    assert advice_for(of(manifest, E5, revision=None)) is None
    assert advice_for(of(manifest, "someone/e5-small-v2")) is None
    assert "asks for" not in model_card(manifest, tmp_path, home=Home(name="a"))


def test_prompts_of_the_settings_make_advice_needless(tmp_path: Path) -> None:
    manifest = of(published(tmp_path), E5)
    prompts = Prompts(named=(Prompt(name="query", text="q: "),))
    assert advice_for(replace(manifest, source=replace(manifest.source, prompts=prompts))) is None
