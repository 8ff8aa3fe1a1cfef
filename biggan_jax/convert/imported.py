"""Imported weights of any project: networks, optimizer moments and a config, and their training state."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from biggan_jax import config as configs
from biggan_jax.checkpoint import Extras
from biggan_jax.convert import tables
from biggan_jax.convert.tables import Arrays, Entry, Network
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.models.tables import WIDTHS, discriminator_sizes, generator_sizes
from biggan_jax.state import NetworkState, TrainState, init_state
from biggan_jax.types import Params, UserError


@dataclasses.dataclass
class Moments:
    """Adam's moments: squares (nu), means (mu, None if b1 is 0) and the number of updates."""

    nu: Params
    mu: Params | None
    count: int


@dataclasses.dataclass
class Imported:
    """Networks by role (G, D, G_ema), each {params, and what else the project stores}; moments by role (G, D)."""

    config: ml_collections.ConfigDict
    networks: dict[str, Network]
    moments: dict[str, Moments] = dataclasses.field(default_factory=dict)
    step: int = 0
    extras: Extras = dataclasses.field(default_factory=dict)


def to_state(imported: Imported, seed: int = 0) -> TrainState:
    """Return a complete state; missing parts are newly initialized. A G alone is also its average, an average alone also G."""
    gan = build_gan(imported.config)
    networks = imported.networks
    network = networks.get("G", networks.get("G_ema"))
    # Separately, so that only a missing network is compiled and drawn.
    G = _network_state(network, gan.networks["G"].optimizer) or jax.jit(lambda: init_state(gan, seed).networks["G"])()
    D = (
        _network_state(networks.get("D"), gan.networks["D"].optimizer)
        or jax.jit(lambda: init_state(gan, seed).networks["D"])()
    )
    state = TrainState(
        step=jnp.int32(imported.step),
        seed=jnp.uint32(seed),
        attempt=jnp.int32(0),
        networks={"G": _with_moments(G, imported.moments.get("G")), "D": _with_moments(D, imported.moments.get("D"))},
        averages={"G": networks.get("G_ema", {"params": G.params})["params"]},
        extra={},
    )
    return jax.tree.map(jnp.array, state)


def base_config() -> ml_collections.ConfigDict:
    """Return the defaults without data.name: users say on which data imported weights are trained further."""
    config = configs.base()
    config.data.name = ""
    return config


def network_of(state: NetworkState) -> Network:
    return {"params": state.params, **state.stats}


def shapes_of(gan: Family) -> dict[str, Network]:
    """Return the shapes of the networks of G and D."""
    state = jax.eval_shape(lambda: init_state(gan, 0))
    return {"G": network_of(state.networks["G"]), "D": network_of(state.networks["D"])}


def read_network(
    arrays: Arrays, shapes: Network, entry: Callable[..., Entry], name: str, ignored: Callable[[str], bool]
):
    return tables.to_here(tables.table(shapes, entry), arrays, shapes, name, ignored)


def complete(model: ml_collections.ConfigDict, found: dict) -> None:
    """Set config.model from what was inferred of one or both networks; a missing network gets settings that fit the other."""
    ch = found.get("g_ch", found.get("d_ch"))
    resolution, family = found["resolution"], found["family"]
    both = {"g_attention": generator_sizes(resolution), "d_attention": discriminator_sizes(resolution, family)}
    chunks = len(WIDTHS[resolution].generator)
    defaults = {"ch": ch, "dim_z": 128 if family == "biggan_deep" else 20 * chunks}
    # Attention where the paper has it, and only if the other network has any.
    attended = any(found.get(key) for key in both)
    defaults |= {key: (64,) if attended and 64 in sizes else () for key, sizes in both.items()}
    for key, value in (defaults | found).items():
        model[key] = value
    for key in ("g_ch", "d_ch"):
        model[key] = 0 if found.get(key, ch) == ch else found[key]


def merge(found: dict[str, dict]) -> dict:
    """Merge what was inferred of one model from several files. Raises UserError if they contradict each other."""
    merged: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, keys in found.items():
        for key, value in keys.items():
            if key in merged and merged[key] != value:
                raise UserError(f"{source[key]} has {key} {merged[key]!r}, but {name} {value!r}")
            merged[key], source[key] = value, name
    return merged


def moments_of(state: NetworkState) -> Moments:
    return Moments(
        nu=optax.tree_utils.tree_get(state.opt_state, "nu"),
        mu=optax.tree_utils.tree_get(state.opt_state, "mu"),
        count=int(optax.tree_utils.tree_get(state.opt_state, "count")),
    )


def _network_state(network: Network | None, optimizer: optax.GradientTransformation) -> NetworkState | None:
    if network is None:
        return None
    variables = {name: network[name] for name in ("batch_stats",) if name in network}
    return NetworkState(network["params"], variables, network["spectral"], optimizer.init(network["params"]))


def _with_moments(state: NetworkState, moments: Moments | None) -> NetworkState:
    if moments is None:
        return state
    values = {"nu": moments.nu, "count": jnp.int32(moments.count)}
    if moments.mu is not None:
        values["mu"] = moments.mu
    return state.replace(opt_state=optax.tree_utils.tree_set(state.opt_state, **values))
