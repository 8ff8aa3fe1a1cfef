"""Write metrics, probes and sample grids: to files, TensorBoard and Weights & Biases."""

import hashlib
import logging
import time
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.runtime.jsonl import JsonLines, Record
from biggan_jax.sampling.pictures import save_png

logger = logging.getLogger(__name__)

PROBES = "stability"
"""Name of the file of probes: {step, signals: {name: value}, singular: {network: {weight: [largest, ...]}}}."""


class MetricWriter:
    """Write metrics.jsonl, stability.jsonl, samples/*.png and TensorBoard events in `workdir`, and to Weights & Biases.

    start: the step from which this attempt resumes. Its records of later steps, left by a killed process, are dropped.
    config: for Weights & Biases, which is used if it has wandb_project.
    """

    def __init__(self, workdir: epath.PathLike, *, start: int, attempt: int = 0, config: dict | None = None):
        workdir = epath.Path(workdir)
        self._samples = workdir / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._metrics = JsonLines(workdir, "metrics", start, attempt)
        self._probes = JsonLines(workdir, PROBES, start, attempt)
        self._tensorboard = None
        try:
            # tensorboardX names files by the second: without a suffix, the next attempt could overwrite the last one's.
            self._tensorboard = _TensorBoard(workdir, f".{attempt}-{start}")
        except OSError:
            raise  # The workdir cannot be written.
        except Exception as error:  # A broken installation, or no google-cloud-storage for gs://: train without it.
            logger.warning("no TensorBoard: %s", error)
        self._wandb = _wandb(workdir, attempt, config or {})

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._metrics.write({"step": step, **values})
        self._show(step, values)

    def write_probe(self, record: Record) -> None:
        """Write a probe to stability.jsonl. The other writers get its signals and each weight's largest singular value."""
        self._probes.write(record)
        shown = {f"stability/{name}": value for name, value in record["signals"].items()}
        for network, weights in record["singular"].items():
            shown |= {f"singular/{network}/{weight}": values[0] for weight, values in weights.items()}
        self._show(record["step"], shown)

    def picture(self, step: int, name: str, grid: np.ndarray) -> None:
        """Write an image grid, uint8 [H, W, 1 or 3]."""
        path = self._samples / f"{step:08d}_{name}.png"
        save_png(path, grid)
        if self._tensorboard:
            size = dict(zip(("height", "width", "colorspace"), grid.shape, strict=True))
            image = size | {"encoded_image_string": path.read_bytes()}
            self._tensorboard.write(step, [{"tag": f"samples/{name}", "image": image}])
        if self._wandb:
            import wandb

            self._wandb.log({f"samples/{name}": wandb.Image(grid)}, step=step)

    def close(self) -> None:
        if self._tensorboard:
            self._tensorboard.writer.close()
        if self._wandb:
            self._wandb.finish()

    def _show(self, step: int, values: dict[str, float]) -> None:
        if self._tensorboard:
            self._tensorboard.write(step, [{"tag": name, "simple_value": value} for name, value in values.items()])
        if self._wandb:
            self._wandb.log(values, step=step)


class _TensorBoard:
    """Write an event file with tensorboardX's protos and file writer.

    tensorboardX's SummaryWriter writes in a thread. A full disk ends the thread, and then training would wait for its queue.
    """

    FLUSH_SECONDS = 30

    def __init__(self, workdir: epath.Path, suffix: str):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event

        self._event, self.writer = Event, EventsWriter(f"{workdir}/events", suffix)
        self._flushed = time.monotonic()

    def write(self, step: int, values: list[dict[str, Any]]) -> None:
        """Write values, each with the fields of the proto Summary.Value."""
        self.writer.write_event(self._event(wall_time=time.time(), step=step, summary={"value": values}))
        if time.monotonic() - self._flushed > self.FLUSH_SECONDS:  # In object stores a flush uploads the file.
            self.writer.flush()
            self._flushed = time.monotonic()


def _wandb(workdir: epath.Path, attempt: int, config: dict):
    project = config.get("wandb_project")
    if not project:
        return None
    try:
        import wandb

        # A resumed run continues in W&B under the same id. A rollback starts another: W&B refuses steps that go back.
        run_id = hashlib.sha256(f"{workdir}{f' {attempt}' if attempt else ''}".encode()).hexdigest()[:16]
        folder = None if "://" in str(workdir) else str(workdir)
        return wandb.init(project=project, dir=folder, config=config, id=run_id, resume="allow", name=workdir.name)
    except Exception as error:  # Not installed, not logged in, not reachable: train without it.
        logger.warning("wandb_project is %s, but Weights & Biases cannot be used: %s", project, error)
        return None
