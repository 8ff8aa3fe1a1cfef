"""Read constants of the graph in a SavedModel (saved_model.pb), without TensorFlow."""

import math
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.convert import protobuf, tf_checkpoint
from biggan_jax.types import UserError

LONGEST = 10  # Identities in a row.
LARGEST = 2**26  # Elements of a constant, which may be written as one number.


class Node(NamedTuple):
    """A node of a graph: its operation, the names of its inputs, and its attributes, as messages by name."""

    operation: str
    inputs: list[str]
    attributes: dict[str, memoryview]


def read(path: epath.Path) -> dict[str, Node]:
    """Return the nodes of a SavedModel's first graph by name. Raises UserError if it is not one."""
    try:
        graphs = protobuf.fields(path.read_bytes()).get(2, [])
        graph = protobuf.fields(protobuf.fields(graphs[0])[2][0])
        return dict(map(_node, graph.get(1, [])))
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path} is no SavedModel with a graph, or is corrupted") from error


def _node(message: memoryview) -> tuple[str, Node]:
    node = protobuf.fields(message)
    text = lambda number: [bytes(value).decode() for value in node.get(number, [])]
    attributes = [protobuf.fields(pair) for pair in node.get(5, [])]
    named = {bytes(pair[1][0]).decode(): pair[2][0] for pair in attributes if 2 in pair}
    return text(1)[0], Node(text(2)[0], text(3), named)


def stacked(nodes: dict[str, Node], name: str) -> np.ndarray | None:
    """Return the float32 array of a node that is a constant, or a Pack of constants along a new first axis; else None."""
    node = nodes[name]
    if node.operation != "Pack" or _axis(node):
        return _constant(nodes, name)
    rows = [_constant(nodes, each) for each in node.inputs if not each.startswith("^")]
    known = [row for row in rows if row is not None]
    return np.stack(known) if len(known) == len(rows) and len({row.shape for row in known}) == 1 else None


def _axis(node: Node) -> int:
    return protobuf.integers(protobuf.fields(node.attributes.get("axis", b"")).get(3, [0]))[0]


def _constant(nodes: dict[str, Node], name: str) -> np.ndarray | None:
    for _ in range(LONGEST):
        node = nodes.get(name.removesuffix(":0"))
        if node is None or node.operation != "Identity" or not node.inputs:
            break
        name = node.inputs[0]
    if node is None or node.operation != "Const" or "value" not in node.attributes:
        return None
    return _tensor(protobuf.fields(node.attributes["value"]).get(8, [b""])[0])


def _tensor(message: memoryview | bytes) -> np.ndarray | None:
    """Return the array of a TensorProto; None if it is not of float32 or its values do not fit its shape."""
    tensor = protobuf.fields(message)
    if tensor.get(1) != [1]:
        return None
    shape = tf_checkpoint.shape_of(tensor.get(2, [b""])[0])
    if math.prod(shape) > LARGEST:
        return None
    if 4 in tensor:
        values = np.frombuffer(tensor[4][0], np.float32)
    else:
        # float_val: packed, or one fixed32 for each; a last value that repeats is left out.
        packed = b"".join(bytes(v) if isinstance(v, memoryview) else v.to_bytes(4, "little") for v in tensor.get(5, []))
        values = np.frombuffer(packed, np.float32)
        if 0 < len(values) < math.prod(shape):
            values = np.append(values, np.full(math.prod(shape) - len(values), values[-1]))
    return values.reshape(shape) if len(values) == math.prod(shape) else None
