"""Recover from a collapse: record it, pin the checkpoint before it, start the next attempt."""

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
"""The events of the collapse monitor in a workdir, one per line: {step, onset, signal, value, threshold, sentence, action,
checkpoint, best, attempt}. checkpoint: the last one before the onset, pinned; best: the one of the lowest score. action: stop,
rollback, ignored; or resumed, after a stop."""


class CollapseError(UserError):
    """The run collapsed or is dead on arrival. The message says why, which checkpoints are kept and how to resume."""

    status = cli.COLLAPSED


def config_of_attempt(config: ml_collections.ConfigDict, attempt: int) -> ml_collections.ConfigDict:
    """Return the config in force after `attempt` rollbacks; see config.stability."""
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
    """Pin the checkpoint before the collapse and record the event. Its `action` is ignored, rollback or stop.

    A run whose checkpoints are all from after the onset stops: a rollback would delete them all.

    write: whether this process writes files; True in process 0 only.
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
    logger.warning("step %d: %s; %s", verdict.step, verdict.sentence, _next_action(event))
    return event


def recover(config: ml_collections.ConfigDict, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool) -> int:
    """Complete an interrupted rollback and return the attempt to resume. The process with `write` decides for all.

    Raises:
        CollapseError: the run was stopped by a collapse, and the config does not say how to resume.
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
    """Return (attempt, step to roll back to, 1 if the run is refused else 0); record the decision in guard.jsonl."""
    past = events(workdir)
    last: Record = past[-1] if past else {"action": "none", "attempt": 0}
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
    if last["action"] == "stop" or (past and latest is None):
        # The user ignores the verdict, deleted the collapsed checkpoints or starts again: the verdict has no effect any more.
        _append(workdir, {"action": "resumed", "step": latest or 0, "attempt": attempt})
    return attempt, 2**31 - 1, 0


def _after_rollback(event: Record) -> tuple[int, int, int]:
    return event["attempt"] + 1, -1 if event["checkpoint"] is None else event["checkpoint"], 0


def ignored(workdir: epath.Path) -> set[str]:
    """Return the signals whose verdict was ignored since the run last resumed after a stop; they are not reported again."""
    found: set[str] = set()
    for event in events(workdir):
        if event["action"] == "resumed":
            found = set()
        elif event["action"] == "ignored":
            found.add(event["signal"])
    return found


def message(event: Record, workdir: epath.Path) -> str:
    """Return one sentence: the event, the checkpoints that are kept and how to resume."""
    kept = []
    if event["checkpoint"] is not None:
        kept.append(f"step {event['checkpoint']} is kept from before")
    if event["best"] is not None:
        kept.append(f"step {event['best']} has the best score, in checkpoints/{event['best']}")
    what = ", ".join(kept) or "no checkpoint is from before"
    used = f" ({event['attempt']} used; stability.rollbacks is the limit)" if event["attempt"] else ""
    ways = [] if event["checkpoint"] is None else [f"rollback resumes from before it{used}"]
    ways += [] if event["signal"] == NonFinite.SIGNAL else ["ignore from the latest checkpoint"]
    how = f"; --config.stability.on_collapse={', '.join(ways)}" if ways else ""
    return f"the run in {workdir} collapsed: {event['sentence']}; {what}; {workdir / FILE} says more{how}"


def _next_action(event: Record) -> str:
    if event["action"] != "rollback":
        return {"ignored": "training on, since stability.on_collapse is ignore", "stop": "stopping"}[event["action"]]
    where = "the start" if event["checkpoint"] is None else f"step {event['checkpoint']}"
    return f"rolling back to {where} for attempt {event['attempt'] + 1}, with new latents and data order"


def events(workdir: epath.Path) -> list[Record]:
    """Return the events in guard.jsonl, in order."""
    path = workdir / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return [event for event in map(jsonl.parse, lines) if event]


def _append(workdir: epath.Path, event: Record) -> None:
    """Append atomically. Object stores cannot append: rewrite the file, which has few lines."""
    path = workdir / FILE
    before = path.read_text() if path.exists() else ""
    write_text(path, before + json.dumps(event) + "\n")
