"""Which tensors of a graph are the ends of its layers."""

from embconvert.fidelity.layers import group_layers


def test_the_last_tensors_of_each_layer_are_found_by_their_path() -> None:
    names = [
        "/source/source.0/embeddings/Add_output_0",
        *(
            f"/source/source.0/encoder/layer.{layer}/{module}_output_0"
            for layer in range(12)
            for module in ("a", "b", "attention/Add", "output/Add")
        ),
        "/source/source.1/ReduceSum_output_0",
    ]
    layers = group_layers(names)
    assert list(layers) == list(range(12))
    assert layers[10][-1] == "/source/source.0/encoder/layer.10/output/Add_output_0"


def test_a_list_inside_of_each_layer_is_not_taken_for_the_layers() -> None:
    names = [
        f"/source/source.0/encoder/block.{block}/layer.{part}/Add_output_0"
        for block in range(2)
        for part in range(2)
    ]
    assert {number: tensors[-1] for number, tensors in group_layers(names).items()} == {
        block: f"/source/source.0/encoder/block.{block}/layer.1/Add_output_0" for block in range(2)
    }


def test_sentence_transformers_modules_are_no_layers() -> None:
    assert group_layers([f"/source/source.{n}/Add_output_0" for n in range(3)]) == {}


def test_names_without_a_path_tell_no_layers() -> None:
    assert group_layers(["add_12", "layer_norm_3", "val_7"]) == {}
