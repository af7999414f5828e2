"""The same inputs give the same bytes; the manifest's schema marks what may differ."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from embconvert.graph.streams import hash_file
from support import zoo
from support.command_line import ROOT, Outcome, embconvert_from_scratch, files_in

pytestmark = pytest.mark.integration

SCHEMA = json.loads((ROOT / "embconvert" / "data" / "manifest.schema.json").read_text())


def convert(model: Path, parent: Path, *options: str, **environment: str) -> Outcome:
    parent.mkdir()
    outcome = embconvert_from_scratch(
        "all", "--model_id", model, "--output_parent_dir", parent, *options,
        cwd=parent, env=environment,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return outcome


def hashes(outcome: Outcome) -> dict[str, str]:
    folder = Path(outcome.stdout.strip())
    pages = {page["path"] for page in outcome.manifest["pages"]}
    names = set(files_in(folder)) - pages - {"embconvert.json"}
    return {name: hash_file(folder / name) for name in sorted(names)}


def what_must_agree(value: Any, names: frozenset[str]) -> Any:
    """A manifest without what its schema says may differ between equal runs."""
    if isinstance(value, dict):
        return {k: what_must_agree(v, names) for k, v in value.items() if k not in names}
    if isinstance(value, list):
        return [what_must_agree(item, names) for item in value]
    return value


def may_differ(schema: Any) -> frozenset[str]:
    """The names of the properties that the schema marks."""
    found: set[str] = set()
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            if "may differ between equal runs" in str(part.get("$comment")):
                found.add(name)
        for part in schema.values():
            found |= may_differ(part)
    return frozenset(found)


def test_twice_in_a_row_gives_the_same_bytes_and_the_same_manifest(
    tiny_bert: Path, tmp_path: Path
) -> None:
    first, second = (
        convert(tiny_bert, tmp_path / name, "--quantize", "QInt8") for name in ("a", "b")
    )
    assert hashes(first) == hashes(second)
    names = may_differ(SCHEMA)
    assert names == {
        "machine",
        "pages",
        "recommended",
        "duration_s",
        "peak_memory_bytes",
        "speeds",
        "speedup",
    }
    assert what_must_agree(first.manifest, names) == what_must_agree(second.manifest, names)
    assert first.manifest != second.manifest


@pytest.mark.parametrize(
    ("model", "precisions"),
    # Products of a real model's size are shared out among threads.
    [("tiny_bert", "Q8,Q4,QInt8,QUInt8,Float16,QInt8Static"), ("minilm", "Q4")],
)
def test_threads_and_hash_seeds_change_no_byte(
    model: str, precisions: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(model)
    options = ("--quantize", precisions, "--skip_validation")
    one = convert(source, tmp_path / "a", *options, PYTHONHASHSEED="1", OMP_NUM_THREADS="1")
    two = convert(source, tmp_path / "b", *options, PYTHONHASHSEED="2", OMP_NUM_THREADS="2")
    assert hashes(one) == hashes(two)


@pytest.mark.parametrize(("architecture", "dtype"), [("bert", "float32"), ("qwen3", "bfloat16")])
def test_one_thing_after_the_other_gives_the_same_bytes_as_two_at_a_time(
    architecture: str, dtype: str, tmp_path: Path
) -> None:
    model = zoo.build_model(architecture, tmp_path / "model", dtype=dtype)
    options = ("--optimize", "1", "--quantize", "Float16,Q8", "--min_cosine", "0.5")
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    two = convert(model, tmp_path / "two", *options)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        one = convert(model, tmp_path / "one", *options)
    finally:
        os.sched_setaffinity(0, cpus)
    # "fused:" is said once the optimized graph is verified.
    assert two.stderr.index("quantize onnx/") < two.stderr.index("fused:")
    assert one.stderr.index("quantize onnx/") > one.stderr.index("fused:")
    assert hashes(one) == hashes(two)
