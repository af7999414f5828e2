"""External data is a file beside its graph; in a hub cache both are links to blobs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embconvert.graph.external_data import file_beside

DATA = Path("model.onnx_data")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A hub cache with two models, and a file that belongs to neither."""
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("models--a--b", "models--c--d"):
        blobs, onnx = tmp_path / name / "blobs", tmp_path / name / "snapshots" / "0a" / "onnx"
        blobs.mkdir(parents=True)
        onnx.mkdir(parents=True)
        for blob, file in (("aa", "model.onnx"), ("bb", "model.onnx_data")):
            (blobs / blob).write_bytes(blob.encode())
            (onnx / file).symlink_to(f"../../../blobs/{blob}")
    return tmp_path


def graph_in(cache: Path, model: str = "models--a--b") -> Path:
    return cache / model / "snapshots" / "0a" / "onnx" / "model.onnx"


def test_a_file_beside_the_graph_is_found(tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes(b"weights")
    assert file_beside(tmp_path / "model.onnx", DATA) == tmp_path / DATA


def test_links_of_a_hub_cache_to_their_blobs_are_followed(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = file_beside(graph_in(cache), DATA)
    assert found == (cache / "models--a--b" / "blobs" / "bb").resolve()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "cache"
    elsewhere.symlink_to(cache)  # as a home folder on another disk
    assert file_beside(graph_in(elsewhere), DATA) == found


def to(target: str) -> Callable[[Path], None]:
    def spoil(cache: Path) -> None:
        data = graph_in(cache).with_name(DATA.name)
        data.unlink()
        data.symlink_to(target)

    return spoil


def blob_that_is_a_link(cache: Path) -> None:
    blob = cache / "models--a--b" / "blobs" / "bb"
    blob.unlink()
    blob.symlink_to(cache / "secret")


def graph_that_is_no_link(cache: Path) -> None:
    """ONNX Runtime would look for its data in another folder."""
    graph = graph_in(cache)
    graph.unlink()
    graph.write_bytes(b"graph")


def blobs_that_are_a_link(cache: Path) -> None:
    blobs = cache / "models--a--b" / "blobs"
    blobs.rename(cache / "blobs")
    blobs.symlink_to("../blobs")


@pytest.mark.parametrize(
    "spoil",
    [
        to("/etc/passwd"),
        to("../../../../secret"),
        to("../../../../models--c--d/blobs/bb"),
        to("../../../blobs/../../secret"),
        to("../model.onnx_data"),
        blob_that_is_a_link,
        blobs_that_are_a_link,
        graph_that_is_no_link,
    ],
)
def test_links_to_elsewhere_are_refused_as_links(
    spoil: Callable[[Path], None], cache: Path
) -> None:
    spoil(cache)
    with pytest.raises(ValueError, match="is a link, which is followed only inside"):
        file_beside(graph_in(cache), DATA)


def test_a_folder_that_is_no_hub_cache_may_have_no_links(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / DATA).symlink_to("weights")
    with pytest.raises(ValueError, match="is a link"):
        file_beside(tmp_path / "model.onnx", DATA)


@pytest.mark.parametrize("location", ["../data", "/etc/passwd", "below/data", "missing", "..", ""])
def test_what_is_not_beside_the_graph_is_named(location: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    (tmp_path / "onnx" / "below").mkdir(parents=True)
    (tmp_path / "onnx" / "below" / "data").write_bytes(b"")
    with pytest.raises(ValueError, match="which is not a file in the same folder"):
        file_beside(tmp_path / "onnx" / "model.onnx", Path(location))


def test_a_blob_that_was_removed_is_missing(cache: Path) -> None:
    (cache / "models--a--b" / "blobs" / "bb").unlink()
    with pytest.raises(ValueError, match="which is not a file in the same folder"):
        file_beside(graph_in(cache), DATA)
