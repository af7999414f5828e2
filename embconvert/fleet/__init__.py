"""Many models in one run: the list, its shards, and the result of each model."""
