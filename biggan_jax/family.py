"""The interface of a family of GANs: networks, updates, and how they are computed."""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.core import FrozenDict
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.latents import Truncation, draw
from biggan_jax.layers import spectral
from biggan_jax.schedules import OverSteps
from biggan_jax.types import UNCONDITIONAL, Batch, Condition, Image, Label, Latent, Metrics, Params, Tree, UserError

Trees = dict[str, Params]
"""A tree for each network, by its name."""


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of a GAN.

    module: its __call__ may take `train`, which is True in training; random layers use any stream of `make_rng`.
    example(key): the arguments, of a batch of one, that it is initialised with.
    normalized: which weights spectral normalisation divides.
    redraw(params, key): the initial weights, where the module's own initialisers are not used.
    constrain(params): applied to the initial weights, and after each step of the optimizer, such as clipping.
    frozen: modules at the top of `module` whose weights do not change.
    """

    module: nn.Module
    optimizer: optax.GradientTransformation
    example: Callable[[jax.Array], tuple]
    normalized: spectral.Rule = spectral.no_weights
    redraw: Callable[[Params, jax.Array], Params] | None = None
    constrain: Callable[[Params], Params] | None = None
    frozen: tuple[str, ...] = ()

    def mode(self, train: bool) -> dict[str, Any]:
        """{"train": train} for a module that takes it."""
        return {"train": train} if "train" in inspect.signature(type(self.module).__call__).parameters else {}


@dataclasses.dataclass(frozen=True)
class Update:
    """One optimizer step within a training step.

    trains: the networks whose weights it changes.
    loss(nets, batch, key): the mean loss of a batch, and metrics. The batch has what `draw` returns and the real data of
        one minibatch of the step: image float32 in [-1, 1], label.
    draw(key, batch_size): random arrays [B, ...] for a whole batch, by name, such as latents. What a loss draws from its
        own key depends on the number of microbatches; what is drawn here does not.
    name: what its metrics' names begin with; by default its networks' names in lower case.
    minibatch: which of the step's minibatches of real data it sees, by default the last.
    every: the update runs in each `every`-th step, from step 0 on (lazy regularisation).
    when(step): whether it runs in a step, in place of `every`. Its metrics are logged of steps that are logged anyway.
    penalty(raw weights of the trained networks): added to the loss, outside of spectral normalisation.
    gradient: takes the gradient in another way than jax.grad of the loss; see gradients.of_loss.
    """

    trains: tuple[str, ...]
    loss: Callable[["Nets", Batch, jax.Array], tuple[jax.Array, Metrics]]
    name: str = ""
    draw: Callable[[jax.Array, int], Batch] = lambda key, batch_size: {}
    minibatch: int = -1
    every: int = 1
    when: Callable[[jax.Array], jax.Array] | None = None
    penalty: Callable[[Trees], tuple[jax.Array, Metrics]] | None = None
    gradient: Callable[..., tuple[Trees, tuple["Moving", Metrics]]] | None = None

    @property
    def always(self) -> bool:
        """Whether it runs in each step."""
        return self.every == 1 and self.when is None

    def runs_in(self, step: jax.Array) -> jax.Array:
        """Whether it runs in the step that starts at `step`."""
        return self.when(step) if self.when else step % self.every == 0

    @property
    def prefix(self) -> str:
        """The prefix of its metrics: its name, else the names of its networks in lower case."""
        return self.name or "_".join(self.trains).lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family(abc.ABC):
    """The static description of one GAN. Jitted functions close over it; all of it stays the same through training.

    networks: by name. averaged: those of which an exponential moving average is kept.
    image_shape: (height, width, channels) of an image, or (n,) for vectors. frames: of a clip, which is one image with its frames
    below each other; 0: images are no clips. condition: what images are conditioned on.
    sampled: the network that draws images of z [B, dim_z], whose entries are drawn from `prior`, and of labels.
    remaining fields: how steps are computed, the same for all families.
    """

    networks: Mapping[str, Network]
    averaged: tuple[str, ...] = ("G",)
    image_shape: tuple[int, ...]
    frames: int = 0
    condition: Condition = UNCONDITIONAL
    sampled: str = "G"
    dim_z: int = 0
    prior: str = "normal"
    ema_decay: float = 0.9999
    ema_decay_over_steps: OverSteps | None = None
    ema_start: int = 0
    spectral_advance: str = "update"
    spectral_eval: str = "step"
    spectral_eps: float = 1e-4
    spectral_iterations: int = 1
    microbatches: int = 1
    mesh: Mesh | None = None
    remat: bool = False
    shard_update: bool = True
    loops: bool = False

    def __post_init__(self):
        object.__setattr__(self, "networks", FrozenDict(self.networks))  # Hashable, for jit.

    default_truncation = "resample"
    """The kind of truncation that sampling takes unless another one is asked for; see latents.KINDS."""

    @abc.abstractmethod
    def updates(self) -> tuple[Update, ...]:
        """Return the updates of one step, in order."""

    def initial_extra(self) -> dict[str, Any]:
        """Return the initial values of the family's extra arrays, such as an image pool."""
        return {}

    def in_step(self, step: int) -> Self:
        """Return the family as the step that starts at `step` computes it: itself, unless its networks grow."""
        return self

    def after(self, steps: int) -> Self:
        """Return the family as the last of `steps` steps computed it."""
        return self.in_step(max(steps - 1, 0))

    def before_step(self, state: Any) -> Any:
        """Return the TrainState that a step starts with, such as with reset optimizers. By default unchanged."""
        return state

    def real_images(self, images: Image, state: Any) -> Image:
        """Return real images, float32, as the networks of a TrainState see them. By default unchanged."""
        return images

    def batch_shape(self, batch_size: int) -> tuple[int, ...]:
        """Return the shape of a minibatch of real images as a step reads it. batch_size: the config's."""
        return batch_size, *self.image_shape

    def data_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the real data of a minibatch besides its labels, by name. batch_size: the config's."""
        return {"image": self.batch_shape(batch_size)}

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of the condition of one image in a batch: () for a class."""
        return (self.condition.size,) if self.condition.of_data else ()

    @property
    def lent(self) -> Mapping[str, str]:
        """Flax collections that sampling needs besides those of the sampled network: each has the weights of a network, by name."""
        return {}

    def with_lent(self, variables: Trees, networks: Mapping[str, Any]) -> Trees:
        """Return the sampled network's variables with what is lent, of a state's networks."""
        return {**variables, **{name: networks[network].params for name, network in self.lent.items()}}

    def conditions(self, weights: Trees, y: Label) -> Label:
        """Return conditions as G and D take them. weights: of all networks. By default unchanged."""
        return y

    @property
    def translations(self) -> Mapping[str, str]:
        """Directions, AtoB or BtoA, to the networks that translate images. Empty if images are drawn from latents."""
        return {}

    def inputs(self, z: Latent, y: Label) -> tuple:
        """Return the arguments of the sampled network for latents and conditions."""
        return z, y

    @property
    def minibatches(self) -> int:
        """How many minibatches of real data a step reads."""
        return 1

    @property
    def periods(self) -> tuple[int, ...]:
        """`Update.every` of each update."""
        return tuple(update.every for update in self.updates())

    @property
    def num_classes(self) -> int:
        """Classes that images are conditioned on; 0 without."""
        return self.condition.size if self.condition.kind == "classes" else 0

    def latents(self, key: jax.Array, batch_size: int) -> tuple[Latent, Label]:
        """Draw z [B, dim_z] from the prior and y [B] uniformly from the classes, both sharded over the mesh.

        Conditions of real numbers and texts have no known distribution, so zeros are returned.
        """
        z_key, y_key = jax.random.split(key)
        z = draw(self.prior, z_key, batch_size, self.dim_z)
        if self.condition.of_data:
            y = jnp.zeros((batch_size, *self.label_shape), jnp.int32 if self.condition.kind == "text" else jnp.float32)
        else:
            y = jax.random.randint(y_key, (batch_size,), 0, max(self.num_classes, 1))
        return sharding.constrain_batch(z, self.mesh), sharding.constrain_batch(y, self.mesh)

    def sample(self, weights: Params, variables: Trees, z: Latent, y: Label) -> Image:
        """Images [B, *image_shape] by the sampled network in evaluation mode, with normalised weights."""
        network = self.networks[self.sampled]
        rngs = {"params": jax.random.key(0)}  # Random layers draw the same for every batch.
        arguments = self.inputs(z, y)
        images = network.module.apply({"params": weights, **variables}, *arguments, rngs=rngs, **network.mode(False))
        return cast(Image, images)

    def truncated(self, variables: Trees, truncation: Truncation | None) -> Trees:
        """Return the sampled network's variables with a truncation that it applies itself. Raises UserError if it has none."""
        if truncation is not None and truncation.kind == "w":
            raise UserError(
                "truncation of kind w needs a model with w, such as stylegan or stylegan2; use --truncation_kind=resample"
            )
        return variables

    @property
    def spectral_advances(self) -> int:
        """Power steps per update: one, or one per microbatch."""
        return self.microbatches if self.spectral_advance == "microbatch" else 1

    def normalize(self, params: Params, vectors: spectral.Vectors) -> tuple[Params, spectral.Vectors]:
        """Normalise weights in training; return (params / sigma, new vectors)."""
        with jax.named_scope("spectral_norm"):
            return spectral.normalize(params, vectors, eps=self.spectral_eps, iterations=self.spectral_iterations)

    def evaluation_weights(self, params: Params, vectors: spectral.Vectors) -> Params:
        """Return params / sigma for evaluation, by one power step (then discarded) or by the stored vectors."""
        if self.spectral_eval == "stored":
            return spectral.normalize_stored(params, vectors)
        return self.evaluation_step(params, vectors)[0]

    def evaluation_step(self, params: Params, vectors: spectral.Vectors) -> tuple[Params, spectral.Vectors]:
        """The one power step of evaluation: (params / sigma, the vectors that gave it)."""
        return spectral.normalize(params, vectors, eps=self.spectral_eps)

    def gather(self, weights: Tree) -> Tree:
        """Gather normalised weights on every device of the mesh, for applying the networks."""
        return sharding.gather(weights, self.mesh)

    def scatter(self, grads: Tree) -> Tree:
        """Scatter gradients to the shards of their weights."""
        return sharding.scatter(grads, self.mesh, split_over_data=self.shard_update)

    def ema_decay_at(self, step: jax.Array) -> jax.Array:
        """Return the decay at `step`. Before `ema_start` it is 0, so the average is a copy."""
        decay = self.ema_decay_over_steps(step) if self.ema_decay_over_steps else self.ema_decay
        return jnp.where(step + 1 < self.ema_start, 0.0, decay)


@dataclasses.dataclass
class Moving:
    """What forward passes change: each network's variables (such as running statistics), and the family's extra state.

    step: that of training, which they do not change.
    """

    variables: Trees
    extra: dict[str, Any]
    step: jax.Array | int = 0


jax.tree_util.register_dataclass(Moving, ["variables", "extra", "step"], [])


class Nets:
    """Applies networks within a loss: `nets("G", z, y)`.

    Each call applies a module in training mode with its normalised weights, its variables and a random key of its own, and
    keeps what the variables become. `nets.extra` is the family's extra state; assign to its items to change it.
    `nets.step` is the number of steps done.
    """

    def __init__(self, family: Family, weights: Trees, moving: Moving, key: jax.Array):
        self._family, self._weights, self._key, self._calls = family, weights, key, 0
        self._variables, self.extra, self.step = dict(moving.variables), dict(moving.extra), moving.step

    def __call__(self, name: str, *args, keep: bool = True, **kwargs) -> Any:
        """Apply the network `name`. keep=False discards what its variables become, as a penalty's inner gradient must."""
        network, variables = self._family.networks[name], self._variables[name]
        self._calls += 1
        # Every stream of make_rng falls back to this one.
        rngs = {"params": jax.random.fold_in(self._key, self._calls)}

        def forward(weights, variables, *args):
            apply = lambda **more: network.module.apply(
                {"params": weights, **variables}, *args, rngs=rngs, **network.mode(True), **kwargs, **more
            )
            return apply(mutable=list(variables)) if variables else (apply(), {})

        out, moved = (jax.checkpoint(forward) if self._family.remat else forward)(self._weights[name], variables, *args)
        if keep and variables:
            self._variables[name] = dict(moved)
        return out

    def with_weights(self, weights: Trees, key: jax.Array | None = None) -> "Nets":
        """The same networks, with other weights for those named (the argument of a gradient), and another key if given."""
        nets = Nets(self._family, self._weights | weights, self.moving, self._key if key is None else key)
        nets._calls = self._calls
        return nets

    @property
    def moving(self) -> Moving:
        """The variables and the extra state after the calls so far."""
        return Moving(dict(self._variables), dict(self.extra), self.step)
