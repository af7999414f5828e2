"""Twins of real repositories: each converts to what its own library computes, or is refused.

A twin is a repository's record, made into a tiny random model. A new record is all that a new model
needs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from embconvert.models.kinds import Kind
from support import zoo
from support.faulty_runs import Runner
from support.twins.build import build
from support.twins.consumers import Item, Library, Published, Vectors
from support.twins.records import Status, Twin, twins

pytestmark = pytest.mark.integration

TEXTS = (
    "", "a", "SHOUTING in Capitals, with  two   spaces ", "Где библиотека?", "今日は天気がいい",
    "مرحبا بالعالم", "👩‍🚀 café\n\nnaïve", zoo.LONG_SENTENCE * 2,
)  # fmt: skip
PAIRS = tuple(zip(TEXTS, reversed(TEXTS), strict=True))
TWINS = twins()
#: Code in another repository is fetched from the hub only.
CONVERTED = [
    twin
    for twin in TWINS
    if twin.status is Status.WORKS or (twin.status is Status.FLAG and twin.code != "elsewhere")
]
REFUSED = [twin for twin in TWINS if twin.refusal is not None]


def name(twin: Twin) -> str:
    return twin.name


def test_there_are_records_of_what_people_download() -> None:
    assert len(TWINS) >= 80


@pytest.mark.parametrize("twin", CONVERTED, ids=name)
def test_a_published_folder_gives_what_the_library_does(
    twin: Twin, tmp_path: Path, runner: Runner
) -> None:
    model = build(twin, tmp_path / twin.name)
    run = runner.run(
        tmp_path / "out", "all", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        *twin.asked, *twin.flags,
    )  # fmt: skip
    assert run.code == 0, run.stderr
    for words in twin.said:
        assert words in run.stderr
    reference = model
    if twin.adapter is not None:
        reference = build(twin.for_library, tmp_path / "merged" / twin.name, merged=twin.adapter)
    for route in twin.routes:
        library = Library(twin, reference, route)
        folder = tmp_path / "out" / twin.name / (route or "")
        for file in ("model.onnx", "model_opt1.onnx"):
            compare(twin, library, Published(folder, file, twin.kind))


@pytest.mark.parametrize("twin", REFUSED, ids=name)
def test_a_model_is_refused_with_its_reason(twin: Twin, tmp_path: Path, runner: Runner) -> None:
    model = build(twin, tmp_path / twin.name)
    run = runner.run(
        tmp_path / "out", "all", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        *twin.asked,
    )  # fmt: skip
    assert twin.refusal is not None
    assert run.code == twin.refusal.code, run.stderr
    assert len(run.errors) == 1, run.stderr
    assert twin.refusal.message in run.errors[0]
    assert "bug" not in run.stderr
    assert not (tmp_path / "out" / twin.name).exists()


def compare(twin: Twin, library: Library, published: Published) -> None:
    """Compares both with every prompt, alone and in a batch."""
    if twin.kind is Kind.LATE_INTERACTION:
        for task in ("query", "document"):
            same(library.run(TEXTS, task=task), published.run(TEXTS, task=task), task)
            alone = [published.run([text], task=task)[0] for text in TEXTS]
            same([library.run([text], task=task)[0] for text in TEXTS], alone, f"{task}, alone")
        return
    texts = TEXTS if twin.reads_empty_texts else TEXTS[1:]
    items: Sequence[Item] = PAIRS if twin.kind is Kind.RERANKER else texts
    # The default prompt is in a template.
    prompts = ("", *twin.prompts.values()) if published.rules is None else (None,)
    for prompt in prompts:
        given: Sequence[Item] = [f"{prompt}{i}" if isinstance(i, str) else i for i in items]
        same(library.run(items, prompt=prompt), published.run(given), f"{prompt}")
        alone = [library.run([item], prompt=prompt)[0] for item in items]
        same(alone, [published.run([item])[0] for item in given], f"{prompt}, alone")


def same(theirs: Sequence[Vectors], ours: Sequence[Vectors], where: str) -> None:
    for number, (wanted, found) in enumerate(zip(theirs, ours, strict=True)):
        assert wanted.shape == found.shape, f"{where}, text {number}"
        size = max(1.0, float(np.abs(wanted).max(initial=0.0)))
        np.testing.assert_allclose(
            found, wanted, atol=3e-4 * size, err_msg=f"{where}, text {number}"
        )
