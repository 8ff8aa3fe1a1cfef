"""Read cycles by module and collectives from the text of an optimized TPU program.

Parses HLO text line by line: `%name = type opcode(operands), attributes`, in computations that end with `}`.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from biggan_jax.train_step import ONCE_IN

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8}
BYTES |= {"u64": 8, "f64": 8}
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*)$")
_OPCODE = re.compile(r"(?:^|[\s)}])([a-z][a-z0-9\-]*)\(")
_KERNEL = re.compile(
    r'custom_call_target="tpu_custom_call", operand_layout_constraints=\{((?:[a-z0-9]+\[[\d,]*\]\{[^}]*\}(?:, )?)*)\}'
)
ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:body|condition|to_apply|calls|(?:branch|true|false)_computations?)=(\{[^}]*\}|%?[\w.\-]+)")
TRIPS = r'"known_trip_count":\{"n":"(\d+)"\}'
_ONCE_IN = re.compile(rf"\b{ONCE_IN}(\d+)\b")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a scheduled program; "" where the line has no such part.

    type: the type of the result, as text. cycles: the compiler's estimate, 0 without one, as for kernels. operands: the
    shapes that a kernel reads. condition: a loop's, and trips: how often it runs, where the compiler says so. value: a constant's.
    """

    opcode: str
    type: str
    cycles: int
    operands: tuple[tuple[int, ...], ...]
    op_name: str
    called: tuple[str, ...]
    channel: str
    condition: str
    trips: str
    value: str


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Return ({computation: instructions}, the name of the entry computation) of an HLO module."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%")
            current = computations[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := _INSTRUCTION.match(line)):
            current.append(_instruction(match[1]))
    return computations, entry


def _instruction(text: str) -> Instruction:
    opcode = _OPCODE.search(text)
    first = lambda pattern: match[1] if (match := re.search(pattern, text)) else ""
    return Instruction(
        opcode=opcode[1] if opcode else "",
        type=text[: opcode.start()] if opcode else text,
        cycles=int(first(r'"estimated_cycles":"(\d+)"') or 0),
        operands=tuple(sizes(shape) for _, shape in ARRAY.findall(first(_KERNEL))),
        op_name=first(r'op_name="([^"]*)"'),
        called=called(text),
        channel=first(r"\bchannel_id=(\d+)"),
        condition=first(r"\bcondition=%?([\w.\-]+)"),
        trips=first(TRIPS),
        value=first(r"\bconstant\((\d+)\)"),
    )


def called(text: str) -> tuple[str, ...]:
    """Return the computations that an instruction calls: of a conditional, all branches."""
    return tuple(name for match in _CALLED.findall(text) for name in re.findall(r"[\w.\-]+", match))


def steps_between(op_name: str) -> int:
    """Return n for an operation of an update that runs in each n-th step alone, else 1."""
    return int(match[1]) if (match := _ONCE_IN.search(op_name)) else 1


def executed(text: str, *, inside_fusions: bool = False) -> Iterator[tuple[Instruction, float]]:
    """Yield (instruction, number of executions in a step): the entry computation's, and those of the computations it calls.

    Bodies of loops count as often as they run, and branches of an update that runs in each n-th step 1 / n.

    inside_fusions: also yield the instructions inside fusions, whose cycles are part of the fusion's.
    """
    computations, entry = parse(text)
    opened = ("while", "call", "conditional", *(("fusion", "async-start") if inside_fusions else ()))

    def walk(name: str, times: float):
        for instruction in computations[name]:
            yield instruction, times
            if instruction.opcode in opened:
                runs = _runs(instruction, computations)
                for inner in instruction.called:
                    yield from walk(inner, times * runs)

    yield from walk(entry, 1)


def cycles(text: str) -> int:
    """Return the compiler's cycles of a program in the mean, without those of kernels."""
    return round(sum(instruction.cycles * times for instruction, times in executed(text)))


def unestimated(text: str) -> dict[str, int]:
    """Return {"gather", "scatter": count} of a step in the mean, rounded up: of those without cycles, as the compiler gives most."""
    computations, _ = parse(text)

    def inside(instruction: Instruction) -> Iterator[str]:
        yield instruction.opcode
        if instruction.opcode in ("fusion", "async-start"):
            for name in instruction.called:
                for inner in computations[name]:
                    yield from inside(inner)

    found: dict[str, float] = defaultdict(float)
    for instruction, times in executed(text):
        for opcode in () if instruction.cycles else inside(instruction):
            if opcode in ("gather", "scatter"):
                found[opcode] += times
    return {kind: math.ceil(count) for kind, count in sorted(found.items())}


def _runs(instruction: Instruction, computations: dict[str, list[Instruction]]) -> float:
    """Return how often the computations that an instruction calls run in each of its executions."""
    if instruction.opcode == "conditional":
        return 1 / steps_between(instruction.op_name)
    if instruction.trips:
        return int(instruction.trips)
    return _trips(computations[instruction.condition]) if instruction.condition else 1


def _trips(condition: list[Instruction]) -> int:
    """Return the trip count of a loop from 0 to a constant, as made by `fori_loop`, `scan` and `map`."""
    bounds = [int(instruction.value) for instruction in condition if instruction.value]
    if len(bounds) != 1:
        raise ValueError(f"the trip count of a loop cannot be read: its condition has the constants {bounds}")
    return bounds[0]


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Return {kind: {count, bytes}} of the collectives of a step in the mean, rounded; bytes are those of the results, per device."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"count": 0, "bytes": 0})
    seen = set()
    for instruction, times in executed(text, inside_fusions=True):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in COLLECTIVES or instruction.channel in seen:
            continue
        # An asynchronous collective appears once per piece; all pieces have one channel.
        seen |= {instruction.channel} - {""}
        found[kind]["count"] += times
        found[kind]["bytes"] += times * _result_bytes(instruction)
    return {kind: {name: round(n) for name, n in counts.items()} for kind, counts in sorted(found.items())}


def _result_bytes(instruction: Instruction) -> int:
    arrays = ARRAY.findall(instruction.type)
    if instruction.opcode.endswith("-start") and instruction.opcode != "all-reduce-start":
        # It returns its operands, as many results, and context flags.
        arrays = [array for array in arrays if array != ("u32", "")]
        arrays = arrays[len(arrays) // 2 :]
    return sum(BYTES.get(kind, 0) * math.prod(sizes(shape)) for kind, shape in arrays)


def sizes(shape: str) -> tuple[int, ...]:
    """Return the sizes in a shape such as "8,4,4,3"; () for a scalar."""
    return tuple(int(size) for size in shape.split(",") if size)


def breakdown(
    text: str, module_of: Callable[[str], str], kernel_cycles: Callable[[Instruction], int]
) -> dict[str, int]:
    """Return {module_of(op_name): cycles} of a step in the mean, largest first: the compiler's, `kernel_cycles` for kernels."""
    sums: dict[str, float] = defaultdict(float)
    for instruction, times in executed(text):
        own = kernel_cycles(instruction) if instruction.operands else instruction.cycles
        if own:
            sums[module_of(instruction.op_name)] += own * times
    return {name: round(cycles) for name, cycles in sorted(sums.items(), key=lambda item: -item[1])}
