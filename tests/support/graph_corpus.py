"""Malicious graphs: each function turns a good small graph into one that is not.

The good one looks up tokens and multiplies what it finds: (batch, seq) to (batch, seq, 64).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

WIDTH = 64
VOCABULARY = 1200
LARGEST = (1 << 63) - 1


def good_graph() -> ModelProto:
    """A graph that each command takes."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
    matrix = rng.standard_normal((WIDTH, WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("MatMul", ["found", "matrix"], ["last_hidden_state"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "main",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
            [
                helper.make_tensor_value_info(
                    "last_hidden_state", TensorProto.FLOAT, ["batch", "seq", WIDTH]
                )
            ],
            [numpy_helper.from_array(table, "table"), numpy_helper.from_array(matrix, "matrix")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@dataclass(frozen=True)
class Given:
    """A graph that somebody gives, how a conversion of it ends, and what is said.

    Attributes:
        spoil: Changes a good graph; returns what the file holds if that is no such graph.
        code: The exit code.
        message: A part of the error, or of what is said.
    """

    spoil: Callable[[ModelProto], ModelProto | bytes | None]
    code: int
    message: str = ""


def int64(name: str, *values: int, scalar: bool = False) -> TensorProto:
    return numpy_helper.from_array(np.array(values[0] if scalar else values, np.int64), name)


def behind(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Puts nodes between the product, now `product`, and the output."""
    graph.node[-1].output[0] = "product"
    graph.node.extend(nodes)


def adding(*nodes: NodeProto, last: str) -> Callable[[ModelProto], None]:
    """Adds what nodes make, one number, to the output."""

    def spoil(model: ModelProto) -> None:
        add = helper.make_node("Add", ["product", last], ["last_hidden_state"])
        behind(model.graph, [*nodes, add])

    return spoil


def constant(name: str, *values: int, scalar: bool = False) -> NodeProto:
    tensor = int64(name, *values, scalar=scalar)
    return helper.make_node("Constant", [], [name], value=tensor)


def filled(name: str, op: str, *sizes: int) -> list[NodeProto]:
    """Makes a huge tensor, of which one number is used."""
    nodes = [constant("sizes", *sizes)]
    if op == "ConstantOfShape":
        nodes.append(helper.make_node(op, ["sizes"], ["huge"]))
    elif op == "Range":
        nodes += [
            constant(n, v, scalar=True) for n, v in (("from", 0), ("to", sizes[0]), ("by", 1))
        ]
        nodes.append(helper.make_node(op, ["from", "to", "by"], ["whole"]))
        nodes.append(helper.make_node("Cast", ["whole"], ["huge"], to=TensorProto.FLOAT))
    else:
        one = numpy_helper.from_array(np.ones([1] * len(sizes), np.float32), "one")
        nodes.append(helper.make_node("Constant", [], ["one"], value=one))
        if op == "Pad":
            nodes.append(constant("pads", *[0] * len(sizes), *sizes))
        nodes.append(helper.make_node(op, ["one", "pads" if op == "Pad" else "sizes"], ["huge"]))
    return [*nodes, helper.make_node("ReduceSum", ["huge"], [name], keepdims=0)]


def huge(op: str, *sizes: int) -> Callable[[ModelProto], None]:
    return adding(*filled("sum", op, *sizes), last="sum")


def loop(*, trips: str, condition: str, ends: bool = False) -> NodeProto:
    """A Loop that counts.

    Args:
        trips: The name of its bound, or none.
        condition: The name of its first condition, or none.
        ends: Whether its condition is computed, and becomes false.
    """
    one = numpy_helper.from_array(np.float32(1), "step")
    body = [
        helper.make_node("Constant", [], ["step"], value=one),
        helper.make_node("Add", ["count_in", "step"], ["count_out"]),
    ]
    if ends:
        limit = numpy_helper.from_array(np.float32(5), "limit")
        body += [
            helper.make_node("Constant", [], ["limit"], value=limit),
            helper.make_node("Less", ["count_out", "limit"], ["again_out"]),
        ]
    else:
        body.append(helper.make_node("Identity", ["again_in"], ["again_out"]))
    graph = helper.make_graph(
        body,
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("again_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count_in", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("again_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count_out", TensorProto.FLOAT, []),
        ],
    )
    return helper.make_node("Loop", [trips, condition, "start"], ["count"], body=graph)


def looping(
    *, trips: int | None, condition: bool | None = True, ends: bool = False, hidden: bool = False
) -> Callable[[ModelProto], None]:
    """A graph with a Loop.

    Args:
        trips: Its bound.
        condition: Its first condition.
        ends: Whether its body ends it.
        hidden: Whether the bound is computed of the input, so that nobody knows it.
    """
    start = numpy_helper.from_array(np.float32(0), "start")
    nodes = [helper.make_node("Constant", [], ["start"], value=start)]
    if hidden:
        assert trips is not None
        nodes += [
            helper.make_node("Size", ["input_ids"], ["size"]),
            constant("factor", trips, scalar=True),
            helper.make_node("Mul", ["size", "factor"], ["trips"]),
        ]
    elif trips is not None:
        nodes.append(constant("trips", trips, scalar=True))
    if condition is not None:
        first = numpy_helper.from_array(np.bool_(condition), "first")
        nodes.append(helper.make_node("Constant", [], ["first"], value=first))
    made = loop(
        trips="" if trips is None else "trips",
        condition="" if condition is None else "first",
        ends=ends,
    )
    return adding(*nodes, made, last="count")


def scanning(rows: int) -> Callable[[ModelProto], None]:
    """A Scan over so many rows."""
    body = helper.make_graph(
        [helper.make_node("Add", ["sum_in", "row"], ["sum_out"])],
        "body",
        [
            helper.make_tensor_value_info("sum_in", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, [])],
    )
    start = numpy_helper.from_array(np.float32(0), "start")
    return adding(
        constant("sizes", rows),
        helper.make_node("ConstantOfShape", ["sizes"], ["rows"]),
        helper.make_node("Constant", [], ["start"], value=start),
        helper.make_node("Scan", ["start", "rows"], ["sum"], body=body, num_scan_inputs=1),
        last="sum",
    )


def nested_loops(depth: int, trips: int) -> Callable[[ModelProto], None]:
    """Loops in loops, each of few trips."""

    def spoil(model: ModelProto) -> None:
        looping(trips=trips)(model)
        for _ in range(depth):
            outer = next(n for n in model.graph.node if n.op_type == "Loop")
            (body,) = (a.g for a in outer.attribute)
            inner = NodeProto()
            inner.CopyFrom(outer)
            inner.input[2] = "count_in"
            inner.output[0] = "count_out"
            body.node[1].CopyFrom(inner)
            # Each body's names are its own.
            rename(body.node[1].attribute[0].g, "i")

    return spoil


def rename(graph: GraphProto, suffix: str) -> None:
    """Gives the values that a graph makes other names."""
    made = {v.name for v in graph.input} | {n for node in graph.node for n in node.output}

    def new(name: str) -> str:
        return name + suffix if name in made else name

    for value in (*graph.input, *graph.output):
        value.name = new(value.name)
    for node in graph.node:
        node.input[:] = [new(n) for n in node.input]
        node.output[:] = [new(n) for n in node.output]


def functions_of_functions(depth: int, calls: int = 2) -> Callable[[ModelProto], None]:
    """Functions, each of which calls the next twice: calls**depth nodes."""

    def spoil(model: ModelProto) -> None:
        for level in range(depth):
            op, domain = (f"F{level + 1}", "own") if level + 1 < depth else ("Neg", "")
            names = ["x", *(f"y{n}" for n in range(calls - 1)), "z"]
            nodes = [helper.make_node(op, [a], [b], domain=domain) for a, b in pairwise(names)]
            opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
            model.functions.append(
                helper.make_function("own", f"F{level}", ["x"], ["z"], nodes, opsets)
            )
        model.opset_import.append(helper.make_opsetid("own", 1))
        call = helper.make_node("F0", ["product"], ["last_hidden_state"], domain="own")
        behind(model.graph, [call])

    return spoil


def recursive_function(model: ModelProto) -> None:
    functions_of_functions(1)(model)
    for node in model.functions[0].node:
        node.op_type, node.domain = "F0", "own"


def mutual_recursion(model: ModelProto) -> None:
    functions_of_functions(2)(model)
    for node in model.functions[1].node:
        node.op_type, node.domain = "F0", "own"


def recursion_in_a_subgraph(model: ModelProto) -> None:
    functions_of_functions(1)(model)
    (function,) = model.functions
    branch = helper.make_graph(
        [helper.make_node("F0", ["x"], ["b"], domain="own")],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    true = numpy_helper.from_array(np.bool_(True), "true")
    del function.node[:]
    function.node.extend([
        helper.make_node("Constant", [], ["true"], value=true),
        helper.make_node("If", ["true"], ["z"], then_branch=branch, else_branch=branch),
    ])  # fmt: skip


def shadowing(model: ModelProto) -> None:
    """A function with the name of an operator, which does something else."""
    nodes = [helper.make_node("Sub", ["a", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "MatMul", ["a", "b"], ["c"], nodes, opsets))


def shadowing_contrib(model: ModelProto) -> None:
    nodes = [helper.make_node("Neg", ["a"], ["c"])]
    opsets = [helper.make_opsetid("", 17)]
    name = "com.microsoft"
    model.functions.append(helper.make_function(name, "Gelu", ["a"], ["c"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid(name, 1))
    behind(model.graph, [helper.make_node("Gelu", ["product"], ["last_hidden_state"], domain=name)])


def twice_the_same_function(model: ModelProto) -> None:
    functions_of_functions(1)(model)
    model.functions.append(model.functions[0])


def good_function(model: ModelProto) -> None:
    functions_of_functions(3)(model)


def nested_ifs(depth: int) -> Callable[[ModelProto], bytes]:
    """Subgraphs in subgraphs, as bytes: protobuf itself would not write so many."""

    def field(number: int, payload: bytes) -> bytes:
        size, encoded = len(payload), bytearray([number << 3 | 2])
        while size > 0x7F:
            encoded.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes(encoded) + bytes([size]) + payload

    def spoil(model: ModelProto) -> bytes:
        graph = field(2, b"g")
        for _ in range(depth):
            attribute = field(1, b"then_branch") + b"\xa0\x01\x05" + field(6, graph)
            graph = field(1, field(4, b"If") + field(5, attribute))
        node = field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph))
        return bytes(model.SerializeToString()) + field(7, field(1, node))

    return spoil


def cycle(model: ModelProto) -> None:
    nodes = [
        helper.make_node("Add", ["product", "b"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["last_hidden_state"]),
    ]
    behind(model.graph, nodes)


def unsorted(model: ModelProto) -> None:
    """The nodes in another order than that of their inputs."""
    first = NodeProto()
    first.CopyFrom(model.graph.node[0])
    del model.graph.node[0]
    model.graph.node.append(first)


def undefined_input(model: ModelProto) -> None:
    behind(model.graph, [helper.make_node("Add", ["product", "nobody"], ["last_hidden_state"])])


def undefined_output(model: ModelProto) -> None:
    model.graph.node[-1].output[0] = "other"


def made_twice(model: ModelProto) -> None:
    behind(model.graph, [
        helper.make_node("Neg", ["product"], ["last_hidden_state"]),
        helper.make_node("Abs", ["product"], ["last_hidden_state"]),
    ])  # fmt: skip


def two_initializers(model: ModelProto) -> None:
    other = numpy_helper.from_array(np.zeros((WIDTH, WIDTH), np.float32), "matrix")
    model.graph.initializer.append(other)


def two_inputs_of_a_name(model: ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def made_and_initializer(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "found"))


def input_made_by_a_node(model: ModelProto) -> None:
    behind(model.graph, [
        helper.make_node("Identity", ["product"], ["last_hidden_state"]),
        helper.make_node("Identity", ["input_ids"], ["input_ids"]),
    ])  # fmt: skip


def two_outputs_of_a_name(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def referring(name: str, kind: int = 2, inside: bool = False) -> Callable[[ModelProto], None]:
    """An attribute whose value is a parameter of a function, which is around it or is not.

    Args:
        name: The parameter; the function has one, "sign".
        kind: The attribute's type.
        inside: Whether the attribute is inside the function.
    """

    def spoil(model: ModelProto) -> None:
        good_function(model)
        function = model.functions[-1]
        function.attribute.append("sign")
        node = function.node[0] if inside else model.graph.node[0]
        node.attribute.add(name="body", ref_attr_name=name, type=kind)

    return spoil


def nodes_of_a_name(model: ModelProto) -> None:
    for node in model.graph.node:
        node.name = "the same"


def opsets(*pairs: tuple[str, int]) -> Callable[[ModelProto], None]:
    def spoil(model: ModelProto) -> None:
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, n) for domain, n in pairs)

    return spoil


def ir_version(number: int | None) -> Callable[[ModelProto], None]:
    def spoil(model: ModelProto) -> None:
        if number is None:
            model.ClearField("ir_version")
        else:
            model.ir_version = number

    return spoil


def operator(op: str, domain: str = "") -> Callable[[ModelProto], None]:
    def spoil(model: ModelProto) -> None:
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))
        behind(
            model.graph, [helper.make_node(op, ["product"], ["last_hidden_state"], domain=domain)]
        )

    return spoil


def many_inputs(count: int) -> Callable[[ModelProto], None]:
    def spoil(model: ModelProto) -> None:
        model.graph.input.extend(
            helper.make_tensor_value_info(f"i{n}", TensorProto.INT64, ["batch"])
            for n in range(count)
        )

    return spoil


def odd_symbols(model: ModelProto) -> None:
    sizes = [d for v in model.graph.input for d in v.type.tensor_type.shape.dim]
    for size, name in zip(sizes, ("\x1b[31mbatch", "[red]</script> * `\u202e"), strict=True):
        size.dim_param = name


def odd_names(model: ModelProto) -> None:
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "\x1b]0;pwned\x07../../\n"


def weights_as_inputs(model: ModelProto) -> None:
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
    )


def sparse_initializer(model: ModelProto) -> None:
    sparse = onnx.SparseTensorProto(dims=[WIDTH])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "bias"))
    sparse.indices.CopyFrom(int64("", 3))
    model.graph.sparse_initializer.append(sparse)
    behind(model.graph, [helper.make_node("Add", ["product", "bias"], ["last_hidden_state"])])


def sparse_attribute(model: ModelProto) -> None:
    sparse = onnx.SparseTensorProto(dims=[WIDTH])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), ""))
    sparse.indices.CopyFrom(int64("", 3))
    node = helper.make_node("Constant", [], ["bias"])
    node.attribute.append(helper.make_attribute("sparse_value", sparse))
    add = helper.make_node("Add", ["product", "bias"], ["last_hidden_state"])
    behind(model.graph, [node, add])


def strings(model: ModelProto) -> None:
    words = numpy_helper.from_array(np.array(["a", "b"], object), "words")
    model.graph.initializer.append(words)
    model.graph.output.append(helper.make_tensor_value_info("said", TensorProto.STRING, [2]))
    model.graph.node.append(helper.make_node("Identity", ["words"], ["said"]))


def string_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"]))


def sequence_output(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("SequenceConstruct", ["found"], ["list"]))
    model.graph.output.append(
        helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None)
    )


def optional_input(model: ModelProto) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    model.graph.input.append(
        helper.make_value_info("maybe", helper.make_optional_type_proto(tensor))
    )


def metadata(size: int) -> Callable[[ModelProto], None]:
    def spoil(model: ModelProto) -> None:
        model.metadata_props.add(key="k" * 1000, value="v" * size)
        model.doc_string = "d" * size

    return spoil


def weights(change: Callable[[np.ndarray], TensorProto]) -> Callable[[ModelProto], None]:
    """Changes both weights, and casts what they give."""

    def spoil(model: ModelProto) -> None:
        for number, tensor in enumerate(list(model.graph.initializer)):
            made = change(numpy_helper.to_array(tensor))
            made.name = tensor.name
            model.graph.initializer[number].CopyFrom(made)

    return spoil


def float16(model: ModelProto) -> None:
    """A graph in half precision."""
    weights(lambda a: numpy_helper.from_array(a.astype(np.float16)))(model)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def float16_in_float32_out(model: ModelProto) -> None:
    weights(lambda a: numpy_helper.from_array(a.astype(np.float16)))(model)
    cast = helper.make_node("Cast", ["product"], ["last_hidden_state"], to=TensorProto.FLOAT)
    behind(model.graph, [cast])


def cast_of(kind: int) -> Callable[[ModelProto], None]:
    """Weights of a type that are cast to float32 before they are used."""

    def spoil(model: ModelProto) -> None:
        opsets(("", 23))(model)
        model.ir_version = 11
        for tensor in model.graph.initializer:
            name = tensor.name
            made = helper.make_tensor(
                f"{name}_stored", kind, tensor.dims, numpy_helper.to_array(tensor).ravel()
            )
            tensor.CopyFrom(made)
            cast = helper.make_node("Cast", [f"{name}_stored"], [name], to=TensorProto.FLOAT)
            model.graph.node.insert(0, cast)

    return spoil


def bfloat16(model: ModelProto) -> None:
    def change(array: np.ndarray) -> TensorProto:
        return helper.make_tensor("", TensorProto.BFLOAT16, array.shape, array.ravel())

    opsets(("", 21))(model)
    weights(change)(model)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16


def make_integers(model: ModelProto, tensor: TensorProto) -> str:
    """Makes NAME_q, of 8-bit integers, of a weight NAME, and adds their scale, NAME_s."""
    name, array = tensor.name, numpy_helper.to_array(tensor)
    scale = np.float32(np.abs(array).max() / 127)
    tensor.CopyFrom(numpy_helper.from_array(np.round(array / scale).astype(np.int8), f"{name}_q"))
    model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_s"))
    return str(name)


def quantized_weights(model: ModelProto) -> None:
    """As quantize_static and many others leave a graph: QDQ."""
    for tensor in list(model.graph.initializer):
        name = make_integers(model, tensor)
        node = helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name])
        model.graph.node.insert(0, node)


def quantized_by_hand(model: ModelProto) -> None:
    """8-bit weights that are cast and scaled: no operator for quantization is in sight."""
    for tensor in list(model.graph.initializer):
        name = make_integers(model, tensor)
        model.graph.node.insert(0, helper.make_node("Mul", [f"{name}_f", f"{name}_s"], [name]))
        cast = helper.make_node("Cast", [f"{name}_q"], [f"{name}_f"], to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)


def fused_quantization(model: ModelProto) -> None:
    """An operator of com.microsoft that holds 4-bit weights."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=32, is_symmetric=True)
    quantizer.process()
    model.CopyFrom(quantizer.model.model)


def tensors_of(model: ModelProto, where: str) -> TensorProto:
    """Returns a fresh tensor at some place of a model, which is used by nothing."""
    if where == "initializer":
        return model.graph.initializer.add(name="bad")
    tensor = TensorProto(name="bad")
    nodes = model.graph.node
    if where == "function":
        good_function(model)
        nodes = model.functions[0].node
    elif where in ("subgraph", "subgraph's initializer"):
        branch = GraphProto(name="branch")
        branch.output.add(name="b").type.tensor_type.elem_type = TensorProto.FLOAT
        branch.node.append(helper.make_node("Identity", ["input_ids"], ["b"]))
        node = model.graph.node.add(op_type="If", input=["input_ids"], output=["unused"])
        for name in ("then_branch", "else_branch"):
            node.attribute.append(helper.make_attribute(name, branch))
        graph = node.attribute[0].g
        if where != "subgraph":
            return graph.initializer.add(name="bad")
        nodes = graph.node
    node = nodes.add(op_type="Constant", output=["bad"])
    if where == "list":
        node.attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(tensor)
        return node.attribute[0].tensors[0]
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    return node.attribute[0].t


PLACES = (
    "initializer", "attribute", "list", "subgraph", "subgraph's initializer", "function",
)  # fmt: skip


def bad_tensor(where: str = "initializer", **fields: object) -> Callable[[ModelProto], None]:
    """A tensor with fields that do not belong together."""

    def spoil(model: ModelProto) -> None:
        tensor = tensors_of(model, where)
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return spoil


T = TensorProto
#: Fields of tensors whose parts contradict each other.
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "raw, short": {"data_type": T.FLOAT, "dims": [4], "raw_data": b"\0" * 15},
    "raw, long": {"data_type": T.FLOAT, "dims": [4], "raw_data": b"\0" * 17},
    "raw, none": {"data_type": T.FLOAT, "dims": [4]},
    "raw, long and large": {"data_type": T.FLOAT, "dims": [4], "raw_data": b"\0" * 17000},
    "raw, short and large": {"data_type": T.FLOAT, "dims": [1 << 40], "raw_data": b"\0" * 17000},
    "raw and typed": {
        "data_type": T.FLOAT, "dims": [2], "raw_data": b"\0" * 8, "float_data": [1.0, 2.0],
    },
    "empty raw and typed": {
        "data_type": T.FLOAT, "dims": [2], "raw_data": b"", "float_data": [1.0, 2.0],
    },
    "floats, few": {"data_type": T.FLOAT, "dims": [4], "float_data": [1.0]},
    "floats, many": {"data_type": T.FLOAT, "dims": [], "float_data": [1.0, 2.0]},
    "floats, of int64": {"data_type": T.INT64, "dims": [1], "float_data": [1.0]},
    "int64s, few": {"data_type": T.INT64, "dims": [2], "int64_data": [1]},
    "int32s, few": {"data_type": T.FLOAT16, "dims": [2], "int32_data": [1]},
    "int32s, of int64": {"data_type": T.INT64, "dims": [1], "int32_data": [1]},
    "doubles, few": {"data_type": T.DOUBLE, "dims": [2], "double_data": [1]},
    "uint64s, few": {"data_type": T.UINT64, "dims": [2], "uint64_data": [1]},
    "complex, few": {"data_type": T.COMPLEX64, "dims": [1], "float_data": [1.0]},
    "strings, few": {"data_type": T.STRING, "dims": [2], "string_data": [b"a"]},
    "strings, raw": {"data_type": T.STRING, "dims": [1], "raw_data": b"a"},
    "out of range": {"data_type": T.UINT8, "dims": [1], "int32_data": [300]},
    "int4, raw": {"data_type": T.INT4, "dims": [3], "raw_data": b"\0"},
    "int4, raw, not packed": {"data_type": T.INT4, "dims": [3], "raw_data": b"\0\0\0"},
    "uint4, typed": {"data_type": T.UINT4, "dims": [3], "int32_data": [1]},
    "float4, raw": {"data_type": T.FLOAT4E2M1, "dims": [5], "raw_data": b"\0\0"},
    "float8, raw": {"data_type": T.FLOAT8E4M3FN, "dims": [5], "raw_data": b"\0\0"},
    "float8, typed": {"data_type": T.FLOAT8E5M2, "dims": [2], "int32_data": [1]},
    "bfloat16, raw": {"data_type": T.BFLOAT16, "dims": [5], "raw_data": b"\0" * 5},
    "no type": {"dims": [1], "raw_data": b"\0" * 4},
    "unknown type": {"data_type": 99, "dims": [1], "raw_data": b"\0" * 4},
    "negative type": {"data_type": -1, "dims": [1], "raw_data": b"\0" * 4},
    "negative": {"data_type": T.FLOAT, "dims": [-1], "raw_data": b"\0" * 4},
    "negative twice": {"data_type": T.FLOAT, "dims": [-2, -2], "raw_data": b"\0" * 16},
    "overflow": {"data_type": T.FLOAT, "dims": [1 << 32, 1 << 32]},
    "overflow to nothing": {"data_type": T.FLOAT, "dims": [1 << 62, 1 << 62, 0]},
    "overflow to four": {
        "data_type": T.FLOAT, "dims": [(1 << 62) + 1, 4], "raw_data": b"\0" * 16,
    },
    "many axes": {"data_type": T.FLOAT, "dims": [1] * 1000, "raw_data": b"\0" * 4},
}  # fmt: skip
