"""Convert weights from and to other projects, or change a model's classes: the work of biggan-convert."""

import logging

import jax
import numpy as np
from etils import epath

from biggan_jax.checkpoint import Checkpoints, check_name, find, load_generator, load_state, store_config
from biggan_jax.convert import (
    biggan_pytorch,
    classes,
    cyclegan_files,
    hf_biggan_deep,
    r3gan,
    studiogan_files,
    stylegan2_files,
    tfhub,
)
from biggan_jax.convert.imported import read, to_state
from biggan_jax.data import stats
from biggan_jax.flags.convert import (
    BACKBONE,
    BN_EPS,
    CLASSES,
    FROM,
    HEAD,
    IN,
    OUT,
    PASSES,
    SEED,
    SHAPES_ALONE,
    SN_EPS,
    SUFFIX,
    TO,
)
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import translations
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.convert")

PROJECTS = {
    "biggan-pytorch": biggan_pytorch,
    "hf-biggan-deep": hf_biggan_deep,
    "studiogan": studiogan_files,
    "r3gan": r3gan,
    "stylegan2-ada": stylegan2_files,
    "cyclegan": cyclegan_files,
}
IMPORTS = PROJECTS | {"tfhub": tfhub}


def main() -> None:
    project = IMPORTS.get(FROM.value)
    target = PROJECTS.get(TO.value)
    out = epath.Path(OUT.value)
    if not target:
        check_name(out.absolute())
    with writing(f"--out={out}"):
        if out.exists() and any(out.iterdir()):
            raise UserError(f"--out={out} is not empty; give another folder")
        export_weights(target, out) if target else import_weights(project, out)


def record_names(workdir: epath.Path, wanted: list[int] | int | None, out: epath.Path) -> None:
    """Record the class names of our own run in `workdir` for the converted checkpoint, those of the `wanted` classes."""
    names = stats.recorded_names(workdir)
    if wanted is not None:  # Otherwise the config's data would name other classes.
        stats.store(out / "data.json", {"class_names": classes.names_of(names or (), wanted)})
    elif names is not None:
        stats.store(out / "data.json", {"class_names": list(names)})


def import_weights(project, out: epath.Path) -> None:
    source = epath.Path(IN.value)
    if not source.exists():
        raise UserError(f"--in={source} does not exist")
    if project is None:
        state, config, extras = load_state(source)
        came, missing = ["a checkpoint"], []
    else:
        unknown = {}
        if FROM.value in SHAPES_ALONE:
            unknown = {"bn_eps": BN_EPS.value, "sn_eps": SN_EPS.value}
        elif project is studiogan_files:
            unknown = {"backbone": BACKBONE.value, "head": HEAD.value}
        imported = read(project, source, suffix=SUFFIX.value, **unknown)
        state, config, extras = to_state(imported, SEED.value), imported.config, imported.extras
        came = list(imported.networks)
        missing = [name for name in state.networks if not {name, f"{name}_ema"} & {*came}]
    wanted = classes.parse(CLASSES.value, config.model.num_classes) if CLASSES.value else None
    if wanted:
        classes.check(config)
        state, extras = classes.change_classes(state, extras, wanted, SEED.value)
        config.model.num_classes = wanted if isinstance(wanted, int) else len(wanted)
    store_config(out, config)
    if project is None:
        record_names(find(source).parent.parent, wanted, out)
    checkpoints = Checkpoints(out, keep=1)
    checkpoints.save(state, config, extras)
    checkpoints.close()
    require_usable(out, draw=project is not None)
    fresh = "".join(f"; {role} was missing and is newly initialized" for role in missing)
    if wanted:
        logger.info("optimizer moments of the changed tables start from zero: their first updates are large")
    model = config.model
    resolution = model.resolution if "resolution" in model else model.image_shape[0]
    width = f"ch {model.get('g_ch') or model.ch}" if "ch" in model else f"widths {tuple(model.get('widths', ()))}"
    width = f"channel_base {model.channel_base}" if "channel_base" in model else width
    print(
        f"{model.family}, {resolution} pixels, {width}, {model.num_classes} classes, "
        f"from {', '.join(came)}: step {int(np.asarray(state.step))} in {out}{fresh}"
    )


def require_usable(workdir: epath.Path, *, draw: bool) -> None:
    """Load the converted checkpoint as training and sampling do, and `draw` one image. Raises UserError if that fails."""
    try:
        load_state(workdir)
        trained = load_generator(workdir)
        if not draw:
            return
        if trained.gan.translations:
            translator = translations.Translator.from_checkpoint(trained)
            translator(np.zeros((1, 32, 32, translator.channels), np.uint8))
            return
        # Standing statistics would take a batch of images.
        statistics = "binned" if trained.binned else "running"
        sampler = Sampler.from_checkpoint(trained, statistics=statistics)
        sampler.picture_batch(*trained.gan.latents(jax.random.key(0), 1))
    except Exception as error:
        reason = f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"converted, but the checkpoint in {workdir} cannot be used: {reason}") from error


def export_weights(project, out: epath.Path) -> None:
    state, config, extras = load_state(IN.value)
    measured = {"passes": PASSES.value} if project is hf_biggan_deep else {}
    project.write(state, config, extras, out, **measured)
    print(f"step {int(np.asarray(state.step))} for {TO.value} in {out}")


run = cli.command(main)

if __name__ == "__main__":
    run()
