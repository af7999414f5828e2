"""How outputs are read and compared, one file for each kind of model."""
