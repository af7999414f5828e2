"""Makes every process that has this folder on its path write weights to external data.

That is what happens to models over 2 GB; tests do it to small ones. With LITTLE_MEMORY set, the
process also believes to have a megabyte; with LITTLE_PATIENCE, it gives up on a hub soon.
TOKENIZING_SECONDS is how long a tokenizer may take. With BROKEN_GRAPHS, every graph that is written
has an operator that nobody knows.
"""

import os
from typing import Any

from embconvert.graph import onnx_file
from embconvert.processes import resources

defaults = onnx_file.write_model.__kwdefaults__
assert defaults is not None
defaults["external_data_threshold_bytes"] = 0
if "LITTLE_MEMORY" in os.environ:
    resources.available_memory_bytes = lambda: 1 << 20  # type: ignore[misc, assignment]
if "LITTLE_PATIENCE" in os.environ:
    from embconvert.hub import limits

    limits.PATIENCE_S = 3.0
    limits.LISTING_S = 5.0
    limits.LISTING_PAGES = 30
    limits.API_BYTES = 1 << 20
    limits.FILE_BYTES = 1 << 20
    limits.UPLOAD_TIMEOUT_S = 1.0
if "TOKENIZING_SECONDS" in os.environ:
    from embconvert.pipeline import source_process as source

    source._TOKENIZING_SECONDS = int(os.environ["TOKENIZING_SECONDS"])
if "BROKEN_GRAPHS" in os.environ:
    from embconvert.graph import onnx_file

    whole = onnx_file.write_model

    def broken(model: Any, path: Any, **named: Any) -> Any:
        import onnx_ir as ir

        model.graph.append(ir.Node("nobody", "Nothing", []))
        model.opset_imports["nobody"] = 1
        return whole(model, path, **named)

    onnx_file.write_model = broken
