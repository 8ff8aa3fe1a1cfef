"""Owns a training run, from config and folder to its last checkpoint. Must not know what a round is, nor how to parse flags."""

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
from clu import parameter_overview
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax import config as configs
from biggan_jax import data, hooks, sharding
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, find, full_disk, init_from, load_config, store_config
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.online import score_in_training
from biggan_jax.gan import GAN
from biggan_jax.models import build_gan
from biggan_jax.runtime import distributed, jsonl, preemption
from biggan_jax.runtime.files import user_errors
from biggan_jax.runtime.interrupt import Interrupt
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.metric_writer import PROBES, MetricWriter
from biggan_jax.runtime.progress import ProgressLine
from biggan_jax.runtime.workdir_lock import WorkdirLock
from biggan_jax.stability import recovery, schedule
from biggan_jax.stability.monitor import CollapseMonitor
from biggan_jax.stability.nonfinite import NonFinite
from biggan_jax.stability.recovery import CollapseError
from biggan_jax.stability.schedule import ProbeSchedule
from biggan_jax.state import TrainState, init_state
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


def train(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> bool:
    """Trains until `num_steps` rounds are done, going on from the workdir's latest checkpoint if there is one.

    Returns False if a signal ended it before: everything is saved, and the same call goes on. Trained in one go or in
    pieces, the result is the same, bit for bit, on the same devices. Raises UserError before anything is written if
    config, data, devices and workdir do not fit together, and CollapseError if the run collapsed.
    """
    if jax.process_index():
        logging.getLogger("biggan_jax").setLevel(logging.WARNING)  # One host speaks for all.
    with contextlib.ExitStack() as cleanup:
        interrupt = cleanup.enter_context(Interrupt())
        cleanup.enter_context(preemption.watched(interrupt.want))
        configs.validate(config)
        mesh = sharding.make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp)
        sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches, config.d_chunks)
        gan = build_gan(config, mesh)
        source = data.make_source(config)
        start_from = functools.cache(lambda: init_from.load(gan, config.init_from) if config.init_from else None)
        if not checkpoint_steps(workdir):
            start_from()  # What cannot be started from is told before anything is written.
        lease = cleanup.enter_context(WorkdirLock(workdir, tired=lambda: interrupt.wanted))
        if not lease.ours:
            return False
        workdir = claim_workdir(workdir, config)
        interrupt.last_saved = lambda: max(checkpoint_steps(workdir), default=None)
        checkpoints = Checkpoints(workdir, config.checkpoint_keep, config.checkpoint_keep_every)
        cleanup.callback(checkpoints.close)
        cleanup.push(distributed.exit_without_barrier)
        cleanup.enter_context(full_disk.explained(workdir))
        first_host = jax.process_index() == 0
        run = Run(config, workdir, mesh, source, start_from, checkpoints, interrupt, lease)
        while True:
            attempt = recovery.recover(config, checkpoints, workdir, write=first_host)
            done, collapse = play(run, attempt)
            if collapse is None:
                break
            if collapse["action"] == "stop":
                raise CollapseError(recovery.message(collapse, workdir))
    return done == config.num_steps


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same through all attempts of a run."""

    config: ml_collections.ConfigDict
    workdir: epath.Path
    mesh: jax.sharding.Mesh
    source: Source
    start_from: Callable[[], dict | None]
    checkpoints: Checkpoints
    interrupt: Interrupt
    lease: WorkdirLock


def play(run: Run, attempt: int) -> tuple[int, Record | None]:
    """Plays one attempt from the latest checkpoint on. Returns the rounds done, and the event that ended it if it collapsed."""
    config, mesh, workdir, checkpoints = run.config, run.mesh, run.workdir, run.checkpoints
    in_force = recovery.config_of_attempt(config, attempt)
    gan = build_gan(in_force, mesh)
    state = start_state(gan, config.seed, checkpoints, run.start_from)
    state = state.replace(attempt=state.attempt + (attempt - int(state.attempt)))
    start = done = int(state.step)
    if start >= config.num_steps:
        past = "" if start == config.num_steps else "; the run is past num_steps, set it higher to go on"
        logger.info("step %d of %d: nothing left to do%s", start, config.num_steps, past)
        return config.num_steps, None
    describe(state, mesh)
    if start:
        logger.info("going on from step %d", start)
    first_host = jax.process_index() == 0
    with contextlib.ExitStack() as cleanup:
        data.before_training(run.source, config, workdir, write=first_host)
        writer = None
        if first_host:
            told = {"wandb_project": config.wandb_project, "config": config.to_dict()}
            writer = MetricWriter(workdir, start=start, attempt=attempt, **told)
            cleanup.callback(writer.close)
        progress = ProgressLine(start, config.num_steps, in_force.d_steps * config.batch_size, shown=first_host)
        cleanup.callback(progress.close)
        log = hooks.MetricLogger(config.log_every, writer, progress)
        trace = hooks.Profiler(configs.profile_range(config), str(workdir / "profile"))
        cleanup.callback(trace.stop)
        guard = make_guard(run, gan, state, writer)
        if not start and config.stability.every <= config.num_steps:  # Else there will be nothing to compare it with.
            guard.begin(state)

        host = jax.process_index(), jax.process_count()
        run_round = compile_round(gan, mesh)
        batches = cleanup.enter_context(
            data.read_ahead(
                data.host_batches(run.source, in_force, attempt, *host),
                functools.partial(sharding.shard_batch, mesh=mesh),
                start,
                config.num_steps,
                workers=config.data.workers,
                limit=config.data.unreadable_limit,
            )
        )
        stopping = run.interrupt.agreed(state)
        while done < config.num_steps and not stopping:
            trace.before_step(done)
            state, metrics = run_round(state, next(batches))

            done += 1
            trace.after_step(done, metrics)
            last = done == config.num_steps
            run.lease.check()
            log.after_step(done, metrics, last=last)
            stopping = run.interrupt.agreed((state, metrics))
            saving = stopping or last or done % config.checkpoint_every == 0
            if verdict := guard.after_step(done, state, metrics, at_once=saving):
                event = recovery.handle(verdict, attempt, config, checkpoints, workdir, write=first_host)
                if event["action"] != "ignored":
                    if config.sample_every:  # What it looks like, for whoever comes to see.
                        hooks.write_samples(gan, state, done, writer)
                    return done, event
                guard.ignored.add(verdict.signal)
            run.lease.check()
            if saving:
                log.flush()  # Else a run killed after its checkpoint is whole would lack this step's line for good.
                checkpoints.save(state, config, score=guard.latest_score, last_healthy_step=guard.last_healthy_step)
            if config.sample_every and (last or (done % config.sample_every == 0 and not stopping)):
                hooks.write_samples(gan, state, done, writer)
        log.flush()
    if done:
        logger.info("step %d of %d: saved in %s", done, config.num_steps, workdir)
    return done, None


def make_guard(run: Run, gan: GAN, state: TrainState, writer: MetricWriter | None) -> CollapseMonitor:
    """The watch over an attempt that goes on from `state`, with all that was seen on the way there."""
    config, start = run.config, int(state.step)
    host = jax.process_index(), jax.process_count()
    images, score = {}, None
    if config.stability.every or config.score.every:
        size = config.batch_size // config.microbatches
        images = schedule.images_for_probes(sources_of_looks(run), config.seed, size, run.mesh, host)
    if config.score.every:
        c = config.score
        options = {"network": c.network, "inception": c.inception, "num": c.num, "seed": config.seed}
        of_state = score_in_training(run.source, run.mesh, **options)
        # Each host's linear algebra may round otherwise, and all must judge alike.
        score = lambda state: float(
            distributed.broadcast(np.asarray(of_state(gan, state), np.float32).view(np.int32)).view(np.float32)
        )
    return CollapseMonitor(
        ProbeSchedule(gan, config.stability.every, images, writer),
        NonFinite(min(config.log_every, config.stability.nonfinite_limit), state),
        config.stability.nonfinite_limit,
        score,
        config.score.every,
        configs.expected_scores(config),
        jsonl.lineage(jsonl.read(run.workdir, PROBES), start) if start else [],
        recovery.ignored(run.workdir),
    )


def sources_of_looks(run: Run) -> dict[str, Source]:
    """What D is trained on, and what it never sees, where the data set holds anything out."""
    try:
        return {"real": run.source, "held_out": data.make_source(run.config, "test")}
    except UserError as error:
        logger.debug("nothing is held out: %s", error)
        return {"real": run.source}


def compile_round(gan: GAN, mesh: jax.sharding.Mesh):
    """train_step for this game, jitted: (state, batch) to (state, metrics), the former state's memory given up."""
    layout = state_layout(gan)
    return jax.jit(
        functools.partial(train_step, gan), donate_argnums=0, out_shardings=(layout, sharding.replicated(mesh))
    )


def state_layout(gan: GAN) -> TrainState:
    """How each array of the game's state lies on its mesh."""
    assert gan.mesh is not None
    shapes = jax.eval_shape(functools.partial(init_state, gan), 0)
    return sharding.state_sharding(shapes, gan.mesh, split_over_data=gan.shard_update)


def start_state(gan: GAN, seed: int, checkpoints: Checkpoints, start: Callable[[], dict | None]) -> TrainState:
    """The latest checkpoint's state, or a fresh one, with the weights of start() (see init_from.load), if any; on the GAN's mesh."""
    layout = state_layout(gan)
    init = functools.partial(init_state, gan)
    if checkpoints.latest_step() is None:
        state = jax.jit(init, out_shardings=layout)(seed)
        return init_from.begin(state, weights) if (weights := start()) else state
    shapes = jax.eval_shape(init, seed)
    return checkpoints.restore(sharding.with_sharding(shapes, layout))


def claim_workdir(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> epath.Path:
    """Makes the folder and stores the config in it; if it holds another config's run, raises UserError naming the keys."""
    workdir = epath.Path(workdir)
    with user_errors(workdir, "workdir"):
        # Before a first checkpoint there is nothing of a former run that could be lost, or mixed with this one.
        if checkpoint_steps(workdir):
            refuse_changes(workdir, load_config(find(workdir)), config)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("config.json read by all")
        if jax.process_index() == 0:
            store_config(workdir, config)
    return workdir


def refuse_changes(workdir: epath.Path, stored: ml_collections.ConfigDict, config: ml_collections.ConfigDict) -> None:
    changed = configs.differences(stored.to_dict(), config.to_dict())
    unsafe = {key: values for key, values in changed.items() if key not in configs.SAFE_TO_CHANGE}
    if unsafe:
        listed = ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in unsafe.items())
        raise UserError(f"{workdir} holds a run of another config ({listed}); use another folder, or that config")


def describe(state: TrainState, mesh: jax.sharding.Mesh) -> None:
    for name, player in (("G", state.generator), ("D", state.discriminator)):
        logger.info("%s: %s parameters", name, f"{int(parameter_overview.count_parameters(player.params)):,}")
    platform = jax.devices()[0].platform
    sizes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    logger.info("%d %s device(s), mesh %s; the first step compiles", jax.device_count(), platform, sizes)
    if platform == "gpu" and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
        logger.info("a resumed run ends in the same bits only with XLA_FLAGS=--xla_gpu_deterministic_ops=true")
