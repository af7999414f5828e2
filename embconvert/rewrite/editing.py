"""Access to a graph for rewrite rules: queries and changes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.facts import Facts
from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

MICROSOFT = "com.microsoft"
#: Older opsets define axes and Softmax differently.
OLDEST_OPSET = 13


class Unreadable(Exception):  # noqa: N818 - names what the size is
    """A size cannot be read from the graph's inputs."""


class Editor:
    """A graph during rewriting, whose constants are initializers, and its ONNX opset."""

    def __init__(self, model: "ir.Model", *, infer_sizes: bool = True) -> None:
        import onnx_ir as ir

        self.model = model
        self._infer_sizes = infer_sizes
        self.graph = model.graph
        self.opset = model.opset_imports.get("", 0)
        self._facts: Facts | None = None
        self._constants: dict[tuple[Any, ...], ir.Value] = {}
        self._added: list[ir.Node] = []
        self._unnamed: set[ir.Value] = set()
        # Includes subgraphs: a name must be unique over nested graphs.
        graphs = {id(node.graph): node.graph for node in model.graph.all_nodes()}
        self._names = {str(v.name) for node in model.graph.all_nodes() for v in node.outputs}
        self._names |= {str(node.name) for node in model.graph.all_nodes()}
        for graph in graphs.values():
            if isinstance(graph, ir.Graph):
                self._names |= {*graph.initializers, *(str(v.name) for v in graph.inputs)}
        self._names |= {*model.graph.initializers, *(str(v.name) for v in model.graph.inputs)}

    @property
    def facts(self) -> Facts:
        """Inferred sizes, contents and types of tensors."""
        if self._facts is None:
            self._facts = Facts(self.graph, infer_sizes=self._infer_sizes)
        return self._facts

    def forget(self) -> None:
        """Discards the inferred facts, because sizes have changed."""
        self._facts = None

    def nodes(self, *kinds: str) -> "Iterator[ir.Node]":
        """Yields the main graph's nodes of these kinds; the graph may change during iteration."""
        for node in [node for node in self.graph if node.op_type in kinds]:
            if node.graph is self.graph:
                yield node

    def constant(self, array: Any, name: str) -> "ir.Value":
        """Returns an initializer with this content; equal ones are shared."""
        import onnx_ir as ir

        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        known = self._constants.get(key)
        if known is not None and known.is_initializer() and known.graph is self.graph:
            return known
        value = self.weight(ir.Tensor(array, name=name))
        self._constants[key] = value
        return value

    def weight(self, tensor: "ir.TensorProtocol") -> "ir.Value":
        """Returns a new initializer with a unique name derived from the tensor's."""
        import onnx_ir as ir

        tensor.name = self.unused(str(tensor.name))
        value = ir.Value(
            name=tensor.name,
            shape=ir.Shape(tensor.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def add(
        self,
        kind: str,
        inputs: "Sequence[ir.Value | None]",
        before: "ir.Node",
        *,
        domain: str = "",
        **attributes: Any,
    ) -> "ir.Value":
        """Inserts a node with one output; returns the output."""
        import onnx_ir as ir

        node = ir.node(kind, inputs, attributes=attributes, domain=domain)
        node.outputs[0].name = self.unused(f"{_scope(before)}/{kind}")
        node.name = node.outputs[0].name
        self.graph.insert_before(before, node)
        if domain:
            self.graph.opset_imports.setdefault(domain, 1)
        if self._facts is not None:
            self._facts.visit(node)
        self._unnamed.add(node.outputs[0])
        self._added.append(node)
        return node.outputs[0]

    def sizes(self, sizes: "Sequence[Size]", before: "ir.Node") -> "ir.Value":
        """Returns sizes as an int64 vector; raises Unreadable for one that is no input's axis."""
        numbers = [size.number for size in sizes]
        if None not in numbers:
            return self.constant(np.array(numbers, np.int64), "sizes")
        sources = [None if size.number is not None else self._axis(size) for size in sizes]
        parts: list[ir.Value] = []
        for size, source in zip(sizes, sources, strict=True):
            if source is None:
                parts.append(self.constant(np.array([size.number], np.int64), "size"))
                continue
            shape = self.add("Shape", [source[0]], before)
            index = self.constant(np.array([source[1]], np.int64), "axis")
            parts.append(self.add("Gather", [shape, index], before))
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, before, axis=0)

    def is_readable(self, value: "ir.Value | None") -> bool:
        """Whether a vector of sizes has the form that sizes() creates."""
        if value is None or value.const_value is not None:
            return True
        node = value.producer()
        if node is None or node.op_type not in ("Concat", "Gather", "Shape"):
            return False
        if node.op_type == "Shape":
            return node.inputs[0] in self.graph.inputs
        return all(self.is_readable(v) for v in node.inputs)

    def tells(self, size: Size) -> bool:
        """Whether a size is an axis of an input."""
        return any(size in (self.facts.shape(value) or ()) for value in self.graph.inputs)

    def _axis(self, size: Size) -> "tuple[ir.Value, int]":
        for value in self.graph.inputs:
            for axis, found in enumerate(self.facts.shape(value) or ()):
                if found == size:
                    return value, axis
        raise Unreadable(f"{size} is not a size of an input")

    @contextlib.contextmanager
    def trial(self, *, keep: bool = True) -> Iterator[None]:
        """Removes nodes added in the block if it raises, or if `keep` is False."""
        before, constants = len(self._added), set(self.graph.initializers)
        kept = False
        try:
            yield
            kept = keep
        finally:
            if not kept:
                for node in reversed(self._added[before:]):
                    self.graph.remove(node, safe=True)
                del self._added[before:]
                for name in set(self.graph.initializers) - constants:
                    del self.graph.initializers[name]

    def unused(self, name: str) -> str:
        """Returns the name, with a number if it is taken, and reserves it."""
        unused, number = name, 1
        while unused in self._names:
            number += 1
            unused = f"{name}_{number}"
        self._names.add(unused)
        return unused

    def replace(self, old: "ir.Value", new: "ir.Value") -> None:
        """Replaces all uses of a value by an equal one.

        A value that was added takes over the name, so that tensors keep their names.
        """
        if old.is_graph_output() and (new not in self._unnamed or new.is_graph_output()):
            new = self.add("Identity", [new], old.producer())
        if new in self._unnamed:
            self._unnamed.discard(new)
            new.name, old.name = old.name, self.unused(f"{old.name}/replaced")
            new.shape, new.type = old.shape, old.type
        old.replace_all_uses_with(new, replace_graph_outputs=True)


def _scope(node: "ir.Node") -> str:
    """Returns the part of the model that a node belongs to, from the exporter's names."""
    return str(node.outputs[0].name).rpartition("/")[0]


def producer(value: "ir.Value | None", *kinds: str) -> "ir.Node | None":
    """Returns the node that computes a value, if it is of one of these kinds."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in kinds else None


def only_user(value: "ir.Value", *kinds: str) -> "ir.Node | None":
    """Returns the only node that reads a value, if it is of one of these kinds."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = uses[0].node
    return node if not kinds or node.op_type in kinds else None


def number(value: "ir.Value | None") -> float | None:
    """Returns the value of a constant with one element."""
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().item())


def is_close(value: "ir.Value | None", wanted: float) -> bool:
    """Whether a constant with one element equals this number, in float32's precision."""
    found = number(value)
    return found is not None and abs(found - wanted) <= 1e-6 * max(1.0, abs(wanted))


def is_vector(value: "ir.Value", shape: "tuple[Size, ...] | None") -> bool:
    """Whether a value is a constant vector with the size of a tensor's last axis."""
    tensor = value.const_value
    if tensor is None or len(tensor.shape) != 1 or not shape:
        return False
    return bool(tensor.shape[0] == shape[-1].number)


def operands(node: "ir.Node") -> "tuple[tuple[ir.Value, ir.Value], tuple[ir.Value, ir.Value]]":
    """Returns the inputs of a commutative node, in both orders."""
    a, b = node.inputs
    return (a, b), (b, a)
