"""PyTorch array names of the networks that evaluate samples.

Inception has the names of torch-fidelity and pytorch-fid, EfficientNet those of efficientnet-lite-pytorch.
"""

from biggan_jax.convert import layouts, tables
from biggan_jax.convert.tables import Arrays, Entry, Network, Path

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def inception(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert to {params, batch_stats} with the shapes of `network`. Raises UserError naming what in file `name` does not fit."""
    entries = tables.table(network, inception_entry)
    # The Inception Score ignores the last layer's bias.
    return tables.to_here(entries, arrays, network, name, lambda there: _counts(there) or there == "fc.bias")


def efficientnet(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert EfficientNet-Lite0, as `inception`."""
    return tables.to_here(tables.table(network, efficientnet_entry), arrays, network, name, _counts)


def inception_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, list(path[1:-1]))


def efficientnet_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, [f"_{scope.replace('block_', 'blocks.')}" for scope in path[1:-1]])


def _entry(path: Path, shape: tuple[int, ...], modules: list[str]) -> Entry:
    layout = {2: layouts.TRANSPOSED, 4: layouts.CONVOLUTION}.get(len(shape), layouts.SAME)
    return Entry(".".join([*modules, LEAVES.get(path[-1], path[-1])]), path, layout)


def _counts(there: str) -> bool:
    """Return whether the array is a counter of batches, which is not imported."""
    return there.endswith("num_batches_tracked")
