"""Everything a result depends on besides the evaluated weights.

Two results are comparable only if their protocols are equal.
"""

import dataclasses
import hashlib
import json


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Descriptions for readers, and hashes where words do not suffice. Protocols are equal if all fields are.

    network, weights_of_network, resizer, note: see evaluation.networks. reference: which real images, and how many.
    reference_content: their fingerprint. samples: how many generated images. labels: how their classes were drawn.
    truncation, statistics: see latents and sampler. weights: ema or live. seed: of the latents. formulas: constants of
    the metrics.
    """

    network: str
    weights_of_network: str
    resizer: str
    note: str
    reference: str
    reference_content: str
    samples: int
    labels: str
    truncation: str
    statistics: str
    weights: str
    seed: int
    formulas: str

    @property
    def comparable(self) -> bool:
        """Whether distances by this protocol may be called FID."""
        return not self.note

    @property
    def key(self) -> str:
        """A short hash of all fields."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    def words(self) -> str:
        """Describe the protocol in two lines."""
        note = f", {self.note}" if self.note else ""
        weights = f"{self.weights} weights, " if self.weights else ""
        return (
            f"{self.samples:,} samples ({weights}labels {self.labels}, truncation {self.truncation}, "
            f"statistics {self.statistics}, seed {self.seed}) against {self.reference}\n"
            f"network {self.network} ({self.weights_of_network[:8]}), resized by {self.resizer}{note}; {self.formulas}"
        )
