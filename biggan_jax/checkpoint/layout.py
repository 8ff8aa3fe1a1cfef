"""The layout of checkpoints: `workdir`/checkpoints/<step>, and the names of arrays (format 2)."""

from collections.abc import Iterable
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from biggan_jax.runtime import pretrained
from biggan_jax.runtime.files import expand_home
from biggan_jax.state import NetworkState, TrainState
from biggan_jax.types import UserError

FOLDER = "checkpoints"

MODEL = "model.safetensors"
"""The weights of an exported model, in its folder; see `exported`."""

PAIR = {"G": "generator", "D": "discriminator"}
"""A model of these two networks, of which G is averaged, has them at the top level, and the average as ema_params.
Other models have {"networks": {name: ...}, "averages": {name: ...}}."""


def find(path: epath.PathLike) -> epath.Path:
    """Return the folder of one step: the latest of a workdir or of a checkpoints folder, or `path` itself."""
    path = epath.Path(expand_home(str(path))).absolute()
    for folder in (path, path / FOLDER):
        if (folder / "state").is_dir():
            return folder
        if steps := steps_in(folder):
            return folder / str(steps[-1])
    if (path / MODEL).exists():
        raise UserError(f"{path} is an exported model, of which G can be sampled; this needs a run's checkpoint")
    raise pretrained.missing(path)


def check_name(folder: epath.PathLike) -> None:
    """Raise UserError for a folder in which Orbax would save checkpoints that nobody can read.

    It merges what its threads wrote by a pattern that begins with the folder's name; without a match it says nothing.
    """
    if found := sorted(set(str(folder)) & set("*?[]\\")):
        what = f"checkpoints cannot be kept in {folder}: Orbax takes {' '.join(found)} in a folder's name for a pattern"
        raise UserError(f"{what}; use another name")


def checkpoint_steps(workdir: epath.PathLike) -> list[int]:
    """Return the steps of a training run's complete checkpoints, in order."""
    return steps_in(epath.Path(workdir) / FOLDER)


def steps_in(folder: epath.Path) -> list[int]:
    """Return the steps of the complete checkpoints in a checkpoints folder, in order."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


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
        **{name: tree[name] for name in ("step", "seed", "attempt")},
        networks={name: _network(**network_in(tree, name)) for name in like.networks},
        averages={name: average_in(tree, name) for name in like.averages},
        extra=tree.get("extra", {}),
    )


def network_in(tree: dict, name: str) -> dict[str, Any]:
    """Return {params, stats, opt_state} of one network."""
    return tree["networks"][name] if "networks" in tree else tree[PAIR[name]]


def average_in(tree: dict, name: str) -> Any:
    """Return the averaged parameters of one network."""
    return tree["averages"][name] if "averages" in tree else tree["ema_params"]


def part_of(tree: dict, name: str, *, live: bool, also: Iterable[str] = ()) -> dict:
    """Return the subtree for sampling with one network: its statistics, and its parameters or their average.

    also: networks whose parameters are needed, too.
    """
    fields = ("stats", "params") if live else ("stats",)
    network = {field: network_in(tree, name)[field] for field in fields}
    if "networks" in tree:
        averages = {} if live else {"averages": {name: tree["averages"][name]}}
        others = {other: {"params": network_in(tree, other)["params"]} for other in also}
        return {"step": tree["step"], "networks": {name: network} | others} | averages
    return {"step": tree["step"], PAIR[name]: network} | ({} if live else {"ema_params": tree["ema_params"]})


def _network(params: Any, stats: dict[str, Any], opt_state: Any) -> NetworkState:
    variables = {name: tree for name, tree in stats.items() if name != "spectral"}
    return NetworkState(params, variables, stats["spectral"], opt_state)
