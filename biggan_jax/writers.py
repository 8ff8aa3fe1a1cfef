"""Owns where metrics and pictures go: files always, TensorBoard and Weights & Biases where they are. Must not know their meaning."""

import hashlib
import importlib.util
import json
import logging

import numpy as np
from etils import epath

from biggan_jax.sampling import save_png

logger = logging.getLogger(__name__)


class Writer:
    """Writes to `workdir`: metrics.jsonl, samples/*.png, and TensorBoard events if TensorFlow and tensorboard are installed.

    `start`: the step from which this run goes on; metrics of later steps, left by a run that died, are dropped.
    """

    def __init__(self, workdir: epath.PathLike, *, start: int, wandb_project: str = "", config: dict | None = None):
        workdir = epath.Path(workdir)
        self._samples = workdir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._metrics = _JsonLines(workdir, start)
        self._tensorboard = _tensorboard(workdir)
        self._wandb = _wandb(workdir, wandb_project, config)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._metrics.write({"step": step, **values})
        if self._tensorboard:
            self._tensorboard.write_scalars(step, values)
        if self._wandb:
            self._wandb.log(values, step=step)

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
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()


class _JsonLines:
    """metrics.jsonl, a line a record. In an object store, where nothing can be appended to, metrics-<first step>.jsonl."""

    LINES_A_PART = 100

    def __init__(self, workdir: epath.Path, start: int):
        self._folder, self._start = workdir, start
        self._local = "://" not in str(workdir)
        self._lines: list[str] = []
        for file in workdir.glob("metrics*.jsonl"):
            lines = file.read_text().splitlines()
            kept = [line for line in lines if _step(line) <= start]
            if kept != lines:
                file.write_text("".join(line + "\n" for line in kept))

    def write(self, record: dict) -> None:
        line = json.dumps(record)
        if self._local:
            with open(self._folder / "metrics.jsonl", "a") as file:
                file.write(line + "\n")
            return
        self._lines.append(line)
        # The part is written anew each time: a crash loses nothing, and a part stays small.
        self.flush()
        if len(self._lines) >= self.LINES_A_PART:
            self._start, self._lines = record["step"], []

    def flush(self) -> None:
        if self._lines:
            (self._folder / f"metrics-{self._start:08d}.jsonl").write_text("\n".join(self._lines) + "\n")


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")  # The half line of a run that was killed while it wrote.


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


def _wandb(workdir: epath.Path, project: str, config: dict | None):
    if not project:
        return None
    try:
        import wandb

        # The same folder is the same run, also when it goes on.
        run_id = hashlib.sha256(str(workdir).encode()).hexdigest()[:16]
        folder = None if "://" in str(workdir) else str(workdir)
        return wandb.init(project=project, dir=folder, config=config, id=run_id, resume="allow", name=workdir.name)
    except Exception as error:  # Not installed, not logged in, not reachable: training goes on without.
        logger.warning("wandb_project is %s, but Weights & Biases cannot be used: %s", project, error)
        return None
