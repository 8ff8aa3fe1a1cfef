"""The names of a state's arrays in a checkpoint (format 2): plain dicts, of which parts can be read alone."""

from typing import Any

from biggan_jax.state import NetworkState, TrainState

PAIR = {"G": "generator", "D": "discriminator"}
"""A model of these two networks, of which G is averaged, has them at the top level, and the average as ema_params.
Other models have {"networks": {name: ...}, "averages": {name: ...}}."""


def to_tree(state: TrainState) -> dict:
    """Convert the state to plain dicts."""
    networks = {
        name: {"params": n.params, "stats": n.stats, "opt_state": n.opt_state} for name, n in state.networks.items()
    }
    tree: dict[str, Any] = {"step": state.step, "seed": state.seed, "attempt": state.attempt}
    tree |= {"extra": state.extra} if state.extra else {}
    if networks.keys() == PAIR.keys() and state.averages.keys() == {"G"}:
        return tree | {PAIR[name]: network for name, network in networks.items()} | {"ema_params": state.averages["G"]}
    return tree | {"networks": networks, "averages": state.averages}


def from_tree(tree: dict, like: TrainState) -> TrainState:
    """Convert plain dicts back to a state with the structure of `like`."""
    return like.replace(
        step=tree["step"],
        seed=tree["seed"],
        attempt=tree["attempt"],
        networks={name: _network(network_in(tree, name)) for name in like.networks},
        averages={name: average_in(tree, name) for name in like.averages},
        extra=tree.get("extra", {}),
    )


def network_in(tree: dict, name: str) -> dict[str, Any]:
    """Return {params, stats, opt_state} of one network."""
    return tree["networks"][name] if "networks" in tree else tree[PAIR[name]]


def average_in(tree: dict, name: str) -> Any:
    """Return the averaged parameters of one network."""
    return tree["averages"][name] if "averages" in tree else tree["ema_params"]


def part_of(tree: dict, name: str, *, live: bool) -> dict:
    """Return the subtree for sampling with one network: its statistics, and its parameters or their average."""
    fields = ("stats", "params") if live else ("stats",)
    network = {field: network_in(tree, name)[field] for field in fields}
    if "networks" in tree:
        averages = {} if live else {"averages": {name: tree["averages"][name]}}
        return {"step": tree["step"], "networks": {name: network}} | averages
    return {"step": tree["step"], PAIR[name]: network} | ({} if live else {"ema_params": tree["ema_params"]})


def _network(tree: dict[str, Any]) -> NetworkState:
    spectral, variables = tree["stats"]["spectral"], {k: v for k, v in tree["stats"].items() if k != "spectral"}
    return NetworkState(tree["params"], variables, spectral, tree["opt_state"])
