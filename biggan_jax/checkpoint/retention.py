"""Owns which checkpoints of a run outlive rotation: the best, and those pinned, with the reason. Must not know what is in them."""

import dataclasses
import json
from collections.abc import Sequence

from etils import epath

from biggan_jax.runtime.files import write_text
from biggan_jax.types import UserError

FILE = "kept.json"


@dataclasses.dataclass
class RetentionPolicy:
    """What to keep, in Orbax's words a preservation policy: the `newest`, multiples of `every` (0: none), pinned ones, the best,
    and the newest from when the run was known to be well.

    scores: of those steps that have one, lower is better; pinned: {step: why}; last_healthy_step: a step, or None where nobody looks.
    """

    newest: int
    every: int
    scores: dict[int, float]
    pinned: dict[int, str]
    last_healthy_step: int | None = None

    def should_preserve(self, checkpoints: Sequence, *, context=None) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-self.newest :], *self.pinned, self.best(steps), self.well(steps)}
        return [step in kept or bool(self.every and step % self.every == 0) for step in steps]

    def best(self, steps: Sequence[int]) -> int | None:
        """The step of the lowest score, of equal ones the latest; None if none has a score."""
        return min((s for s in steps if s in self.scores), key=lambda s: (self.scores[s], -s), default=None)

    def well(self, steps: Sequence[int]) -> int | None:
        return (
            None
            if self.last_healthy_step is None
            else max((s for s in steps if s <= self.last_healthy_step), default=None)
        )

    def forget_after(self, step: int) -> None:
        self.scores = {s: score for s, score in self.scores.items() if s <= step}
        self.pinned = {s: why for s, why in self.pinned.items() if s <= step}


def read_pinned(folder: epath.Path) -> dict[int, str]:
    """What the checkpoints folder's kept.json says. Raises UserError if it cannot be read: nothing must be deleted then."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {int(step): str(why) for step, why in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f'{path} is not JSON such as {{"1000": "why it is kept"}}; mend it, or delete it if no checkpoint is to be pinned'
        ) from error


def write_pinned(folder: epath.Path, pinned: dict[int, str]) -> None:
    write_text(folder / FILE, json.dumps({str(step): pinned[step] for step in sorted(pinned)}, indent=2) + "\n")
