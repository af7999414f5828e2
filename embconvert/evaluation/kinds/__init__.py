"""How outputs are stored and scored, one file for each kind of model."""
