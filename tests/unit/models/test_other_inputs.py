"""What a model reads besides text is known from its settings, and its weights from their names."""

import pytest

from embconvert.models.other_inputs import other_inputs, reads_text


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"model_type": "bert"}, ()),
        ({"text_config": {}, "vision_config": {"depth": 1}}, ("images",)),
        ({"vision_config": {}, "audio_config": {}}, ("images", "audio")),
        ({"vision_config": {}, "audio_config": None}, ("images",)),
        ({"vlm_config": {"text_config": {}, "vision_config": {}}}, ("images",)),
        ({"vision_config": "bert", "vlm_config": []}, ()),
        ({"model_type": "neomme"}, ("images",)),
    ],
)
def test_settings_of_a_part_tell_what_it_reads(
    config: dict[str, object], found: tuple[str, ...]
) -> None:
    assert other_inputs(config) == found


@pytest.mark.parametrize(
    "name",
    [
        "text_model.encoder.layers.0.mlp.fc1.weight", "text_projection.weight", "logit_scale",
        "model.language_model.layers.0.self_attn.q_proj.weight", "revisual.weight",
        "embed_tokens.weight", "visual",
    ],
)  # fmt: skip
def test_weights_of_text(name: str) -> None:
    assert reads_text(name)


@pytest.mark.parametrize(
    "name",
    [
        "vision_model.post_layernorm.bias", "visual_projection.weight", "visual.norm1.bias",
        "model.visual.merger.ln_q.weight", "vlm.model.visual.patch_embed.proj.weight",
        "model.vision_tower.encoder.weight", "model.multi_modal_projector.linear.weight",
        "embed_audio.embedding_projection.weight", "patch_embeddings.up_proj.weight",
    ],
)  # fmt: skip
def test_weights_of_other_inputs(name: str) -> None:
    assert not reads_text(name)
