"""The shipped manifests on a real cluster: `make test-kubernetes`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import (
    apply,
    configure,
    has_condition,
    kubectl,
    manifest,
    overlay,
    pod_spec,
    pods_of,
    wait_until,
)


def verified(models: Path) -> bool:
    """Whether the folder is complete: each file is there with the hash of the manifest."""
    import hashlib

    folder = models / "all-MiniLM-L6-v2"
    facts = json.loads((folder / "embconvert.json").read_text())
    return all(
        hashlib.sha256((folder / a["path"]).read_bytes()).hexdigest() == a["sha256"]
        for a in facts["artifacts"]
    ) and {a["path"] for a in facts["artifacts"]} == {
        "onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx",
    }  # fmt: skip


@pytest.fixture
def source(real_source: Path) -> Path:
    """The folder that the pods see as /input."""
    return real_source.parent


@pytest.fixture(autouse=True)
def cluster() -> Iterator[None]:
    apply(manifest("base/serviceaccount.yaml"))
    configure("/input/all-MiniLM-L6-v2")
    yield
    kubectl("delete", "cronjobs,jobs,pods", "--all", "--wait=true", "--grace-period=1")


def test_a_job_converts_the_demo_model_to_the_volume(models: Path, source: Path) -> None:
    apply(overlay("once/job.yaml", models, source))
    wait_until(lambda: has_condition("embconvert", "Complete"))
    assert verified(models)
    assert {p.stat().st_uid for p in models.rglob("*")} == {1000}


def test_a_pod_killed_in_the_middle_is_replaced_and_the_folder_ends_complete(
    models: Path, source: Path
) -> None:
    apply(overlay("once/job.yaml", models, source))
    staged = ".all-MiniLM-L6-v2.embconvert-staging-*/onnx/model_opt1.onnx"
    wait_until(lambda: any(models.glob(staged)))
    (first,) = pods_of("embconvert")
    name = first["metadata"]["name"]
    kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
    assert not (models / "all-MiniLM-L6-v2").exists()
    wait_until(lambda: has_condition("embconvert", "Complete"))
    assert name not in {pod["metadata"]["name"] for pod in pods_of("embconvert")}
    assert verified(models)
    assert [p.name for p in models.iterdir() if "staging" in p.name] == []


def test_a_bad_model_id_fails_at_once(models: Path, source: Path) -> None:
    """The shipped policy, which this cluster does not know, lets such a code fail the Job."""
    configure("not/a/model")
    job = overlay("once/job.yaml", models, source)
    job["spec"]["backoffLimit"] = 0
    apply(job)
    wait_until(lambda: has_condition("embconvert", "Failed"), 60)
    (pod,) = pods_of("embconvert")
    code = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
    rules = manifest("once/job.yaml")["spec"]["podFailurePolicy"]["rules"]
    final = next(r["onExitCodes"]["values"] for r in rules if r["action"] == "FailJob")
    assert code == 2
    assert code in final
    assert "not/a/model" in kubectl("logs", pod["metadata"]["name"])


def test_too_little_memory_shows_and_leaves_no_half_model(models: Path, source: Path) -> None:
    job = overlay("once/job.yaml", models, source)
    job["spec"]["backoffLimit"] = 0
    pod_spec(job)["containers"][0]["resources"]["limits"]["memory"] = "250Mi"
    apply(job)
    wait_until(lambda: has_condition("embconvert", "Failed"), 120)
    (pod,) = pods_of("embconvert")
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert state["reason"] == "OOMKilled"
    assert "if it is killed, raise the limit" in kubectl("logs", pod["metadata"]["name"])
    assert not (models / "all-MiniLM-L6-v2").exists()


def test_the_second_night_does_nothing(models: Path, source: Path) -> None:
    apply(overlay("nightly/cronjob.yaml", models, source))
    for night in ("night-1", "night-2"):
        kubectl("create", "job", night, "--from=cronjob/embconvert-nightly")
        wait_until(lambda night=night: has_condition(night, "Complete"))  # type: ignore[misc]
    assert verified(models)
    (pod,) = pods_of("night-2")
    assert "is up to date; nothing was changed" in kubectl("logs", pod["metadata"]["name"])
