"""Owns what an optimised TPU program says of itself: cycles by module, and what devices tell each other. Must not know models.

The text form of HLO is read line by line: `%name = type opcode(operands), attributes`, in computations that end with `}`.
"""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8}
BYTES |= {"u64": 8, "f64": 8}
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)$")
_OPCODE = re.compile(r"(?:^|[\s)}])(?P<opcode>[a-z][a-z0-9\-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_KERNEL = re.compile(
    r'custom_call_target="tpu_custom_call", operand_layout_constraints=\{((?:[a-z0-9]+\[[\d,]*\]\{[^}]*\}(?:, )?)*)\}'
)
_CHANNEL = re.compile(r"\bchannel_id=(\d+)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:body|condition|to_apply|calls|branch_computations)=\{?%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_CONSTANT = re.compile(r"\bconstant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a scheduled program. `type` is its result's, as text; `value` that of a constant, `condition` a loop's.

    cycles are the compiler's estimate, 0 where it makes none, as of kernels; `operands` are the shapes of what a kernel reads.
    """

    name: str
    opcode: str
    type: str
    cycles: int
    operands: tuple[tuple[int, ...], ...]
    op_name: str
    called: tuple[str, ...]
    channel: int | None
    condition: str
    value: int | None


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """({computation: its instructions}, the entry's name) of an HLO module's text."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" ") and not line.startswith("HloModule"):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%")
            current = computations[name] = []
            if line.startswith("ENTRY"):
                entry = name
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := _INSTRUCTION.match(line)):
            current.append(_instruction(match["name"], match["rest"]))
    return computations, entry


def _instruction(name: str, rest: str) -> Instruction:
    opcode = _OPCODE.search(rest)
    cycles, kernel, op_name = _CYCLES.search(rest), _KERNEL.search(rest), _OP_NAME.search(rest)
    condition, constant, channel = _CONDITION.search(rest), _CONSTANT.search(rest), _CHANNEL.search(rest)
    return Instruction(
        name=name,
        opcode=opcode["opcode"] if opcode else "",
        type=rest[: opcode.start()] if opcode else rest,
        cycles=int(cycles[1]) if cycles else 0,
        operands=tuple(_sizes(shape) for _, shape in _ARRAY.findall(kernel[1])) if kernel else (),
        op_name=op_name[1] if op_name else "",
        called=tuple(_CALLED.findall(rest)),
        channel=int(channel[1]) if channel else None,
        condition=condition[1] if condition else "",
        value=int(constant[1]) if constant else None,
    )


def executed(text: str, *, inside_fusions: bool = False) -> Iterator[tuple[Instruction, int]]:
    """Each instruction that the scheduler runs, with how often: the entry's, and loops' bodies times their trips.

    What stands inside a fusion is part of it, and told apart only if asked for.
    """
    computations, entry = parse(text)
    opened = ("while", "call", "conditional", *(("fusion", "async-start") if inside_fusions else ()))

    def walk(name: str, times: int):
        for instruction in computations[name]:
            yield instruction, times
            if instruction.opcode in opened:
                trips = _trips(computations[instruction.condition]) if instruction.condition else 1
                for called in instruction.called:
                    yield from walk(called, times * trips)

    yield from walk(entry, 1)


def _trips(condition: list[Instruction]) -> int:
    """How often a loop runs that counts from 0 to a constant, as `fori_loop`, `scan` and `map` do."""
    bounds = [instruction.value for instruction in condition if instruction.value is not None]
    if len(bounds) != 1:
        raise ValueError(f"a loop whose length cannot be read: its condition has the constants {bounds}")
    return bounds[0]


def collectives(text: str) -> dict[str, dict[str, int]]:
    """{kind: {count, bytes}} of what devices exchange in one run of the program; bytes are of the results, a device."""
    found: dict[str, Counter] = defaultdict(Counter)
    seen = set()
    for instruction, times in executed(text, inside_fusions=True):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in COLLECTIVES or instruction.channel in seen:
            continue
        # One that runs beside other work is written once for each of its pieces, all of one channel.
        seen |= {instruction.channel} - {None}
        found[kind].update(count=times, bytes=times * _result_bytes(instruction))
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def _result_bytes(instruction: Instruction) -> int:
    arrays = _ARRAY.findall(instruction.type)
    if instruction.opcode.endswith("-start") and instruction.opcode != "all-reduce-start":
        # It returns its operands, as many results, and flags.
        arrays = [array for array in arrays if array != ("u32", "")]
        arrays = arrays[len(arrays) // 2 :]
    return sum(array_bytes(*array) for array in arrays)


def array_bytes(kind: str, shape: str) -> int:
    """Bytes of an array, such as bf16 and 8,128."""
    return BYTES.get(kind, 0) * math.prod(_sizes(shape))


def _sizes(shape: str) -> tuple[int, ...]:
    return tuple(int(size) for size in shape.split(",") if size)


def breakdown(
    text: str, module_of: Callable[[str], str], kernel_cycles: Callable[[Instruction], int]
) -> dict[str, int]:
    """Cycles of one run by `module_of(op_name)`, the largest first: the compiler's estimates, and `kernel_cycles` of kernels."""
    sums: Counter = Counter()
    for instruction, times in executed(text):
        own = kernel_cycles(instruction) if instruction.operands else instruction.cycles
        if own:
            sums[module_of(instruction.op_name)] += own * times
    return dict(sums.most_common())
