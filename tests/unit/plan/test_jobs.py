"""The jobs of a plan, as a table: what each needs, and what may run beside it."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.manifest import ArtifactRecord
from embconvert.models.choices import Command, Precision
from embconvert.plan.jobs import BASE_BYTES, Job, build_jobs
from embconvert.plan.plan import Plan, make_steps
from embconvert.plan.reuse import reusable, versions
from embconvert.plan.search import make_search
from embconvert.request.records import Request
from support.examples import fidelity, graph

EXPORT, OPT = "onnx/model.onnx", "onnx/model_opt1.onnx"
QINT8, HALF = "onnx/model_opt1_QInt8.onnx", "onnx/model_opt1_Float16.onnx"
REQUEST = Request(command=Command.ALL, model_id="org/m", quantize=(Precision.QINT8,))
GOOD, LOSSY = fidelity(1e-9, bin_number=0), fidelity(0.2, bin_number=20)


def plan_of(request: Request = REQUEST, **changes: Any) -> Plan:
    request = replace(request, **changes)
    return Plan(
        model_id=request.model_id,
        revision=None,
        output_dir="m",
        steps=make_steps(request, "texts"),
        remarks=(),
        parameters=100_000_000,
        search=make_search(request, "texts"),
    )


def jobs_of(
    plan: Plan, *found: ArtifactRecord, keeps_reference: bool = False, **changes: Any
) -> dict[str, Job]:
    by_file = {record.path: record for record in found}
    request = replace(REQUEST, **changes)
    jobs = build_jobs(plan, by_file, request, in_pieces=False, keeps_reference=keeps_reference)
    return {job.name: job for job in jobs}


def needs(jobs: dict[str, Job]) -> dict[str, set[str]]:
    return {name: set(job.needs) for name, job in jobs.items()}


def left(folder: Path, plan: Plan, **fidelities: Any) -> list[ArtifactRecord]:
    """The records that a run of a plan leaves; its fidelities, by the end of the file's name."""
    made: list[ArtifactRecord] = []
    digests: dict[str, str] = {"": "source"}
    for step in plan.steps:
        name = step.file.rpartition("/")[2].removesuffix(".onnx")
        key = step.key(digests[step.source or ""], versions())
        given = fidelities.get(name, GOOD)
        made.append(graph(folder, name, 1000, key=key, precision=step.precision, fidelity=given))
        digests[step.file] = made[-1].digest
    return made


def test_a_file_is_compared_after_what_it_was_made_of() -> None:
    assert needs(jobs_of(plan_of())) == {
        "load": set(),
        f"trace {EXPORT}": {"load"},
        f"write {EXPORT}": {f"trace {EXPORT}"},
        "reference": {"load"},
        f"verify {EXPORT}": {f"write {EXPORT}", "reference"},
        # The optimizer needs the graph, not the file with its weights.
        f"optimize {OPT}": {f"trace {EXPORT}"},
        f"verify {OPT}": {f"optimize {OPT}", f"verify {EXPORT}", "reference"},
        # Should the optimized graph not hold, the quantized one is made again, too.
        f"quantize {QINT8}": {f"optimize {OPT}"},
        # It runs beside the optimized one, and is judged after it.
        f"verify {QINT8}": {f"quantize {QINT8}", f"verify {EXPORT}", "reference"},
        f"judge {QINT8}": {f"verify {QINT8}", f"verify {OPT}"},
    }


def test_files_are_compared_beside_other_work_because_speeds_are_measured_at_the_end() -> None:
    assert not any(job.exclusive for job in jobs_of(plan_of()).values())


def test_the_source_serves_one_job_at_a_time_and_its_outcome_is_lost_with_it() -> None:
    jobs = jobs_of(plan_of())
    shared = {name for name, job in jobs.items() if job.process}
    assert shared == {"load", f"trace {EXPORT}", f"write {EXPORT}", "reference"}
    volatile = {name for name, job in jobs.items() if job.is_volatile}
    assert volatile == {"load", f"trace {EXPORT}"}


def test_without_validation_there_is_no_reference() -> None:
    jobs = jobs_of(plan_of(skip_validation=True))
    assert "reference" not in jobs
    assert jobs[f"verify {QINT8}"].needs == (f"quantize {QINT8}", f"verify {EXPORT}")
    assert jobs[f"judge {QINT8}"].needs == (f"verify {QINT8}", f"verify {OPT}")


def test_what_is_not_published_is_not_verified() -> None:
    jobs = needs(jobs_of(plan_of(no_float32=True)))
    assert jobs["quantize onnx/model_opt1_QInt8.onnx"] == {"optimize .work/model_opt1.onnx"}
    assert jobs["optimize .work/model_opt1.onnx"] == {"write .work/model.onnx"}
    assert [name for name in jobs if name.startswith("verify")] == [f"verify {QINT8}"]
    assert "reference" in jobs


def test_nothing_is_left_of_a_plan_that_is_done(tmp_path: Path) -> None:
    plan = plan_of()
    assert not jobs_of(plan, *left(tmp_path, plan))


def test_one_more_precision_needs_a_reference(tmp_path: Path) -> None:
    before, plan = plan_of(), plan_of(quantize=(Precision.QINT8, Precision.FLOAT16))
    assert needs(jobs_of(plan, *left(tmp_path, before))) == {
        f"quantize {HALF}": set(),
        "load": set(),
        "reference": {"load"},
        f"verify {HALF}": {f"quantize {HALF}", "reference"},
    }


def test_a_kept_reference_needs_no_source_unless_it_is_loaded_anyway(tmp_path: Path) -> None:
    before, plan = plan_of(), plan_of(quantize=(Precision.QINT8, Precision.FLOAT16))
    jobs = jobs_of(plan, *left(tmp_path, before), keeps_reference=True)
    assert needs(jobs) == {
        f"quantize {HALF}": set(),
        "kept reference": set(),
        f"verify {HALF}": {f"quantize {HALF}", "kept reference"},
    }
    assert not any(job.process for job in jobs.values())
    otherwise = jobs["kept reference"].otherwise
    assert [(job.name, job.needs, job.process) for job in otherwise] == [
        ("load", (), "source"), ("reference", ("load",), "source"),
    ]  # fmt: skip
    assert jobs_of(plan, keeps_reference=True) == jobs_of(plan)


def test_a_file_that_was_never_compared_is_compared_and_not_made_again(tmp_path: Path) -> None:
    plan = plan_of()
    jobs = jobs_of(plan, *left(tmp_path, plan, model_opt1_QInt8=None))
    assert list(jobs) == ["load", "reference", f"verify {QINT8}"]


def test_what_a_sample_does_not_settle_for_todays_threshold_is_compared_again(
    tmp_path: Path,
) -> None:
    sampled = fidelity(0.001, bin_number=10, texts=85, rest=215)
    close = replace(sampled, similarity=replace(sampled.similarity, mean=0.9705, error=0.001))
    plan = plan_of()
    before = left(tmp_path, plan, model_opt1_QInt8=sampled)
    assert not jobs_of(plan, *before)
    assert list(jobs_of(plan, *before, full_validation=True)) == [
        "load",
        "reference",
        f"verify {QINT8}",
    ]
    for figures, jobs in (
        (close, ["load", "reference", f"verify {QINT8}"]),
        (replace(close, texts=300, rest=0), []),
    ):
        found = left(tmp_path, plan, model_opt1_QInt8=figures)
        assert list(jobs_of(plan, *found)) == jobs


def test_a_file_below_todays_threshold_fails_at_once(tmp_path: Path) -> None:
    plan = plan_of()
    jobs = jobs_of(plan, *left(tmp_path, plan, model_opt1_QInt8=LOSSY))
    assert needs(jobs) == {f"verify {QINT8}": set()}


def test_a_file_that_the_oldest_onnxruntime_cannot_run_is_looked_at(tmp_path: Path) -> None:
    plan = plan_of()
    assert jobs_of(plan, *left(tmp_path, plan), min_onnxruntime=(1, 2))


@pytest.mark.parametrize("min_speedup", [None, 1.5])
def test_candidates_are_tried_one_after_another_and_timed_alone_if_speed_decides(
    min_speedup: float | None,
) -> None:
    plan = plan_of(quantize=(), auto=True, min_speedup=min_speedup)
    jobs = jobs_of(plan)
    trials = [job for job in jobs.values() if job.is_trial]
    assert plan.search is not None
    assert len(trials) == 2 * len(plan.search.candidates)
    for job, following in itertools.pairwise(trials):
        assert job.name in following.needs
    timed = min_speedup is not None
    assert all(job.exclusive == timed for job in trials if job.action == "verify")


def test_a_search_that_is_over_is_not_begun_again(tmp_path: Path) -> None:
    plan = plan_of(quantize=(), auto=True)
    assert plan.search is not None
    chosen = graph(tmp_path, "model_opt1_Q4", 100, fidelity=GOOD)
    found = [*left(tmp_path, plan), chosen]
    assert plan.search.candidates[0].file == chosen.path
    assert not jobs_of(plan, *found)


@pytest.mark.parametrize(("lost", "made"), [(EXPORT, 3), (OPT, 2), (QINT8, 1)])
def test_what_is_lost_is_made_and_all_that_is_made_of_it(
    tmp_path: Path, lost: str, made: int
) -> None:
    plan = plan_of()
    records = [record for record in left(tmp_path, plan) if record.path != lost]
    # The folder still has them, as after other options of the export.
    digests = {None: "source", **{r.path: r.digest for r in left(tmp_path, plan)}}
    found = reusable(plan.steps, records, digests)
    verified = [n for n in jobs_of(plan, *found.values()) if n.startswith("verify")]
    assert len(verified) == made


def test_a_job_takes_the_memory_that_the_plan_tells() -> None:
    plan = plan_of()
    jobs = jobs_of(plan)
    assert jobs["reference"].memory_bytes + BASE_BYTES == plan.whole_graphs_bytes
    assert jobs[f"quantize {QINT8}"].memory_bytes == plan.beside_bytes
    (job, *_) = build_jobs(plan, {}, REQUEST, in_pieces=True)
    assert job.memory_bytes + BASE_BYTES == plan.memory_need_bytes
