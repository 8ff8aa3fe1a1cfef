"""Owns the protocol of a score: all on which it hangs, besides the weights that are judged. Must not compute anything.

Two scores may stand beside each other only if their protocols are equal.
"""

import dataclasses
import hashlib
import json


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Sentences for people, and hashes where words do not suffice; every field is part of what makes two protocols equal.

    network, weights_of_network, resizer, note: of evaluation.networks; reference: which real images, and how many;
    reference_content: a hash of them; samples: how many generated ones; labels: how their classes were drawn; truncation
    and statistics: see latents and sampler; weights: ema or live; seed: of the latents; formulas: constants of the scores.
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
        """Whether its distances are what the field calls FID."""
        return not self.note

    @property
    def key(self) -> str:
        """A short name, equal for equal protocols alone."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    def words(self) -> str:
        """The protocol in a few lines."""
        note = f", {self.note}" if self.note else ""
        weights = f"{self.weights} weights, " if self.weights else ""
        return (
            f"{self.samples:,} samples ({weights}labels {self.labels}, truncation {self.truncation}, "
            f"statistics {self.statistics}, seed {self.seed}) against {self.reference}\n"
            f"network {self.network} ({self.weights_of_network[:8]}), resized by {self.resizer}{note}; {self.formulas}"
        )
