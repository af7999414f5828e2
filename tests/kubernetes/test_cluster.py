"""The shipped manifests on a real cluster: `make test-kubernetes`.

The cluster is Kubernetes 1.20 without storage classes, so an overlay strips the fields that it
does not know and puts folders of this machine in the place of claims.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "docker/kubernetes"
IMAGE = os.environ.get("IMAGE", "embconvert")
# Before 1.25: no failure policy; before 1.24: no time zone.
UNKNOWN_TO_OLD_CLUSTERS = ("podFailurePolicy", "timeZone")


def kubectl(*words: str, stdin: str | None = None, check: bool = True) -> str:
    command = [*shlex.split(os.environ.get("KUBECTL", "kubectl")), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def get(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", *words, "--output", "json"))
    return found


def manifest(file: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((MANIFESTS / file).read_text(encoding="utf-8"))
    return document


def pod_spec(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]
    return dict_of(spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"])


def dict_of(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def overlay(file: str, models: Path, source: Path) -> dict[str, Any]:
    """Returns a shipped Job or CronJob as this cluster can run it."""
    document = manifest(file)
    for spec in (document["spec"], document["spec"].get("jobTemplate", {}).get("spec", {})):
        for name in UNKNOWN_TO_OLD_CLUSTERS:
            spec.pop(name, None)
    if document["kind"] == "CronJob":
        document["apiVersion"] = "batch/v1beta1"
    pod = pod_spec(document)
    container = pod["containers"][0]
    container.update(image=IMAGE, imagePullPolicy="Never")
    container["resources"]["requests"] = {"cpu": "100m", "memory": "100Mi"}
    container["volumeMounts"].append({"name": "source", "mountPath": "/input", "readOnly": True})
    pod["volumes"] = [
        {"name": "models", "hostPath": {"path": str(models)}},
        {"name": "source", "hostPath": {"path": str(source)}},
        {"name": "tmp", "emptyDir": {}},
    ]
    return document


def apply(document: dict[str, Any]) -> None:
    kubectl("apply", "--filename", "-", stdin=json.dumps(document))


def configure(model_id: str) -> None:
    options = manifest("base/configmap.yaml")
    options["data"]["MODEL_ID"] = model_id
    apply(options)


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pods = kubectl("describe", "pods")
            raise AssertionError(f"it did not happen within {seconds} s\n{pods[-4000:]}")
        time.sleep(0.2)


def has_condition(job: str, kind: str) -> bool:
    conditions = get("job", job)["status"].get("conditions", ())
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def pods_of(job: str) -> list[dict[str, Any]]:
    pods: list[dict[str, Any]] = get("pods", "--selector", f"job-name={job}")["items"]
    return pods


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
    assert "is up to date; nothing was done again" in kubectl("logs", pod["metadata"]["name"])
