"""Owns a training run, from config and folder to its last checkpoint. Must not know what a round is, nor how to parse flags."""

import functools
import json
import logging

import jax
import ml_collections
from clu import parameter_overview
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data, hooks, sharding
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.gan import GAN
from biggan_jax.interrupt import Interrupt
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
        logger.setLevel(logging.WARNING)  # One host speaks for all.
    configs.validate(config)
    mesh = sharding.make_mesh()
    sharding.check_batch_size(config.batch_size, mesh.size)
    gan = build_gan(config, mesh)
    source = data.make_source(config)
    workdir = claim_workdir(workdir, config)

    with Interrupt() as interrupt:
        checkpoints = Checkpoints(workdir, config.checkpoint_keep, config.checkpoint_keep_every)
        state = start_state(gan, config.seed, checkpoints)
        start = int(state.step)
        if start >= config.num_steps:
            logger.info("step %d of %d: nothing left to do", start, config.num_steps)
            return True
        describe(state)
        writer = None
        if jax.process_index() == 0:
            writer = Writer(workdir, start=start, wandb_project=config.wandb_project, config=config.to_dict())
        images_a_step = config.d_steps * config.batch_size
        progress = ProgressLine(start, config.num_steps, images_a_step, shown=jax.process_index() == 0)
        log = hooks.Log(config.log_every, writer, progress)
        trace = hooks.Trace(configs.profile_range(config), str(workdir / "profile"))

        host = jax.process_index(), jax.process_count()
        attempt = int(state.attempt)
        run_round = compile_round(gan, mesh)
        for step in range(start, config.num_steps):
            trace.before_step(step)
            batch = data.host_batch(source, config, step, attempt, *host)
            state, metrics = run_round(state, sharding.shard_batch(batch, mesh))

            done = step + 1
            trace.after_step(done, metrics)
            log.after_step(done, metrics)
            last = done == config.num_steps
            stopping = interrupt.agreed(done) and not last
            if stopping or last or done % config.checkpoint_every == 0:
                checkpoints.save(state, config)
            if config.sample_every and (last or done % config.sample_every == 0) and not stopping:
                hooks.write_samples(gan, state, done, writer)
            if stopping:
                break
        log.flush()
        trace.stop()
        progress.close()
        if writer:
            writer.close()
        checkpoints.close()
    logger.info("step %d of %d: saved in %s", done, config.num_steps, workdir)
    return done == config.num_steps


def compile_round(gan: GAN, mesh: jax.sharding.Mesh):
    """train_step for this game, jitted: (state, batch) to (state, metrics), the former state's memory given up."""
    replicated = sharding.replicated(mesh)
    return jax.jit(functools.partial(train_step, gan), donate_argnums=0, out_shardings=replicated)


def start_state(gan: GAN, seed: int, checkpoints: Checkpoints) -> TrainState:
    """The latest checkpoint's state, or a fresh one, laid out on the GAN's mesh."""
    layout = sharding.replicated(gan.mesh)
    init = functools.partial(init_state, gan)
    if checkpoints.latest_step() is None:
        return jax.jit(init, out_shardings=layout)(seed)
    shapes = jax.eval_shape(init, seed)
    return checkpoints.restore(jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=layout), shapes))


def claim_workdir(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> epath.Path:
    """Makes the folder and stores the config in it; if it holds another config's run, raises UserError naming the keys."""
    workdir = epath.Path(workdir)
    path = workdir / "config.json"
    try:
        if path.exists():
            stored = configs.from_json(path.read_text())
            changed = configs.differences(stored.to_dict(), config.to_dict())
            unsafe = {k: v for k, v in changed.items() if k not in configs.SAFE_TO_CHANGE}
            if unsafe:
                listed = ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in unsafe.items())
                raise UserError(
                    f"{workdir} holds a run of another config ({listed}); use another --workdir or that config"
                )
        if jax.process_index() == 0:
            workdir.mkdir(parents=True, exist_ok=True)
            path.write_text(configs.to_json(config))
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"workdir {workdir} cannot be used: {error}") from error
    return workdir


def describe(state: TrainState) -> None:
    for name, player in (("G", state.generator), ("D", state.discriminator)):
        logger.info("%s: %s parameters", name, f"{int(parameter_overview.count_parameters(player.params)):,}")
    logger.info("%d %s device(s); the first step compiles", jax.device_count(), jax.devices()[0].platform)
