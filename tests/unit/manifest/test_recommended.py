"""Which of a folder's files to take."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.recommended import recommended
from embconvert.models.choices import Layout, Precision
from embconvert.models.forms import FileForm, FormKind
from embconvert.speed.records import SpeedsRecord
from support.examples import fidelity, graph, manifest_of, published, speeds


def made(folder: Path, name: str, size: int, **changes: object) -> ArtifactRecord:
    changes = {"fidelity": fidelity(0.01, bin_number=20), "made_from": "1" * 64, **changes}
    return graph(folder, name, size, **changes)


def chosen(
    *graphs: ArtifactRecord, layout: Layout = Layout.HUB, speeds: SpeedsRecord | None = None
) -> tuple[str, str]:
    found = recommended(replace(manifest_of(*graphs, speeds=speeds), layout=layout))
    assert found is not None
    return found.path, found.reason


def test_the_smallest_file_that_is_not_slower_than_float32(tmp_path: Path) -> None:
    exported = made(tmp_path, "model", 900, made_from=None)
    quick, small, slow = (
        made(tmp_path, n, s) for n, s in (("quick", 500), ("small", 300), ("slow", 100))
    )
    measured = speeds(model=None, quick=3.0, small=(1.25, 0.06), slow=(0.93, 0.05))
    assert chosen(exported, quick, small, slow, speeds=measured) == (
        "onnx/small.onnx",
        "the smallest file that is not slower than float32 (1.25x ± 0.06 where it was made)",
    )


def test_a_file_for_gpus_is_taken_only_if_no_other_is_quantized(tmp_path: Path) -> None:
    exported = made(tmp_path, "model", 900, made_from=None)
    q4 = made(tmp_path, "q4", 120, precision=Precision.Q4)
    for_gpus = made(tmp_path, "q4f16", 100, precision=Precision.Q4F16)
    measured = speeds(model=None, q4=(1.2, 0.05), q4f16=(1.1, 0.05))
    assert chosen(exported, q4, for_gpus, speeds=measured) == (
        "onnx/q4.onnx",
        "the smallest file for CPUs that is not slower than float32 (1.20x ± 0.05 where it was "
        "made)",
    )
    assert chosen(exported, for_gpus, speeds=measured)[0] == "onnx/q4f16.onnx"


def test_noise_is_no_difference(tmp_path: Path) -> None:
    exported, small = made(tmp_path, "model", 900, made_from=None), made(tmp_path, "small", 100)
    within = speeds(model=None, small=(0.96, 0.05))
    assert chosen(exported, small, speeds=within)[0] == "onnx/small.onnx"
    beyond = speeds(model=None, small=(0.96, 0.03))
    assert chosen(exported, small, speeds=beyond)[0] == "onnx/model.onnx"


@pytest.mark.parametrize("noise", [(2.26, 5.65), (0.97, 0.41), (1.2, 0.3)])
def test_a_speed_that_noise_hides_is_no_reason(tmp_path: Path, noise: tuple[float, float]) -> None:
    graphs = [
        made(tmp_path, "model", 900, made_from=None), made(tmp_path, "quick", 500),
        made(tmp_path, "small", 100),
    ]  # fmt: skip
    measured = speeds(model=None, quick=(2.0, 0.1), small=noise)
    assert chosen(*graphs, speeds=measured) == (
        "onnx/small.onnx",
        "the smallest file; its own speed relative to float32 was not measurable on the machine "
        "that made it",
    )
    busy = replace(measured, waited=0.5)
    assert "on the busy machine" in chosen(*graphs, speeds=busy)[1]


def test_a_smaller_file_that_is_slower_for_certain_is_said_to_exist(tmp_path: Path) -> None:
    graphs = [
        made(tmp_path, "model", 900, made_from=None), made(tmp_path, "small", 300),
        made(tmp_path, "slow", 100),
    ]  # fmt: skip
    measured = speeds(model=None, small=(1.1, 0.8), slow=(0.5, 0.1))
    path, reason = chosen(*graphs, speeds=measured)
    assert path == "onnx/small.onnx"
    assert reason.startswith("the smallest file but those that are slower than float32; ")


def test_float32_where_all_else_is_slower(tmp_path: Path) -> None:
    exported, slow = made(tmp_path, "model", 900, made_from=None), made(tmp_path, "slow", 100)
    found = chosen(exported, slow, speeds=speeds(model=None, slow=0.5))
    assert found == ("onnx/model.onnx", "no smaller file is as fast as float32")
    alone = chosen(exported, speeds=speeds(model=None))
    assert alone == ("onnx/model.onnx", "the only file")


def test_the_fastest_where_there_is_no_float32(tmp_path: Path) -> None:
    small, quick = made(tmp_path, "small", 300), made(tmp_path, "quick", 500)
    path, reason = chosen(small, quick, speeds=speeds(small=1.25, quick=3.0))
    assert path == "onnx/quick.onnx"
    assert "no float32 file" in reason


def test_without_float32_a_busy_machine_does_not_tell_the_fastest(tmp_path: Path) -> None:
    small, quick = made(tmp_path, "small", 300), made(tmp_path, "quick", 500)
    measured = replace(speeds(small=1.25, quick=3.0), waited=0.5)
    path, reason = chosen(small, quick, speeds=measured)
    assert path == "onnx/small.onnx"
    assert "too busy to tell which is the fastest" in reason


def test_the_smallest_verified_file_where_speeds_were_not_measured(tmp_path: Path) -> None:
    exported, small = made(tmp_path, "model", 900, made_from=None), made(tmp_path, "small", 300)
    unknown = made(tmp_path, "unknown", 100, fidelity=None)
    path, reason = chosen(exported, small, unknown)
    assert path == "onnx/small.onnx"
    assert "not measured" in reason


@pytest.mark.parametrize("layout", [Layout.TEI, Layout.NIXIESEARCH, Layout.VESPA])
def test_what_a_program_loads_that_loads_one_file(tmp_path: Path, layout: Layout) -> None:
    exported = made(tmp_path, "model", 900, made_from=None)
    small = made(tmp_path, "small", 100)
    served = made(tmp_path, "served", 500, path="model.onnx")
    path, reason = chosen(exported, small, served, layout=layout)
    assert path == "model.onnx"
    assert reason.startswith("the file for ")


def test_what_was_not_verified_is_no_choice_beside_what_was(tmp_path: Path) -> None:
    unknown = made(tmp_path, "unknown", 100, fidelity=None)
    known = made(tmp_path, "known", 500)
    assert chosen(unknown, known)[0] == "onnx/known.onnx"
    larger = made(tmp_path, "larger", 200, fidelity=None)
    path, reason = chosen(larger, unknown)
    assert path == "onnx/unknown.onnx"
    assert "none was verified" in reason


def test_of_nothing_nothing_is_recommended(tmp_path: Path) -> None:
    manifest: Manifest = replace(published(tmp_path), artifacts=())
    assert recommended(manifest) is None


def test_in_a_layout_of_another_form_it_has_that_form(tmp_path: Path) -> None:
    exported = made(tmp_path, "model", 900, made_from=None)
    forms = (FileForm(kind=FormKind.OPENVINO),)
    small, quick = (made(tmp_path, n, s, forms=forms) for n, s in (("small", 300), ("quick", 500)))
    measured = speeds(model=None, small=1.25, quick=3.0)
    graphs = (exported, small, quick)
    assert chosen(*graphs, layout=Layout.OPENVINO, speeds=measured)[0] == "onnx/small.onnx"
    assert chosen(*graphs, speeds=measured)[0] == "onnx/model.onnx"
    # The exported graph itself is none that the program loads.
    slower = speeds(model=None, small=0.5, quick=0.7)
    path, reason = chosen(*graphs, layout=Layout.OPENVINO, speeds=slower)
    assert path == "onnx/quick.onnx"
    assert "on ONNX Runtime, is faster (0.70x ± 0.05)" in reason
