"""A fleet on a real cluster, its pods killed at random: every model once, whole and verified.

The figures go to build/fleet.json, which docs/fleets.md quotes.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.cluster import KUBECTL, apply, get, has_condition, kubectl, manifest, overlay, pod_spec

SEED = 9
PODS = 4
ARCHITECTURES = ("bert", "distilbert", "roberta", "modernbert")
MODELS = 40
KILLS = 8
#: A pod is killed each time that so many more models are published, after a random pause.
EVERY = 4
PAUSE_S = (0.0, 3.0)
TIMEOUT_S = 1800
FIGURES = Path(__file__).parents[2] / "build/fleet.json"

_BEGIN = re.compile(r"\[\d+/\d+\] (\S+) \(")
_END = re.compile(r"\[\d+/\d+\] (\S+): (converted|up to date|failed)")


@dataclass
class Pod:
    """What is known of one pod.

    Attributes:
        log: Where its lines go, each with its time.
        killed_at: When, as time.time() tells; None when it was left alone.
    """

    log: Path
    follower: "subprocess.Popen[bytes]"
    killed_at: float | None = None

    def events(self) -> list[tuple[float, str, str]]:
        """When models were begun and ended: time, "begin" or the result, model."""
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            stamp, _, text = line.partition(" ")
            for pattern in (_BEGIN, _END):
                match = pattern.match(text)
                if match:
                    when = datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()
                    found.append((when, (*match.groups(), "begin")[1], match[1]))
        return found


@dataclass
class Watch:
    """Looks at the cluster and the volume all the time.

    Attributes:
        published: Every state of a model's manifest that was seen, by model.
    """

    models: Path
    logs: Path
    pods: dict[str, Pod] = field(default_factory=dict)
    published: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def look(self) -> list[dict[str, Any]]:
        """Notes what is new; returns the pods that run."""
        for path in self.models.glob("[!.]*/embconvert.json"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                states = self.published.setdefault(path.parent.name, set())
                states.add((status.st_ino, status.st_mtime_ns))
        found = get("pods", "--selector", "app.kubernetes.io/component=fleet")["items"]
        running = [pod for pod in found if pod["status"]["phase"] == "Running"]
        for pod in running:
            name = pod["metadata"]["name"]
            if name not in self.pods:
                log = self.logs / f"{name}.log"
                follower = subprocess.Popen(
                    [*KUBECTL, "logs", "--follow", "--timestamps", name],
                    stdout=log.open("wb"), stderr=subprocess.DEVNULL,
                )  # fmt: skip
                self.pods[name] = Pod(log=log, follower=follower)
        return running


def fleet(sources: Path, count: int) -> list[str]:
    """Builds tiny models that any user may read; returns their names."""
    from support import zoo

    names = []
    for number in range(count):
        architecture = ARCHITECTURES[number % len(ARCHITECTURES)]
        names.append(f"{architecture}-{number:02}")
        zoo.build_model(architecture, sources / names[-1], seed=number)
    for path in [sources, *list(sources.parents)[:3], *sources.rglob("*")]:
        if path.stat().st_uid == os.getuid():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return names


def jobs(models: Path, sources: Path) -> list[dict[str, Any]]:
    """The shipped Indexed Job, as Jobs of one pod each that are told their index."""
    made = []
    for index in range(PODS):
        job = overlay("fleet/indexed-job.yaml", models, sources)
        job["metadata"]["name"] = f"embconvert-fleet-{index}"
        job["spec"] |= {"completions": 1, "parallelism": 1, "backoffLimit": 20}
        variables = pod_spec(job)["containers"][0]["env"]
        variables.append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        next(v for v in variables if v["name"] == "JOB_COMPLETIONS")["value"] = str(PODS)
        made.append(job)
    return made


def kill(pod: dict[str, Any], *, by_system: bool) -> None:
    """Ends a pod: its processes at once, as for lack of memory, or the pod, as an eviction does."""
    if not by_system:
        name = pod["metadata"]["name"]
        kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        return
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if container in (process / "cgroup").read_text():
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
    assert killed, f"no process of {container} was found"


@pytest.fixture
def cluster() -> Iterator[None]:
    apply(manifest("base/serviceaccount.yaml"))
    yield
    kubectl("delete", "jobs,pods,configmaps", "--all", "--wait=true", "--grace-period=1")


@pytest.mark.usefixtures("cluster")
def test_pods_killed_at_random_end_with_every_model_published_once(
    models: Path, tmp_path: Path
) -> None:
    names = fleet(tmp_path / "sources", MODELS)
    listed = manifest("fleet/list.yaml")
    defaults = {"quantize": "QInt8"}
    inputs = [f"/input/{name}" for name in names]
    listed["data"]["models.yaml"] = json.dumps({"defaults": defaults, "models": inputs})
    apply(listed)

    watch = Watch(models=models, logs=tmp_path)
    chance = random.Random(SEED)
    start = time.time()
    for job in jobs(models, tmp_path / "sources"):
        apply(job)
    kills, next_kill = 0, float("inf")
    unfinished = {f"embconvert-fleet-{index}" for index in range(PODS)}
    while unfinished:
        running = watch.look()
        unfinished -= {job for job in unfinished if has_condition(job, "Complete")}
        assert not any(has_condition(job, "Failed") for job in unfinished)
        assert time.time() - start < TIMEOUT_S, kubectl("describe", "pods")[-4000:]
        alive = [pod for pod in running if watch.pods[pod["metadata"]["name"]].killed_at is None]
        if next_kill == float("inf") and len(watch.published) >= 2 + EVERY * kills:
            next_kill = time.time() + chance.uniform(*PAUSE_S)
        if kills < KILLS and alive and time.time() > next_kill:
            victim = chance.choice(sorted(alive, key=lambda pod: str(pod["metadata"]["name"])))
            watch.pods[victim["metadata"]["name"]].killed_at = time.time()
            kill(victim, by_system=kills % 2 == 0)
            kills += 1
            next_kill = float("inf")
        time.sleep(0.3)
    wall_s = time.time() - start
    watch.look()
    for pod in watch.pods.values():
        pod.follower.wait(timeout=30)

    assert {path.name for path in models.iterdir()} - {".cache"} == set(names)
    for name in names:
        assert_verified(models / name)
    assert {name: len(states) for name, states in watch.published.items()} == dict.fromkeys(
        names, 1
    )
    assert kills == KILLS, "the fleet was done before its pods were killed"
    figures = tell(watch, wall_s, kills)
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")


def assert_verified(folder: Path) -> None:
    facts = json.loads((folder / "embconvert.json").read_text())
    graphs = facts["artifacts"]
    assert [a["fidelity"] is not None for a in graphs] == [True] * 3
    for file in [*facts["artifacts"], *facts["files"]]:
        content = (folder / file["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["path"]


def tell(watch: Watch, wall_s: float, kills: int) -> dict[str, float | int]:
    """Returns the figures: how fast, and what the kills cost."""
    busy_s = lost_s = 0.0
    begun = 0
    for pod in watch.pods.values():
        events = pod.events()
        end = pod.killed_at or max((when for when, _, _ in events), default=0.0)
        starts = [(when, model) for when, what, model in events if what == "begin"]
        begun += len(starts)
        if not starts:
            continue
        busy_s += max(0.0, end - starts[0][0])
        ended = {model for _, what, model in events if what != "begin"}
        if pod.killed_at and starts[-1][1] not in ended:
            lost_s += max(0.0, end - starts[-1][0])
    return {
        "models": MODELS,
        "pods": PODS,
        "kills": kills,
        "wall_s": round(wall_s, 1),
        "models_per_hour": round(3600 * MODELS / wall_s, 1),
        "begun": begun,
        "busy_pod_s": round(busy_s, 1),
        "lost_pod_s": round(lost_s, 1),
        "lost_share": round(lost_s / busy_s, 4),
    }
