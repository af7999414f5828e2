"""LoRA adapters (PEFT): found, checked, and merged with the weights of their base model."""
