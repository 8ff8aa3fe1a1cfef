"""What training changes: each network's weights and what follows them, averages, and a family's own state."""

import functools
from collections.abc import Collection
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from biggan_jax.family import Family, Network
from biggan_jax.layers import spectral
from biggan_jax.types import Params


class NetworkState(flax.struct.PyTreeNode):
    """One network's weights and what follows them.

    params and opt_state move by the optimizer. variables (every other Flax collection, such as batch_stats) and spectral
    (singular vectors) move by any forward pass in training, so an update of one network moves those of the others too.
    """

    params: Params
    variables: dict[str, Params]
    spectral: spectral.Vectors
    opt_state: Any

    @property
    def stats(self) -> dict[str, Params]:
        """What forward passes move: {"spectral": ..., **variables}."""
        return {"spectral": self.spectral, **self.variables}

    def moved_by(self, network: Network, grads: Params, step: jax.Array) -> "NetworkState":
        """The state after one step of the network's optimizer. step: of training, which schedules follow."""
        with jax.named_scope("optimizer"):
            optimizer = optax.with_extra_args_support(network.optimizer)
            updates, opt_state = optimizer.update(grads, self.opt_state, self.params, step=step)
            # As optax.apply_updates, which keeps each weight's dtype.
            params = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), self.params, updates)
            params = network.constrain(params) if network.constrain else params
            if network.frozen:
                params = {**params, **{name: self.params[name] for name in network.frozen}}
            return self.replace(params=params, opt_state=opt_state)


class TrainState(flax.struct.PyTreeNode):
    """Everything that a checkpoint must hold. All leaves are arrays.

    step counts steps done. Randomness derives from (seed, attempt, step) alone: attempt is 0, and only a rollback to an
    earlier checkpoint, with new latents and data order, raises it. averages: by network. extra: the family's own state.
    """

    step: jax.Array
    seed: jax.Array
    attempt: jax.Array
    networks: dict[str, NetworkState]
    averages: dict[str, Params]
    extra: dict[str, Any]

    def with_networks(self, **networks: NetworkState) -> "TrainState":
        """The state with other networks for those named."""
        return self.replace(networks=self.networks | networks)

    def step_key(self) -> jax.Array:
        """The key of all that is random in the step that starts at `step`."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), self.attempt), self.step)


def init_networks(
    family: Family, seed: jax.Array | int, names: Collection[str] | None = None
) -> dict[str, NetworkState]:
    """Fresh networks of these names, by default all; they do not depend on which others are made."""
    *keys, example_key = jax.random.split(jax.random.key(seed), 2 * len(family.networks) + 1)
    networks = {}
    for i, (name, network) in enumerate(family.networks.items()):
        if names is not None and name not in names:
            continue
        key, spectral_key = keys[2 * i : 2 * i + 2]
        variables = dict(network.module.init(key, *network.example(example_key), **network.mode(True)))
        params = variables.pop("params", {})
        if network.redraw:
            params = network.redraw(params, key)
        if network.constrain:
            params = network.constrain(params)
        vectors = spectral.init(params, network.normalized, spectral_key, keep_v=family.spectral_eval == "stored")
        networks[name] = NetworkState(params, variables, vectors, network.optimizer.init(params))
    return networks


def init_state(family: Family, seed: jax.Array | int) -> TrainState:
    """A fresh state. Pure, so that jit lays it out on a mesh."""
    networks = init_networks(family, seed)
    return TrainState(
        step=jnp.int32(0),
        seed=jnp.asarray(seed, jnp.uint32),
        attempt=jnp.int32(0),
        networks=networks,
        # Copies, since one buffer cannot be donated twice.
        averages={name: jax.tree.map(jnp.copy, networks[name].params) for name in family.averaged},
        extra=family.initial_extra(),
    )


def init_shapes(family: Family) -> TrainState:
    """The shapes of a fresh state. The model keeps them: of a large one, tracing takes seconds."""
    # Beside its fields, which are frozen. In 64 bits shapes have other types.
    kept = vars(family).setdefault("_init_shapes", {})
    if (x64 := jax.config.jax_enable_x64) not in kept:  # type: ignore[attr-defined]
        kept[x64] = jax.eval_shape(functools.partial(init_state, family), 0)
    return jax.tree.map(lambda shape: shape, kept[x64])  # A copy, whose dicts may be changed.
