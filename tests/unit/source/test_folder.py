"""The source's files are checked before anything heavy starts."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.models.values import StaticFormat
from embconvert.source.folder import resolve_folder
from support.examples import TOKENIZER
from support.pickling import save, tensor


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes every check."""
    (tmp_path / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 64}')
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_whole_model_is_resolved(model: Path) -> None:
    resolved = resolve_folder(model, model_id="m")
    assert [file.path for file in resolved.files] == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert (resolved.max_seq_length, resolved.has_modules) == (64, False)
    (model / "tokenizer.json").write_text(f"{TOKENIZER} ")
    assert resolve_folder(model, model_id="m").digest != resolved.digest


@pytest.mark.parametrize("name", [b"\xe9.json", b"a\nb.json", b"a\\b.txt", b"\x1b[2J.safetensors"])
def test_a_file_with_a_name_that_no_manifest_can_have(model: Path, name: bytes) -> None:
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"},
               {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / os.fsdecode(name)).write_text("{}")
    with pytest.raises(SourceError, match="whose name other systems do not allow"):
        resolve_folder(model, model_id="m")


def test_the_folder_of_a_static_table_may_be_missing(model: Path) -> None:
    modules = [{"path": "0", "type": "sentence_transformers.models.StaticEmbedding"}]
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SourceError, match="has no weights"):
        resolve_folder(model, model_id="m")


def test_the_modules_own_length_comes_first(model: Path) -> None:
    (model / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    assert resolve_folder(model, model_id="m").max_seq_length == 16
    said = {"max_seq_length": 16, "processing_kwargs": {"text": {"truncation": False}}}
    (model / "sentence_bert_config.json").write_text(json.dumps(said))
    assert resolve_folder(model, model_id="m").max_seq_length == 64
    said["processing_kwargs"] = {"text": {"truncation": False}, "common": {"truncation": True}}
    (model / "sentence_bert_config.json").write_text(json.dumps(said))
    assert resolve_folder(model, model_id="m").max_seq_length == 16


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "not JSON"),
        ("config.json", "[]", "not a JSON object"),
        ("config.json", "{}", "no model_type"),
        ("config.json", '{"a":' * 5000 + "1" + "}" * 5000, "not JSON"),
        ("config.json", " " * (1 << 24) + "{}", "over 16 MiB"),
        ("modules.json", "{}", "not a list of modules"),
        ("modules.json", '[{"path": "../x", "type": "a.B"}]', "outside the model's"),
        ("model.safetensors", "short", "truncated or corrupt"),
        ("model.safetensors", "\xff" * 64, "truncated or corrupt"),
    ],
)
def test_a_broken_file_is_named(file: str, content: str, message: str, model: Path) -> None:
    (model / file).write_text(content, encoding="latin-1")
    with pytest.raises(SourceError, match=message):
        resolve_folder(model, model_id="m")


def test_shards_must_all_be_there_and_inside(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "model-1.safetensors"}}))
    assert len(resolve_folder(model, model_id="m").files) == 5
    index.write_text(json.dumps({"weight_map": {"weight": "model-2.safetensors"}}))
    with pytest.raises(SourceError, match=r"model-2\.safetensors is missing"):
        resolve_folder(model, model_id="m")
    index.write_text(json.dumps({"weight_map": {"weight": "../model-1.safetensors"}}))
    with pytest.raises(SourceError, match="outside"):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("os.system", "remote code"),
        ("custom.Model", "remote code"),
        ("sentence_transformers.models.Normalize", "not compute token embeddings"),
    ],
)
def test_a_module_is_an_import_path_and_only_the_librarys_own_are_taken(
    kind: str, message: str, model: Path
) -> None:
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": kind}]))
    with pytest.raises(UnsupportedModelError, match=message):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize("name", ["WordEmbeddings", "BoW"])
def test_modules_that_split_texts_by_code_are_refused_for_that(name: str, model: Path) -> None:
    entries = [{"path": "0_Words", "type": f"sentence_transformers.models.{name}"}]
    (model / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(UnsupportedModelError, match=rf"{name}, which .* no tokenizer\.json"):
        resolve_folder(model, model_id="m")


@pytest.fixture
def with_dense(model: Path) -> Path:
    """The same, with a module behind the transformer."""
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "2_Dense").mkdir()
    return model


def test_pickles_are_read_where_there_are_no_safetensors(with_dense: Path) -> None:
    (with_dense / "model.safetensors").unlink()
    save(with_dense / "pytorch_model.bin", {"a": tensor()}, {"0": bytes(24)})
    save(with_dense / "2_Dense" / "pytorch_model.bin", {"a": tensor()}, {"0": bytes(24)})
    resolved = resolve_folder(with_dense, model_id="m")
    weights = {file.path for file in resolved.files if "model" in file.path}
    assert weights == {"pytorch_model.bin", "2_Dense/pytorch_model.bin"}
    assert resolved.parameters == 12


def test_safetensors_are_read_and_the_pickles_beside_them_are_not(with_dense: Path) -> None:
    shutil.copy(with_dense / "model.safetensors", with_dense / "2_Dense")
    (with_dense / "pytorch_model.bin").write_bytes(b"no weights")
    (with_dense / "2_Dense" / "pytorch_model.bin").write_bytes(b"no weights")
    resolved = resolve_folder(with_dense, model_id="m")
    assert not [file.path for file in resolved.files if file.path.endswith(".bin")]


def test_tied_weights_count_once(model: Path) -> None:
    (model / "model.safetensors").unlink()
    save(model / "pytorch_model.bin", {"a": tensor(), "b": tensor()}, {"0": bytes(24)})
    assert resolve_folder(model, model_id="m").parameters == 6


def test_shards_of_pickles_must_be_pickles(model: Path) -> None:
    (model / "model.safetensors").rename(model / "other.safetensors")
    save(model / "one.bin", {"a": tensor()}, {"0": bytes(24)})
    index = model / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.bin"}}))
    assert resolve_folder(model, model_id="m").parameters == 6
    index.write_text(json.dumps({"weight_map": {"a": "other.safetensors"}}))
    with pytest.raises(SourceError, match=r"other\.safetensors, which is not a \.bin file"):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("weights.pt", "save it"), ("model.ckpt", "save it"), ("training_args.bin", "save it"),
     ("tf_model.h5", "save it"), ("model.fp16.safetensors", "save it"),
     ("model-Q8_0.gguf", "of which these files were made"),
     ("onnx/model.onnx", "of which these files were made")],
)  # fmt: skip
def test_weights_under_a_name_that_nobody_looks_for_are_named(
    name: str, hint: str, model: Path
) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(SourceError, match=f"transformers does not load {name}") as refused:
        resolve_folder(model, model_id="m")
    assert hint in refused.value.hint


def test_a_folder_of_another_programs_file_alone_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "model-Q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(SourceError, match=r"does not load model-Q8_0\.gguf"):
        resolve_folder(tmp_path, model_id="m")


def test_models_inside_of_a_folder_are_named(model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for name in ("checkpoint-20", "checkpoint-10"):
        shutil.copytree(model, repository / name, ignore=lambda *_: ["repository"])
    (repository / "2_Dense").mkdir()
    for file in ("config.json", "model.safetensors"):  # as that of a module has, too
        shutil.copy(model / file, repository / "2_Dense" / file)
    with pytest.raises(SourceError, match="has no weights") as refused:
        resolve_folder(repository, model_id="m")
    assert "its folder checkpoint-10 or checkpoint-20, which has a model" in refused.value.hint


def test_weights_of_a_module_under_such_a_name_are_named(with_dense: Path) -> None:
    (with_dense / "2_Dense" / "dense.pt").write_bytes(b"")
    with pytest.raises(SourceError, match=r"the weights in 2_Dense are in dense\.pt"):
        resolve_folder(with_dense, model_id="m")


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "pytorch_model.bin", "config.json", "tokenizer.json", "vocab.txt",
     "sentencepiece.bpe.model"],
)  # fmt: skip
def test_a_pointer_of_git_lfs_is_no_file_of_a_model(name: str, model: Path) -> None:
    if name == "pytorch_model.bin":
        (model / "model.safetensors").unlink()
    (model / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(SourceError, match="is a pointer of Git LFS") as refused:
        resolve_folder(model, model_id="m")
    assert "git lfs pull" in refused.value.hint


def static(folder: Path, config: dict[str, object] | None = None, **tensors: list[int]) -> None:
    """Makes a folder of static embeddings: modules.json, or model2vec's config.json.

    Args:
        tensors: Shapes by name; `dot` stands for a dot in it.
    """
    (folder / "config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    if config is None:
        modules = [{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
        (folder / "modules.json").write_text(json.dumps(modules))
    else:
        (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", **config}))
    weights = {name.replace("dot", "."): np.zeros(shape) for name, shape in tensors.items()}
    save_file(weights, folder / "model.safetensors")


def test_a_table_of_sentence_transformers_needs_no_config(model: Path) -> None:
    static(model, embeddingdotweight=[9, 3])
    resolved = resolve_folder(model, model_id="m")
    assert resolved.static is StaticFormat.SENTENCE_TRANSFORMERS
    assert (resolved.architecture.hidden_size, resolved.max_seq_length) == (3, None)


@pytest.mark.parametrize(
    ("config", "length"), [({}, 512), ({"max_length": 9}, 9), ({"max_length": None}, None)]
)
def test_model2vec_says_where_texts_are_cut(
    config: dict[str, object], length: int | None, model: Path
) -> None:
    static(model, {"tokenizer_name": "x/y", **config}, embeddings=[4, 3], mapping=[9])
    resolved = resolve_folder(model, model_id="m")
    assert resolved.static is StaticFormat.MODEL2VEC
    assert (resolved.max_seq_length, resolved.unknown_settings) == (length, ())


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        (None, {"weight": [4, 4]}, "has no table of vectors"),
        (None, {"embeddings": [4]}, "has no table of vectors"),
        (None, {"embeddings": [0, 4]}, "has no table of vectors"),
        (None, {"embeddings": [4, 4], "weights": [3]}, "that do not fit its table"),
        (None, {"embeddings": [1, 1 << 20], "mapping": [1 << 13]}, "makes a table of 8192 x"),
        ({}, {"embeddingdotweight": [4, 4]}, "no tensor 'embeddings'"),
        ({}, {"embeddings": [4, 4], "mapping": [3, 3]}, "that do not fit its table"),
        ({"normalize": "yes"}, {"embeddings": [4, 4]}, "normalize has an unexpected value"),
        ({"max_length": -1}, {"embeddings": [4, 4]}, "max_length has an unexpected value"),
    ],
)
def test_a_table_that_fits_nothing_is_refused(
    config: dict[str, object] | None, tensors: dict[str, list[int]], message: str, model: Path
) -> None:
    static(model, config, **tensors)
    with pytest.raises(SourceError, match=message):
        resolve_folder(model, model_id="m")


def test_a_table_behind_another_module_is_refused(with_dense: Path) -> None:
    modules = json.loads((with_dense / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.StaticEmbedding"
    (with_dense / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModelError, match="after another module"):
        resolve_folder(with_dense, model_id="m")


REPLACED = [
    ("bert", {"AutoConfig": "configuration.JinaBertConfig"}, "JinaBertConfig"),
    ("xlm-roberta", {"AutoConfig": "c.XLMRobertaFlashConfig", "AutoModel": "m.Any"}, "FlashConfig"),
    ("qwen2", {"AutoModel": "modeling_qwen.Qwen2Model"}, "Qwen2Model"),
    ("qwen3", {"AutoModelForSequenceClassification": "modeling.JinaForRanking"}, "JinaForRanking"),
]


@pytest.mark.parametrize(("model_type", "names", "other"), REPLACED)
def test_code_that_replaces_a_class_of_transformers_needs_trust(
    model_type: str, names: dict[str, str], other: str, model: Path
) -> None:
    config = {"model_type": model_type, "auto_map": names}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=f"needs remote code: .* by .*{other}") as found:
        resolve_folder(model, model_id="m")
    assert "remove auto_map from a copy" in found.value.hint
    resolve_folder(model, model_id="m", trust_remote_code=True)


def test_a_tokenizer_that_is_code_alone_is_refused_as_such(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SourceError, match="has no tokenizer"):
        resolve_folder(model, model_id="m")
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    with pytest.raises(UnsupportedModelError, match=r"\(CanineTokenizer\) is Python code"):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize("layers", [0, 2])
def test_experts_that_transformers_class_does_not_have_need_trust(layers: int, model: Path) -> None:
    names = {"AutoConfig": "x/y--configuration.NomicBertConfig"}
    config = {"model_type": "nomic_bert", "auto_map": names, "moe_every_n_layers": layers}
    (model / "config.json").write_text(json.dumps(config))
    if not layers:
        assert resolve_folder(model, model_id="m").architecture.model_type == "nomic_bert"
        return
    with pytest.raises(UnsupportedModelError, match=r"remote code: .*moe_every.* no experts"):
        resolve_folder(model, model_id="m")
    resolve_folder(model, model_id="m", revision="main", trust_remote_code=True)


@pytest.mark.parametrize(
    "names",
    [
        {"AutoConfig": "x/y--configuration.NomicBertConfig", "AutoModel": "x/y--m.NomicBertModel"},
        {"AutoTokenizer": ["tokenization.Tokenizer", None]},
        ["AutoModel"],
    ],
)
def test_code_of_which_transformers_has_a_class_is_not_needed(names: object, model: Path) -> None:
    config = {"model_type": "nomic_bert", "auto_map": names}
    (model / "config.json").write_text(json.dumps(config))
    assert resolve_folder(model, model_id="m").architecture.model_type == "nomic_bert"


def test_an_architecture_that_no_graph_expresses_is_refused_before_weights_are_read(
    model: Path,
) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "reformer"}))
    (model / "model.safetensors").write_text("broken")
    with pytest.raises(UnsupportedModelError, match=r"reformer cannot .* ONNX graph") as found:
        resolve_folder(model, model_id="m")
    assert "another architecture" in found.value.hint


@pytest.mark.parametrize(
    "scale", ["SCB", "weight_scale", "weight_scale_inv", "scales", "weight.absmax"]
)
def test_weights_that_another_program_quantized_are_refused(scale: str, model: Path) -> None:
    """config.json does not declare them: the libraries would take the numbers as they are."""
    scales = {f"dense.{scale}": np.ones(4, np.float32)}
    save_file({"dense.weight": np.ones((4, 4), np.int8), **scales}, model / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"dense\.weight was quantized"):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize(
    ("weight", "scale"),
    [("qweight", "scales"), ("weight", "scales"), ("weight_packed", "weight_scale"),
     ("W_q", "scale")],
    ids=["gptq and awq", "mlx", "compressed-tensors", "hqq"],
)  # fmt: skip
def test_packed_weights_are_refused_as_quantized(weight: str, scale: str, model: Path) -> None:
    scales = {f"dense.{scale}": np.ones(4, np.float32)}
    save_file({f"dense.{weight}": np.ones((4, 4), np.int32), **scales}, model / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=rf"dense\.{weight} was quantized") as refused:
        resolve_folder(model, model_id="m")
    assert "use the original model" in refused.value.hint


def test_masks_of_one_byte_and_scales_of_other_weights_are_not_refused(model: Path) -> None:
    weights: dict[str, np.ndarray] = {
        "attn.bias": np.ones((4, 4), np.uint8),
        "attn.weight_scale": np.ones(4, np.float32),
        "table.weight": np.ones((4, 4), np.int8),
        "logit_scale": np.ones(1, np.float32),
        "weight": np.ones(1, np.float32),
    }
    save_file(weights, model / "model.safetensors")
    resolve_folder(model, model_id="m")
