"""What the settings of a model can make the libraries do: nothing but compute its embeddings."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embconvert.processes.no_network import forbid_network
from support import zoo
from support.command_line import files_in
from support.corpus import MARKER, Hostile
from support.faulty_runs import Runner
from support.settings_corpus import RERANKER_CORPUS, SECRET, SETTINGS_CORPUS

pytestmark = pytest.mark.integration


class Listener:
    """A server on this machine that counts who connects, and answers nobody."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def online_runner(hub: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs that may use the network as far as the environment says, with a token."""
    folder = tmp_path_factory.mktemp("marker")
    changed = {MARKER: str(folder), "HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_of_the_user"}
    before = {name: os.environ.get(name) for name in (*changed, "HF_HUB_OFFLINE")}
    os.environ.update(changed)
    os.environ.pop("HF_HUB_OFFLINE", None)
    runner = Runner(tmp_path_factory.mktemp("runner"), {"HF_HUB_OFFLINE": "0"})
    yield runner
    runner.close()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.build_reranker("bert", tmp_path_factory.mktemp("reranker") / "tiny-reranker")


def check(case: Hostile, good: Path, runner: Runner, hub: Listener, tmp_path: Path) -> None:
    """A model gets an error that names the setting, or has no effect at all."""
    model = tmp_path / "models" / "model"
    shutil.copytree(good, model)
    case.spoil(model)
    before, connections = files_in(tmp_path), hub.connections
    start = time.monotonic()
    run = runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--skip_validation",
    )  # fmt: skip
    assert time.monotonic() - start < 60
    assert hub.connections == connections
    assert list(Path(os.environ[MARKER]).iterdir()) == []
    assert "Traceback" not in run.stderr
    assert run.code == case.code, run.stderr[-3000:]
    if case.code == 0:
        published = [p for p in (tmp_path / "out" / "model").rglob("*") if p.is_file()]
        assert all(path.suffix not in (".py", ".bin") for path in published)
        tokenizer = (tmp_path / "out" / "model" / "tokenizer.json").read_text()
        assert SECRET not in tokenizer
    else:
        (error,) = run.errors
        assert case.message in error
        assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", SETTINGS_CORPUS)
def test_settings_that_reach_for_what_is_not_the_models(
    name: str, online_runner: Runner, hub: Listener, tiny_bert: Path, tmp_path: Path
) -> None:
    check(SETTINGS_CORPUS[name], tiny_bert, online_runner, hub, tmp_path)


@pytest.mark.parametrize("name", RERANKER_CORPUS)
def test_settings_of_a_reranker(
    name: str, online_runner: Runner, hub: Listener, tiny_reranker: Path, tmp_path: Path
) -> None:
    check(RERANKER_CORPUS[name], tiny_reranker, online_runner, hub, tmp_path)


def test_a_process_without_network_opens_no_socket(hub: Listener) -> None:
    """The kernel refuses; no library and no environment variable is asked."""
    child = os.fork()
    if child == 0:
        forbid_network()
        try:
            socket.create_connection(("127.0.0.1", int(hub.address.rpartition(":")[2])), 5)
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
