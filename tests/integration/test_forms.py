"""--shape and --format: files of other forms, derived from published graphs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embconvert.folder.published import read_manifest
from embconvert.reporting.form_notes import form_snippets
from embconvert.reporting.home import Home
from embconvert.reporting.snippets import snippets
from support import zoo
from support.command_line import Outcome, convert, embconvert, files_in

pytestmark = pytest.mark.integration

NAMES = ("model_opt0_QInt8_1x32.onnx", "model_opt0_QInt8_1x32.ort")
CONFIG = "model_opt0_QInt8_1x32.required_operators_and_types.config"
OPTIONS = (
    "--optimize",
    0,
    "--quantize",
    "QInt8",
    "--shape",
    "1x32",
    "--format",
    "ort",
    "--min_cosine",
    0.9,
)


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return convert(tiny_bert, tmp_path_factory.mktemp("forms"), *OPTIONS)


def test_the_files_are_verified_and_recorded(run: Outcome) -> None:
    records = {Path(a["path"]).name: a for a in run.manifest["artifacts"]}
    assert set(NAMES) < set(records)
    for name in NAMES:
        figures = records[name]["fidelity"]
        assert figures["similarity"]["mean"] > 0.9
        # Longer texts are left out, and all others compared.
        assert figures["left_out"] > 0
        assert figures["left_out"] + figures["texts"] == records["model.onnx"]["fidelity"]["texts"]
    assert [form["kind"] for form in records[NAMES[1]]["forms"]] == ["shape", "ort"]
    assert records[NAMES[1]]["made_from"] == records[NAMES[0]]["sha256"]
    assert [Path(file["path"]).name for file in records[NAMES[1]]["beside"]] == [CONFIG]
    assert CONFIG in files_in(run.folder / "onnx")
    assert CONFIG not in {Path(file["path"]).name for file in run.manifest["files"]}
    assert run.manifest["recommended"]["path"].rpartition("/")[2] not in NAMES
    assert f"onnx/{NAMES[0]} is compared on" in run.stderr
    timed = {Path(graph["path"]).name for graph in run.manifest["speeds"]["graphs"]}
    assert timed == set(records) - set(NAMES)


def test_a_reduced_build_gets_every_operator_of_a_quantized_model(run: Outcome) -> None:
    from onnxruntime.tools.reduced_build_config_parser import parse_config

    by_domain, types = parse_config(str(run.folder / "onnx" / CONFIG), enable_type_reduction=True)
    names = {
        name if domain == "ai.onnx" else f"{domain}.{name}"
        for domain, opsets in by_domain.items()
        for operators in opsets.values()
        for name in operators
    }
    assert names == set(run.graph(NAMES[1])["operators"])
    assert types.get_cpp_entries()


def test_a_second_run_reuses_them_and_a_lost_one_is_made_again(
    run: Outcome, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run.folder, tmp_path / run.folder.name)
    before = files_in(folder / "onnx")
    (folder / "onnx" / CONFIG).write_text("changed")
    again = convert(tiny_bert, tmp_path, *OPTIONS)
    assert f"derive: onnx/{NAMES[0]} is up to date" in again.stderr
    assert f"onnx/{NAMES[1]} was changed since it was made; it is made again" in again.stderr
    assert files_in(folder / "onnx") == before

    # Without the options, they stay: what they were made from is still there.
    kept = convert(tiny_bert, tmp_path, *OPTIONS[:4], *OPTIONS[-2:])
    assert set(NAMES) < {Path(a["path"]).name for a in kept.manifest["artifacts"]}
    assert CONFIG in files_in(folder / "onnx")


def test_a_published_folder_is_verified_with_them(run: Outcome) -> None:
    outcome = embconvert("verify", run.folder)
    assert outcome.code == 0, outcome.stderr
    for name in NAMES:
        assert f"onnx/{name}: loads and runs; not compared" in outcome.stdout


def test_commands_that_run_any_batch_say_that_they_leave_them_out(
    run: Outcome, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"text {number}\n" for number in range(40)))
    evaluated = embconvert(
        "evaluate", run.folder, "--data", texts, "--output", tmp_path / "evaluated"
    )
    assert evaluated.code == 0, evaluated.stderr
    assert f"not evaluated: {', '.join(f'onnx/{name}' for name in NAMES[::-1])}" in evaluated.stderr
    compared = embconvert("diff", run.folder / "onnx" / NAMES[1], run.folder)
    assert compared.code == 2
    assert "has a fixed shape" in compared.stderr


def run_code(folder: Path, code: str, values: str) -> np.ndarray:
    """Returns what a variable holds after code of the card has run beside the folder."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json\nprint(json.dumps({values}))"],
        capture_output=True, text=True, check=False, cwd=folder.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def check_code(folder: Path, values: str) -> None:
    """Compares the code for each form with the code for the graph it was derived from."""
    manifest = read_manifest(folder)
    assert manifest is not None
    home = Home(name=folder.name)
    by_digest = {record.sha256: record for record in manifest.artifacts}
    source = next(record for record in manifest.artifacts if record.forms)
    while source.forms:
        assert source.made_from is not None
        source = by_digest[source.made_from]
    (usual,) = [s for s in snippets(manifest, source, folder, home=home) if s.key == "onnxruntime"]
    expected = run_code(folder, usual.code, values)
    found = form_snippets(manifest, folder, home=home)
    assert found
    for snippet in found:
        assert snippet.code in (folder / "README.md").read_text(encoding="utf-8")
        np.testing.assert_allclose(
            run_code(folder, snippet.code, values), expected, rtol=1e-3, atol=1e-3
        )


def test_the_card_says_how_to_pad_and_its_code_gives_the_same_vectors(run: Outcome) -> None:
    card = (run.folder / "README.md").read_text(encoding="utf-8")
    assert f"`onnx/{NAMES[0]}`: exactly 1 text of 32 tokens. Pad on the right with token 0" in card
    assert run.graph(NAMES[0])["padding"] == {
        "side": "right", "token_id": 0, "token": "<pad>", "type_id": 0,
    }  # fmt: skip
    check_code(run.folder, "embeddings.tolist()")


def test_late_interaction_has_fixed_shapes(tmp_path: Path) -> None:
    """With more texts than the batch has, and queries that are filled up with other tokens."""
    expansion = {"strategy": "fixed", "length": 20, "attend": False}
    model = zoo.build_late_interaction("bert", tmp_path / "source" / "m", expansion=expansion)
    outcome = embconvert(
        "export", "--model_id", model, "--output_parent_dir", tmp_path, "--shape", "2x48"
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model_2x48.onnx")["fidelity"]["similarity"]["min"] > 0.999
    check_code(outcome.folder, "scores")
