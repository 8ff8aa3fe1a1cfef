"""Owns what an optimised TPU program says of itself: cycles by module, and what devices tell each other. Must not know models.

The text form of HLO is read line by line: `%name = type opcode(operands), attributes`, in computations that end with `}`.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8}
BYTES |= {"u64": 8, "f64": 8}

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<rest>.*)$")
_OPCODE = re.compile(r"(?:^|[\s)}])(?P<opcode>[a-z][a-z0-9\-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:body|condition|to_apply|calls|branch_computations)=\{?%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a scheduled program. `type` is its result's, as text; `trips` how often a loop's body runs, 1 for others."""

    name: str
    opcode: str
    type: str
    cycles: int
    op_name: str
    called: tuple[str, ...]
    trips: int


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
    cycles, op_name, trips = _CYCLES.search(rest), _OP_NAME.search(rest), _TRIPS.search(rest)
    return Instruction(
        name=name,
        opcode=opcode["opcode"] if opcode else "",
        type=rest[: opcode.start()] if opcode else rest,
        cycles=int(cycles[1]) if cycles else 0,
        op_name=op_name[1] if op_name else "",
        called=tuple(_CALLED.findall(rest)),
        trips=int(trips[1]) if trips else 1,
    )


def executed(text: str) -> Iterator[tuple[Instruction, int]]:
    """Each instruction that the scheduler runs, with how often: the entry's, and loops' bodies times their trips.

    What stands inside a fusion is part of it, and not told apart.
    """
    computations, entry = parse(text)

    def walk(name: str, times: int):
        for instruction in computations[name]:
            yield instruction, times
            if instruction.opcode in ("while", "call", "conditional"):
                for called in instruction.called:
                    yield from walk(called, times * instruction.trips)

    yield from walk(entry, 1)


def bytes_of(type_text: str) -> int:
    """Bytes of the arrays that a result's type names."""
    total = 0
    for kind, shape in _ARRAY.findall(type_text):
        count = 1
        for size in shape.split(","):
            count *= int(size or 1)
        total += BYTES.get(kind, 0) * count
    return total


def collectives(text: str) -> dict[str, dict[str, int]]:
    """{kind: {count, bytes}} of what devices exchange in one run of the program; bytes are of the results, a device."""
    found: dict[str, Counter] = defaultdict(Counter)
    for instruction, times in executed(text):
        kind = instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            found[kind].update(count=times, bytes=times * bytes_of(instruction.type))
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def cycles(text: str) -> int:
    """The compiler's estimate of one run, in cycles of one device."""
    return sum(instruction.cycles * times for instruction, times in executed(text))


def breakdown(text: str, module_of) -> dict[str, int]:
    """Cycles by `module_of(op_name)`, the largest first."""
    sums: Counter = Counter()
    for instruction, times in executed(text):
        if instruction.cycles:
            sums[module_of(instruction.op_name)] += instruction.cycles * times
    return dict(sums.most_common())
