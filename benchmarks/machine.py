"""What the benchmark ran on: the machine, and the versions on both sides."""

import json
import os
import platform
import subprocess
from pathlib import Path

from pipelines import OUR_BIN, PEER_BIN

_PACKAGES = (
    "embconvert", "torch", "transformers", "sentence-transformers", "optimum", "optimum-onnx",
    "onnx", "onnxscript", "onnxruntime",
)  # fmt: skip
_ASK = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


def machine() -> dict[str, str | float]:
    """Returns the facts on the machine that times and memory depend on."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "memory_gib": round(memory / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    # ARM's kernels give no name.
    return names[0] if names else platform.machine()


def versions() -> dict[str, dict[str, str]]:
    """Returns the version of each package that matters, for ours and for the peer."""
    return {"ours": installed(OUR_BIN), "peer": installed(PEER_BIN)}


def installed(binaries: Path) -> dict[str, str]:
    """Returns the version of each package that matters, in an environment."""
    command = (str(binaries / "python"), "-c", _ASK, *_PACKAGES)
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = json.loads(answer)
    return found
