"""The oldest ONNX Runtime that runs a graph, by opset, IR version and operators.

The opset and IR versions are those of ONNX Runtime's compatibility table
(https://onnxruntime.ai/docs/reference/compatibility.html); operators of `com.microsoft` were added
in the release given here. ONNX Runtime 1.15 is the oldest that `make test-consumers` can install
for Python 3.11, so nothing older is claimed.
"""

from collections.abc import Iterable, Mapping

from embconvert.models.choices import BLOCK_BITS, Operators, Precision

Version = tuple[int, int]

#: The first opset with float8.
FLOAT8_OPSET = 19

OLDEST: Version = (1, 15)

# ONNX Runtime 1.15 knows opset 19, but has no kernel for its Cast.
_OPSET: Mapping[int, Version] = {
    19: (1, 16), 20: (1, 17), 21: (1, 18), 22: (1, 21), 23: (1, 23), 24: (1, 24),
}  # fmt: skip
_IR: Mapping[int, Version] = {10: (1, 18), 11: (1, 23), 12: (1, 24), 13: (1, 25)}
_OPERATOR: Mapping[str, Version] = {
    # Added in 1.14, but 1.20 computes wrong results for a bias that all heads share.
    "com.microsoft.MultiHeadAttention": (1, 21),
    # 1.15 runs graphs with static activation scales, but gives other vectors.
    "QuantizeLinear": (1, 16),
    # 1.18 knows blocks of weights, but has no kernel for them.
    "DequantizeLinear of blocks": (1, 19),
    "com.microsoft.RotaryEmbedding": (1, 17),
    # Added in 1.17, but with a bias only since this version.
    "com.microsoft.GroupQueryAttention": (1, 22),
    "com.microsoft.GroupQueryAttention with sinks": (1, 23),
    "com.microsoft.MatMulNBits": (1, 17),
    "com.microsoft.MatMulNBits of 8 bits": (1, 23),
    "com.microsoft.MatMulNBits of 8 bits at level 4": (1, 22),
    "com.microsoft.GatherBlockQuantized": (1, 22),
    "com.microsoft.GatherBlockQuantized of 8 bits": (1, 23),
}

#: The oldest release for activations with a scale per token, which QuantizeLinear rounds.
TOKEN_SCALES = _OPERATOR["QuantizeLinear"]

# The index of its input `head_sink`.
_SINKS = 11


def variant(operator: str, attributes: Mapping[str, int], inputs: int = 0) -> str:
    """Returns the key of an operator with so many inputs in the table above."""
    if operator == "com.microsoft.GroupQueryAttention" and inputs > _SINKS:
        return f"{operator} with sinks"
    if operator == "DequantizeLinear" and attributes.get("block_size"):
        return f"{operator} of blocks"
    if attributes.get("bits") != 8:
        return operator
    level = attributes.get("accuracy_level", 0)
    return f"{operator} of 8 bits" + (f" at level {level}" if level == 4 else "")


def newer_than(release: Version | None) -> tuple[str, ...]:
    """Returns the operators that a release of ONNX Runtime cannot run; None stands for the newest.

    Those of which it lacks only some variants are not among them.
    """
    if release is None:
        return ()
    return tuple(name for name, since in _OPERATOR.items() if since > release and " " not in name)


def oldest_for_precision(
    precision: Precision, table_bits: int | None, operators: Operators = Operators.ANY
) -> Version:
    """Returns the oldest ONNX Runtime that runs a quantized graph, if it runs the source graph.

    `table_bits` are those of the embedding table; None means the precision's own.
    """
    if precision is Precision.QFLOAT8:
        return _OPSET[FLOAT8_OPSET]
    if precision not in BLOCK_BITS:
        return _OPERATOR["QuantizeLinear"] if precision is Precision.QINT8_STATIC else OLDEST
    if operators is Operators.STANDARD:
        return _OPERATOR["DequantizeLinear of blocks"]
    bits = table_bits or BLOCK_BITS[precision]
    table = variant("com.microsoft.GatherBlockQuantized", {"bits": bits})
    return max(_OPERATOR[table], _OPERATOR["com.microsoft.MatMulNBits of 8 bits at level 4"])


#: The first release with version 6 of ONNX Runtime's own format, which is written.
#: https://github.com/microsoft/onnxruntime/issues/20670
ORT_FORMAT: Version = (1, 16)


def version_of(release: str) -> Version:
    """Returns the version of a release, such as `1.17`."""
    major, minor = map(int, release.split("."))
    return major, minor


def newest_of(*releases: str) -> str:
    """Returns the newest of some releases, such as `1.17`."""
    return max(releases, key=version_of)


def _since(table: Mapping[int, Version], value: int) -> Version:
    if value > max(table):
        raise ValueError(f"no ONNX Runtime is known that runs version {value}")
    return table.get(value, OLDEST)


def oldest_onnxruntime(opset: int, ir_version: int, operators: Iterable[str]) -> str:
    """Returns the oldest ONNX Runtime release, such as `1.17`, that runs a graph.

    Args:
        opset: Of ONNX's own domain.
        operators: Names as in OnnxArtifact.operators, or their `variant`.

    Raises:
        ValueError: The opset or the IR version is newer than this table.
    """
    needed = [OLDEST, _since(_OPSET, opset), _since(_IR, ir_version)]
    needed += [_OPERATOR.get(operator, OLDEST) for operator in operators]
    major, minor = max(needed)
    return f"{major}.{minor}"
