"""A published folder, loaded with nothing but tokenizers and ONNX Runtime, gives the source's."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers

from embconvert.folder.tokenizer_files import publish_tokenizer
from embconvert.graph.streams import hash_file
from embconvert.models.corrections import Correction
from embconvert.source.folder import resolve_folder
from support import zoo
from support.command_line import embconvert
from support.exports import export, load

pytestmark = pytest.mark.integration

TEXTS = ("SHOUTING in Capitals", "a", "", zoo.LONG_SENTENCE, "  two   spaces ")


def published_alone(file: Path, graph: Path, texts: Sequence[str]) -> Any:
    """What a program that has nothing but these two libraries makes of a tokenizer and a graph."""
    import onnxruntime

    tokenizer = Tokenizer.from_file(str(file))
    session = onnxruntime.InferenceSession(str(graph))
    encodings = tokenizer.encode_batch(list(texts))
    feed = {
        "input_ids": np.array([e.ids for e in encodings]),
        "attention_mask": np.array([e.attention_mask for e in encodings]),
        "token_type_ids": np.array([e.type_ids for e in encodings]),
    }
    named = {i.name: feed[i.name] for i in session.get_inputs()}
    return session.run(["sentence_embedding"], named)[0]


PUBLISHED = ("tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json")


def of_the_source(model: Path, texts: Sequence[str]) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model), device="cpu").encode(list(texts), batch_size=len(texts))


def change(path: Path, **values: Any) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**value, **values}))


def tokenizer_file(edit: Callable[[Tokenizer], object]) -> Callable[[Path], None]:
    def apply(model: Path) -> None:
        path = model / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        edit(tokenizer)
        tokenizer.save(str(path))

    return apply


def settings(**values: Any) -> Callable[[Path], None]:
    return lambda model: change(model / "sentence_bert_config.json", **values)


def tokenizer_settings(**values: Any) -> Callable[[Path], None]:
    return lambda model: change(model / "tokenizer_config.json", **values)


def pad_token(token: str) -> Callable[[Path], None]:
    def apply(model: Path) -> None:
        for file in ("tokenizer_config.json", "special_tokens_map.json"):
            change(model / file, pad_token=token)

    return apply


def as_the_library_does(tokenizer: Tokenizer) -> None:
    tokenizer.enable_padding(pad_id=zoo.PAD_ID, pad_token="<pad>")
    tokenizer.enable_truncation(64)


def as_minilm(tokenizer: Tokenizer) -> None:
    tokenizer.enable_padding(length=32, pad_id=zoo.PAD_ID, pad_token="<pad>")
    tokenizer.enable_truncation(32)


#: What a source's files say, and what is said of it.
SOURCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "lower case over a cased tokenizer": (settings(do_lower_case=True), "another normalizer"),
    "fixed padding and another length": (
        tokenizer_file(as_minilm), "truncates texts to the first 32",
    ),
    "padding and truncation on the left": (
        tokenizer_settings(padding_side="left", truncation_side="left"), "on the left",
    ),
    "a shorter length in the module's settings": (
        settings(max_seq_length=9), "allows 64 tokens (model_max_length)",
    ),
    "a length of each call": (
        settings(processing_kwargs={"text": {"max_length": 9, "truncation": True}}),
        "truncates texts to 9 tokens",
    ),
    "no special tokens": (
        settings(processing_kwargs={"text": {"add_special_tokens": False}}),
        "another post-processor",
    ),
    "padding to a fixed length": (
        settings(processing_kwargs={"text": {"padding": "max_length", "max_length": 70}}), "70",
    ),
    "another pad token": (pad_token("<mask>"), "(with token 4)"),
    "a token that tokenizer.json lacks": (
        tokenizer_settings(additional_special_tokens=["S"]), "another added",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its convolutions read padding: a program that pads otherwise gets other vectors.

    Its tokenizer.json says what sentence-transformers does.
    """
    model = zoo.build_model("convbert", tmp_path_factory.mktemp("source") / "model")
    tokenizer_file(as_the_library_does)(model)
    return model


@pytest.fixture(scope="module")
def graph(model: Path) -> Path:
    path = model.parent / "onnx" / "model.onnx"
    path.parent.mkdir()
    return export(load(model), path)


@pytest.mark.parametrize("name", SOURCES)
def test_the_published_files_do_to_a_text_what_the_source_does(
    name: str, model: Path, graph: Path, tmp_path: Path
) -> None:
    spoil, said = SOURCES[name]
    spoiled = Path(shutil.copytree(model, tmp_path / "model"))
    spoil(spoiled)
    reference = of_the_source(spoiled, TEXTS)
    theirs = published_alone(spoiled / "tokenizer.json", graph, TEXTS)
    assert np.abs(reference - theirs).max() > 1e-2, "it makes no difference"

    folder = tmp_path / "out"
    corrections = publish(spoiled, folder)
    assert said in " ".join(change.words for change in corrections)
    ours = published_alone(folder / "tokenizer.json", graph, TEXTS)
    np.testing.assert_allclose(ours, reference, atol=1e-4)
    # Whoever goes by sentence-transformers' files gets the same.
    for file in ("model.safetensors", "config.json", "1_Pooling", "2_Normalize"):
        (folder / file).symlink_to(spoiled / file)
    np.testing.assert_allclose(of_the_source(folder, TEXTS), reference, atol=1e-4)


def publish(model: Path, folder: Path) -> tuple[Correction, ...]:
    """Writes what is published of a tokenizer; returns what was corrected."""
    folder.mkdir()
    for file in (*PUBLISHED, "modules.json"):
        shutil.copy(model / file, folder / file)
    resolved = resolve_folder(model, model_id="test")
    return publish_tokenizer(load(model), resolved, folder)


def test_a_source_that_cuts_no_text_is_published_so(tmp_path: Path) -> None:
    model = zoo.build_model("t5", tmp_path / "model")
    settings(processing_kwargs={"text": {"truncation": False}})(model)
    texts = (zoo.LONG_SENTENCE, "a")
    corrections = publish(model, tmp_path / "out")
    words = " ".join(change.words for change in corrections)
    assert "sentence-transformers truncates no text" in words
    graph = export(load(model), tmp_path / "model.onnx")
    ours = published_alone(tmp_path / "out" / "tokenizer.json", graph, texts)
    np.testing.assert_allclose(ours, of_the_source(model, texts), atol=1e-4)
    said = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert said["model_max_length"] > len(zoo.LONG_SENTENCE)


def test_files_that_say_what_the_source_does_stay_as_they_are(model: Path, tmp_path: Path) -> None:
    change(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert publish(model, tmp_path / "out") == ()
    for file in PUBLISHED:
        assert (tmp_path / "out" / file).read_bytes() == (model / file).read_bytes(), file


def test_transformers_4_reads_what_5_wrote(model: Path, tmp_path: Path) -> None:
    """It knows neither the class nor a list in that place: Optimum's code would fail."""
    change(model / "tokenizer_config.json", extra_special_tokens=["<mask>"])
    assert publish(model, tmp_path / "out") == ()
    published = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert published["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert published["additional_special_tokens"] == ["<mask>"]
    assert "extra_special_tokens" not in published


def test_a_conversion_says_what_it_corrects_and_keeps_it_when_nothing_is_made_again(
    model: Path, tmp_path: Path
) -> None:
    spoiled = Path(shutil.copytree(model, tmp_path / "model"))
    for spoil in (settings(do_lower_case=True), tokenizer_file(as_minilm)):
        spoil(spoiled)
    words = ("export", "--model_id", spoiled, "--output_parent_dir", tmp_path / "out")
    outcome = embconvert(*words)
    assert outcome.code == 0, outcome.stderr
    said = "tokenizer.json is corrected: the source's file truncates texts to the first 32"
    assert said in outcome.stderr
    folder = tmp_path / "out" / "model"
    changes = outcome.manifest["source"]["corrections"]
    assert [change["setting"] for change in changes][:2] == ["truncation", "padding"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Changes to the tokenizer's files" in card
    assert changes[0]["source"] in card
    ours = published_alone(folder / "tokenizer.json", folder / "onnx" / "model.onnx", TEXTS)
    np.testing.assert_allclose(ours, of_the_source(spoiled, TEXTS), atol=1e-4)

    before = (folder / "tokenizer.json").read_bytes()
    again = embconvert(*words)
    assert again.code == 0, again.stderr
    assert again.manifest["source"]["corrections"] == changes
    assert "load the source" not in again.stderr
    assert (folder / "tokenizer.json").read_bytes() == before

    # What is compared goes by the published file: without a step of it, it does not pass.
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert isinstance(tokenizer.normalizer, normalizers.Sequence)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(folder / "tokenizer.json"))
    manifest = json.loads((folder / "embconvert.json").read_text())
    for file in manifest["files"]:
        file["sha256"] = hash_file(folder / file["path"])
        file["size_bytes"] = (folder / file["path"]).stat().st_size
    (folder / "embconvert.json").write_text(json.dumps(manifest))
    changed = embconvert("verify", folder, "--against", spoiled)
    assert changed.code == 8, changed.stderr
