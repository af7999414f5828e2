"""Quantizes an ONNX file as the peer pipeline does; the peers' interpreter runs this."""

import sys


def main(source: str, target: str) -> None:
    """Writes the int8 file.

    Args:
        source: The float file.
        target: The new file.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        # Shape inference finds no type for some tensors of a fused graph; without it this raises.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
