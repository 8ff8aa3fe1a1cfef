"""The training loop: from a config and a workdir to the last checkpoint."""

import functools
import logging

import jax
import ml_collections
from etils import epath

from biggan_jax import data, hooks, settling, sharding
from biggan_jax.checkpoint import Checkpoints, check_name, checkpoint_steps, resume
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step
from biggan_jax.runtime import numerics
from biggan_jax.runtime.files import expand_home
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.supervised import supervised
from biggan_jax.stability import recovery

logger = logging.getLogger(__name__)


def train(config: ml_collections.ConfigDict, workdir: epath.PathLike, on_damage: str = "refuse") -> bool:
    """Train until `num_steps` steps are done, resuming from the latest checkpoint in `workdir` if there is one.

    Trained in one go or in pieces, the result is bitwise identical on the same devices. Returns whether all steps are done:
    False if a signal or a preemption notice stopped the run. Every step that was done is saved, and the same call resumes.
    on_damage: what a damaged latest checkpoint does: refuse, or fallback to the newest whole one.

    Raises:
        UserError: config, data, devices and workdir do not fit together. Raised before anything is written.
        CollapseError: the run collapsed.
    """
    numerics.check()
    workdir = expand_home(str(workdir))
    check_name(epath.Path(workdir).absolute())
    with supervised(workdir, lambda: max(checkpoint_steps(workdir), default=None)) as job:
        passes_over = on_damage == "fallback" and bool(checkpoint_steps(workdir))
        if passes_over:
            if not job.lock_workdir():
                return False
            resume.pass_over_damaged(workdir)
        config, mesh = settling.settle(config, workdir)
        gan = build_gan(config, mesh)
        source = data.make_source(config)
        summary = settling.check_data(config, gan.image_shape, source)
        weights = functools.cache(lambda: resume.load_weights(gan, config.init_from) if config.init_from else None)
        resume.check_config(workdir, config)
        digest = data.digest_of(source)
        resume.check_data(workdir, digest, config.data.on_change)
        if not checkpoint_steps(workdir):
            weights()  # Fail on a bad init_from before writing anything.

        if not passes_over and not job.lock_workdir():
            return False
        resume.claim_workdir(workdir, config)
        if summary and jax.process_index() == 0:
            data.store_summary(epath.Path(workdir) / "data.json", summary)
        checkpoints = Checkpoints(workdir, config.checkpoint_keep, config.checkpoint_keep_every)
        job.at_exit(checkpoints.close)
        run = hooks.RunContext(config, epath.Path(workdir), mesh, source, weights, checkpoints, job, digest)
        while True:
            attempt = recovery.recover(config, checkpoints, run.workdir, write=jax.process_index() == 0)
            step, collapse = run_attempt(run, attempt)
            if collapse is None:
                return step == config.num_steps
            if collapse["action"] == "stop":
                raise recovery.CollapseError(recovery.message(collapse, run.workdir))


def run_attempt(run: hooks.RunContext, attempt: int) -> tuple[int, Record | None]:
    """Train from the latest checkpoint until the last step, a signal or a collapse.

    Returns the number of steps done and, if the run collapsed, the event that ended the attempt.
    attempt: the number of rollbacks before. It changes the latents, the order of images, and the settings that
    recovery.config_of_attempt changes.
    """
    config = recovery.config_of_attempt(run.config, attempt)
    gan = build_gan(config, run.mesh)
    state = resume.restore_or_init(gan, config.seed, run.checkpoints, run.weights)
    state = state.replace(attempt=state.attempt + (attempt - int(state.attempt)))
    start = step = int(state.step)
    if start >= config.num_steps:
        past = "" if start == config.num_steps else "; the run is past num_steps; raise it to train on"
        logger.info("step %d of %d: nothing left to do%s", start, config.num_steps, past)
        return config.num_steps, None
    hooks.log_setup(gan, state, run.mesh)

    make_batch = data.host_batches(run.source, config, attempt, jax.process_index(), jax.process_count())
    to_devices = functools.partial(sharding.shard_batch, mesh=run.mesh)
    options = {"workers": config.data.workers, "limit": config.data.unreadable_limit}
    options["cancelled"] = run.job.stops_waiting
    with (
        hooks.of_attempt(run, gan, state, attempt) as hook,
        data.read_ahead(make_batch, to_devices, start, config.num_steps, **options) as batches,
    ):
        compiled, metrics = None, dict[str, jax.Array]()
        stopping = run.job.should_stop(state)
        if start and not stopping:
            logger.info("resuming from step %d", start)
        while step < config.num_steps and not stopping:
            hook.before_step(step)
            if compiled is not gan.in_step(step):  # Networks that grow have a program for each stage.
                compiled = gan.in_step(step)
                train_step = compile_step(compiled)
            batch = next(batches, None)
            if batch is None:  # A stop was requested while no data came.
                if step > start and (collapse := hook.save_unless_saved(step, state, metrics)):
                    return step, collapse
                break
            state, metrics = train_step(state, batch)
            step += 1
            hook.log(step, metrics)
            stopping = run.job.should_stop((state, metrics))
            if collapse := hook.after_step(step, state, metrics, batch, stopping=stopping):
                return step, collapse
    if step:
        logger.info("step %d of %d: saved in %s", step, config.num_steps, run.workdir)
    return step, None
