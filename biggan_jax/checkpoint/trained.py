"""A trained generator as read from a checkpoint or an exported model."""

import dataclasses

import jax
import ml_collections
from etils import epath
from jax.sharding import Mesh

from biggan_jax.checkpoint.layout import MODEL
from biggan_jax.family import Family
from biggan_jax.sharding import replicated
from biggan_jax.types import Params


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """What sampling needs from a checkpoint."""

    gan: Family
    config: ml_collections.ConfigDict
    step: int
    params: Params  # The averaged weights, or the live ones.
    stats: dict[str, Params]  # Singular vectors and running statistics.
    binned: Params | None  # Statistics by truncation, if the checkpoint has them.
    live: bool
    path: epath.Path  # The folder of its step, or of the exported model.

    @property
    def spectral(self) -> Params:
        return self.stats["spectral"]

    @property
    def variables(self) -> dict[str, Params]:
        """The network's Flax collections besides its parameters."""
        return {name: tree for name, tree in self.stats.items() if name != "spectral"}

    @property
    def workdir(self) -> epath.Path:
        """The folder with data.json and scores.jsonl: the run's, or that of the exported model."""
        return self.path if (self.path / MODEL).exists() else self.path.parent.parent


def placed_on(mesh: Mesh | None) -> jax.sharding.Sharding:
    """Return the sharding of arrays that are replicated over `mesh`, or lie on one device."""
    return replicated(mesh) if mesh else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
