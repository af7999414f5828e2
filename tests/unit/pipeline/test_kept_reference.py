"""The reference that a run keeps for later ones: only its own is used."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.console import Console
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.manifest.building import LoadedSource
from embconvert.manifest.kinds import NOT_LOADED
from embconvert.models.choices import Command, Output, PoolingMode, Precision
from embconvert.models.kinds import Kind
from embconvert.models.prompts import Prompts
from embconvert.pipeline.kept_reference import KeptReference
from embconvert.pipeline.prepare import Prepared
from embconvert.pipeline.reference import ComparedTexts, Reference
from embconvert.regular_files import replace_file
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder

CONSOLE = Console(quiet=False, debug=False)
LOADED = LoadedSource(model=NOT_LOADED[Kind.EMBEDDING], modules=(), max_seq_length=8)
RNG = np.random.default_rng(0)


def texts(*ids: list[int]) -> ComparedTexts:
    arrays = tuple(np.array(one, np.int64) for one in ids)
    tokens = TokenizedTexts(ids=arrays, type_ids=tuple(map(np.zeros_like, arrays)))
    workload = Workload(similar=((0, 1),), mixed=(0,))
    return ComparedTexts(
        ids=["a", "b", "a", "a"], items=["x", "y"], tokens=tokens, workload=workload
    )


COMPARED = texts([1, 2, 3], [1, 4])


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def reference(embeddings: Embeddings, compared: ComparedTexts = COMPARED) -> Reference:
    return compared.reference(embeddings, None, floats(4, 3))


def vectors() -> Embeddings:
    return Embeddings(sentence=floats(4, 5), token_mean=floats(4, 3))


@pytest.fixture
def kept(tmp_path: Path) -> KeptReference:
    request = Request(command=Command.ALL, model_id="m")
    return KeptReference(path=tmp_path / "cache" / "r.npz", request=request, resolved=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "embeddings",
    [
        vectors(),
        Embeddings(sentence=None, token_mean=floats(4, 3)),
        Embeddings(
            sentence=floats(4, 5), token_mean=None, tokens=tuple(floats(n, 2) for n in (3, 2, 3, 3))
        ),
        Embeddings(
            sentence=None,
            token_mean=None,
            words=tuple((np.arange(n), floats(n)) for n in (3, 2, 3, 3)),
        ),
    ],
    ids=["vectors", "no sentence", "tokens", "words"],
)
def test_what_is_kept_is_read_back_to_the_bit(kept: KeptReference, embeddings: Embeddings) -> None:
    given = reference(embeddings)
    kept.write(given, LOADED, CONSOLE)
    found = kept.of_texts(COMPARED, LOADED, CONSOLE)
    assert found is not None
    for name in ("sentence", "token_mean", "tokens", "words"):
        before, after = getattr(embeddings, name), getattr(found.embeddings, name)
        assert (before is None) == (after is None)
        for a, b in zip(before or (), after or (), strict=True) if name == "words" else ():
            assert all(map(np.array_equal, a, b))
        if name != "words" and before is not None:
            assert all(map(np.array_equal, before, after))
    assert given.rows is not None and found.rows is not None
    assert np.array_equal(given.rows, found.rows)
    assert (found.ids, found.tokens, found.workload) == (given.ids, given.tokens, given.workload)


@pytest.mark.parametrize(
    ("compared", "loaded"),
    [
        (texts([1, 2, 3], [1, 5]), LOADED),
        (texts([1, 2], [3, 1, 4]), LOADED),
        (replace(COMPARED, ids=["b", "a", "b", "b"]), LOADED),
        (COMPARED, replace(LOADED, max_seq_length=16)),
        (COMPARED, replace(LOADED, prompts=Prompts(default="query"))),
        (COMPARED, replace(LOADED, modules=("Normalize",))),
    ],
    ids=["other token", "other texts", "other order", "length", "prompt", "modules"],
)
def test_it_is_not_used_for_other_texts_or_a_source_that_is_loaded_differently(
    kept: KeptReference,
    compared: ComparedTexts,
    loaded: LoadedSource,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept.write(reference(vectors()), LOADED, CONSOLE)
    assert kept.of_texts(compared, loaded, CONSOLE) is None
    assert "not used: they are of other texts" in capsys.readouterr().err


def _write_for_others(path: Path) -> None:
    path.chmod(0o666)


def _link(path: Path) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 12345, -1)


def _pickled(path: Path) -> None:
    np.savez(path, identity=np.array([{"an": "object"}], dtype=object))


@pytest.mark.parametrize(
    "change", [_write_for_others, _link, _cut, _flip, _give_away, _pickled, Path.unlink]
)
def test_a_file_that_somebody_else_may_have_written_or_that_is_damaged_is_not_used(
    kept: KeptReference, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write(reference(vectors()), LOADED, CONSOLE)
    change(kept.path)
    assert kept.of_texts(COMPARED, LOADED, CONSOLE) is None
    assert "the source's embeddings of an earlier run are not used" in capsys.readouterr().err


def test_the_reference_of_another_model_under_this_name_is_not_used(kept: KeptReference) -> None:
    """Whoever may rename files in a shared folder cannot swap models with equal tokens."""
    other = replace(kept, path=kept.path.with_name("s.npz"))
    other.write(reference(vectors()), LOADED, CONSOLE)
    other.path.rename(kept.path)
    assert kept.of_texts(COMPARED, LOADED, CONSOLE) is None


def test_nobody_else_may_ever_write_what_is_kept(kept: KeptReference) -> None:
    before = os.umask(0)
    try:
        kept.write(reference(vectors()), LOADED, CONSOLE)
        replace_file(kept.path.with_name("t"), b"", mode=0o640)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in kept.path.parent.iterdir()}
    assert modes == {"r.npz": 0o600, "t": 0o640}


@pytest.mark.parametrize(
    "embeddings",
    [
        replace(vectors(), sentence=floats(3, 5)),
        replace(vectors(), sentence=np.full((4, 5), np.nan, np.float32)),
    ],
)
def test_arrays_of_another_shape_or_not_finite_are_not_used(
    kept: KeptReference, embeddings: Embeddings
) -> None:
    kept.write(reference(embeddings), LOADED, CONSOLE)
    assert kept.of_texts(COMPARED, LOADED, CONSOLE) is None


def test_old_references_make_room(kept: KeptReference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONVERT_REFERENCE_CACHE_BYTES", "1")
    kept.write(reference(vectors()), LOADED, CONSOLE)
    newer = replace(kept, path=kept.path.with_name("s.npz"))
    newer.write(reference(vectors()), LOADED, CONSOLE)
    assert newer.is_there and not kept.is_there


def test_a_cache_that_cannot_be_written_is_said(
    kept: KeptReference, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.path.parent.write_text("a file")
    kept.write(reference(vectors()), LOADED, CONSOLE)
    assert "not kept for later runs" in capsys.readouterr().err


_TOKENIZER = '{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'


def prepared(model: Path, **changes: Any) -> Prepared:
    request = Request(command=Command.ALL, model_id=str(model), **changes)
    resolved = replace(resolve_folder(model, model_id=str(model)), kind=Kind.EMBEDDING)
    return Prepared(request=request, resolved=resolved, plan=None, old=None)  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "tokenizer.json").write_text(_TOKENIZER)
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": PoolingMode.CLS}, {"normalize": True}, {"dimensions": 4}, {"device": "cuda"},
        {"output": Output.SENTENCE}, {"full_validation": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_the_reference_changes_its_name(model: Path, changes: dict[str, Any]) -> None:
    usual = KeptReference.of(prepared(model), in_pieces=False)
    other = KeptReference.of(prepared(model, **changes), in_pieces=False)
    pieces = KeptReference.of(prepared(model), in_pieces=True)
    assert usual is not None and other is not None and pieces is not None
    assert len({usual.path, other.path, pieces.path}) == 3


def test_other_files_have_another_name_and_another_precision_has_the_same(model: Path) -> None:
    before = KeptReference.of(prepared(model), in_pieces=False)
    other = KeptReference.of(prepared(model, quantize=(Precision.Q4,)), in_pieces=False)
    (model / "tokenizer.json").write_text(_TOKENIZER.replace('"a"', '"b"'))
    after = KeptReference.of(prepared(model), in_pieces=False)
    assert before is not None and other is not None and after is not None
    assert before.path == other.path != after.path


@pytest.mark.parametrize(
    "changes", [{"model_path": Path("model.onnx")}, {"trust_remote_code": True}], ids=str
)
def test_what_may_depend_on_more_than_the_models_files_is_not_kept(
    model: Path, changes: dict[str, Any]
) -> None:
    assert KeptReference.of(prepared(model, **changes), in_pieces=False) is None


def test_a_user_without_a_home_keeps_none(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a folder named ~ where the user happens to be."""
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")  # what expanduser() makes of a user without an entry
    assert KeptReference.of(prepared(model), in_pieces=False) is None


def test_a_cache_that_cannot_be_looked_into_has_none(kept: KeptReference) -> None:
    long = replace(kept, path=Path("/", "a" * 300, "r.npz"))
    assert not long.is_there
