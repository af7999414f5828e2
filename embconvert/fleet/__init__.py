"""Many models in one run: a list, its share for this process, and what came of each model."""
