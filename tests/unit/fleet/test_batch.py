"""One failure stops nothing, the worst one names the exit code, and the summary tells all."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from embconvert import errors
from embconvert.api.runner import Runner
from embconvert.errors import EmbconvertError, FidelityError, NetworkError, SourceError
from embconvert.fleet.batch import batch
from embconvert.fleet.summary import WORST_FIRST
from embconvert.pipeline.convert import Converted
from embconvert.request.places import output_folder
from embconvert.request.records import BatchRequest, Finished, Request
from support.command_line import ROOT
from support.examples import manifest_of

SCHEMA = ROOT / "embconvert/data/batch.schema.json"
UNREACHED = NetworkError("no network", "wait")


class Hub:
    """Stands for the network and for conversions: what each model comes to, in turn.

    Attributes:
        converted: The models that were begun, in order.
    """

    def __init__(self, ends: Mapping[str, list[BaseException | None]]) -> None:
        self._ends = {name: list(turns) for name, turns in ends.items()}
        self.converted: list[str] = []

    def convert(self, request: Request) -> Converted:
        self.converted.append(request.model_id)
        end = self._ends.get(request.model_id, [None]).pop(0)
        if end is not None:
            raise end
        return Converted(folder=output_folder(request), manifests={"": manifest_of()})


def find_commits(requests: Sequence[Request], *_: object) -> list[str]:
    return ["0" * 40 for _ in requests]


Run = Callable[..., tuple[Finished, Hub]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_it(
        models: list[str], ends: Mapping[str, list[BaseException | None]] = {}, **options: Any
    ) -> tuple[Finished, Hub]:
        hub = Hub(ends)

        class RunnerInThisProcess(Runner):
            def convert(self, request: Request) -> Converted:
                return hub.convert(request)

        file = tmp_path / "models.yaml"
        file.write_text(json.dumps({"models": models}))
        parent = tmp_path / "models"
        request = BatchRequest(file=file, output_parent_dir=parent, json=True, **options)
        return batch(request, RunnerInThisProcess, find_commits), hub

    return run_it


def summary(finished: Finished) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(finished.text)
    jsonschema.validate(value, json.loads(SCHEMA.read_text()))
    return value


def test_one_failure_does_not_stop_the_rest(run: Run) -> None:
    ends: dict[str, list[BaseException | None]] = {
        "b": [SourceError("gone", "look")],
        "c": [EmbconvertError("the process ended: lack of memory", "add memory")],
        "d": [RuntimeError("Traceback")],
    }
    finished, hub = run(["a", "b", "c", "d", "e"], ends)
    assert hub.converted == ["a", "b", "c", "d", "e"]
    models = summary(finished)["models"]
    assert [m["exit_code"] for m in models] == [0, 3, 1, 1, 0]
    assert (models[1]["error"], models[1]["hint"]) == ("gone", "look")
    assert "lack of memory" in models[2]["error"]
    assert finished.exit_code == 1


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([], 0),
        ([UNREACHED], 10),
        ([UNREACHED, SourceError("", "")], 3),
        ([SourceError("", ""), FidelityError("", "")], 8),
        ([FidelityError("", ""), EmbconvertError("", "")], 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst(
    codes: list[EmbconvertError], worst: int, run: Run
) -> None:
    models = [f"m{i}" for i in range(len(codes) + 1)]
    finished, _ = run(models, {m: [c, c] for m, c in zip(models, codes, strict=False)})
    assert finished.exit_code == worst == summary(finished)["exit_code"]


def test_every_exit_code_has_its_place() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, EmbconvertError)}
    assert sorted(WORST_FIRST) == sorted(codes)


def test_what_the_network_failed_is_tried_once_more_at_the_end(run: Run) -> None:
    finished, hub = run(["a", "b"], {"a": [UNREACHED, None]})
    assert hub.converted == ["a", "b", "a"]
    assert finished.exit_code == 0


def test_a_model_whose_run_was_killed_waits_for_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models/.a.embconvert-staging-0123").mkdir(parents=True)
    assert run(["a", "b", "c"])[1].converted == ["b", "c", "a"]


def test_fail_fast_stops_at_the_first_failure(run: Run) -> None:
    finished, hub = run(["a", "b", "c"], {"b": [SourceError("gone", "look")]}, fail_fast=True)
    assert hub.converted == ["a", "b"]
    assert summary(finished)["counts"] == {"converted": 0, "up_to_date": 1, "failed": 1, "to_do": 1}


def test_a_dry_run_does_nothing(run: Run) -> None:
    finished, hub = run(["a", "b"], dry_run=True)
    assert (hub.converted, finished.exit_code) == ([], 0)
    assert summary(finished)["counts"]["to_do"] == 2


def test_a_shard_is_a_part_and_the_matrix_is_all_of_them(run: Run) -> None:
    from embconvert.request.records import Shard

    finished, hub = run(["a", "b", "c", "d"], shard=Shard(index=0, count=2))
    assert len(hub.converted) == 2
    assert summary(finished)["shard"] == "1/2"
    finished, hub = run(["a", "b", "c", "d"], list_json=True, shards=2)
    assert hub.converted == []
    assert [job["shard"] for job in json.loads(finished.text)["include"]] == ["1/2", "2/2"]
