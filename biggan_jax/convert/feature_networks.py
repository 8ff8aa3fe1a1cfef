"""Owns the names that PyTorch's copies of the networks by which samples are judged give their arrays. Must not know the networks.

Inception's are torch-fidelity's, which pytorch-fid shares; EfficientNet's those of efficientnet-lite-pytorch.
"""

from biggan_jax.convert import layouts, tables
from biggan_jax.convert.tables import Arrays, Entry, Network, Path

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def inception(arrays: Arrays, network: Network, name: str) -> Network:
    """{params, batch_stats} like `network`, which is given as shapes. Raises UserError naming what of `name` does not fit."""
    entries = tables.table(network, inception_entry)
    # The Inception Score leaves the last layer's bias out.
    return tables.to_here(entries, arrays, network, name, lambda there: _counts(there) or there == "fc.bias")


def efficientnet(arrays: Arrays, network: Network, name: str) -> Network:
    """As `inception`, of EfficientNet-Lite0."""
    return tables.to_here(tables.table(network, efficientnet_entry), arrays, network, name, _counts)


def inception_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, list(path[1:-1]))


def efficientnet_entry(path: Path, shape: tuple[int, ...]) -> Entry:
    return _entry(path, shape, [f"_{scope.replace('block_', 'blocks.')}" for scope in path[1:-1]])


def _entry(path: Path, shape: tuple[int, ...], modules: list[str]) -> Entry:
    layout = {2: layouts.TRANSPOSED, 4: layouts.CONVOLUTION}.get(len(shape), layouts.SAME)
    return Entry(".".join([*modules, LEAVES.get(path[-1], path[-1])]), path, layout)


def _counts(there: str) -> bool:
    """Whether it says how many batches the moments are of, for which there is no use here."""
    return there.endswith("num_batches_tracked")
