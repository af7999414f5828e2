"""adapter_config.json of PEFT: what of it decides how a LoRA adapter is merged."""

from typing import Annotated

from pydantic import Field

from embconvert.source.settings.rules import SettingsTable, each, ignored, read, refused
from embconvert.source.settings.values import Flag, Text

#: Without values whose quotient by the rank is no float.
Alpha = Annotated[int | float, Field(ge=-1e6, le=1e6)]
Rank = Annotated[int, Field(ge=1, le=1 << 20)]
_TENSORS = "the adapter's tensors say which weights it changes"
_TRAINING = "only for training"
_INPUTS = "changes the weights depending on the input, so that they cannot be merged"
_INIT = "is how training began; see `init_lora_weights`"

#: A key that is refused may be there with an empty value, or off.
ADAPTER = SettingsTable(
    title="An adapter",
    keys={
        "peft_type": read(Text, "must be LORA"),
        "base_model_name_or_path": read(Text),
        "revision": read(Text),
        "r": read(Rank),
        "lora_alpha": read(Alpha),
        "use_rslora": read(Flag),
        "use_dora": read(Flag),
        "rank_pattern": read(dict[Text, Rank]),
        "alpha_pattern": read(dict[Text, Alpha]),
        "init_lora_weights": read(Flag | Text),
        **each(ignored(_TENSORS), """
            target_modules exclude_modules layers_to_transform layers_pattern modules_to_save bias
            fan_in_fan_out
        """),
        **each(ignored(_TRAINING), """
            task_type auto_mapping peft_version inference_mode lora_dropout runtime_config
            megatron_core qalora_group_size ensure_weight_tying velora_config
        """),
        **each(ignored(_INIT), "loftq_config eva_config corda_config lora_ga_config"),
        "target_parameters": refused("changes parameters that are no matrices, such as experts"),
        "alora_invocation_tokens": refused(_INPUTS),
        "arrow_config": refused(_INPUTS),
        "lora_bias": refused("adds biases that the base model may not have"),
        "trainable_token_indices": refused("replaces single rows of the embedding table"),
        "layer_replication": refused("repeats layers of the base model"),
        "use_qalora": refused("pools the inputs of its matrices"),
        "use_bdlora": refused("has matrices in blocks"),
        "kasa_config": refused("changes the base model's own matrices"),
        "monteclora_config": refused("draws its matrices at random"),
        "megatron_config": refused("is for a model of Megatron"),
        "enable_lora": refused("changes parts of a matrix (an adapter of 2023)"),
    },
    others=refused("is unknown, so that the merged weights may be wrong"),
)  # fmt: skip

#: Values of `init_lora_weights` after which the base model's weights are as they were. PEFT
#: subtracts the others' beginning from the base model when it loads them.
USUAL_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal", "true", "false")
