"""Recover from a collapse: record it, pin the checkpoint before it, start the next attempt."""

import json
import logging

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from biggan_jax.checkpoint import Checkpoints
from biggan_jax.runtime import cli, distributed, jsonl
from biggan_jax.runtime.files import write_text
from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.rules import NONFINITE, Verdict
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

FILE = "guard.jsonl"
"""The events of the collapse monitor in a workdir, one per line: {step, onset, signal, value, threshold, sentence, action,
checkpoint, best, attempt}. checkpoint: the last one before the onset, pinned; best: the one of the lowest score. action: stop,
rollback, ignored; or resumed, after a stop."""


class CollapseError(UserError):
    """The run collapsed or failed from the start. The message says why, which checkpoints are kept and how to resume."""

    status = cli.COLLAPSED


def config_of_attempt(config: ConfigDict, attempt: int) -> ConfigDict:
    """Return the config in force after `attempt` rollbacks; see config.stability."""
    config = config.copy_and_resolve_references()
    config.optimizer.d_lr *= config.stability.rollback_d_lr**attempt
    config.d_steps += config.stability.rollback_d_steps * attempt
    return config


def handle(
    verdict: Verdict, attempt: int, config: ConfigDict, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool
) -> Record:
    """Pin the checkpoint before the collapse; record the event, in process 0 (`write`). `action`: ignored, rollback or stop.

    A run whose checkpoints are all from after the onset stops: a rollback would delete them all.
    """
    steps = checkpoints.steps()
    checkpoint = max((step for step in steps if step <= verdict.onset), default=None)
    if checkpoint is not None:
        checkpoints.pin(checkpoint, f"before the collapse seen at step {verdict.step}: {verdict.sentence}")
    can_go_back = attempt < config.stability.rollbacks and (checkpoint is not None or not steps)
    action = "rollback" if config.stability.on_collapse == "rollback" and can_go_back else "stop"
    if config.stability.on_collapse == "ignore" and verdict.signal != NONFINITE:
        action = "ignored"
    event = verdict._asdict() | {"action": action, "checkpoint": checkpoint}
    event |= {"best": checkpoints.best_step(), "attempt": attempt}
    if write:
        _append(workdir, event)
    where = "the start" if checkpoint is None else f"step {checkpoint}"
    consequence = {
        "ignored": "training on, since stability.on_collapse is ignore",
        "rollback": f"rolling back to {where} for attempt {attempt + 1}, with new latents and data order",
        "stop": "stopping",
    }
    logger.warning("step %d: %s; %s", verdict.step, verdict.sentence, consequence[action])
    return event


def recover(config: ConfigDict, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool) -> int:
    """Complete an interrupted rollback and return the attempt to resume. The process with `write` decides for all.

    Raises CollapseError if the run was stopped by a collapse, and the config does not say how to resume.
    """
    attempts, latest = checkpoints.attempts(), checkpoints.latest_step()
    decision = np.array(_decide(config, attempts, latest, workdir) if write else [0, 0, 0])
    attempt, target, refused = distributed.broadcast(decision).tolist()
    if refused:
        raise CollapseError(message(events(workdir)[-1], workdir))
    if any(step > target and of < attempt for step, of in attempts.items()):
        if target >= 0:
            target = _whole(target, checkpoints, workdir, write=write)
        checkpoints.discard_after(target, aside=f"checkpoints_of_attempt_{attempt - 1}")
    elif attempt and latest is None:
        logger.warning("%s has no checkpoint to roll back to: attempt %d starts from step 0", workdir, attempt)
    return attempt


def _whole(target: int, checkpoints: Checkpoints, workdir: epath.Path, *, write: bool) -> int:
    """Return `target`, or an earlier step if its checkpoint is gone or damaged.

    Raises UserError, with nothing deleted, if none is whole.
    """
    found = checkpoints.newest_whole(target)
    (step,) = distributed.broadcast(np.array([-1 if found is None else found])).tolist()
    if step == target:
        return step
    what = "is damaged" if target in checkpoints.steps() else "is gone"
    if step < 0:
        kept = ", ".join(map(str, checkpoints.steps()))
        raise UserError(
            f"the run in {workdir} is to roll back to step {target}, whose checkpoint {what}, and no earlier one is whole; "
            f"nothing was deleted: put a copy of it back, or start a new run from step {kept} with --config=finetune:DIR"
        )
    logger.warning("the checkpoint of step %d %s; rolling back to step %d, which is whole", target, what, step)
    if write:
        _append(workdir, events(workdir)[-1] | {"checkpoint": step})
    return step


def _decide(config: ConfigDict, attempts: dict[int, int], latest: int | None, workdir: epath.Path) -> list[int]:
    """Return [attempt, step to roll back to, 1 if the run is refused else 0]; record the decision in guard.jsonl."""
    past = events(workdir)
    last: Record = past[-1] if past else {"action": "none", "attempt": 0}
    attempt, action = max([last["attempt"], *attempts.values()]), last["action"]
    if action == "stop" and latest is not None and latest >= last["onset"]:
        can_go_back = last["attempt"] < config.stability.rollbacks and last["checkpoint"] is not None
        if config.stability.on_collapse == "rollback" and can_go_back:
            action = "rollback"
            _append(workdir, last | {"action": action})
        elif config.stability.on_collapse != "ignore" or last["signal"] == NONFINITE:
            return [0, 0, 1]
    if action == "rollback":
        return [last["attempt"] + 1, -1 if last["checkpoint"] is None else last["checkpoint"], 0]
    if action == "stop" or (past and latest is None):
        # The user ignores the verdict, deleted the collapsed checkpoints or starts again: the verdict has no effect any more.
        _append(workdir, {"action": "resumed", "step": latest or 0, "attempt": attempt})
    return [attempt, 2**31 - 1, 0]


def ignored(workdir: epath.Path) -> set[str]:
    """Return the signals whose verdict was ignored since the run last resumed after a stop; they are not reported again."""
    past = events(workdir)
    resumed = max((i for i, event in enumerate(past) if event["action"] == "resumed"), default=-1)
    return {event["signal"] for event in past[resumed + 1 :] if event["action"] == "ignored"}


def message(event: Record, workdir: epath.Path) -> str:
    """Return one sentence: the event, the checkpoints that are kept and how to resume."""
    kept, ways = [], []
    if event["checkpoint"] is not None:
        kept.append(f"step {event['checkpoint']} is kept from before")
        used = f" ({event['attempt']} used; stability.rollbacks is the limit)" if event["attempt"] else ""
        ways.append(f"rollback resumes from before it{used}")
    if event.get("best") is not None:
        kept.append(f"step {event['best']} has the best score, in checkpoints/{event['best']}")
    if event["signal"] != NONFINITE:
        ways.append("ignore from the latest checkpoint")
    what = ", ".join(kept) or "no checkpoint is from before"
    how = f"; --config.stability.on_collapse={', '.join(ways)}" if ways else ""
    return f"the run in {workdir} collapsed: {event['sentence']}; {what}; {workdir / FILE} says more{how}"


def events(workdir: epath.Path) -> list[Record]:
    """Return the events in guard.jsonl, in order."""
    path = workdir / FILE
    return jsonl.read_file(path, is_event)


def is_event(record: Record) -> bool:
    """Whether a record is an event as `handle` and `_decide` write them."""
    is_step = lambda name: type(record[name]) is int
    if record["action"] == "resumed":
        return is_step("attempt")
    known = record["action"] in ("stop", "rollback", "ignored") and is_step("attempt") and is_step("onset")
    words = all(isinstance(record[name], str) for name in ("signal", "sentence"))
    kept = record["checkpoint"] is None or is_step("checkpoint")
    return known and words and kept and (record.get("best") is None or is_step("best"))


def _append(workdir: epath.Path, event: Record) -> None:
    """Append atomically. Object stores cannot append: rewrite the file, which has few lines."""
    path = workdir / FILE
    before = jsonl.set_aside(path, is_event) if path.exists() else []
    write_text(path, "".join(line.raw.decode() + "\n" for line in before) + json.dumps(event) + "\n")
