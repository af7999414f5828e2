"""Fixtures of all tests."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings

from support import zoo

# How long an example takes is the machine's business, not the test's.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

pytest_plugins = ["support.containers", "support.faulty_runs", "support.workers"]


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Undoes what a test's call of the program sets, as --debug, for all processes after it."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what runs leave in the user's cache from the user, and from other sessions."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _own_scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps temporary files, which processes that tests kill leave, where pytest removes them."""
    with mock.patch.object(tempfile, "tempdir", str(tmp_path_factory.mktemp("t"))):
        os.environ["TMPDIR"] = str(tempfile.tempdir)
        yield


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2, which `make test` puts there."""
    model = Path(sys.prefix) / "demo" / "all-MiniLM-L6-v2"
    assert (model / "model.safetensors").is_file(), "run `make test`, which fetches the model"
    return model


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with sentence-transformers modules; tests must not change it."""
    return zoo.build_model("bert", tmp_path_factory.mktemp("source") / "tiny-bert")
