"""Show progress: a live line on a terminal, log lines elsewhere."""

import contextlib
import logging
import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

MIN_SECONDS = 2  # Work that takes less shows no progress bar.
LOG_EVERY_SECONDS = 30  # Pause between log lines if stderr is not a terminal.
T = TypeVar("T")


def track(items: Iterable[T], what: str, total: int = 0) -> Iterator[T]:
    """Yield the items and show how many of `total`, by default len(items), are done."""
    total, terminal = total or operator.length_hint(items), sys.stderr.isatty()
    began = logged = time.monotonic()
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if terminal and now - began > MIN_SECONDS:
                bar.start()
                bar.update(task, completed=done)
            elif not terminal and now - logged > LOG_EVERY_SECONDS:
                logged = now
                left = f", {_duration((now - began) * (total / done - 1))} left" if done else ""
                logger.info("%s: %d of %d%s", what, done, total, left)
            yield item
    finally:
        if bar.live.is_started:  # Stopping a bar that never started prints an empty line.
            bar.stop()


class ProgressLine:
    """Show step, images/s, losses and the time left.

    images_per_step: real images, or the function from the steps done to those of the last one. shown: False except in process 0.
    """

    now = staticmethod(time.monotonic)

    def __init__(self, start: int, total: int, images_per_step: int | Callable[[int], int], *, shown: bool = True):
        self._total, self._shown = total, shown
        self._images_per_step = images_per_step if callable(images_per_step) else lambda step: images_per_step
        self._start, self._last_step, self._last_time, self._compiling = start, start, self.now(), True
        self._paused = 0.0  # Seconds since the start.
        self._bar = None
        if shown and sys.stderr.isatty():
            columns = TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[text]}")
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), refresh_per_second=4)
            self._task = self._bar.add_task("train", total=total, completed=start, text="compiling")
            self._bar.start()

    def step(self, step: int) -> None:
        if self._compiling:  # The first call comes after compilation: start the clock here.
            self._compiling, self._last_time = False, self.now()
        if self._bar:
            self._bar.update(self._task, completed=step)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time within, such as that of saving, out of the speed, but not out of the time left."""
        began = self.now()
        try:
            yield
        finally:
            spent = self.now() - began
            self._paused += spent
            self._last_time += spent

    def metrics(self, step: int, values: dict[str, float]) -> dict[str, float]:
        """Show `values`; return them with steps and images per second since the last call."""
        now = self.now()
        rate = (step - self._last_step) / max(now - self._last_time, 1e-9)
        self._last_step, self._last_time = step, now
        images = rate * self._images_per_step(step)
        values = values | {"steps_per_second": rate, "images_per_second": images}
        losses = [(name[:-5].upper(), value) for name, value in sorted(values.items()) if name.endswith("_loss")]
        text = "  ".join([f"{images:.0f} images/s", *(f"{name} {x:.3f}" for name, x in losses)])
        if self._bar:
            self._bar.update(self._task, text=text)
        elif self._shown:
            pause_per_step = self._paused / max(step - self._start, 1)
            left = (self._total - step) * (1 / max(rate, 1e-9) + pause_per_step)
            logger.info("step %d of %d  %s  %s left", step, self._total, text, _duration(left))
        return values

    def close(self) -> None:
        if self._bar:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
