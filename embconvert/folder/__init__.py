"""The output folder: staged, published in one step, checked and uploaded."""
