"""The output folder is the old complete state or the new one."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from embconvert.errors import OutputError
from embconvert.folder.parent import Parent
from embconvert.folder.published import read_manifest
from embconvert.folder.staging import Staging
from embconvert.graph.runtime import session_options
from embconvert.graph.segments import mapped
from embconvert.manifest import Manifest
from support.command_line import files_in
from support.staged import FolderWithoutSwap, manifest, record


def publish(
    target: Path, *, open_parent: Callable[[Path], Parent] = Parent, **graphs: str
) -> Manifest:
    """Publishes graphs, name to content, as one run does."""
    with Staging(target, print, open_parent) as staging:
        records = []
        for name, content in graphs.items():
            file = f"onnx/{name}.onnx"
            staging.path(file).write_text(content)
            records.append(record(staging.path(file), file))
        staging.path("config.json").write_text("{}")
        made = manifest(staging, *records)
        old = read_manifest(target)
        staging.complete(made, old)
        staging.swap()
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


def test_a_staged_folder_that_another_run_removed_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each machine has locks of its own: the name is there again, its content is not."""
    target = tmp_path / "model"
    publish(target, model="old")
    link = os.link
    with Staging(target, print) as staging:
        staging.path("config.json").write_text("{}")
        (target / "notes.txt").write_text("mine")
        made = manifest(staging)

        def link_later(source: Path, file: Path) -> None:
            staging.folder.rename(tmp_path / "gone")
            file.parent.mkdir(parents=True)
            link(source, file)

        monkeypatch.setattr(os, "link", link_later)
        with pytest.raises(OutputError, match="was removed during the run"):
            staging.complete(made, read_manifest(target))
            staging.swap()
    assert (target / "onnx" / "model.onnx").read_text() == "old"


def test_where_folders_cannot_be_swapped_the_old_one_steps_aside(tmp_path: Path) -> None:
    publish(tmp_path / "model", model="old", model_opt1="old")
    publish(tmp_path / "model", model="new", open_parent=FolderWithoutSwap)
    assert set(files_in(tmp_path)) == {
        "model/config.json", "model/embconvert.json", "model/onnx/model.onnx",
    }  # fmt: skip
    assert (tmp_path / "model" / "onnx" / "model.onnx").read_text() == "new"


class Failing(FolderWithoutSwap):
    """Its disk fails just after the old folder stepped aside."""

    def move(self, name: str, to: str) -> None:
        if "-staging-" in name and to == "model" and "model" not in self.folders("model"):
            raise ZeroDivisionError
        super().move(name, to)


def test_a_folder_that_stepped_aside_comes_back_when_the_run_fails(tmp_path: Path) -> None:
    publish(tmp_path / "model", model="old")
    with pytest.raises(ZeroDivisionError):
        publish(tmp_path / "model", model="new", open_parent=Failing)
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


def killed(target: Path) -> None:
    """Leaves what a run leaves that is killed with one graph finished and one half-written."""
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import os, signal
from pathlib import Path
from embconvert.folder.staging import Staging
from support.staged import manifest, record
with Staging(Path({str(target)!r}), print) as staging:
    staging.path("onnx/model.onnx").write_text("done")
    finished = record(staging.path("onnx/model.onnx"), "onnx/model.onnx")
    staging.write_manifest(manifest(staging, finished))
    staging.path("onnx/model_opt1.onnx").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL


def test_after_kill_9_the_journal_tells_what_was_finished(tmp_path: Path) -> None:
    killed(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with Staging(tmp_path / "model", print) as staging:
        ((journal, folder),) = staging.journals()
        assert [a.path for a in journal.artifacts] == ["onnx/model.onnx"]
        assert staging.adopt(journal.artifacts[0], folder, journal.artifacts[0].path)
        assert staging.path("onnx/model.onnx").read_text() == "done"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_had_finished_outlives_a_run_that_fails(tmp_path: Path) -> None:
    killed(tmp_path / "model")
    with pytest.raises(ZeroDivisionError), Staging(tmp_path / "model", print):
        raise ZeroDivisionError
    with Staging(tmp_path / "model", print) as staging:
        assert [journal.artifacts[0].path for journal, _ in staging.journals()] == [
            "onnx/model.onnx"
        ]


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


def test_temporary_graphs_of_a_job_beside_are_not_listed(tmp_path: Path) -> None:
    with Staging(tmp_path / "model", print) as staging:
        onnx_folder = staging.path("onnx/model.onnx").parent
        staging.path("config.json").write_text("{}")
        with mapped(onnx.ModelProto(), {}, onnx_folder, session_options()) as piece:
            assert piece.parent == onnx_folder
            assert [file.path for file in staging.other_files()] == ["config.json"]


def test_a_changed_file_is_not_adopted(tmp_path: Path) -> None:
    made = publish(tmp_path / "model", model="graph")
    (tmp_path / "model" / "onnx" / "model.onnx").write_text("GRAPH")
    with Staging(tmp_path / "model", print) as staging:
        assert not staging.adopt(made.artifacts[0], tmp_path / "model", made.artifacts[0].path)


def test_a_manifest_survives_its_file(tmp_path: Path) -> None:
    made = publish(tmp_path / "model", model="graph")
    assert read_manifest(tmp_path / "model") == made
