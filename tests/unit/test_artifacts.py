"""The output folder is the old complete state or the new one."""

import errno
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import files_in
from examples import manifest_of

from embconvert.errors import OutputError
from embconvert.folder.disk import output_errors, refuse_full_disk
from embconvert.folder.published import read_manifest
from embconvert.folder.staging import Staging
from embconvert.graph.streams import hash_file
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.codec import as_text, parse_manifest
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.values import Fusion, KeptNode, TensorInfo
from embconvert.reporting.table import fused_words, table_rows


def record(path: Path, file: str, **changes: Any) -> ArtifactRecord:
    values: dict[str, Any] = {
        "path": file,
        "sha256": hash_file(path),
        "size_bytes": path.stat().st_size,
        "external_data": None,
        "precision": Precision.FLOAT32,
        "optimization_level": OptimizationLevel.NONE,
        "opset": 17,
        "inputs": (TensorInfo(name="input_ids", dtype="int64", shape=("batch", "seq")),),
        "outputs": (TensorInfo(name="sentence_embedding", dtype="float", shape=("batch", 4)),),
        "operators": {"com.microsoft.Attention": 2, "Softmax": 1},
        "method": "trace",
        "settings": {},
        "key": "0" * 64,
        "made_from": None,
        "fidelity": None,
        "duration_s": 1.5,
        "peak_memory_bytes": 10,
        "min_onnxruntime": "1.14",
    }
    return ArtifactRecord(**(values | changes))


def manifest(staging: Staging, *records: ArtifactRecord) -> Manifest:
    return manifest_of(*records, files=staging.other_files())


def publish(target: Path, **graphs: str) -> Manifest:
    """Publishes graphs, name to content, as one run does."""
    with Staging(target, print) as staging:
        records = []
        for name, content in graphs.items():
            file = f"onnx/{name}.onnx"
            staging.path(file).write_text(content)
            records.append(record(staging.path(file), file))
        staging.path("config.json").write_text("{}")
        made = manifest(staging, *records)
        old = read_manifest(target)
        staging.publish(made, old)
    return made


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    publish(tmp_path / "org" / "model", model="graph")
    assert set(files_in(tmp_path)) == {
        "org/model/config.json", "org/model/embconvert.json", "org/model/onnx/model.onnx",
    }  # fmt: skip


def test_an_old_folder_is_replaced_and_the_users_own_files_stay(tmp_path: Path) -> None:
    target = tmp_path / "model"
    publish(target, model="old", model_opt1="old")
    (target / "notes.txt").write_text("mine")
    publish(target, model="new")
    assert {name: (target / name).read_text() for name in ("notes.txt", "onnx/model.onnx")} == {
        "notes.txt": "mine",
        "onnx/model.onnx": "new",
    }
    assert not (target / "onnx" / "model_opt1.onnx").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def no_swapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system such as NFS."""
    monkeypatch.setattr("embconvert.folder.staging.exchange", lambda *_: False)


@pytest.mark.usefixtures("no_swapping")
def test_a_staged_folder_that_another_run_removed_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each machine has locks of its own: the name is there again, its content is not."""
    target = tmp_path / "model"
    publish(target, model="old")
    with Staging(target, print) as staging:
        staging.path("config.json").write_text("{}")
        (target / "notes.txt").write_text("mine")
        made, link = manifest(staging), staging._link

        def link_later(source: Path, file: Path) -> None:
            staging.folder.rename(tmp_path / "gone")
            file.parent.mkdir(parents=True)
            link(source, file)

        monkeypatch.setattr(staging, "_link", link_later)
        with pytest.raises(OutputError, match="was removed while the run worked in it"):
            staging.publish(made, read_manifest(target))
    assert (target / "onnx" / "model.onnx").read_text() == "old"


@pytest.mark.usefixtures("no_swapping")
def test_where_folders_cannot_be_swapped_the_old_one_steps_aside(tmp_path: Path) -> None:
    publish(tmp_path / "model", model="old", model_opt1="old")
    publish(tmp_path / "model", model="new")
    assert set(files_in(tmp_path)) == {
        "model/config.json", "model/embconvert.json", "model/onnx/model.onnx",
    }  # fmt: skip
    assert (tmp_path / "model" / "onnx" / "model.onnx").read_text() == "new"


@pytest.mark.usefixtures("no_swapping")
def test_a_folder_that_stepped_aside_comes_back_when_the_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "model", model="old")
    with monkeypatch.context() as failing, pytest.raises(ZeroDivisionError):
        failing.setattr(Staging, "_rename", lambda self: not self.target.exists() and 1 // 0)
        publish(tmp_path / "model", model="new")
    assert (tmp_path / "model" / "onnx" / "model.onnx").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_stepped_aside_comes_back_after_a_kill(tmp_path: Path) -> None:
    publish(tmp_path / "model", model="old")
    (tmp_path / "model").rename(tmp_path / ".model.embconvert-old-0123abcd")
    with Staging(tmp_path / "model", print):
        assert (tmp_path / "model" / "onnx" / "model.onnx").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_whatever_the_user_has_in_the_folder_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    publish(target, model="old")
    (target / "empty" / "folders").mkdir(parents=True)
    (target / "link").symlink_to("nowhere")
    os.mkfifo(target / "pipe")
    target.chmod(0o2770)
    publish(target, model="new")
    assert (target / "empty" / "folders").is_dir()
    assert str((target / "link").readlink()) == "nowhere"
    assert (target / "pipe").is_fifo()
    assert target.stat().st_mode & 0o7777 == 0o2770


def test_a_folder_that_something_is_mounted_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="something is mounted there"), output_errors(tmp_path):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(tmp_path))


def test_a_run_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Staging(tmp_path / "org" / "model", print) as staging:
        staging.path("onnx/model.onnx").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with Staging(tmp_path / "model", said.append):
            order.append("second")

    with Staging(tmp_path / "model", print):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "waiting" in said[0]


def test_after_kill_9_the_journal_tells_what_was_finished(tmp_path: Path) -> None:
    program = f"""
import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
import os, signal
from pathlib import Path
from test_artifacts import Staging, manifest, record
with Staging(Path({str(tmp_path / "model")!r}), print) as staging:
    staging.path("onnx/model.onnx").write_text("done")
    finished = record(staging.path("onnx/model.onnx"), "onnx/model.onnx")
    staging.write_manifest(manifest(staging, finished))
    staging.path("onnx/model_opt1.onnx").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    with Staging(tmp_path / "model", print) as staging:
        ((journal, folder),) = staging.journals()
        assert [a.path for a in journal.artifacts] == ["onnx/model.onnx"]
        assert staging.adopt(journal.artifacts[0], folder, journal.artifacts[0].path)
        assert staging.path("onnx/model.onnx").read_text() == "done"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_had_finished_outlives_a_run_that_fails(tmp_path: Path) -> None:
    kept = Staging(tmp_path / "model", print)
    kept.__enter__()
    kept._lock.release()
    kept.path("onnx/model.onnx").write_text("done")
    kept.write_manifest(manifest(kept, record(kept.path("onnx/model.onnx"), "onnx/model.onnx")))
    with pytest.raises(ZeroDivisionError), Staging(tmp_path / "model", print):
        raise ZeroDivisionError
    with Staging(tmp_path / "model", print) as staging:
        assert [folder for _, folder in staging.journals()] == [kept.folder]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF])
def test_a_file_system_without_locks_is_told_of(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    said: list[str] = []
    with Staging(tmp_path / "model", said.append):
        pass
    assert said == [f"the file system of {tmp_path} has no locks"]
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_is_not_adopted(tmp_path: Path) -> None:
    made = publish(tmp_path / "model", model="graph")
    (tmp_path / "model" / "onnx" / "model.onnx").write_text("GRAPH")
    with Staging(tmp_path / "model", print) as staging:
        assert not staging.adopt(made.artifacts[0], tmp_path / "model", made.artifacts[0].path)


@pytest.mark.parametrize("number", [28, 30, 13])
def test_what_the_system_refuses_is_an_output_error_with_a_hint(
    number: int, tmp_path: Path
) -> None:
    with pytest.raises(OutputError) as caught, output_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "file"))
    assert "--output_parent_dir" in caught.value.hint


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    made = publish(tmp_path / "model", model="graph")
    assert read_manifest(tmp_path / "model") == made


def test_the_closing_table_compares_with_the_export(tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    big.write_bytes(bytes(1000))
    small.write_bytes(bytes(250))
    rows = table_rows(
        [record(big, "onnx/model.onnx"), record(small, "onnx/q.onnx", made_from="0" * 64)]
    )
    assert [row[2] for row in rows] == ["100%", "25%"]
    assert rows[1][3] == "not verified"


def test_fusions_survive_json_and_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "graph").write_text("x")
    fusions = (
        Fusion(kind="attention", fused=2, left={"it is of a form that no rule knows": 1}),
        Fusion(kind="GELU", fused=4, left={}),
    )
    made = replace(record(tmp_path / "graph", "onnx/model.onnx"), fusions=fusions)
    manifest = replace(publish(tmp_path / "model", model="graph"), artifacts=(made,))
    assert parse_manifest(as_text(manifest).encode()).artifacts[0].fusions == fusions
    assert fused_words(fusions) == "2 of 3 attention, 4 of 4 GELU"
    assert made.fused_operators == {"com.microsoft.Attention": 2}


def test_nodes_that_were_kept_survive_json(tmp_path: Path) -> None:
    (tmp_path / "graph").write_text("x")
    kept = (KeptNode(node="layer.3/MatMul", operator="MatMul", reason="its values are large"),)
    made = replace(record(tmp_path / "graph", "onnx/model.onnx"), kept=kept)
    manifest = replace(publish(tmp_path / "model", model="graph"), artifacts=(made,))
    assert parse_manifest(as_text(manifest).encode()).artifacts[0].kept == kept


def test_a_disk_that_is_too_small_is_found_before_work_starts(tmp_path: Path) -> None:
    refuse_full_disk(tmp_path / "not" / "there", 1)
    with pytest.raises(OutputError, match=r"about 1152921504\.6 GB, .* are free") as caught:
        refuse_full_disk(tmp_path / "not" / "there", 2**60)
    assert "--output_parent_dir" in caught.value.hint
