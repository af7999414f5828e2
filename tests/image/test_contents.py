"""What is in the image, and what is not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE, docker, python, run

pytestmark = pytest.mark.usefixtures("image")

ROOT = Path(__file__).parents[2]
LOCKED = {
    name: version
    for file in ("runtime.txt", "openvino.txt")
    for name, version in re.findall(
        r"^([\w.-]+)==([^ ]+) ", (ROOT / "requirements" / file).read_text(), re.M
    )
}
MAX_BYTES = 1_400_000_000


def inspected() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(docker("image", "inspect", IMAGE).stdout)[0]
    return facts


def test_it_is_small() -> None:
    assert inspected()["Size"] <= MAX_BYTES


def test_it_says_what_it_is() -> None:
    labels = inspected()["Config"]["Labels"]
    facts = json.loads(run(words=("version", "--json")).stdout)
    assert labels["org.opencontainers.image.title"] == "embconvert"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == facts["embconvert"]
    assert labels["org.opencontainers.image.revision"] == facts["revision"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", facts["revision"])


def test_its_packages_are_those_of_the_lock() -> None:
    packages = json.loads(run(words=("version", "--json")).stdout)["packages"]
    assert {_canonical(n): v for n, v in packages.items()} == LOCKED


def test_the_list_of_contents_is_that_of_the_lock() -> None:
    sbom = json.loads(python("print(open('/opt/sbom.cdx.json').read())"))
    assert sbom["bomFormat"] == "CycloneDX"
    assert {_canonical(c["name"]): c["version"] for c in sbom["components"]} == LOCKED
    assert sum("licenses" in c for c in sbom["components"]) > 0.9 * len(LOCKED)


def test_nothing_is_there_that_only_developers_need() -> None:
    code = """
import importlib.util, shutil, sysconfig
from pathlib import Path
packages = Path(sysconfig.get_path("purelib"))
print([n for n in ("gcc", "cc", "g++", "make", "pip", "pip3", "git") if shutil.which(n)])
print([n for n in ("pip", "ensurepip", "pytest", "mypy") if importlib.util.find_spec(n)])
print([n for n in ("test", "include", "share") if (packages / "torch" / n).exists()])
"""
    assert python(code).split("\n") == ["[]", "[]", "[]", ""]


def test_byte_code_is_there_for_what_a_conversion_imports() -> None:
    code = """
import sys, importlib.util
sys.argv = ["embconvert"]
import embconvert.pipeline.tasks, embconvert.pipeline.convert
import torch, transformers, sentence_transformers
import onnxruntime.quantization, onnxruntime.transformers.optimizer, optimum.exporters.tasks
import transformers.models.bert.modeling_bert, transformers.models.qwen3.modeling_qwen3
from pathlib import Path
files = [Path(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
ours = [f for f in files if f.suffix == ".py" and f.is_relative_to("/opt") or "/app/" in str(f)]
print(len(ours), [str(f) for f in ours
                  if not Path(importlib.util.cache_from_source(str(f))).exists()])
"""
    count, _, missing = python(code).strip().partition(" ")
    assert int(count) > 1000
    assert missing == "[]"


def test_help_takes_less_than_a_second_of_the_processor() -> None:
    code = """
import resource, subprocess, sys
subprocess.run([sys.executable, "/app/entrypoint.py", "--help"], check=True, capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""
    assert float(python(code)) < 1


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
