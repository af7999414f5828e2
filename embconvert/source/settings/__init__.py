"""The settings of a model that the libraries may read, defined by tables."""
