"""The source model: its files are checked, then loaded in torch with memory-mapped weights."""
