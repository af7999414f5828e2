"""How much memory a container needs, by the model's size: the table of docs/container.md.

    make bench-container        (needs docker, the image, and to read the host's cgroups)

The figure is the working set, as Kubernetes counts it: the memory of the container's group without
page cache that could be dropped, sampled twenty times a second.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import zoo  # noqa: E402

#: Hidden size, layers, heads, feed-forward size, vocabulary: a BERT of each size.
SHAPES = {
    "MiniLM-L6": (384, 6, 12, 1536, 30522),
    "BERT base": (768, 12, 12, 3072, 30522),
    "BERT large": (1024, 24, 16, 4096, 30522),
    "bge-m3": (1024, 24, 16, 4096, 250002),
}


IMAGE = os.environ.get("IMAGE", "embconvert")


def docker(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a docker command; its output comes without the newline at the end."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    done.stdout = done.stdout.strip()
    return done


def build(name: str, folder: Path) -> Path:
    """Builds a model of a shape with random weights."""
    hidden, layers, heads, inner, vocabulary = SHAPES[name]
    return zoo.build_model(
        "bert",
        folder / name.replace(" ", "-"),
        pooling=None,
        overrides={
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": inner, "vocab_size": vocabulary,
        },
    )  # fmt: skip


def working_set_bytes(container: str) -> int:
    """Returns what the container's group uses now, without page cache that could be dropped."""
    for pattern, usage in (
        ("memory/**/{}*/memory.stat", "memory.usage_in_bytes"),
        ("**/*{}*/memory.stat", "memory.current"),
    ):
        for stat in Path("/sys/fs/cgroup").glob(pattern.format(container)):
            fields = dict(line.split() for line in stat.read_text().splitlines())
            cache = int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
            return int((stat.parent / usage).read_text()) - cache
    return 0


def peak_bytes(model: Path, *options: str) -> int:
    """Converts a model in a container; returns the highest working set.

    Raises:
        RuntimeError: The conversion failed.
    """
    with tempfile.TemporaryDirectory() as models:
        container = docker(
            "run", "--detach", "--network", "none", "--user", "0",
            "--volume", f"{model}:/input/model:ro", "--volume", f"{models}:/models",
            IMAGE, "all", "--model_id", "/input/model", "--quantize", "QInt8", *options,
        ).stdout  # fmt: skip
        peak = 0
        while docker("inspect", "--format", "{{.State.Running}}", container).stdout == "true":
            until = time.monotonic() + 1
            with contextlib.suppress(OSError, ValueError):  # its group goes when it ends
                while time.monotonic() < until:
                    peak = max(peak, working_set_bytes(container))
                    time.sleep(0.05)
        code, log = docker("wait", container).stdout, docker("logs", container).stderr
        docker("rm", "--force", container)
        if code != "0":
            raise RuntimeError(log)
        return peak


def main() -> None:
    """Prints a line for each shape."""
    print(
        "| parameters | shape | verified | `--skip_validation` |\n|---:|---|---:|---:|", flush=True
    )
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            model = build(name, Path(folder))
            Path(folder).chmod(0o755)
            size = (model / "model.safetensors").stat().st_size / 4e6
            runs = (("--min_cosine", "0.1"), ("--skip_validation",))
            peaks = [peak_bytes(model, *options) / 1e9 for options in runs]
        print(f"| {size:.0f} M | {name} | {peaks[0]:.1f} GB | {peaks[1]:.1f} GB |", flush=True)


if __name__ == "__main__":
    main()
