"""Owns a training run, from config and folder to its last checkpoint. Must not know what a round is, nor how to parse flags."""

import contextlib
import functools
import logging
import os

import jax
import ml_collections
from clu import parameter_overview
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax import config as configs
from biggan_jax import data, finetune, hooks, hosts, preemption, sharding
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, find, load_config, store_config
from biggan_jax.files import usable
from biggan_jax.gan import GAN
from biggan_jax.interrupt import Interrupt
from biggan_jax.lease import Lease
from biggan_jax.models import build_gan
from biggan_jax.progress import ProgressLine
from biggan_jax.state import TrainState, init_state
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError
from biggan_jax.writers import Writer

logger = logging.getLogger(__name__)


def train(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> bool:
    """Trains until `num_steps` rounds are done, going on from the workdir's latest checkpoint if there is one.

    Returns False if a signal ended it before: everything is saved, and the same call goes on. Trained in one go or in
    pieces, the result is the same, bit for bit, on the same devices. Raises UserError before anything is written if
    config, data, devices and workdir do not fit together.
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
        start_from = (
            finetune.load(gan, config.init_from) if config.init_from and not checkpoint_steps(workdir) else None
        )
        lease = cleanup.enter_context(Lease(workdir, tired=lambda: interrupt.wanted))
        if not lease.ours:
            return False
        workdir = claim_workdir(workdir, config)
        interrupt.last_saved = lambda: max(checkpoint_steps(workdir), default=None)

        checkpoints = Checkpoints(workdir, config.checkpoint_keep, config.checkpoint_keep_every)
        cleanup.callback(checkpoints.close)
        cleanup.push(hosts.fail_alone)
        state = start_state(gan, config.seed, checkpoints, start_from)
        start = done = int(state.step)
        if start >= config.num_steps:
            past = "" if start == config.num_steps else "; the run is past num_steps, set it higher to go on"
            logger.info("step %d of %d: nothing left to do%s", start, config.num_steps, past)
            return True
        describe(state, mesh)
        if start:
            logger.info("going on from step %d", start)
        first_host = jax.process_index() == 0
        data.before_training(source, config, workdir, write=first_host)
        writer = None
        if first_host:
            writer = Writer(workdir, start=start, wandb_project=config.wandb_project, config=config.to_dict())
            cleanup.callback(writer.close)
        progress = ProgressLine(start, config.num_steps, config.d_steps * config.batch_size, shown=first_host)
        cleanup.callback(progress.close)
        log = hooks.Log(config.log_every, writer, progress)
        trace = hooks.Trace(configs.profile_range(config), str(workdir / "profile"))
        cleanup.callback(trace.stop)

        host = jax.process_index(), jax.process_count()
        attempt = int(state.attempt)
        run_round = compile_round(gan, mesh)
        batches = cleanup.enter_context(
            data.read_ahead(
                data.host_round(source, config, attempt, *host),
                functools.partial(sharding.shard_batch, mesh=mesh),
                start,
                config.num_steps,
                workers=config.data.workers,
                limit=config.data.unreadable_limit,
            )
        )
        stopping = interrupt.agreed()
        while done < config.num_steps and not stopping:
            trace.before_step(done)
            state, metrics = run_round(state, next(batches))

            done += 1
            trace.after_step(done, metrics)
            last = done == config.num_steps
            lease.check()
            log.after_step(done, metrics, last=last)
            stopping = interrupt.agreed()
            if stopping or last or done % config.checkpoint_every == 0:
                lease.check()
                checkpoints.save(state, config)
            if config.sample_every and (last or (done % config.sample_every == 0 and not stopping)):
                hooks.write_samples(gan, state, done, writer)
        log.flush()
    if done:
        logger.info("step %d of %d: saved in %s", done, config.num_steps, workdir)
    return done == config.num_steps


def compile_round(gan: GAN, mesh: jax.sharding.Mesh):
    """train_step for this game, jitted: (state, batch) to (state, metrics), the former state's memory given up."""
    layout = state_layout(gan)
    return jax.jit(
        functools.partial(train_step, gan), donate_argnums=0, out_shardings=(layout, sharding.replicated(mesh))
    )


def state_layout(gan: GAN) -> TrainState:
    """How each array of the game's state lies on its mesh."""
    shapes = jax.eval_shape(functools.partial(init_state, gan), 0)
    return sharding.state_sharding(shapes, gan.mesh, split_over_data=gan.shard_update)


def start_state(gan: GAN, seed: int, checkpoints: Checkpoints, start: dict | None = None) -> TrainState:
    """The latest checkpoint's state, or a fresh one, with the weights `start` (of finetune.load); laid out on the GAN's mesh."""
    layout = state_layout(gan)
    init = functools.partial(init_state, gan)
    if checkpoints.latest_step() is None:
        state = jax.jit(init, out_shardings=layout)(seed)
        return finetune.begin(state, start) if start else state
    shapes = jax.eval_shape(init, seed)
    return checkpoints.restore(sharding.with_sharding(shapes, layout))


def claim_workdir(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> epath.Path:
    """Makes the folder and stores the config in it; if it holds another config's run, raises UserError naming the keys."""
    workdir = epath.Path(workdir)
    with usable(workdir, "workdir"):
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
