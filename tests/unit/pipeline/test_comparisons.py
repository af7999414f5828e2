"""What the graphs of a run are compared with, and on which texts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from embconvert.errors import FidelityError
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor
from embconvert.folder.staging import Staging
from embconvert.models.prompts import Prompt, Prompts
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.comparisons import Comparisons
from embconvert.pipeline.kept_reference import KeptReference
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.scheduler import NeedsFirst
from embconvert.plan.jobs import Action, Job
from embconvert.plan.steps import Step
from embconvert.processes.worker import finish
from support.run_contexts import run_context

#: The model is so large that a sample of the texts is compared first.
SAMPLE = "all --model_id m --optimize 1"
ALL_TEXTS = f"{SAMPLE} --full_validation"

LOAD = Job(name="load", action=Action.LOAD, memory_bytes=1)
REFERENCE = Job(name="reference", action=Action.REFERENCE, needs=("load",), memory_bytes=1)
KEPT = Job(
    name="kept reference", action=Action.KEPT_REFERENCE, memory_bytes=1,
    otherwise=(LOAD, REFERENCE),
)  # fmt: skip


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Staging(tmp_path / "out", say=lambda _: None) as staging:
        yield staging


@pytest.fixture
def kept(tmp_path: Path) -> KeptReference:
    request: Any = None
    return KeptReference(path=tmp_path / "r.npz", request=request, resolved=request)


class Run:
    """A run whose graphs are compared.

    Attributes:
        graph: The one that the source computes.
    """

    def __init__(self, staging: Staging, line: str, kept: KeptReference | None = None) -> None:
        self.context: RunContext = run_context(staging, line)
        if kept is not None:
            prepared = self.context.prepared
            kept = replace(kept, request=prepared.request, resolved=prepared.resolved)
        self.comparisons = Comparisons(self.context, kept)
        self.graph: OnnxArtifact = self.context.source.graph  # type: ignore[attr-defined]
        self.step: Step = self.context.prepared.plan.steps[0]

    def with_prompts(self, *texts: str) -> "Run":
        prompts = Prompts(named=tuple(Prompt(name=text, text=text) for text in texts))
        source: Any = self.context.source
        source.loaded = self.context.reuse.loaded = replace(source.loaded, prompts=prompts)
        return self

    @property
    def shares(self) -> dict[str, int]:
        """How many compared texts have each prompt, as the manifest says."""
        prompts = self.context.results.manifest().verification.prompts
        return {share.prompt: share.texts for share in prompts}

    def embed(self) -> None:
        finish(self.comparisons.embed(REFERENCE))

    def compare(self, graph: OnnxArtifact, step: Step | None = None) -> Fidelity:
        return finish(self.comparisons.of(step or self.step, graph))

    def with_noise(self, share: float) -> OnnxArtifact:
        """A graph with another weight, by about this share of its values."""
        proto = onnx.load(self.graph.path)
        weight = next(one for one in proto.graph.initializer if one.name == "square")
        array = onnx.numpy_helper.to_array(weight)
        noise = np.random.default_rng(0).standard_normal(array.shape, dtype=np.float32)
        weight.CopyFrom(onnx.numpy_helper.from_array(array + share * noise, "square"))
        path = self.graph.path.with_name(f"noise{share}.onnx")
        onnx.save(proto, path)
        return replace(self.graph, path=path, sha256=f"{share}")

    def at_its_floor(self, graph: OnnxArtifact) -> Step:
        """A step whose floor is so close to a graph's figures that a sample does not settle it."""
        figures = self.compare(graph, replace(self.step, floor=Floor(mean_cosine=-1)))
        return replace(self.step, floor=Floor(mean_cosine=figures.similarity.mean))


def test_the_sources_own_graph_is_the_same(staging: Staging) -> None:
    run = Run(staging, ALL_TEXTS)
    assert run.comparisons.tokens is None
    run.embed()
    fidelity = run.compare(run.graph)
    assert fidelity.is_same
    assert fidelity.similarity.min > 0.999999
    assert run.comparisons.tokens is not None
    assert len(run.comparisons.tokens.ids) == fidelity.texts


def test_a_graph_that_computes_something_else_has_lower_figures(staging: Staging) -> None:
    run = Run(staging, ALL_TEXTS)
    run.embed()
    near, far = (run.compare(run.with_noise(share)).similarity.mean for share in (0.01, 0.5))
    assert far < near < 1


def test_a_graph_that_cannot_be_loaded_is_not_published(staging: Staging) -> None:
    run = Run(staging, ALL_TEXTS)
    finish(run.comparisons.load(run.step, run.graph))
    run.graph.path.write_bytes(b"no graph")
    with pytest.raises(FidelityError, match="is not published"):
        finish(run.comparisons.load(run.step, run.graph))


class TestSample:
    """What is decided by a part of the texts."""

    def test_it_is_enough_where_its_figures_are_clear(self, staging: Staging) -> None:
        run = Run(staging, SAMPLE)
        run.embed()
        fidelity = run.compare(run.graph)
        assert fidelity.is_same
        assert 0 < fidelity.texts < fidelity.texts + fidelity.rest

    def test_all_texts_are_compared_where_it_does_not_settle_the_verdict(
        self, staging: Staging, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = Run(staging, SAMPLE)
        run.embed()
        graph = run.with_noise(0.1)
        step = run.at_its_floor(graph)
        with pytest.raises(NeedsFirst) as caught:
            run.compare(graph, step)
        assert caught.value.jobs == (REFERENCE.complete,)
        assert "is compared on all texts: mean cosine is close" in capsys.readouterr().err
        sampled = run.compare(run.graph)
        finish(run.comparisons.embed_all())
        complete = run.compare(graph, step)
        assert complete.rest == 0
        assert complete.texts == sampled.texts + sampled.rest

    def test_figures_of_a_graph_do_not_depend_on_others(self, staging: Staging) -> None:
        run = Run(staging, SAMPLE)
        run.embed()
        before = run.compare(run.graph)
        graph = run.with_noise(0.1)
        with pytest.raises(NeedsFirst):
            run.compare(graph, run.at_its_floor(graph))
        finish(run.comparisons.embed_all())
        assert run.compare(run.graph) == before

    def test_the_manifest_counts_the_texts_of_the_sample_by_prompt(
        self, staging: Staging, kept: KeptReference
    ) -> None:
        run = Run(staging, SAMPLE, kept).with_prompts("query: ")
        run.embed()
        shares = run.shares
        assert set(shares) == {"", "query: "}
        assert sum(shares.values()) == run.compare(run.graph).texts
        again = Run(staging, SAMPLE, kept).with_prompts("query: ")
        assert again.shares == {}  # nothing is compared yet
        finish(again.comparisons.take_kept(KEPT))
        assert again.shares == shares

    def test_it_never_settles_a_users_own_graph(self, staging: Staging) -> None:
        run = Run(staging, SAMPLE)
        run.embed()
        run.context.results.given = run.graph
        with pytest.raises(NeedsFirst):
            run.compare(run.graph)
        finish(run.comparisons.embed_all())
        assert run.compare(run.graph).rest == 0


class TestKeptReference:
    """The reference of an earlier run."""

    def test_it_replaces_that_of_the_source(self, staging: Staging, kept: KeptReference) -> None:
        Run(staging, SAMPLE, kept).embed()
        run = Run(staging, SAMPLE, kept)
        finish(run.comparisons.take_kept(KEPT))
        assert run.compare(run.graph).is_same

    def test_without_one_the_source_must_compute_it(
        self, staging: Staging, kept: KeptReference
    ) -> None:
        run = Run(staging, SAMPLE, kept)
        with pytest.raises(NeedsFirst) as caught:
            finish(run.comparisons.take_kept(KEPT))
        assert caught.value.jobs == (LOAD, REFERENCE)
        run.embed()
        finish(run.comparisons.take_kept(KEPT))
        assert run.compare(run.graph).is_same

    def test_the_source_is_loaded_where_a_sample_of_it_settles_nothing(
        self, staging: Staging, kept: KeptReference
    ) -> None:
        Run(staging, SAMPLE, kept).embed()
        run = Run(staging, SAMPLE, kept)
        finish(run.comparisons.take_kept(KEPT))
        graph = run.with_noise(0.1)
        with pytest.raises(NeedsFirst) as caught:
            run.compare(graph, run.at_its_floor(graph))
        assert caught.value.jobs == (LOAD, REFERENCE.complete)
