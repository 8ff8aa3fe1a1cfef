"""Owns what follows from a collapse: its record, the checkpoint before it, the next attempt. Must not know signals."""

import json
import logging

import ml_collections
from etils import epath

from biggan_jax import cli, json_lines
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.files import write_text
from biggan_jax.json_lines import Record
from biggan_jax.stability.rules import Verdict
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

EVENTS = "guard"
"""Name of the records of what the guard saw and did in a run's folder: {step, onset, signal, value, threshold, sentence, action,
checkpoint, best, attempt}. checkpoint: the last one before the onset, kept; best: that of the lowest score."""


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

    write: whether this host is the one that writes.
    """
    good = [step for step in checkpoints.steps() if step <= verdict.onset]
    checkpoint = max(good, default=None)
    if checkpoint is not None:
        checkpoints.pin(checkpoint, f"before the collapse seen at step {verdict.step}: {verdict.sentence}")
    if config.stability.on_collapse == "ignore" and verdict.signal != "nonfinite":
        action = "ignored"
    elif config.stability.on_collapse == "rollback" and attempt < config.stability.rollbacks:
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


def settle(config: ml_collections.ConfigDict, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool) -> int:
    """Brings the checkpoints to where the last event left the run, and returns the attempt that goes on from there.

    A rollback that was broken off is completed; a run that was stopped goes on only if the config now says how. Raises
    CollapseError if it does not.
    """
    events = json_lines.read(workdir, EVENTS)
    last = events[-1] if events else None
    attempts = checkpoints.attempts()
    if last is None or last["action"] == "ignored":
        return max([last["attempt"] if last else 0, *attempts.values()])
    latest = checkpoints.latest_step()
    if last["action"] == "stop":
        if latest is None or latest < last["onset"] or config.stability.on_collapse == "ignore":
            return last["attempt"]  # Somebody deleted what had collapsed, or wants to see more of it.
        if config.stability.on_collapse == "stop" or last["attempt"] >= config.stability.rollbacks:
            raise CollapseError(message(last, workdir))
        last = last | {"action": "rollback"}
        if write:
            _append(workdir, last)
    attempt, target = last["attempt"] + 1, last["checkpoint"]
    target = -1 if target is None else target
    if any(step > target and of < attempt for step, of in attempts.items()):
        checkpoints.discard_after(target)
    return attempt


def ignored(workdir: epath.Path) -> set[str]:
    """The signals whose verdict was ignored: it is not given again."""
    return {event["signal"] for event in json_lines.read(workdir, EVENTS) if event["action"] == "ignored"}


def message(event: Record, workdir: epath.Path) -> str:
    """The event in one sentence, with what is kept and how to go on."""
    kept = []
    if event["checkpoint"] is not None:
        kept.append(f"step {event['checkpoint']} is kept from before")
    if event["best"] is not None:
        kept.append(f"step {event['best']} has the best score")
    kept = ", ".join(kept) or "no checkpoint is from before"
    return (
        f"the run in {workdir} collapsed: {event['sentence']}; {kept}; {workdir / (EVENTS + '.jsonl')} says more; "
        "--config.stability.on_collapse=rollback goes on from before it, ignore from the latest checkpoint"
    )


def _what_now(event: Record) -> str:
    if event["action"] != "rollback":
        return {"ignored": "going on, since stability.on_collapse is ignore", "stop": "stopping"}[event["action"]]
    where = "the start" if event["checkpoint"] is None else f"step {event['checkpoint']}"
    return f"going back to {where} for attempt {event['attempt'] + 1}, with new latents and data order"


def _append(workdir: epath.Path, event: Record) -> None:
    """Whole or not at all, and in object stores, too: there are few."""
    path = workdir / f"{EVENTS}.jsonl"
    former = path.read_text() if path.exists() else ""
    write_text(path, former + json.dumps(event) + "\n")
