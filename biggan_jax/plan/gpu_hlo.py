"""Read kernels, their work and a bound on their time from the text of an optimized GPU program.

XLA gives no FLOPs for GPUs, and cuDNN's calls have no estimate, so work is counted from shapes. A kernel takes at least its
FLOPs at the GPU's peak, and at least its bytes at the memory's bandwidth; bytes are those of operands and results, once.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from biggan_jax.plan.gpus import Gpu
from biggan_jax.plan.hlo import ARRAY, BYTES, COLLECTIVES, TRIPS, called, sizes, steps_between

_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"(?:^|[\s)}])([a-z][a-z0-9\-]*)\(([^)]*)\)")
_OP_NAME = r'op_name="([^"]*)"'
_CONDITION = re.compile(r"\bcondition=%?[\w.\-]+")
_CUDNN = re.compile(r'custom_call_target="__cudnn\$(\w+)"')
_KERNEL_LABELS = re.compile(r"dim_labels=\w+_(\w+)->")

FREE = ("parameter", "get-tuple-element", "bitcast", "tuple", "constant", "after-all", "partition-id", "replica-id")
"""Instructions that start no kernel."""


class Instruction(NamedTuple):
    """One line: `name = type opcode(operands), rest`."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    rest: str


class Kernel(NamedTuple):
    """What one kernel does. kind: convolution, product, copy or fusion. type: of the operands of its products, such as bf16."""

    kind: str
    call: str
    op_name: str
    flops: int
    bytes: int
    type: str

    def seconds(self, gpu: Gpu) -> float:
        """The least time on a GPU."""
        return max(self.flops / gpu.rate(self.type), self.bytes / gpu.bandwidth)


Computations = dict[str, dict[str, Instruction]]


def parse(text: str) -> tuple[Computations, str]:
    """Return ({computation: {name: instruction}}, the entry computation) of an HLO module."""
    computations: Computations = {}
    entry, current = "", None
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%")
            current = computations[name] = {}
            entry = name if line.startswith("ENTRY") else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := _LINE.match(line)) and (opcode := _OPCODE.search(match[2])):
            operands = tuple(word.strip().split(" ")[-1].lstrip("%") for word in opcode[2].split(",") if word.strip())
            found = Instruction(match[1], match[2][: opcode.start()], opcode[1], operands, match[2][opcode.end() :])
            current[found.name] = found
    return computations, entry


def kernels(text: str) -> Iterator[tuple[Kernel, float]]:
    """Yield (kernel, number of executions in a step); no collectives.

    Bodies of loops count as often as the compiler knows, and branches of an update that runs in each n-th step 1 / n.
    """
    computations, entry = parse(text)

    def walk(name: str, times: float):
        for i in computations[name].values():
            kind = i.opcode.removesuffix("-start")
            if kind in ("while", "call", "conditional"):
                trips = float(_first(TRIPS, i.rest) or 1) if kind == "while" else 1
                if kind == "conditional":
                    trips = 1 / steps_between(_first(_OP_NAME, i.rest))
                for inner in called(_CONDITION.sub("", i.rest)):
                    yield from walk(inner, times * trips)
            elif i.opcode not in FREE and not i.opcode.endswith("-done") and kind not in COLLECTIVES:
                yield _kernel(i, computations, computations[name]), times

    yield from walk(entry, 1)


def breakdown(text: str, gpu: Gpu, module_of: Callable[[str], str]) -> dict[str, float]:
    """Return {module_of(op_name): microseconds at least} of one step, largest first."""
    sums: dict[str, float] = defaultdict(float)
    for kernel, times in kernels(text):
        sums[module_of(kernel.op_name)] += kernel.seconds(gpu) * times * 1e6
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def summary(text: str) -> dict:
    """Return {"kernels": count, "cudnn_calls": {call: count}, "flops": of convolutions and products} of a step in the mean."""
    calls: dict[str, float] = defaultdict(float)
    count, flops = 0.0, 0.0
    for kernel, times in kernels(text):
        count, flops = count + times, flops + kernel.flops * times
        if kernel.kind == "convolution":
            calls[kernel.call] += times
    cudnn = {call: round(times) for call, times in sorted(calls.items(), key=lambda item: -item[1])}
    return {"kernels": round(count), "cudnn_calls": cudnn, "flops": flops}


def _kernel(i: Instruction, computations: Computations, around: dict[str, Instruction]) -> Kernel:
    given = [around[name].type for name in i.operands if name in around]
    op_name = _first(_OP_NAME, i.rest)
    moved = sum(map(_bytes, [i.type, *given]))
    if match := _CUDNN.search(i.rest):
        flops = _convolution_flops(i, match[1], given)
        return Kernel("convolution", match[1], op_name, flops, moved, ARRAY.findall(given[0])[0][0])
    inside = computations.get(_first(r"\bcalls=%?([\w.\-]+)", i.rest), {})
    products = [j for j in inside.values() if j.opcode == "dot"]
    if products:
        flops = sum(_product_flops(j, inside) for j in products)
        kind = ARRAY.findall(inside[products[0].operands[0]].type)[0][0]
        return Kernel("product", "", op_name, flops, moved, kind)
    return Kernel("copy" if i.opcode == "copy" else "fusion", "", op_name, 0, moved, "f32")


def _convolution_flops(i: Instruction, call: str, given: list[str]) -> int:
    """2 x outputs x weights of an output: with Y (or its gradient) and the kernel, whose outputs are the label o."""
    arrays = [sizes(ARRAY.findall(text)[0][1]) for text in (i.type, *given)]
    result, first, second = arrays[0], arrays[1], arrays[2]
    outputs, kernel = {
        "convBackwardFilter": (second, result),
        "convBackwardInput": (first, second),
    }.get(call, (result, second))
    labels = _first(_KERNEL_LABELS, i.rest)
    return 2 * math.prod(outputs) * math.prod(kernel) // kernel[labels.index("o")]


def _product_flops(i: Instruction, inside: dict[str, Instruction]) -> int:
    left = sizes(ARRAY.findall(inside[i.operands[0]].type)[0][1])
    contracted = sizes(_first(r"lhs_contracting_dims=\{([\d,]*)\}", i.rest))
    return 2 * math.prod(sizes(ARRAY.findall(i.type)[0][1])) * math.prod(left[axis] for axis in contracted)


def _bytes(text: str) -> int:
    return sum(BYTES.get(kind, 0) * math.prod(sizes(shape)) for kind, shape in ARRAY.findall(text))


def _first(pattern: str | re.Pattern, text: str) -> str:
    return match[1] if (match := re.search(pattern, text)) else ""
