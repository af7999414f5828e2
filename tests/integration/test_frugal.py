"""With little memory, the source and the graphs run layer by layer; what is written is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.segments import PiecewiseGraph, open_mapped
from support import zoo
from support.command_line import LARGE_MODEL, LITTLE_MEMORY, convert, files_in
from support.exports import export, load, random_feed

pytestmark = pytest.mark.integration


def test_with_little_memory_the_files_are_the_same(tiny_bert: Path, tmp_path: Path) -> None:
    precisions = ("--quantize", "Float16,Q8", "--min_cosine", 0.9)
    much, little = (
        convert(tiny_bert, tmp_path / name, *precisions, env=env)
        for name, env in (("much", LARGE_MODEL), ("little", LITTLE_MEMORY))
    )
    assert "layer by layer" in little.stderr
    assert "layer by layer" not in much.stderr
    assert little.manifest["verification"]["execution"] == "layer by layer"
    hashes = [
        {a["path"]: (a["sha256"], a["external_data"]) for a in run.manifest["artifacts"]}
        for run in (much, little)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 4
    assert all(external is not None for _, external in hashes[0].values())
    figures = [
        [a["fidelity"] for a in r.manifest["artifacts"] if "fidelity" in a] for r in (much, little)
    ]
    for ours, theirs in zip(*figures, strict=True):
        assert ours["similarity"]["mean"] == pytest.approx(theirs["similarity"]["mean"])
    assert not [file for file in files_in(tmp_path) if ".mapped" in file]


@pytest.mark.parametrize("architecture", ["deberta", "longformer", "qwen3"])
def test_a_graph_in_pieces_gives_what_it_gives_whole(architecture: str, tmp_path: Path) -> None:
    path = export(load(zoo.build_model(architecture, tmp_path / "m")), tmp_path / "graph.onnx")
    proto, weights = hollow_out(read_model(path))
    graph = PiecewiseGraph(proto, weights, path.parent, piece_bytes=1 << 14)
    session = open_session(path, session_options())
    random = np.random.default_rng(0)
    feeds = [
        {name: feed[name] for name in graph.inputs}
        for feed in (random_feed(random, *shape, left=False) for shape in ((1, 5, 0), (3, 23, 4)))
    ]
    found: list[dict[str, Any]] = [{} for _ in feeds]
    for index, values in graph.pieces(feeds):
        found[index] |= values
    assert len(graph) > 1
    for feed, values in zip(feeds, found, strict=True):
        for name, expected in zip(graph.outputs, session.run(None, feed), strict=True):
            np.testing.assert_allclose(values[name], expected, atol=1e-5)


def test_a_graph_with_mapped_weights_gives_the_same_and_leaves_no_file(tmp_path: Path) -> None:
    path = export(load(zoo.build_model("qwen3", tmp_path / "m")), tmp_path / "graph.onnx")
    before = files_in(tmp_path)
    mapped = open_mapped(path, path.parent, session_options())
    whole = open_session(path, session_options())
    feed = random_feed(np.random.default_rng(0), 3, 23, 4, left=False)
    feed = {value.name: feed[value.name] for value in whole.get_inputs()}
    for found, expected in zip(mapped.run(None, feed), whole.run(None, feed), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert files_in(tmp_path) == before
