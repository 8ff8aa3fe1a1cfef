"""PyTorch array names of the networks that evaluate samples.

Inception has the names of torch-fidelity and pytorch-fid, EfficientNet those of efficientnet-lite-pytorch.
"""

from biggan_jax.convert import tables
from biggan_jax.convert.tables import Arrays, Entry, Network, Path

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def inception(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert to {params, batch_stats} with the shapes of `network`. Raises UserError naming what in file `name` does not fit."""
    return tables.to_here(arrays, network, inception_entry, name, _ignored)


def efficientnet(arrays: Arrays, network: Network, name: str) -> Network:
    """Convert EfficientNet-Lite0, as `inception`."""
    return tables.to_here(arrays, network, efficientnet_entry, name, _ignored)


def inception_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, list(path[1:-1]))


def efficientnet_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, [f"_{scope.replace('block_', 'blocks.')}" for scope in path[1:-1]])


def _entry(path: Path, shape: tuple[int, ...], modules: list[str]) -> Entry:
    layout = {2: tables.TRANSPOSED, 4: tables.CONVOLUTION}.get(len(shape), tables.SAME)
    return Entry(".".join([*modules, LEAVES.get(path[-1], path[-1])]), path, layout)


def _ignored(there: str) -> bool:
    """Return whether the array is a counter of batches, or Inception's last bias, which the Inception Score does not use."""
    return there.endswith("num_batches_tracked") or there == "fc.bias"
