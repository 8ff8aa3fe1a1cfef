"""What is settled and checked before weights exist: the config that is trained, its devices, its data."""

import logging
from typing import Any

import jax
import ml_collections
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data, sharding
from biggan_jax.checkpoint import resume
from biggan_jax.evaluation.evaluator import check_score
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


def settle(
    config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> tuple[ml_collections.ConfigDict, jax.sharding.Mesh]:
    """Return the config without `auto`, which is left as it is, and the mesh of its devices. Log each choice; write nothing.

    A run that exists in the workdir keeps the choices that it began with. Raises UserError if values, data and devices do not fit.
    """
    config = config.copy_and_resolve_references()
    configs.normalize(config)
    configs.validate(config)
    mesh = sharding.make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp)
    if configs.unresolved(config):
        config = resume.keep_automatic(workdir, config)
        if configs.unresolved(config):
            config, choices = configs.choose_for(config, data.facts_of(config), mesh.size, jax.devices()[0].platform)
            for choice in choices:
                logger.info("auto: %s", choice)
        configs.validate(config)
    if rule := configs.resolve(config):
        logger.info("%s", rule)
    config = resume.keep_data_order(workdir, config)
    sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches, config.d_chunks)
    return config, mesh


def check_data(config: ml_collections.ConfigDict, image_shape: tuple[int, ...], source: data.Source) -> dict[str, Any]:
    """Refuse data or metrics that do not fit the config, and return a summary of the data. Needs no weights, writes nothing."""
    summary = data.before_training(source, config)
    data.check_changes(source, config)
    if config.score.every:
        score = config.score
        if data.has_clips(config) and score.network != "classifier":
            what = f"score.network={score.network} takes single pictures, but this model's samples are clips"
            raise UserError(f"{what}; use classifier, or score.every=0")
        check_score(score.network, score.inception, source, image_shape, score.also, score.num)
    return summary
