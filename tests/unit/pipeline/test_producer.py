"""How the files of a run are made, and by which method."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import (
    DeriveError,
    FidelityError,
    OptimizeError,
    QuantizeError,
    UnsupportedModelError,
)
from embconvert.export.exporter import Exporter
from embconvert.folder.staging import Staging
from embconvert.manifest import ArtifactRecord
from embconvert.models.choices import Precision
from embconvert.pipeline.file_tasks import optimize_graph, quantize_graph
from embconvert.pipeline.producer import Producer
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.scheduler import DoOver
from embconvert.plan.steps import Stage, Step
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import finish
from embconvert.rewrite.optimizer import Optimizer
from support.run_contexts import LOADED, run_context

LINE = "all --model_id m --optimize 1 --quantize Q8 --recipes none"


class Run:
    """A run whose files are made by a producer."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.producer = Producer(context)
        self.workers: Any = context.workers
        self.source: Any = context.source

    def step(self, stage: Stage) -> Step:
        return next(step for step in self.context.prepared.plan.steps if step.stage is stage)

    def path(self, step: Step) -> Path:
        return self.context.staging.folder / step.file

    def export(self) -> Step:
        step = self.step(Stage.EXPORT)
        finish(self.producer.trace(step))
        finish(self.producer.write(step))
        return step

    def make(self, stage: Stage) -> Step:
        step = self.step(stage)
        finish(self.producer.make(step))
        return step

    def publish(self, step: Step) -> ArtifactRecord:
        """Records a file as after its verification."""
        record = self.producer.record(step, None)
        self.context.results.records[step.file] = record
        return record


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Staging(tmp_path / "out", say=lambda _: None) as staging:
        yield staging


@pytest.fixture
def run(staging: Staging) -> Run:
    return Run(run_context(staging, LINE))


def crash(signal_number: int) -> WorkerCrashed:
    return WorkerCrashed(-signal_number)


def test_an_export_is_traced_and_then_written(run: Run) -> None:
    step = run.export()
    made = run.producer.made[step.file]
    assert made.artifact.path == run.path(step)
    assert made.method == Exporter.TRACE
    # Of both parts: the time of one after the other, and the larger memory.
    assert (made.meter.duration_s, made.meter.peak_memory_bytes) == (3.0, 100)


def test_a_record_says_what_a_file_was_made_from_and_how(run: Run) -> None:
    exported = run.publish(run.export())
    optimized = run.publish(run.make(Stage.OPTIMIZE))
    quantized = run.publish(run.make(Stage.QUANTIZE))
    assert exported.made_from is None
    assert (optimized.made_from, optimized.method) == (exported.sha256, Optimizer.FUSION)
    assert (quantized.made_from, quantized.method) == (optimized.sha256, Precision.Q8)
    assert len({record.key for record in (exported, optimized, quantized)}) == 3
    assert not run.producer.made


def test_a_graph_is_optimized_before_it_is_written_or_verified(run: Run) -> None:
    finish(run.producer.trace(run.step(Stage.EXPORT)))
    step = run.make(Stage.OPTIMIZE)
    assert set(run.producer.made) == {step.file}
    assert run.path(step).is_file()


def test_a_file_that_stands_in_the_way_is_replaced(run: Run) -> None:
    run.export()
    step = run.step(Stage.OPTIMIZE)
    run.path(step).write_bytes(b"of a run that was killed")
    run.make(Stage.OPTIMIZE)
    assert b"killed" not in run.path(step).read_bytes()


def test_a_graph_that_is_not_published_is_recorded_at_once(staging: Staging) -> None:
    run = Run(run_context(staging, f"{LINE} --no_float32"))
    export = run.export()
    assert not export.is_published
    assert run.context.results.records[export.file].method == Exporter.TRACE
    assert not run.producer.made


class TestOtherMethods:
    """What follows the failure of a method."""

    def test_the_next_exporter_is_used(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        run.source.errors = {Exporter.TRACE: UnsupportedModelError("trace: a loop", "h")}
        with pytest.raises(DoOver):
            run.export()
        assert "trace: a loop; trying torch.export instead" in capsys.readouterr().err
        step = run.export()
        assert run.producer.made[step.file].method == Exporter.TORCH_EXPORT

    def test_a_graph_that_is_wrong_is_made_by_the_next_one(self, run: Run) -> None:
        step = run.export()
        with pytest.raises(DoOver), run.producer.next_method_on_failure(step):
            raise FidelityError("wrong", "h")
        assert step.file not in run.producer.made
        run.export()
        assert run.producer.made[step.file].method == Exporter.TORCH_EXPORT

    def test_an_error_of_all_exporters_gives_each_reason(self, run: Run) -> None:
        run.source.errors = {
            Exporter.TRACE: UnsupportedModelError("trace: a loop", "h"),
            Exporter.TORCH_EXPORT: UnsupportedModelError("torch.export: a branch", "see x"),
        }
        with pytest.raises(DoOver):
            run.export()
        with pytest.raises(UnsupportedModelError) as caught:
            run.export()
        assert caught.value.message == "trace: a loop; torch.export: a branch"
        assert caught.value.hint == "see x"

    def test_nothing_is_made_of_a_graph_that_no_method_makes(self, run: Run) -> None:
        run.source.errors = dict.fromkeys(Exporter, UnsupportedModelError("a loop", "h"))
        for _ in Exporter:
            with pytest.raises((DoOver, UnsupportedModelError)):
                run.export()
        with pytest.raises(OptimizeError, match="is not made, because onnx/model"):
            run.make(Stage.OPTIMIZE)

    def test_the_next_optimizer_is_used_after_a_crash(self, run: Run) -> None:
        run.export()
        run.workers.errors = {optimize_graph: [crash(signal.SIGSEGV)]}
        with pytest.raises(DoOver):
            run.make(Stage.OPTIMIZE)
        step = run.make(Stage.OPTIMIZE)
        assert run.producer.made[step.file].method == Optimizer.TIDYING

    def test_the_last_optimizers_failure_is_the_error(self, run: Run) -> None:
        run.export()
        words = ("first", "second", "last")
        run.workers.errors = {optimize_graph: [OptimizeError(word, "h") for word in words]}
        for _ in range(2):
            with pytest.raises(DoOver):
                run.make(Stage.OPTIMIZE)
        with pytest.raises(OptimizeError, match="last"):
            run.make(Stage.OPTIMIZE)

    def test_a_quantization_has_no_other_method(self, run: Run) -> None:
        run.publish(run.export())
        run.publish(run.make(Stage.OPTIMIZE))
        run.workers.errors = {quantize_graph: [crash(signal.SIGSEGV)]}
        with pytest.raises(QuantizeError, match="could not be made: a library crashed"):
            run.make(Stage.QUANTIZE)

    def test_too_little_memory_is_no_reason_for_another_method(self, run: Run) -> None:
        run.export()
        run.workers.errors = {optimize_graph: [crash(signal.SIGKILL)]}
        with pytest.raises(OptimizeError, match="lack of memory"):
            run.make(Stage.OPTIMIZE)
        step = run.make(Stage.OPTIMIZE)
        assert run.producer.made[step.file].method == Optimizer.FUSION


class TestEarlierRuns:
    """Files that were made from an identical graph."""

    def test_they_are_taken(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Staging(tmp_path / "out", say=lambda _: None) as staging:
            run = Run(run_context(staging, LINE))
            run.publish(run.export())
            optimized = run.publish(run.make(Stage.OPTIMIZE))
            run.context.results.note()
            shutil.copytree(staging.folder, tmp_path / ".out.embconvert-staging-killed")
        with Staging(tmp_path / "out", say=lambda _: None) as staging:
            run = Run(run_context(staging, LINE))
            run.publish(run.export())
            run.workers.errors = {optimize_graph: [AssertionError("it is made again")]}
            step = run.step(Stage.OPTIMIZE)
            finish(run.producer.make_or_take(step))
            assert run.context.results.records[step.file] == optimized
            assert run.path(step).is_file()
        assert f"optimize: {step.file} is up to date" in capsys.readouterr().err

    def test_without_one_the_file_is_made(self, run: Run) -> None:
        run.export()
        step = run.step(Stage.OPTIMIZE)
        finish(run.producer.make_or_take(step))
        assert step.file in run.producer.made


@pytest.mark.parametrize(("most", "is_refused"), [(8, False), (7, True)])
def test_a_shape_has_no_more_tokens_than_the_loaded_model_reads(
    staging: Staging, most: int, is_refused: bool
) -> None:
    run = Run(run_context(staging, "export --model_id m --shape 1x8"))
    run.context.reuse.loaded = replace(LOADED, max_seq_length=most)
    run.publish(run.export())
    if is_refused:
        with pytest.raises(DeriveError, match="texts of 8 tokens, but the model reads at most 7"):
            run.make(Stage.DERIVE)
    else:
        step = run.make(Stage.DERIVE)
        assert run.producer.made[step.file].artifact.inputs[0].shape == (1, 8)
