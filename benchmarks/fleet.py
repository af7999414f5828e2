"""What a fleet costs, by the number of models and of processes that share it.

    make bench-fleet        (or: python benchmarks/fleet.py models pods again)

Each part adds its figures to build/fleet-cost.json; benchmarks/plot_fleet.py draws them.

* models: tiny models in one `embconvert batch`, and the same one by one with `embconvert all`
* pods: processes with a shard each, as the pods of a Job on one machine
* again: a list of 1,000 models of a hub that are all up to date

What a model costs by its size is what benchmarks/memory.py measures.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from machine import machine  # noqa: E402
from measure import Figures, adopt_orphans, measure  # noqa: E402
from pipelines import OUR_BIN, Step  # noqa: E402

from support import zoo  # noqa: E402
from support.hub_server import HubServer  # noqa: E402

RESULTS = ROOT / "build/fleet-cost.json"
EMBCONVERT = str(OUR_BIN / "embconvert")
ARCHITECTURES = ("bert", "distilbert", "roberta", "modernbert")
MODEL_COUNTS = (1, 2, 4, 8)
#: Models that are also converted one by one.
ONE_BY_ONE = 2
POD_COUNTS = (1, 2, 4)
FLEET = 8
UP_TO_DATE = 1000

Points = Iterator[dict[str, Any]]


def tiny_models(folder: Path, count: int) -> list[Path]:
    """Builds models of four architectures."""
    return [
        zoo.build_model(ARCHITECTURES[i % len(ARCHITECTURES)], folder / f"m{i:02}", seed=i)
        for i in range(count)
    ]


def write_list(folder: Path, models: Sequence[str], **defaults: object) -> Path:
    """Writes a list whose models go to a new folder."""
    file = folder / "models.json"
    where = {"output_parent_dir": str(Path(tempfile.mkdtemp(dir=folder)) / "out")}
    defaults = {"quantize": "QInt8", **where, **defaults}
    file.write_text(json.dumps({"defaults": defaults, "models": list(models)}))
    return file


def run(folder: Path, *command: str, sample: bool = True) -> Figures:
    """Measures a command."""
    return measure(Step("fleet", command), folder / "log", sample=sample)


def by_models(folder: Path) -> Points:
    """One batch of more and more models; and one by one."""
    names = [str(path) for path in tiny_models(folder, max(MODEL_COUNTS))]
    for count in MODEL_COUNTS:
        listed = write_list(folder, names[:count])
        yield {
            "how": "batch",
            "models": count,
            **asdict(run(folder, EMBCONVERT, "batch", str(listed), "--quiet")),
        }
    script = f'for m in "$@"; do {EMBCONVERT} all --quiet --quantize QInt8 --model_id "$m" \\\n'
    script += f"  --output_parent_dir {folder}/single || exit; done"
    yield {
        "how": "one by one",
        "models": ONE_BY_ONE,
        **asdict(run(folder, "bash", "-c", script, "-", *names[:ONE_BY_ONE])),
    }


def by_pods(folder: Path) -> Points:
    """The same models over more and more processes."""
    names = [str(path) for path in tiny_models(folder, FLEET)]
    for pods in POD_COUNTS:
        listed = write_list(folder, names)
        script = f"for i in $(seq {pods}); do {EMBCONVERT} batch {listed} --quiet"
        script += f" --shard $i/{pods} & done; for job in $(jobs -p); do wait $job || exit; done"
        yield {"pods": pods, "models": FLEET, **asdict(run(folder, "bash", "-c", script))}


def again(folder: Path) -> Points:
    """A night on which nothing has changed."""
    with HubServer() as hub:
        source = tiny_models(folder, 1)[0]
        os.environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home")}
        names = [f"somebody/m{i:04}" for i in range(UP_TO_DATE)]
        commit = hub.add_model(names[0], source)
        listed = write_list(folder, names[:1], optimize=0, quantize="QInt8")
        command = (EMBCONVERT, "batch", str(listed), "--quiet")
        environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
        subprocess.run(command, check=True, env=environment)
        (made,) = folder.glob("*/out/somebody/m0000")
        text = (made / "embconvert.json").read_text()
        for name in names[1:]:
            assert hub.add_model(name, source) == commit
            copy = made.parents[1] / name
            shutil.copytree(made, copy)
            (copy / "embconvert.json").write_text(text.replace(names[0], name))
        parts = json.loads(listed.read_text())
        listed.write_text(json.dumps({**parts, "models": names}))
        hub.requests.clear()
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--json"], check=True, capture_output=True, text=True, env=environment
        )
        wall_s = time.perf_counter() - start
        counts = json.loads(done.stdout)["counts"]
        assert counts["up_to_date"] == UP_TO_DATE, counts
        yield {"models": UP_TO_DATE, "wall_s": wall_s, "requests": len(hub.requests)}


PARTS: dict[str, Callable[[Path], Points]] = {
    "models": by_models, "pods": by_pods, "again": again,
}  # fmt: skip


def main() -> None:
    """Measures the parts that are named, or all."""
    adopt_orphans()
    for part in sys.argv[1:] or PARTS:
        points = []
        with tempfile.TemporaryDirectory() as folder:
            for point in PARTS[part](Path(folder)):
                print(json.dumps(point), flush=True)
                points.append(point)
                note({"machine": machine(), part: points})


def note(found: dict[str, Any]) -> None:
    """Adds to the figures of the other parts."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(before | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
