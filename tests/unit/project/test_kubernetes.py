"""What Kubernetes' schemas, which `make lint` asks, do not say of the manifests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from embconvert import errors
from embconvert.cli import main as cli
from embconvert.fleet.entries import read_entries
from embconvert.fleet.shards import COUNT_VARIABLE
from embconvert.request.records import AUTO_SHARD, BatchRequest
from support.command_line import ROOT

FOLDER = ROOT / "docker/kubernetes"


def documents() -> dict[str, Any]:
    found = {}
    for path in FOLDER.glob("*/*.yaml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.name if path.name != "kustomization.yaml" else str(path)] = document
    return found


def job_spec(kind: str) -> dict[str, Any]:
    document = documents()[f"{kind}.yaml"]
    spec: dict[str, Any] = document["spec"]
    return spec["jobTemplate"]["spec"] if kind == "cronjob" else spec


def test_kustomizations_name_what_is_there() -> None:
    for path in FOLDER.glob("*/kustomization.yaml"):
        resources = yaml.safe_load(path.read_text())["resources"]
        assert all((path.parent / resource).exists() for resource in resources)


def test_the_nightly_job_is_the_single_one() -> None:
    assert job_spec("job") == job_spec("cronjob")


@pytest.mark.parametrize(("kind", "action"), [("job", "FailJob"), ("indexed-job", "FailIndex")])
def test_only_what_may_pass_by_itself_is_retried(kind: str, action: str) -> None:
    rules = job_spec(kind)["podFailurePolicy"]["rules"]
    final = next(r["onExitCodes"]["values"] for r in rules if r["action"] == action)
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.EmbconvertError)}
    assert set(final) == codes - {errors.NetworkError.exit_code}


def test_the_fleet_has_a_part_for_each_pod() -> None:
    spec = job_spec("indexed-job")
    (container,) = spec["template"]["spec"]["containers"]
    variables = {v["name"]: v.get("value") for v in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert variables[COUNT_VARIABLE] == str(spec["completions"])
    command, request = cli.parse(container["args"])
    assert (command.name, request.shard) == ("batch", AUTO_SHARD)
    assert "backoffLimit" not in spec  # FailIndex is for limits by index


def test_the_list_of_the_fleet_is_one(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(documents()["list.yaml"]["data"][file.name])
    assert len(read_entries(BatchRequest(file=file))) >= job_spec("indexed-job")["completions"]


@pytest.mark.parametrize("kind", ["job", "cronjob", "indexed-job"])
def test_pods_keep_to_the_restricted_standard(kind: str) -> None:
    """Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    pod = job_spec(kind)["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert {kind for v in pod["volumes"] for kind in v} <= {
        "name", "persistentVolumeClaim", "emptyDir", "configMap",
    }  # fmt: skip
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "memory" in container["resources"]["limits"]
