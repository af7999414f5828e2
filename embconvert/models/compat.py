"""The oldest ONNX Runtime that runs a graph, from its opset, IR version and operators.

The opset and IR versions are those of ONNX Runtime's compatibility table
(https://onnxruntime.ai/docs/reference/compatibility.html); operators of `com.microsoft` came
with the release named here. ONNX Runtime 1.15 is the oldest that `make test-consumers` can install
for Python 3.11, so nothing older is claimed.
"""

from collections.abc import Iterable, Mapping

from embconvert.models.choices import Precision

Version = tuple[int, int]

#: The operator set that brought float8.
FLOAT8_OPSET = 19

OLDEST: Version = (1, 15)

# ONNX Runtime 1.15 knows opset 19, and has no kernel for its Cast.
_OPSET: Mapping[int, Version] = {
    19: (1, 16), 20: (1, 17), 21: (1, 18), 22: (1, 21), 23: (1, 23), 24: (1, 24),
}  # fmt: skip
_IR: Mapping[int, Version] = {10: (1, 18), 11: (1, 23), 12: (1, 24), 13: (1, 25)}
_OPERATOR: Mapping[str, Version] = {
    # From 1.14, but 1.20 computes something else of a bias that all heads share.
    "com.microsoft.MultiHeadAttention": (1, 21),
    # 1.15 runs graphs with static activation scales, and gives other vectors.
    "QuantizeLinear": (1, 16),
    "com.microsoft.RotaryEmbedding": (1, 17),
    # From 1.17, but with a bias from here on.
    "com.microsoft.GroupQueryAttention": (1, 22),
    "com.microsoft.MatMulNBits": (1, 17),
    "com.microsoft.MatMulNBits of 8 bits": (1, 23),
    "com.microsoft.MatMulNBits of 8 bits at level 4": (1, 22),
    "com.microsoft.GatherBlockQuantized": (1, 22),
    "com.microsoft.GatherBlockQuantized of 8 bits": (1, 23),
}


def variant(operator: str, attributes: Mapping[str, int]) -> str:
    """Returns the name by which the table above knows an operator with these attributes.

    Args:
        operator: Its name, with its domain.
        attributes: Its integer attributes.
    """
    if attributes.get("bits") != 8:
        return operator
    level = attributes.get("accuracy_level", 0)
    return f"{operator} of 8 bits" + (f" at level {level}" if level == 4 else "")


def oldest_for_precision(precision: Precision, table_bits: int | None) -> Version:
    """Returns the oldest ONNX Runtime that runs a quantized graph, if it runs the source graph.

    Args:
        precision: Of the weights.
        table_bits: Of the token table, when not the precision's own.
    """
    if precision is Precision.QFLOAT8:
        return _OPSET[FLOAT8_OPSET]
    if precision not in (Precision.Q8, Precision.Q4):
        return _OPERATOR["QuantizeLinear"] if precision is Precision.QINT8_STATIC else OLDEST
    bits = table_bits or (8 if precision is Precision.Q8 else 4)
    table = variant("com.microsoft.GatherBlockQuantized", {"bits": bits})
    return max(_OPERATOR[table], _OPERATOR["com.microsoft.MatMulNBits of 8 bits at level 4"])


def _since(table: Mapping[int, Version], value: int) -> Version:
    if value > max(table):
        raise ValueError(f"no ONNX Runtime is known to run version {value}")
    return table.get(value, OLDEST)


def oldest_onnxruntime(opset: int, ir_version: int, operators: Iterable[str]) -> str:
    """Returns the oldest ONNX Runtime release, as `1.17`, that runs such a graph.

    Args:
        opset: Of ONNX's own domain.
        ir_version: Of the file.
        operators: Names as OnnxArtifact.operators has them, or variants of them.

    Raises:
        ValueError: The opset or the IR version is newer than this table.
    """
    needed = [OLDEST, _since(_OPSET, opset), _since(_IR, ir_version)]
    needed += [_OPERATOR.get(operator, OLDEST) for operator in operators]
    major, minor = max(needed)
    return f"{major}.{minor}"
