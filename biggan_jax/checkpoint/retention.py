"""Which checkpoints outlive rotation: the newest, multiples, the best, pinned ones, the last healthy one."""

import dataclasses
import json
from collections.abc import Sequence

from etils import epath
from orbax.checkpoint import checkpoint_managers as orbax

from biggan_jax.runtime.files import write_text
from biggan_jax.types import UserError

FILE = "kept.json"


@dataclasses.dataclass
class RetentionPolicy:
    """A preservation policy for Orbax's CheckpointManager.

    newest: keep this many of the latest checkpoints. every: keep multiples of this step; 0: none.
    scores: {step: score}, lower is better; the best is kept. Orbax's BestN would need them as an item of its own in each
        checkpoint; ours have them in their metadata, under the digest, since format 3.
    pinned: {step: reason}, all kept. last_healthy_step: keep the newest checkpoint not after it; None: unknown.
    """

    newest: int
    every: int
    scores: dict[int, float]
    pinned: dict[int, str]
    last_healthy_step: int | None = None

    def should_preserve(self, checkpoints: Sequence, *, context=None) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        chosen = [step for step in (*self.pinned, self.best(steps), self.last_healthy(steps)) if step is not None]
        policies = [orbax.LatestN(self.newest), orbax.CustomSteps(chosen)]
        if self.every:
            policies.append(orbax.EveryNSteps(self.every))
        return orbax.AnyPreservationPolicy(policies).should_preserve(checkpoints, context=context)

    def best(self, steps: Sequence[int]) -> int | None:
        """Return the step of the lowest score, of equal ones the latest; None if no step has a score."""
        return min((s for s in steps if s in self.scores), key=lambda s: (self.scores[s], -s), default=None)

    def last_healthy(self, steps: Sequence[int]) -> int | None:
        """Return the newest of `steps` that is not after `last_healthy_step`, if any."""
        limit = self.last_healthy_step
        return None if limit is None else max((s for s in steps if s <= limit), default=None)

    def forget_after(self, step: int) -> None:
        """Drop scores and pins of later steps."""
        self.scores = {s: score for s, score in self.scores.items() if s <= step}
        self.pinned = {s: reason for s, reason in self.pinned.items() if s <= step}


def read_pinned(folder: epath.Path) -> dict[int, str]:
    """Read kept.json in the checkpoints folder. Raise UserError if it is invalid: nothing must be deleted then."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {int(step): str(reason) for step, reason in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f'{path} is not JSON such as {{"1000": "why it is kept"}}; mend it, or delete it if no checkpoint is to be pinned'
        ) from error


def write_pinned(folder: epath.Path, pinned: dict[int, str]) -> None:
    write_text(folder / FILE, json.dumps({str(step): pinned[step] for step in sorted(pinned)}, indent=2) + "\n")
