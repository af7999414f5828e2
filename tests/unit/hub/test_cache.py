"""Which of a repository's files are fetched."""

from embconvert.hub.cache import needed_files


def test_of_a_hub_repository_only_what_is_read_is_fetched() -> None:
    names = [
        "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md",
        "tokenizer.json", "1_Pooling/config.json", "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin", "onnx/model.onnx", "openvino/model.xml", "modeling.py",
        "consolidated.safetensors", "modules.json", "config_setfit.json", "model_head.pkl",
    ]  # fmt: skip
    wanted = needed_files(names, ["", "1_Pooling", "2_Dense"], python=False)
    assert wanted == [
        "1_Pooling/config.json", "2_Dense/model.safetensors", "README.md", "config.json",
        "config_setfit.json", "model.safetensors", "modules.json", "tokenizer.json",
    ]  # fmt: skip
    assert "modeling.py" in needed_files(names, [], python=True)
    sharded = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "x.safetensors"]
    assert needed_files(sharded, [], python=False) == sharded[:1]


def test_pickles_are_fetched_only_where_there_are_no_safetensors() -> None:
    pickles = ["2_Dense/pytorch_model.bin", "pytorch_model.bin.index.json"]
    others = ["2_Dense/optimizer.bin", "training_args.bin", "linear.pt", "x-1-of-2.bin"]
    folders = ["", "2_Dense"]
    assert needed_files([*pickles, *others], folders, python=False) == pickles
    assert needed_files([*pickles, "pytorch_model.bin"], folders, python=False) == [
        "2_Dense/pytorch_model.bin", "pytorch_model.bin",
    ]  # fmt: skip
    safe = ["2_Dense/model.safetensors", "model.safetensors"]
    assert needed_files([*pickles, *safe], folders, python=False) == safe
    inner = ["0_Transformer/pytorch_model.bin", "pytorch_model.bin"]
    assert needed_files(inner, ["0_Transformer"], python=False) == inner[:1]


def test_a_folder_of_a_module_may_be_inside_of_another() -> None:
    inside = ["2_Router/query_0_Dense/config.json", "2_Router/query_0_Dense/model.safetensors"]
    others = ["2_Router/document_0_Dense/config.json", "2_Router/query_0_Dense/more/config.json"]
    folders = ["", "1_Pooling", "2_Router/query_0_Dense"]
    assert needed_files([*inside, *others], folders, python=False) == inside


def test_heads_over_token_vectors_are_fetched() -> None:
    heads = ["colbert_linear.pt", "sparse_linear.pt"]
    assert needed_files([*heads, "long.jpg", "1/sparse_linear.pt"], [], python=False) == heads
