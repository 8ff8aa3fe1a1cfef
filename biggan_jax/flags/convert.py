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

from absl import flags
from etils import epath

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import paths
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import is_remote

PROJECTS = ("biggan-pytorch", "hf-biggan-deep", "studiogan", "r3gan", "stylegan2-ada", "cyclegan")
IMPORTS = (*PROJECTS, "tfhub")
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


def check() -> None:
    if FROM.value and TO.value:
        raise UserError("--from imports weights, --to exports them; give one of the two")
    if not IN.value or not OUT.value or not (FROM.value or TO.value):
        raise UserError("--from or --to, --in and --out are needed, such as --from=biggan-pytorch --in=G.pth --out=G")
    for flag in (BN_EPS, SN_EPS):
        if flag.value is not None and not flag.value > 0:
            raise UserError(f"--{flag.name}={flag.value} must be greater than 0")
    if FROM.value:
        choose(dict.fromkeys((*IMPORTS, OURS)), "--from", FROM.value)
    if TO.value:
        choose(dict.fromkeys(PROJECTS), "--to", TO.value)
    refuse_idle_flags()
    if TO.value:
        paths.check_checkpoint(IN.value)
    elif not is_remote(IN.value) and not epath.Path(IN.value).exists():
        raise UserError(f"--in={IN.value} does not exist")


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


parse = cli.flags_parser(__name__, check)
