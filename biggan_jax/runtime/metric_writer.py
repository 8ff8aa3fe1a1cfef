"""Owns where metrics and pictures go: files always, TensorBoard and Weights & Biases where they are. Must not know their meaning."""

import hashlib
import importlib.util
import logging

import numpy as np
from etils import epath

from biggan_jax.runtime.jsonl import JsonLines, Record
from biggan_jax.sampling.pictures import save_png

logger = logging.getLogger(__name__)

PROBES = "stability"
"""Name of the records of looks in a run's folder: {step, signals: {name: figure}, singular: {player: {weight: [largest, ...]}}}."""


class MetricWriter:
    """Writes to `workdir`: metrics.jsonl, stability.jsonl, samples/*.png; TensorBoard events if TensorFlow and tensorboard are there.

    `start`: the step from which this attempt of the run goes on; its metrics of later steps, left by a run that died, are dropped.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        *,
        start: int,
        attempt: int = 0,
        wandb_project: str = "",
        config: dict | None = None,
    ):
        workdir = epath.Path(workdir)
        self._samples = workdir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._metrics = JsonLines(workdir, "metrics", start, attempt)
        self._looks = JsonLines(workdir, PROBES, start, attempt)
        self._tensorboard = _tensorboard(workdir)
        self._wandb = _wandb(workdir, attempt, wandb_project, config)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._metrics.write({"step": step, **values})
        self._show(step, values)

    def look(self, record: Record) -> None:
        """A look's record goes to stability.jsonl; elsewhere its signals, and each weight's largest singular value."""
        self._looks.write(record)
        largest = {
            f"singular/{player}/{weight}": values[0]
            for player, weights in record["singular"].items()
            for weight, values in weights.items()
        }
        self._show(record["step"], {f"stability/{name}": value for name, value in record["signals"].items()} | largest)

    def picture(self, step: int, name: str, sheet: np.ndarray) -> None:
        """`sheet`: uint8 [H, W, 3]."""
        path = self._samples / f"{step:08d}_{name}.png"
        save_png(path, sheet)
        if self._tensorboard:
            self._tensorboard.write_images(step, {f"samples/{name}": sheet[None]})
        if self._wandb:
            import wandb

            self._wandb.log({f"samples/{name}": wandb.Image(sheet)}, step=step)

    def close(self) -> None:
        self._metrics.flush()
        self._looks.flush()
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()

    def _show(self, step: int, values: dict[str, float]) -> None:
        if self._tensorboard:
            self._tensorboard.write_scalars(step, values)
        if self._wandb:
            self._wandb.log(values, step=step)


def _tensorboard(workdir: epath.Path):
    if not all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorboard")):
        return None
    try:
        import tensorflow
        from clu import metric_writers
    except Exception as error:  # An installation that is broken in whatever way must not end a training run.
        logger.warning("no TensorBoard: %s", error)
        return None
    tensorflow.config.set_visible_devices([], "GPU")  # Else it takes the memory that JAX needs.
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(workdir)))


def _wandb(workdir: epath.Path, attempt: int, project: str, config: dict | None):
    if not project:
        return None
    try:
        import wandb

        # The same folder is the same run, also when it goes on; but steps that go back are another's.
        run_id = hashlib.sha256(f"{workdir}{f' {attempt}' if attempt else ''}".encode()).hexdigest()[:16]
        folder = None if "://" in str(workdir) else str(workdir)
        return wandb.init(project=project, dir=folder, config=config, id=run_id, resume="allow", name=workdir.name)
    except Exception as error:  # Not installed, not logged in, not reachable: training goes on without.
        logger.warning("wandb_project is %s, but Weights & Biases cannot be used: %s", project, error)
        return None
