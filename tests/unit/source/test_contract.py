"""What a layout's program would get wrong is refused before work starts, with what to use."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.cli.main import parse
from embconvert.errors import UsageError
from embconvert.models.choices import Inputs, Output
from embconvert.models.kinds import Kind
from embconvert.models.source_records import FileRecord
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request
from embconvert.source.contract import modes_of, settle_contract
from support.plans import RESOLVED

_POOLED = ("Transformer", "Pooling", "Normalize")
_VOCABULARY = (FileRecord(path="vocab.txt", sha256="0", size_bytes=1),)


def settled(line: str, **resolved: Any) -> Request:
    usual = {"modules": _POOLED, "files": _VOCABULARY}
    request = parse(f"all --model_id m {line}".split())[1]
    return settle_contract(request, replace(RESOLVED, **(usual | resolved)))


def with_pooling(folder: Path, settings: dict[str, Any]) -> ResolvedModel:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return replace(RESOLVED, folder=folder, modules=_POOLED, files=_VOCABULARY)


@pytest.mark.parametrize("layout", ["langchain4j", "springai", "chroma", "milvus", "nixiesearch"])
@pytest.mark.parametrize("module", ["Dense", "LayerNorm"])
def test_a_program_that_pools_itself_would_leave_a_module_out(layout: str, module: str) -> None:
    with pytest.raises(UsageError, match=f"without the model's {module}") as caught:
        settled(f"--layout {layout}", modules=("Transformer", "Pooling", module))
    assert "--layout hub" in caught.value.hint
    assert "sentence_embedding" in caught.value.hint


@pytest.mark.parametrize(("layout", "settings", "is_right"), [
    ("langchain4j", {"pooling_mode": "cls"}, True),
    ("langchain4j", {"pooling_mode_mean_tokens": True}, True),
    ("langchain4j", {"pooling_mode": "lasttoken"}, False),
    ("langchain4j", {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, False),
    ("langchain4j", {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, False),
    ("springai", {"pooling_mode": "cls"}, False),
    ("springai", {"pooling_mode": "mean"}, True),
    ("chroma", {"pooling_mode_cls_token": True}, False),
    ("milvus", {"pooling_mode": ["mean", "cls"]}, False),
    ("nixiesearch", {"pooling_mode": "max"}, False),
    # They take what the graph pooled.
    ("opensearch", {"pooling_mode": "lasttoken"}, True),
    ("vespa", {"pooling_mode": "lasttoken"}, True),
    ("semantickernel", {"pooling_mode": "lasttoken"}, True),
    ("hub", {"pooling_mode": "lasttoken"}, True),
])  # fmt: skip
def test_a_pooling_that_the_program_does_not_apply_is_refused(
    tmp_path: Path, layout: str, settings: dict[str, Any], is_right: bool
) -> None:
    request = parse(f"all --model_id m --layout {layout}".split())[1]
    resolved = with_pooling(tmp_path, settings)
    if is_right:
        settle_contract(request, resolved)
        return
    with pytest.raises(UsageError, match="its embeddings would be wrong") as caught:
        settle_contract(request, resolved)
    assert "--layout hub" in caught.value.hint


def test_the_users_pooling_counts_not_the_files(tmp_path: Path) -> None:
    request = parse(["all", "--model_id", "m", "--layout", "springai", "--pooling", "mean"])[1]
    settle_contract(request, with_pooling(tmp_path, {"pooling_mode": "cls"}))
    with pytest.raises(UsageError, match="pooling is max"):
        settled("--layout langchain4j --pooling max")


@pytest.mark.parametrize("settings", [{}, {"pooling_mode_cls_token": "yes"}, [], "cls", None])
def test_odd_settings_name_no_pooling(tmp_path: Path, settings: Any) -> None:
    request = parse(["all", "--model_id", "m"])[1]
    assert modes_of(request, with_pooling(tmp_path, settings)) == ()


@pytest.mark.parametrize("layout", ["langchain4j", "chroma", "milvus"])
def test_a_program_that_normalizes_is_for_models_that_do(layout: str) -> None:
    plain = {"modules": ("Transformer", "Pooling")}
    with pytest.raises(UsageError, match="normalizes every embedding") as caught:
        settled(f"--layout {layout}", **plain)
    assert "--normalize" in caught.value.hint
    settled(f"--layout {layout} --normalize", **plain)
    settled("--layout springai", **plain)


def test_a_program_that_pools_itself_pools_prompts_too(tmp_path: Path) -> None:
    resolved = with_pooling(tmp_path, {"pooling_mode": "mean", "include_prompt": False})
    with pytest.raises(UsageError, match="the tokens of prompts"):
        settle_contract(parse(["all", "--model_id", "m", "--layout", "chroma"])[1], resolved)
    settle_contract(parse(["all", "--model_id", "m", "--layout", "vespa"])[1], resolved)


def test_a_program_that_pools_itself_cannot_truncate() -> None:
    with pytest.raises(UsageError, match="ignores --dimensions"):
        settled("--layout langchain4j --dimensions 64")
    settled("--layout vespa --dimensions 64")


@pytest.mark.parametrize(("layout", "kind", "inputs"), [
    ("hub", Kind.EMBEDDING, None),
    ("vespa", Kind.EMBEDDING, None),
    ("langchain4j", Kind.EMBEDDING, None),
    ("vespa", Kind.LATE_INTERACTION, Inputs.IDS_AND_MASK),
    ("vespa", Kind.SPARSE, Inputs.WITH_TYPES),
    ("chroma", Kind.EMBEDDING, Inputs.WITH_TYPES),
    ("milvus", Kind.EMBEDDING, Inputs.WITH_TYPES),
    ("semantickernel", Kind.EMBEDDING, Inputs.WITH_TYPES),
])  # fmt: skip
def test_a_graph_gets_the_inputs_that_its_program_sends(
    layout: str, kind: Kind, inputs: Inputs | None
) -> None:
    assert settled(f"--layout {layout}", kind=kind).inputs is inputs


def test_inputs_that_the_program_does_not_send_are_refused() -> None:
    with pytest.raises(UsageError, match="always sends input_ids,attention_mask,token_type_ids"):
        settled("--layout chroma --inputs input_ids,attention_mask")
    assert settled("--layout vespa --inputs input_ids,attention_mask").inputs is (
        Inputs.IDS_AND_MASK
    )


def test_a_graph_gets_the_output_and_the_runtime_of_its_program() -> None:
    assert settled("--layout semantickernel").output is Output.SENTENCE
    assert settled("--layout vespa").output is Output.BOTH
    assert settled("--layout langchain4j").min_onnxruntime == (1, 20)
    assert settled("--layout langchain4j --min_onnxruntime 1.17").min_onnxruntime == (1, 17)
    assert settled("--layout hub").min_onnxruntime is None
    with pytest.raises(UsageError, match="cannot load Q4"):
        settled("--layout opensearch --quantize Q4")
    with pytest.raises(UsageError, match="cannot load Q4"):
        settled("--layout langchain4j --quantize Q4")
    assert settled("--layout langchain4j --quantize Q4 --operators standard").quantize


@pytest.mark.parametrize("layout", ["semantickernel", "chroma"])
def test_a_program_with_a_tokenizer_of_its_own_needs_the_vocabulary(layout: str) -> None:
    with pytest.raises(UsageError, match=r"reads vocab\.txt"):
        settled(f"--layout {layout}", files=())
