"""The settings of a model that the libraries may have: `files` reads them, by tables."""
