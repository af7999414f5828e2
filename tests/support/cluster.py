"""The shipped manifests as the cluster of the tests can run them, and what happens to them.

The cluster is Kubernetes 1.20 without storage classes, so an overlay strips the fields that it
does not know and puts folders of this machine in the place of claims.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "docker/kubernetes"
KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
IMAGE = os.environ.get("IMAGE", "embconvert")
# Failure policies came with 1.25, time zones with 1.24, Indexed with 1.21, its limits with 1.28.
UNKNOWN_TO_OLD_CLUSTERS = (
    "podFailurePolicy", "timeZone", "completionMode", "backoffLimitPerIndex",
)  # fmt: skip


def kubectl(*words: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        [*KUBECTL, *words], input=stdin, capture_output=True, text=True, check=False
    )
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
        *(volume for volume in pod["volumes"] if volume["name"] != "models"),
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
