"""Whether a graph still gives the same embeddings: the texts, the runs, the figures."""
