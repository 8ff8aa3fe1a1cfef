"""Imported weights of any project: networks, optimizer moments and a config, and their training state."""

import dataclasses
import functools
import itertools
import logging
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from etils import epath

from biggan_jax import config as configs
from biggan_jax.checkpoint import Extras
from biggan_jax.config.defaults import table
from biggan_jax.convert import files, tables
from biggan_jax.convert.tables import Arrays, EntryOf, Network
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.models.tables import WIDTHS, Widths, discriminator_sizes, generator_sizes
from biggan_jax.state import NetworkState, TrainState, init_shapes, init_state
from biggan_jax.types import Params, UserError

logger = logging.getLogger(__name__)

Moments = dict[str, Any]
"""Adam's moments by the names of optax: squares (nu), means (mu, absent if b1 is 0) and the number of updates (count)."""

InOrder = Callable[[list[str], bool], list[str]]
"""(names there, whether they are G's) to the names in the order in which PyTorch's optimizer numbers the parameters."""


@dataclasses.dataclass
class Imported:
    """Networks by role (G, D, G_ema, or others of the family), each {params, and what else the project stores}.

    moments: by role, without averages.
    """

    config: ml_collections.ConfigDict
    networks: dict[str, Network]
    moments: dict[str, Moments] = dataclasses.field(default_factory=dict)
    step: int = 0
    extras: Extras = dataclasses.field(default_factory=dict)


UNSOUND = AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError, ZeroDivisionError
"""What reading raises where a part of a file is of another type than a project writes."""


def read(project: Any, source: epath.Path, **options: Any) -> Imported:
    """Return what the project's file holds. Raises UserError, also for files whose parts are of other types than the project's."""
    try:
        found = project.read(source, **options)
    except UNSOUND as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UserError(
            f"{source} is not what that project writes, or is damaged ({what}); take another file"
        ) from error
    try:
        configs.validate(found.config)
    except UserError as error:
        raise UserError(f"{source} has settings that no config may have: {error}") from error
    return found


def to_state(imported: Imported, seed: int = 0) -> TrainState:
    """Return a complete state; missing parts are newly initialized.

    A network alone is also its average, an average (NETWORK_ema) alone also the network.
    """
    gan, given = build_gan(imported.config), imported.networks

    def network_state(role: str, network: Network | None) -> NetworkState:
        if network is None:  # Only this network is compiled and drawn.
            return jax.jit(lambda: init_state(gan, seed).networks[role])()
        params, opt_state = network["params"], jax.jit(gan.networks[role].optimizer.init)(network["params"])
        if moments := imported.moments.get(role):
            opt_state = optax.tree_utils.tree_set(opt_state, **moments | {"count": jnp.int32(moments["count"])})
        variables = {name: tree for name, tree in network.items() if name not in ("params", "spectral", "binned")}
        return NetworkState(params, variables, network["spectral"], opt_state)

    networks = {name: network_state(name, given.get(name, given.get(f"{name}_ema"))) for name in gan.networks}
    averages = {
        name: given[f"{name}_ema"]["params"] if f"{name}_ema" in given else networks[name].params
        for name in gan.averaged
    }
    state = TrainState(
        step=jnp.int32(imported.step),
        seed=jnp.uint32(seed),
        attempt=jnp.int32(0),
        networks=networks,
        averages=averages,
        extra=gan.initial_extra(),
    )
    # Copies, since one buffer cannot be donated twice.
    return jax.jit(functools.partial(jax.tree.map, jnp.copy))(state)


def base_config(family: str = "biggan") -> ml_collections.ConfigDict:
    """Return the defaults without data.name: users say on which data imported weights are trained further."""
    config = configs.base(family)
    config.data.name = ""
    return config


def check_model(family: str, model: dict[str, Any]) -> dict[str, Any]:
    """Return keys of config.model, from a file, in their types. Raises UserError for values that a config may not have."""
    keys, found = table(family), {}
    for name, value in model.items():
        key, what = keys[f"model.{name}"], f"model.{name}"
        found[name] = key.convert(value.item() if isinstance(value, np.generic) else value, what)
        key.check(found[name], what)
    return found


def network_of(state: NetworkState) -> Network:
    return {"params": state.params, **state.stats}


def shapes_of(gan: Family) -> dict[str, Network]:
    """Return the shapes of the networks, by name."""
    state = init_shapes(gan)
    return {name: network_of(network) for name, network in state.networks.items()}


def complete(model: ml_collections.ConfigDict, found: dict) -> None:
    """Set config.model from what was inferred of one or both networks; a missing network gets settings that fit the other."""
    ch, resolution, family = found.get("g_ch", found.get("d_ch")), found["resolution"], found["family"]
    sizes = {"g_attention": generator_sizes(resolution), "d_attention": discriminator_sizes(resolution, family)}
    # Attention where the paper has it, and only if the other network has any.
    attended = any(found.get(key) for key in sizes)
    defaults: dict[str, Any] = {key: (64,) if attended and 64 in sizes[key] else () for key in sizes}
    chunks = len(WIDTHS[resolution].generator)
    defaults |= {"ch": ch, "dim_z": 128 if family == "biggan_deep" else 20 * chunks}
    own = {key: 0 if found.get(key, ch) == ch else found[key] for key in ("g_ch", "d_ch")}
    model.update(defaults | found | own)


def merge(found: dict[str, dict]) -> dict:
    """Merge what was inferred of one model from several files. Raises UserError if they contradict each other."""
    merged: dict[str, tuple[Any, str]] = {}
    for name, keys in found.items():
        for key, value in keys.items():
            known, source = merged.setdefault(key, (value, name))
            if known != value:
                raise UserError(f"{source} has {key} {known!r}, but {name} {value!r}")
    return {key: value for key, (value, _) in merged.items()}


def explained(what: str, function: Callable[[Arrays], Any], arrays: Arrays) -> Any:
    """Return function(arrays), which reads a state dict. Raises UserError, with `what` and the reason, if it cannot."""
    try:
        return function(arrays)
    except KeyError as error:
        reason = f"it lacks {error.args[0]}"
    except (IndexError, ValueError) as error:
        reason = f"an array has an unexpected number of axes ({error})"
    except UserError as error:
        reason = f"{error}"
    raise UserError(f"{what}: {reason}")


def match_widths(
    widths: list[int], multiples: Callable[[Widths, int], list], resolutions: Sequence[int], depths: Iterable[int]
) -> tuple[int, int, int]:
    """Return (resolution, depth, ch) of the architecture with ch * multiples(row of WIDTHS, depth) channels, or raise UserError."""
    for resolution, depth in itertools.product(resolutions, depths):
        expected = np.array(multiples(WIDTHS[resolution], depth))
        ch = widths[-1] // int(expected[-1])
        if widths == (ch * expected).tolist():
            return resolution, depth, ch
    raise UserError(f"its channels {widths} fit no known architecture of {', '.join(map(str, resolutions))} pixels")


def generator_widths(row: Widths, depth: int) -> list[int]:
    """Return the input channels of each of G's blocks, and the output channels of the last, in multiples of ch."""
    return [*np.repeat(row.generator[:-1], depth), row.generator[-1]]


def moments_of(state: NetworkState) -> Moments:
    found = {slot: optax.tree_utils.tree_get(state.opt_state, slot) for slot in ("nu", "mu", "count")}
    return {slot: values for slot, values in found.items() if values is not None}


def set_adam(config: ml_collections.ConfigDict, groups: dict[str, dict], where: str) -> None:
    """Set learning rates, betas and eps from the optimizers' parameter groups, by network. Raises UserError."""
    if len({(tuple(group["betas"]), group["eps"]) for group in groups.values()}) > 1:
        raise UserError(f"{where}: the optimizers of G and D have different betas or eps; here they share both")
    for name, group in groups.items():
        rate, key = float(group["lr"]), f"{name.lower()}_lr"
        if rate > 0:
            config.optimizer[key] = rate
        else:  # A run that has ended its schedule.
            logger.warning(
                "%s: the learning rate of %s is %g; the config keeps %g", where, name, rate, config.optimizer[key]
            )
        config.optimizer.b1, config.optimizer.b2 = map(float, group["betas"])
        config.optimizer.eps = float(group["eps"])


def adam_group(optimizer: Any, name: str) -> dict:
    """Return the only parameter group of a state dict of torch.optim.Adam. Raises UserError."""
    if _is_adam(optimizer):
        return optimizer["param_groups"][0]
    raise UserError(f"{name} is not a state dict of torch.optim.Adam")


def _is_adam(optimizer: Any) -> bool:
    if not isinstance(optimizer, dict):
        return False
    state, groups = optimizer.get("state"), optimizer.get("param_groups")
    if not isinstance(state, dict) or not isinstance(groups, list) or not groups or not isinstance(groups[0], dict):
        return False
    params, betas, *rates = (groups[0].get(key) for key in ("params", "betas", "lr", "eps"))
    number = lambda n: isinstance(n, numbers.Real) and not isinstance(n, bool) and math.isfinite(n)
    return (
        isinstance(params, list)
        and all(isinstance(n, int) for n in params)
        and isinstance(betas, list | tuple)
        and len(betas) == 2
        and all(map(number, (*betas, *rates)))
        and all(isinstance(slot, dict) for slot in state.values())
    )


def count_of(value: Any, what: str, at_most: int = 2**31 - 1) -> int:
    """Return a count that a file holds, in any type of number. Raises UserError, which calls it `what`."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool | str) or not 0 <= found <= at_most or found != int(found):
        raise UserError(f"{what} is no whole number from 0 to {at_most:,}")
    return int(found)


def read_moments(
    optimizer: dict, shapes: Network, entry: EntryOf, in_order: InOrder, config, role: str, where: str
) -> tuple[Moments, Arrays]:
    """Convert Adam's moments. With b1 = 0 the means, then the last gradient, are returned unconverted: we do not keep them."""
    params = {"params": shapes["params"]}
    numbered = in_order([e.there for e in tables.table(params, entry)], role == "G")
    keys = optimizer["param_groups"][0]["params"]  # 0, 1, ..., or, before PyTorch 1.6, ids of Python objects.
    slots = [optimizer["state"].get(key, {}) for key in keys]
    if len(slots) != len(numbered) or not all({"step", "exp_avg", "exp_avg_sq"} <= slot.keys() for slot in slots):
        raise UserError(f"{where} has moments of {len(slots)} arrays, where this architecture has {len(numbered)}")
    theirs = lambda key: {there: files.to_numpy(slot[key]) for there, slot in zip(numbered, slots, strict=True)}
    read = lambda key: tables.to_here(theirs(key), params, entry, f"{where}: {key}")["params"]
    moments = {"nu": read("exp_avg_sq"), "count": count_of(slots[0]["step"], f"{where}: the step of its moments")}
    return (moments | {"mu": read("exp_avg")}, {}) if config.optimizer.b1 else (moments, theirs("exp_avg"))


def adam_state(
    moments: Moments, theirs: Callable[[Params], Arrays], in_order: InOrder, config, role: str, means: Arrays | None
) -> dict:
    """Return the state dict of torch.optim.Adam.

    theirs(tree): its arrays by their names there. means: used if we keep none; zeros if None.
    """
    squares, step = theirs(moments["nu"]), np.array(moments["count"], np.float32)
    means = theirs(moments["mu"]) if "mu" in moments else means
    state = {}
    for i, there in enumerate(in_order(list(squares), role == "G")):
        mean = means[there] if means else np.zeros_like(squares[there])
        state[i] = {"step": step, "exp_avg": mean, "exp_avg_sq": squares[there]}
    group = {
        "lr": config.optimizer[f"{role.lower()}_lr"],
        "betas": (config.optimizer.b1, config.optimizer.b2),
        "eps": config.optimizer.eps,
        "weight_decay": 0,
        "amsgrad": False,
        "params": list(state),
    }
    return {"state": state if moments["count"] else {}, "param_groups": [group]}
