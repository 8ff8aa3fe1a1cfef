"""Convert weights from and to other projects, or change a model's classes, by biggan-convert or python -m biggan_jax.convert:

biggan-convert --from=biggan-pytorch --in=G_ema.pth|weights/RUN --out=DIR [--classes=keep:3,7|reinit:20]
biggan-convert --from=hf-biggan-deep --in=biggan-deep-256 --out=DIR
biggan-convert --from=tfhub --in=biggan-256_2 --out=DIR
biggan-convert --from=studiogan --in=checkpoints/RUN --out=DIR [--head=D2DCE] [--backbone=big_resnet]
biggan-convert --from=r3gan --in=network-snapshot-010000.pkl|folder of G.npz, D.npz, G_ema.npz --out=DIR
biggan-convert --from=stylegan2-ada --in=network-snapshot.pkl|folder of G.npz, D.npz, G_ema.npz --out=DIR
biggan-convert --from=cyclegan --in=checkpoints/RUN|latest_net_G.pth --out=DIR [--suffix=200]
biggan-convert --from=biggan-jax --in=CHECKPOINT --out=DIR --classes=keep:3,7|reinit:20
biggan-convert --to=biggan-pytorch|hf-biggan-deep|studiogan|r3gan|stylegan2-ada|cyclegan --in=CHECKPOINT --out=DIR

Imported weights become a run's folder, for biggan-sample, and for training with --config=finetune:DIR.
"""

import logging

import jax
import numpy as np
from absl import flags
from etils import epath

from biggan_jax import config as configs
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
from biggan_jax.convert.imported import to_state
from biggan_jax.data import stats
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
SHAPES_ALONE = ("biggan-pytorch", "hf-biggan-deep", "tfhub")
"""Projects whose files may lack what shapes cannot tell: eps."""
OURS = "biggan-jax"

FROM = flags.DEFINE_string("from", None, f"Import weights of this project: {', '.join([*IMPORTS, OURS])}.")
TO = flags.DEFINE_string("to", None, "Export a checkpoint to this project.")
IN = cli.define_path(
    "in", None, "A state dict (.pth, .bin, .npz), snapshot (.pkl), module or weights folder; with --to our checkpoint."
)
OUT = cli.define_path("out", None, "Output folder.")
SUFFIX = flags.DEFINE_string(
    "suffix", "", "Which copy in a folder, such as best0 (BigGAN-PyTorch), best (StudioGAN) or 200 (CycleGAN)."
)
BACKBONE = flags.DEFINE_string("backbone", "", "--from=studiogan, D alone or an unconditional G: resnet or big_resnet.")
HEAD = flags.DEFINE_string("head", "", "--from=studiogan: 2C (default) or D2DCE, which have equal arrays.")
BN_EPS = flags.DEFINE_float(
    "bn_eps", None, "Epsilon of batch norm. Default: the stored one, else 1e-5 (hf, tfhub: 1e-4)."
)
SN_EPS = flags.DEFINE_float("sn_eps", None, "Epsilon of spectral norm. Default: as above, else 1e-6 (hf, tfhub: 1e-4).")
CLASSES = flags.DEFINE_string("classes", None, "keep:3,7,20-29 keeps those classes, reinit:20 initializes 20 new ones.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of what is not in the file: a missing D or G, new classes.", 0, 2**31 - 1)
PASSES = flags.DEFINE_integer("passes", 100, "--to=hf-biggan-deep: batches per truncation, to measure statistics.", 1)


def main() -> None:
    if FROM.value and TO.value:
        raise UserError("--from imports weights, --to exports them; give one of the two")
    if not IN.value or not OUT.value or not (FROM.value or TO.value):
        raise UserError("--from or --to, --in and --out are needed, such as --from=biggan-pytorch --in=G.pth --out=G")
    for flag in (BN_EPS, SN_EPS):
        if flag.value is not None and not flag.value > 0:
            raise UserError(f"--{flag.name}={flag.value} must be greater than 0")
    project = configs.choose({**IMPORTS, OURS: None}, "--from", FROM.value) if FROM.value else None
    target = configs.choose(PROJECTS, "--to", TO.value) if TO.value else None
    refuse_idle_flags()
    out = epath.Path(OUT.value)
    if not target:
        check_name(out.absolute())
    with writing(f"--out={out}"):
        if out.exists() and any(out.iterdir()):
            raise UserError(f"--out={out} is not empty; give another folder")
        export_weights(target, out) if target else import_weights(project, out)


def refuse_idle_flags() -> None:
    """Refuse flags without effect: they were meant to have one."""
    idle = {
        "classes": bool(TO.value),
        "suffix": FROM.value not in ("biggan-pytorch", "studiogan", "cyclegan") or not epath.Path(IN.value).is_dir(),
        "backbone": FROM.value != "studiogan",
        "head": FROM.value != "studiogan",
        "bn_eps": FROM.value not in SHAPES_ALONE,
        "sn_eps": FROM.value not in SHAPES_ALONE,
        "passes": TO.value != "hf-biggan-deep",
    }
    cli.refuse([name for name, is_idle in idle.items() if is_idle], "here")


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
        imported = project.read(source, suffix=SUFFIX.value, **unknown)
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
