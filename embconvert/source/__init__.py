"""The source model: its files checked, then loaded in torch with its weights mapped."""
