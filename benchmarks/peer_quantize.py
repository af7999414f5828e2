"""Quantizes an ONNX file as the peer pipeline does; the peers' interpreter runs this."""

import sys


def main(source: str, target: str, kind: str = "int8") -> None:
    """Writes the smaller file.

    Args:
        source: The float file.
        target: The new file.
        kind: int8, by quantize_dynamic; js, the same with the settings of transformers.js'
            scripts/quantize.py; or float16, by ONNX Runtime's converter.
    """
    import onnx

    if kind == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        # Shape inference of a model over 2 GB would need it in one protobuf message.
        half = convert_float_to_float16(onnx.load(source), disable_shape_infer=True)
        data = {"save_as_external_data": True, "location": target.rpartition("/")[2] + "_data"}
        onnx.save(half, target, **data)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        per_channel=kind != "js",
        reduce_range=kind != "js",
        weight_type=QuantType.QInt8,
        use_external_data_format=kind == "large int8",
        # Shape inference finds no type for some tensors of a fused graph; without it this raises.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
