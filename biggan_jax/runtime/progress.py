"""Owns what a person sees of a run while it goes: one live line on a terminal, plain log lines elsewhere. Must not compute."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

MIN_SECONDS = 2
"""Seconds: what takes no longer shows no progress."""

LOG_EVERY_SECONDS = 30
"""Seconds between lines where there is no terminal."""

T = TypeVar("T")


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, one after the other, while a bar on a terminal, elsewhere a line now and then, says how many are done."""
    return track_many(items, what, len(items))


def track_many(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """As `track`, of items whose number is not known to them."""
    terminal = sys.stderr.isatty()
    began = said = time.monotonic()
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if terminal and now - began > MIN_SECONDS:
                bar.start()
                bar.update(task, completed=done)
            elif not terminal and now - said > LOG_EVERY_SECONDS:
                said = now
                left = f", {_duration((now - began) * (total / done - 1))} left" if done else ""
                logger.info("%s: %d of %d%s", what, done, total, left)
            yield item
    finally:
        if bar.live.is_started:  # Else it would print an empty line.
            bar.stop()


class ProgressLine:
    """Shows step, images/s, losses and the time left. `batch`: real images a step."""

    def __init__(self, start: int, total: int, images_a_step: int, *, shown: bool = True):
        self._images_a_step = images_a_step
        self._last_step, self._last_time = start, time.monotonic()
        self._total, self._compiling = total, True
        self._bar, self._shown = None, shown
        if shown and sys.stderr.isatty():
            columns = TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[text]}")
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), refresh_per_second=4)
            self._task = self._bar.add_task("train", total=total, completed=start, text="compiling")
            self._bar.start()

    def step(self, step: int) -> None:
        if self._compiling:  # The first call comes once its step is compiled and under way: time counts from here.
            self._compiling, self._last_time = False, time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=step)

    def metrics(self, step: int, values: dict[str, float]) -> dict[str, float]:
        """Shows `values` and returns them with the rates since the last call."""
        now = time.monotonic()
        rate = (step - self._last_step) / max(now - self._last_time, 1e-9)
        self._last_step, self._last_time = step, now
        values = values | {"steps_per_second": rate, "images_per_second": rate * self._images_a_step}
        text = f"{values['images_per_second']:.0f} images/s  D {values['d_loss']:.3f}  G {values['g_loss']:.3f}"
        if self._bar:
            self._bar.update(self._task, text=text)
        elif self._shown:
            left = (self._total - step) / max(rate, 1e-9)
            logger.info("step %d of %d  %s  %s left", step, self._total, text, _duration(left))
        return values

    def close(self) -> None:
        if self._bar:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
