"""Text tables of singular values."""

import math
from collections.abc import Sequence

from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.history import by_growth, layer_order, singular_values, three


def summary(probes: list[Record], network: str, rows: int) -> str:
    """Return a table of the `rows` weights that grew most from the first probe to the last."""
    order = by_growth(probes, network)
    table = [("weight", "sigma_0 first", "last", "growth", "sigma_0/sigma_1 first", "last")]
    for layer in order[:rows]:
        first, last = singular_values(probes, network, layer)[1][[0, -1]]
        growth = f"x {last[0] / first[0]:.3g}"
        table.append((layer, _figure(first[0]), _figure(last[0]), growth, _ratio(first), _ratio(last)))
    more = f"\n  ... and {len(order) - rows} that grew less" if len(order) > rows else ""
    return _aligned(table) + more


def checkpoint_table(singular: dict[str, list[float]], network: str) -> str:
    """Return a table of one checkpoint's values, from input to output."""
    table: list[tuple[str, ...]] = [("weight", "sigma_0", "sigma_1", "sigma_2", "sigma_0/sigma_1")]
    for layer in sorted(singular, key=lambda name: layer_order(name, network)):
        values = three(singular[layer])
        table.append((layer, *map(_figure, values), _ratio(values)))
    return _aligned(table)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _ratio(values) -> str:
    return _figure(values[0] / values[1])


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for name, *figures in table:
        cells = [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines)
