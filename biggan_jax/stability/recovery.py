"""Owns what follows from a collapse: its record, the checkpoint before it, the next attempt. Must not know signals."""

import json
import logging

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Checkpoints
from biggan_jax.runtime import cli, distributed, jsonl
from biggan_jax.runtime.files import write_text
from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.nonfinite import NonFinite
from biggan_jax.stability.rules import Verdict
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

FILE = "guard.jsonl"
"""What the guard saw and did, in a run's folder, a line each: {step, onset, signal, value, threshold, sentence, action, checkpoint,
best, attempt}. checkpoint: the last one before the onset, kept; best: that of the lowest score. action: stop, rollback, ignored; or
resumed, after a stop."""


class CollapseError(UserError):
    """A run that has collapsed, or never came to life. The message says what was seen, what is kept and how to go on."""

    status = cli.COLLAPSED


def config_of_attempt(config: ml_collections.ConfigDict, attempt: int) -> ml_collections.ConfigDict:
    """The settings in force after `attempt` rollbacks; see config.stability."""
    config = config.copy_and_resolve_references()
    config.optimizer.d_lr *= config.stability.rollback_d_lr**attempt
    config.d_steps += config.stability.rollback_d_steps * attempt
    return config


def handle(
    verdict: Verdict,
    attempt: int,
    config: ml_collections.ConfigDict,
    checkpoints: Checkpoints,
    workdir: epath.Path,
    *,
    write: bool,
) -> Record:
    """Keeps what is worth keeping and records the event, whose `action` says what to do: ignored, rollback, stop.

    write: whether this host is the one that writes. A run that has checkpoints, but none from before the onset, stops: to go back
    to the start would be to delete them all.
    """
    steps = checkpoints.steps()
    checkpoint = max((step for step in steps if step <= verdict.onset), default=None)
    if checkpoint is not None:
        checkpoints.pin(checkpoint, f"before the collapse seen at step {verdict.step}: {verdict.sentence}")
    can_go_back = attempt < config.stability.rollbacks and (checkpoint is not None or not steps)
    if config.stability.on_collapse == "ignore" and verdict.signal != NonFinite.SIGNAL:
        action = "ignored"
    elif config.stability.on_collapse == "rollback" and can_go_back:
        action = "rollback"
    else:
        action = "stop"
    event = verdict._asdict() | {
        "action": action,
        "checkpoint": checkpoint,
        "best": checkpoints.best_step(),
        "attempt": attempt,
    }
    if write:
        _append(workdir, event)
    logger.warning("step %d: %s; %s", verdict.step, verdict.sentence, _what_now(event))
    return event


def recover(config: ml_collections.ConfigDict, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool) -> int:
    """Brings the checkpoints to where the last event left the run, and returns the attempt that goes on from there.

    A rollback that was broken off is completed; a run that was stopped goes on only if the config now says how. Raises
    CollapseError if it does not. Of several hosts the one that writes decides for all.
    """
    attempts, latest = checkpoints.attempts(), checkpoints.latest_step()
    decision = np.array(_decide(config, attempts, latest, workdir) if write else (0, 0, 0))
    attempt, target, refused = (int(number) for number in distributed.broadcast(decision))
    if refused:
        raise CollapseError(message(events(workdir)[-1], workdir))
    if any(step > target and of < attempt for step, of in attempts.items()):
        checkpoints.discard_after(target, aside=f"checkpoints_of_attempt_{attempt - 1}")
    return attempt


def _decide(
    config: ml_collections.ConfigDict, attempts: dict[int, int], latest: int | None, workdir: epath.Path
) -> tuple[int, int, int]:
    """(attempt, the step to go back to, whether the run is refused), and the record of what was decided."""
    seen = events(workdir)
    last: Record = seen[-1] if seen else {"action": "none", "attempt": 0}
    attempt = max([last["attempt"], *attempts.values()])
    if last["action"] == "rollback":
        return _after_rollback(last)
    if last["action"] == "stop" and latest is not None and latest >= last["onset"]:
        can_go_back = last["attempt"] < config.stability.rollbacks and last["checkpoint"] is not None
        if config.stability.on_collapse == "rollback" and can_go_back:
            _append(workdir, last | {"action": "rollback"})
            return _after_rollback(last)
        if config.stability.on_collapse != "ignore" or last["signal"] == NonFinite.SIGNAL:
            return 0, 0, 1
    if last["action"] == "stop" or (seen and latest is None):
        # Somebody wants to see more of it, or deleted what had collapsed, or begins anew: the verdict has had its effect.
        _append(workdir, {"action": "resumed", "step": latest or 0, "attempt": attempt})
    return attempt, 2**31 - 1, 0


def _after_rollback(event: Record) -> tuple[int, int, int]:
    return event["attempt"] + 1, -1 if event["checkpoint"] is None else event["checkpoint"], 0


def ignored(workdir: epath.Path) -> set[str]:
    """The signals whose verdict was ignored, since the run was last resumed after one: it is not given again."""
    found: set[str] = set()
    for event in events(workdir):
        if event["action"] == "resumed":
            found = set()
        elif event["action"] == "ignored":
            found.add(event["signal"])
    return found


def message(event: Record, workdir: epath.Path) -> str:
    """The event in one sentence, with what is kept and how to go on."""
    kept = []
    if event["checkpoint"] is not None:
        kept.append(f"step {event['checkpoint']} is kept from before")
    if event["best"] is not None:
        kept.append(f"step {event['best']} has the best score, in checkpoints/{event['best']}")
    what = ", ".join(kept) or "no checkpoint is from before"
    used = f" ({event['attempt']} used, stability.rollbacks allows how many)" if event["attempt"] else ""
    ways = [] if event["checkpoint"] is None else [f"rollback goes on from before it{used}"]
    ways += [] if event["signal"] == NonFinite.SIGNAL else ["ignore from the latest checkpoint"]
    how = f"; --config.stability.on_collapse={', '.join(ways)}" if ways else ""
    return f"the run in {workdir} collapsed: {event['sentence']}; {what}; {workdir / FILE} says more{how}"


def _what_now(event: Record) -> str:
    if event["action"] != "rollback":
        return {"ignored": "going on, since stability.on_collapse is ignore", "stop": "stopping"}[event["action"]]
    where = "the start" if event["checkpoint"] is None else f"step {event['checkpoint']}"
    return f"going back to {where} for attempt {event['attempt'] + 1}, with new latents and data order"


def events(workdir: epath.Path) -> list[Record]:
    """What the guard saw and did in a run, in the order in which it came to pass."""
    path = workdir / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return [event for event in map(jsonl.parsed, lines) if event]


def _append(workdir: epath.Path, event: Record) -> None:
    """Whole or not at all, and in object stores, too: there are few."""
    path = workdir / FILE
    former = path.read_text() if path.exists() else ""
    write_text(path, former + json.dumps(event) + "\n")
