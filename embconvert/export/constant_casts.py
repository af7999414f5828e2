"""Casts of constants, which the tracing exporter leaves for Python's numbers."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def fold_float64_constants(model: "ir.Model") -> None:
    """Replaces float64 constants that are cast to float32 by float32 constants.

    onnxruntime-web has no Cast of float64, so browsers could not load the graph.
    """
    import onnx_ir as ir

    for node in list(model.graph.all_nodes()):
        if node.op_type != "Cast" or node.attributes.get_int("to", 0) != ir.DataType.FLOAT:
            continue
        maker = node.inputs[0].producer() if node.inputs[0] is not None else None
        attribute = maker.attributes.get("value") if maker is not None else None
        if maker is None or maker.op_type != "Constant" or attribute is None:
            continue
        tensor = attribute.as_tensor()
        if tensor.dtype != ir.DataType.DOUBLE:
            continue
        with np.errstate(over="ignore"):  # beyond float32 is infinite, as Cast has it
            narrow = ir.Tensor(tensor.numpy().astype(np.float32))
        node.op_type, node.domain = "Constant", ""
        node.resize_inputs(0)
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", narrow)
