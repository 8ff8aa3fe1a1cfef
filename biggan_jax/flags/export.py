"""Export samples, a trained model to hand on, or its program, by biggan-export or python -m biggan_jax.tools.export:

biggan-export --checkpoint=DIR --per_class=100 --out=FOLDER [--format=folder|array_record]
biggan-export --checkpoint=DIR --balance_with=own|PREPARED_SET --out=FOLDER
biggan-export model --checkpoint=DIR --out=FOLDER
biggan-export program --checkpoint=DIR --out=FILE.stablehlo [--platforms=cpu,cuda,tpu] [--truncations=2,1]

Without a word, samples are written; with --balance_with as many of each class as the real set lacks, compared with its largest
class. A folder is FOLDER/CLASS/00000.png; array_record is a prepared set, for --config.data.name=tfds --config.data.dir=FOLDER.
Either is written atomically, with export.json in it. model: weights as .safetensors, config, card and sums, for
`biggan_jax.load`. program: StableHLO, which runs with jax alone.
"""

import math
import pathlib

from absl import flags

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, paths
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import is_remote

WHAT = flags.DEFINE_string("what", "samples", "samples, model or program; the word alone may stand for it.")
FORMAT = flags.DEFINE_enum("format", "folder", ["folder", "array_record"], "One folder per class, or a prepared set.")
PER_CLASS = flags.DEFINE_integer("per_class", None, "Samples of each class.", 1)
BALANCE = cli.define_path("balance_with", None, "Instead: a prepared set to balance, or own: the training data.")
OUT = cli.define_path("out", None, "The folder to write; for a program the file, which ends in .stablehlo.")
PLATFORMS = flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "program: where it runs.")
TRUNCATIONS = flags.DEFINE_list(
    "truncations", None, "program: thresholds whose batch-norm statistics it holds, besides those without truncation."
)

OF_SAMPLES = ("per_class", "balance_with", "format")
OF_A_PROGRAM = ("platforms", "truncations")
OF_DRAWING = ("truncation", "truncation_kind", "statistics", "passes", "seed")

IDLE = {
    "samples": OF_A_PROGRAM,
    "model": (*OF_SAMPLES, *OF_A_PROGRAM, *OF_DRAWING),
    "program": (*OF_SAMPLES, "truncation"),
}
"""The flags that have no effect on what is exported."""


def check() -> None:
    idle, word = choose(IDLE, "biggan-export", WHAT.value), "" if WHAT.value == "samples" else f"{WHAT.value} "
    cli.refuse(idle, f"on a {word.strip()}" if word else "on samples")
    examples = {
        "samples": "--checkpoint=runs/demo --per_class=9 --out=samples",
        "model": "model --checkpoint=runs/demo --out=digits",
        "program": "program --checkpoint=runs/demo --out=digits.stablehlo",
    }
    cli.require(drawing.CHECKPOINT, OUT, example=examples[WHAT.value])
    if WHAT.value == "samples" and bool(PER_CLASS.value) == bool(BALANCE.value):
        raise UserError("give either --per_class or --balance_with, such as --per_class=100")
    if WHAT.value == "program":
        paths.check_out(OUT.value, (".stablehlo",))
        truncations()
    else:
        empty_folder()
    drawing.check()


def empty_folder() -> pathlib.Path:
    """Return --out, a local folder that is missing or empty. Raises UserError."""
    if is_remote(OUT.value):
        raise UserError(f"--out={OUT.value} must be a local folder; copy it afterwards")
    out = pathlib.Path(OUT.value).resolve()
    if out.exists() and (not out.is_dir() or out.is_mount() or any(out.iterdir())):
        raise UserError(f"--out={out} exists and is not an empty folder; give another --out")
    return out


def truncations() -> list[float]:
    """Parse --truncations."""
    try:
        found = [float(text) for text in TRUNCATIONS.value or ()]
    except ValueError:
        found = [0.0]
    if not all(0 < threshold < math.inf for threshold in found) or len(set(found)) < len(found):
        raise UserError(
            f"--truncations={','.join(TRUNCATIONS.value)} must be different numbers above 0, such as 2,1,0.5"
        )
    return found


parse = cli.flags_parser(__name__, check, word=WHAT.name)
