"""Late-interaction models: token vectors are those of sentence-transformers' MultiVectorEncoder."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from embconvert.errors import SourceError
from embconvert.models.kinds import Kind
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert
from support.exports import load

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.integration

EXPANSIONS: dict[str, Mapping[str, Any] | None] = {
    "none": None,
    "fixed": {"strategy": "fixed", "length": 24},
    "attended": {"strategy": "min", "length": 16, "attend": True},
}


@pytest.mark.parametrize("architecture", zoo.LATE_INTERACTION_MODELS)
def test_every_stage_gives_the_vectors_of_torch(architecture: str, tmp_path: Path) -> None:
    import onnxruntime
    from sentence_transformers import MultiVectorEncoder

    expansion = EXPANSIONS["fixed" if architecture == "bert" else "none"]
    model = zoo.build_late_interaction(architecture, tmp_path / "m", expansion=expansion)
    outcome = convert(
        model, tmp_path / "out", "--quantize", "Q8,QInt8,QUInt8,QInt8Static,Float16",
        "--min_cosine", 0.97,
    )  # fmt: skip
    chain = MultiVectorEncoder(str(model), device="cpu")
    folder = tmp_path / "out" / "m"
    for file in ("model.onnx", "model_opt1.onnx"):
        session = onnxruntime.InferenceSession(str(folder / "onnx" / file))
        assert [o.name for o in session.get_outputs()] == ["token_embeddings"]
        for task, texts in (("query", zoo.SENTENCES[:9]), ("document", zoo.SENTENCES)):
            prompt = chain.prompts[task]
            features = chain.preprocess(list(texts), prompt=prompt, task=task)
            feed = {i.name: features[i.name].numpy() for i in session.get_inputs()}
            (ours,) = session.run(None, feed)
            theirs = chain.encode(list(texts), prompt=prompt, task=task, output_value=None)
            for vectors, item in zip(ours, theirs, strict=True):
                counts = item["attention_mask"].numpy().astype(bool)
                wanted = item["token_embeddings"].numpy()
                np.testing.assert_allclose(vectors[counts], wanted[counts], atol=2e-4)
        assert outcome.graph(file)["fidelity"]["lowest_token_cosine"] > 0.9999
    source = outcome.manifest["source"]["model"]
    assert (source["kind"], source["similarity"]) == ("late-interaction", "maxsim")
    assert source["dimension"] == 16
    assert outcome.manifest["source"]["modules"][1] == "Dense"
    shape = outcome.graph("model_opt1_QInt8.onnx")["outputs"][0]["shape"]
    assert shape == ["batch", "seq", 16]


@pytest.mark.parametrize("name", [*EXPANSIONS, "fixed, on the left"])
def test_the_code_on_the_card_scores_as_sentence_transformers_does(
    name: str, tmp_path: Path
) -> None:
    """With prompts, queries that are filled up, documents that are cut, words that do not count."""
    from sentence_transformers import MultiVectorEncoder

    expansion, _, is_left = name.partition(", ")
    model = zoo.build_late_interaction("bert", tmp_path / "m", expansion=EXPANSIONS[expansion])
    change_json(model / "sentence_bert_config.json", document_length=9)
    if is_left:
        sides = {"truncation_side": "left", "padding_side": "left"}
        change_json(model / "tokenizer_config.json", **sides)
    convert(model, tmp_path / "out", "--optimize", 0)
    card = (tmp_path / "out" / "m" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found is not None
    code = found[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    query = json.loads(re.findall(r"query = (\".*\")", code)[0])
    documents = json.loads(
        "[" + code.split("documents = [")[1].split("]")[0].strip().rstrip(",") + "]"
    )
    chain = MultiVectorEncoder(str(model), device="cpu")
    scores = chain.similarity(chain.encode_query([query]), chain.encode_document(documents))
    np.testing.assert_allclose(json.loads(done.stdout), scores.numpy()[0], atol=1e-3)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_is_verified_continued_and_its_rules_are_told(tmp_path: Path) -> None:
    model = zoo.build_late_interaction("bert", tmp_path / "m", expansion=EXPANSIONS["fixed"])
    first = convert(model, tmp_path / "out")
    late = first.manifest["source"]["model"]["late_interaction"]
    assert (late["query_prompt"], late["document_prompt"]) == ("query: ", "passage: ")
    assert late["document_length"] == 48
    assert late["expansion"] == {
        "length": 24, "token_id": zoo.MASK_ID, "attend": False, "fixed": True,
    }  # fmt: skip
    assert (len(late["skipped_ids"]), late["skipped_in"]) == (3, ["document"])
    assert "more prompts are not verified" not in first.stderr
    quantized = embconvert(
        "quantize", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--quantize", "QInt8Static",
    )  # fmt: skip
    assert quantized.code == 0, quantized.stderr
    assert quantized.manifest["source"]["model"]["late_interaction"] == late
    alone = embconvert("verify", tmp_path / "out" / "m")
    assert alone.code == 0, alone.stderr
    against = embconvert("verify", tmp_path / "out" / "m", "--against", model)
    assert against.code == 0, against.stderr


def test_little_memory_half_precision_and_no_float32(tmp_path: Path) -> None:
    model = zoo.build_late_interaction("modernbert", tmp_path / "m", dtype="bfloat16")
    little = convert(
        model, tmp_path / "out", "--quantize", "QInt8", "--no_float32", env=LITTLE_MEMORY
    )
    assert little.manifest["verification"]["execution"] == "layer by layer"
    assert little.graph("model_opt1_QInt8.onnx")["fidelity"]["similarity"]["mean"] > 0.97


def save_as_pylate(model: Path, **told: str) -> None:
    """Rewrites a model's settings as PyLate has them."""
    modules = json.loads((model / "modules.json").read_text())
    modules = [module for module in modules if module["type"].endswith(("Transformer", "Dense"))]
    for module in modules[1:]:
        module["type"] = "pylate.models.Dense.Dense"
        path = model / module["path"] / "config.json"
        settings = {"use_residual": False, **json.loads(path.read_text())}
        del settings["module_input_name"], settings["module_output_name"]
        path.write_text(json.dumps(settings))
    (model / "modules.json").write_text(json.dumps(modules))
    said = {
        **told, "query_prefix": "a ", "document_prefix": "b ",
        "query_length": 20, "document_length": 40, "attend_to_expansion_tokens": False,
    }  # fmt: skip
    (model / "config_sentence_transformers.json").write_text(json.dumps(said))
    settings = json.loads((model / "sentence_bert_config.json").read_text())
    for name in ("query_expansion", "query_length", "document_length"):
        settings.pop(name, None)
    (model / "sentence_bert_config.json").write_text(json.dumps(settings))


def projected(model: Path, tokens: "torch.Tensor") -> "torch.Tensor":
    """What PyLate makes of a transformer's token vectors.

    Source: pylate.models.Dense.Dense.forward (1.4).
    """
    import torch
    from safetensors.torch import load_file

    for place in sorted(model.glob("*_Dense")):
        settings = json.loads((place / "config.json").read_text())
        weights = load_file(place / "model.safetensors")
        activation = getattr(torch.nn, settings["activation_function"].rpartition(".")[2])()
        found = activation(
            torch.nn.functional.linear(tokens, weights["linear.weight"], weights.get("linear.bias"))
        )
        if settings["use_residual"]:
            own = weights.get("residual.weight")
            found = found + (tokens if own is None else torch.nn.functional.linear(tokens, own))
        tokens = found
    return torch.nn.functional.normalize(tokens, dim=-1)


def test_layers_of_a_projection_have_their_activations_and_residuals(tmp_path: Path) -> None:
    """After a decoder of convolutions; one residual has weights of its own, the other has none."""
    import onnxruntime
    import torch
    from sentence_transformers import MultiVectorEncoder

    layers = (
        {"out_features": 64, "activation_function": torch.nn.GELU(), "use_residual": True},
        {"out_features": 64, "activation_function": torch.nn.Tanh(), "use_residual": True,
         "bias": True},
        {"out_features": 48, "activation_function": torch.nn.ReLU()},
        {"out_features": 16},
    )  # fmt: skip
    model = zoo.build_late_interaction("lfm2", tmp_path / "m", projection=layers)
    save_as_pylate(model)
    outcome = convert(
        model, tmp_path / "out", "--quantize", "QInt8,QInt8Static,Float16", "--min_cosine", 0.97
    )
    chain = MultiVectorEncoder(str(model), device="cpu")
    features = chain.preprocess(list(zoo.SENTENCES), prompt="b ", task="document")
    with torch.no_grad():
        wanted = projected(model, chain[0](dict(features))["token_embeddings"]).numpy()
    counts = features["attention_mask"].numpy().astype(bool)
    for file in ("model.onnx", "model_opt1.onnx"):
        session = onnxruntime.InferenceSession(str(outcome.folder / "onnx" / file))
        feed = {i.name: features[i.name].numpy() for i in session.get_inputs()}
        (ours,) = session.run(None, feed)
        np.testing.assert_allclose(ours[counts], wanted[counts], atol=2e-4)


def test_a_residual_without_its_weights_is_refused_with_their_name(tmp_path: Path) -> None:
    layers = ({"out_features": 64}, {"out_features": 16})
    model = zoo.build_late_interaction("bert", tmp_path / "m", projection=layers)
    path = model / "1_Dense" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_residual": True}))
    outcome = embconvert("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 3
    assert 'Missing key(s) in state_dict: "residual.weight"' in outcome.stderr


@pytest.mark.parametrize("told", [{"model_type": "ColBERT"}, {}], ids=["told", "untold"])
def test_what_pylate_saved_is_read_as_sentence_transformers_reads_it(
    told: dict[str, str], tmp_path: Path
) -> None:
    model = zoo.build_late_interaction("bert", tmp_path / "m")
    save_as_pylate(model, **told)
    outcome = convert(model, tmp_path / "out", "--optimize", 0)
    late = outcome.manifest["source"]["model"]["late_interaction"]
    assert late["query_prompt"] == "a "
    assert late["expansion"]["length"] == 20
    assert late["document_length"] == 40
    assert len(late["skipped_ids"]) > 10  # PyLate's punctuation


def test_what_stanford_saved_has_its_projection_among_the_weights(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    model = zoo.build_model("bert", tmp_path / "m", pooling=None)
    weights = {f"bert.{k}": v for k, v in load_file(model / "model.safetensors").items()}
    torch.manual_seed(0)
    weights["linear.weight"] = torch.randn(16, zoo.HIDDEN_SIZE)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text()) | {"architectures": ["HF_ColBERT"]}
    (model / "config.json").write_text(json.dumps(config))
    metadata = {"query_token_id": "a", "doc_token_id": "d", "query_maxlen": 20, "doc_maxlen": 40}
    (model / "artifact.metadata").write_text(json.dumps(metadata))
    outcome = convert(model, tmp_path / "out", "--optimize", 0)
    source = outcome.manifest["source"]["model"]
    assert source["dimension"] == 16
    assert outcome.manifest["source"]["modules"] == [
        "Transformer",
        "Dense",
        "MultiVectorMask",
        "Normalize",
    ]
    assert source["late_interaction"]["query_prompt"] == "a "
    assert source["late_interaction"]["expansion"]["length"] == 20
    assert (tmp_path / "out" / "m" / "artifact.metadata").is_file()
    del weights["linear.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"the weight linear\.weight is not in the model's files"):
        load(model, Kind.LATE_INTERACTION)


def test_what_does_not_give_a_vector_for_each_token_is_refused(tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    model = zoo.build_late_interaction("bert", tmp_path / "m")
    chain = MultiVectorEncoder(str(model), device="cpu")
    chain.append(HierarchicalTokenPooling(pool_factor=2))
    chain.save_pretrained(str(model), create_model_card=False)
    outcome = embconvert("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 4
    assert "the unsupported module HierarchicalTokenPooling" in outcome.stderr
