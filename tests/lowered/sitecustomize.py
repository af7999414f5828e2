"""Makes every process that has this folder on its path write weights to external data.

That is what happens to models over 2 GB; tests do it to small ones.
"""

from embconvert import onnx_file

defaults = onnx_file.write_model.__kwdefaults__
assert defaults is not None
defaults["external_data_threshold_bytes"] = 0
