"""What is up to date is known from the manifest and the sizes of files alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from embconvert.fidelity.texts import calibration_texts
from embconvert.folder.published import published_manifest
from embconvert.json_files import write_json
from embconvert.manifest import MANIFEST_FILE, ArtifactRecord
from embconvert.manifest.codec import as_text
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.manifest.kinds.sparse import SparseRecord
from embconvert.models.choices import Command, Layout, Output, PoolingMode, Precision
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.source_records import FileRecord
from embconvert.models.values import TOKEN_WEIGHTS
from embconvert.pipeline.freshness import current_manifest, current_manifests
from embconvert.plan.plan import make_steps
from embconvert.plan.reuse import versions
from embconvert.plan.search import make_search
from embconvert.request.records import Request
from support.examples import fidelity, graph, published, similarity

COMMIT = "1234567890" * 4
REQUEST = Request(
    command=Command.ALL, model_id="org/m", quantize=(Precision.QINT8,), min_cosine=0.98
)
CALIBRATION = calibration_texts(None).digest


def convert(
    folder: Path,
    request: Request = REQUEST,
    kind: Kind = Kind.EMBEDDING,
    source: Mapping[str, Any] = MappingProxyType({}),
    **other_versions: str,
) -> None:
    """Leaves what the request would leave, a search's second candidate.

    Args:
        folder: Where.
        request: What is asked for.
        kind: Of the model.
        source: What the manifest says of it, if not the usual.
        other_versions: Of libraries that were installed then.
    """
    installed = {**versions(), **other_versions}
    search = make_search(request, CALIBRATION, kind=kind)
    steps = make_steps(request, CALIBRATION, kind=kind)
    steps = (*steps, *(search.candidates[1:2] if search else ()))
    made: dict[str, ArtifactRecord] = {}
    folder.mkdir(exist_ok=True)
    for step in steps:
        digest = made[step.source].digest if step.source else "0" * 64
        name = step.file.rpartition("/")[2].removesuffix(".onnx")
        loss, place = (0.011, 20) if step.stage == "quantize" else (1e-9, 0)
        near = similarity(loss, KINDS[kind].measure)
        made[step.file] = graph(
            folder, name, 1000,
            key=step.key(digest, installed), precision=step.precision,
            fidelity=fidelity(loss, bin_number=place, similarity=near),
        )  # fmt: skip
    published(folder, *made.values(), **source)


def is_current(folder: Path, source: str = COMMIT, **changes: Any) -> bool:
    return current_manifest(replace(REQUEST, **changes), folder, source) is not None


def test_what_was_made_of_the_same_is_up_to_date(tmp_path: Path) -> None:
    assert not is_current(tmp_path / "m")
    convert(tmp_path / "m")
    assert is_current(tmp_path / "m")
    # What doesn't decide the files may differ.
    assert is_current(tmp_path / "m", quiet=True, device="cuda", revision="main", quantize=())


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "f" * 40},
        {"trust_remote_code": True},
        {"opset": 18},
        {"pooling": PoolingMode.CLS},
        {"optimize": 2},
        {"quantize": (Precision.QINT8, Precision.FLOAT16)},
        {"per_channel": False},
        {"min_cosine": 0.99},
        {"layout": Layout.FASTEMBED},
        {"min_onnxruntime": (1, 15)},
    ],
)
def test_another_source_option_or_floor_is_work(changes: dict[str, Any], tmp_path: Path) -> None:
    convert(tmp_path / "m")
    assert not is_current(tmp_path / "m", **changes)


def test_another_library_is_work(tmp_path: Path) -> None:
    convert(tmp_path / "m", onnxruntime="0.1")
    assert not is_current(tmp_path / "m")


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer_config.json", "embconvert.json"])
def test_a_file_that_is_gone_or_cut_off_is_work(file: str, tmp_path: Path) -> None:
    convert(tmp_path / "m")
    path = tmp_path / "m" / file
    path.write_bytes(path.read_bytes()[:-2])
    assert not is_current(tmp_path / "m")
    path.unlink()
    assert not is_current(tmp_path / "m")


def test_whatever_a_search_ended_with_is_up_to_date(tmp_path: Path) -> None:
    request = replace(REQUEST, quantize=(), auto=True)
    convert(tmp_path / "m", request)
    assert current_manifest(request, tmp_path / "m", COMMIT) is not None
    assert not is_current(tmp_path / "m")  # which is made for a budget, and so is not this file


def test_a_local_source_that_has_routes_now_is_work(tmp_path: Path) -> None:
    folder, source = tmp_path / "m", tmp_path / "source"
    convert(folder)
    made = published_manifest(folder)
    made = replace(made, source=replace(made.source, revision=None))
    (folder / MANIFEST_FILE).write_text(as_text(made))
    source.mkdir()
    library = "sentence_transformers.models"
    write_json(source / "modules.json", [{"path": "", "type": f"{library}.Router"}])
    settings = {
        "types": {"a": f"{library}.Transformer"},
        "structure": {"query": ["a"], "document": ["a"]},
    }
    write_json(source / "router_config.json", settings)
    request = replace(REQUEST, model_id=str(source))
    assert current_manifests(request, folder, source) == ()


@pytest.mark.parametrize(("model_id", "needed"), [("./zerank-2", None), ("me/plain", "zerank")])
def test_a_reranker_is_up_to_date_with_the_template_that_its_name_or_an_option_chooses(
    model_id: str, needed: str | None, tmp_path: Path
) -> None:
    request = replace(REQUEST, reranker_template="zerank")
    record = RerankerRecord(labels=1, template_name="zerank")
    source = {"model_id": model_id, "model_type": "qwen3", "model": record}
    convert(tmp_path / "m", request, Kind.RERANKER, source)
    for name in (None, "zerank", "qwen3-reranker"):
        expected = name in ("zerank", needed)
        assert is_current(tmp_path / "m", reranker_template=name) == expected


def test_what_only_a_task_made_of_a_kind_is_work_without_it(tmp_path: Path) -> None:
    sparse, named = tmp_path / "sparse", tmp_path / "named"
    convert(sparse, REQUEST, Kind.SPARSE, {"model": SparseRecord()})
    assert is_current(sparse, task="fill-mask")
    assert not is_current(sparse)
    convert(named, source={"model_id": "org/zerank-2", "model_type": "qwen3"})
    assert is_current(named, task="feature-extraction")
    assert not is_current(named)


def test_token_logits_that_the_model_does_not_have_are_not_asked_for_again(tmp_path: Path) -> None:
    convert(tmp_path / "m", replace(REQUEST, quantize=()))
    manifest = published_manifest(tmp_path / "m")
    source = replace(manifest.source, modules=(TOKEN_WEIGHTS,))
    (tmp_path / "m" / MANIFEST_FILE).write_text(as_text(replace(manifest, source=source)))
    assert is_current(tmp_path / "m", output=Output.LOGITS)


def test_what_lacks_heads_is_up_to_date_only_for_who_asks_for_none(tmp_path: Path) -> None:
    convert(tmp_path / "m")
    manifest = published_manifest(tmp_path / "m")
    head = FileRecord(path="sparse_linear.pt", sha256="0" * 64, size_bytes=1)
    source = replace(manifest.source, files=(*manifest.source.files, head))
    changed = as_text(replace(manifest, source=source))
    (tmp_path / "m" / MANIFEST_FILE).write_text(changed, encoding="utf-8")
    assert is_current(tmp_path / "m", task="sentence-similarity")
    assert not is_current(tmp_path / "m")
    assert not is_current(tmp_path / "m", task="hybrid")
