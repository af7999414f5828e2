"""Texts are cut where the model's positions end, whatever its settings say."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from embconvert.folder.tokenizer_files import publish_tokenizer
from embconvert.manifest.kinds.late_interaction import LateInteractionRecord
from embconvert.models.kinds import Kind
from embconvert.source.folder import resolve_folder
from embconvert.source.positions import usable_positions
from support import zoo
from support.all_architectures import build
from support.command_line import embconvert
from support.exports import load

pytestmark = pytest.mark.integration

LONG = " ".join(zoo.SENTENCES * 20)
#: Architectures with tables of positions, and how many of MAX_POSITIONS (+ 4) they can use.
LEARNED = {
    "bert": 128, "big_bird": 128, "camembert": 131, "convbert": 128, "distilbert": 128,
    "longformer": 131, "mobilebert": 128, "mpnet": 130, "roberta": 131, "xlm-roberta": 131,
}  # fmt: skip


def name_length(model: Path, length: int) -> None:
    for file, key in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        path = model / file
        path.write_text(json.dumps({**json.loads(path.read_text()), key: length}))


@pytest.mark.parametrize("architecture", LEARNED)
def test_a_length_beyond_the_positions_is_cut_to_them(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_model(architecture, tmp_path / "model")
    name_length(model, 2000)
    source = load(model)
    assert source.max_seq_length == LEARNED[architecture]
    assert np.isfinite(np.asarray(source.encode([[LONG]])[0].sentence)).all()


@pytest.mark.parametrize("architecture", ["t5", "qwen3", "deberta-v2", "modernbert"])
def test_a_model_without_such_a_table_keeps_its_length(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_model(architecture, tmp_path / "model")
    name_length(model, 300)
    source = load(model)
    assert source.max_seq_length == 300
    assert np.isfinite(np.asarray(source.encode([[LONG]])[0].sentence)).all()


def test_a_length_within_the_positions_stays(tiny_bert: Path) -> None:
    assert load(tiny_bert).max_seq_length == 64


def test_the_length_is_published_in_all_files_and_said(tmp_path: Path) -> None:
    model = zoo.build_model("xlm-roberta", tmp_path / "model", max_seq_length=None)
    name_length(model, 512)
    outcome = embconvert(
        "export", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--skip_validation"
    )
    assert outcome.code == 0, outcome.stderr
    said = "the model has positions for 131 tokens, and its settings allow 512"
    assert said in outcome.stderr
    folder = tmp_path / "out" / "model"
    assert outcome.manifest["source"]["max_seq_length"] == 131
    assert of(folder, "sentence_bert_config.json")["max_seq_length"] == 131
    assert of(folder, "tokenizer_config.json")["model_max_length"] == 131
    assert len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(LONG).ids) == 131


def test_documents_that_have_their_own_length_are_cut_at_the_positions(tmp_path: Path) -> None:
    model = zoo.build_late_interaction("bert", tmp_path / "model")
    path = model / "sentence_bert_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"document_length": 300}))
    source = load(model, Kind.LATE_INTERACTION)
    record = source.record
    assert isinstance(record, LateInteractionRecord)
    assert record.late_interaction is not None
    assert record.late_interaction.document_length == 128
    assert source.max_seq_length == 64
    tokens = source.encode([[LONG]])[0].tokens
    assert tokens is not None
    assert np.isfinite(tokens[0]).all()


def test_a_source_that_cuts_no_text_is_cut_at_its_positions(tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "model")
    path = model / "sentence_bert_config.json"
    unlimited = {"processing_kwargs": {"text": {"truncation": False}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | unlimited))
    source = load(model)
    assert source.max_seq_length == 128
    shutil.copytree(model, tmp_path / "out")
    publish_tokenizer(source, resolve_folder(model, model_id="test"), tmp_path / "out")
    published = of(tmp_path / "out", "sentence_bert_config.json")
    assert of(tmp_path / "out", "tokenizer_config.json")["model_max_length"] == 128
    assert published["processing_kwargs"]["text"]["truncation"] is True
    file = str(tmp_path / "out" / "tokenizer.json")
    assert len(Tokenizer.from_file(file).encode(LONG).ids) == 128


def of(folder: Path, file: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / file).read_text())
    return value


def test_a_text_is_cut_where_the_biases_of_its_attention_end(tmp_path: Path) -> None:
    model = build("mpt", tmp_path / "model", max_seq_len=48)
    assert model is not None
    said: list[str] = []
    source = load(model, warn=said.append)
    assert source.max_seq_length == 48
    assert "positions for 48 tokens" in " ".join(said)
    assert np.isfinite(np.asarray(source.encode([[LONG]])[0].sentence)).all()


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_any_numbering_is_seen(offset: int) -> None:
    import torch

    words, positions = torch.nn.Embedding(50, 8), torch.nn.Embedding(40, 8)
    ids = torch.full((1, 4), 9)

    def run() -> torch.Tensor:
        return words(ids) + positions(torch.arange(4)[None] + offset)

    assert usable_positions(run, [words.weight, positions.weight], tokens=4) == 40 - offset


def test_a_table_of_distances_is_one_of_positions() -> None:
    import torch

    distances = torch.nn.Embedding(2 * 16 - 1, 8)
    places = torch.arange(4)
    rows = places[:, None] - places[None] + 15
    assert usable_positions(lambda: distances(rows), [distances.weight], tokens=4) == 16


def test_what_a_model_makes_as_it_runs_is_no_limit() -> None:
    import torch

    angles = torch.zeros(4, 8)
    assert usable_positions(lambda: angles[torch.arange(4)], [], tokens=4) is None
