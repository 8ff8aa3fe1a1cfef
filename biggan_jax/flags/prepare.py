"""Convert data once to shards with random access, by biggan-prepare or python -m biggan_jax.data.prepare:

biggan-prepare --from=folder --in=PICTURES --out=DIR [--size=128] [--held_out=50]
biggan-prepare --from=folder --in=PICTURES --out=DIR --size=96x128 --channels=1 --bits=16
biggan-prepare --from=zip --in=FILE.zip --out=DIR [--labels=none]
biggan-prepare --from=hf --in=FOLDER_FROM_THE_HUB --out=DIR
biggan-prepare --from=arrays --in=FILE.npz --out=DIR
biggan-prepare --from=pairs --in=PICTURES|A [--other=B] --out=DIR --size=256
biggan-prepare --from=edges --in=PICTURES --out=DIR --size=64
biggan-prepare --from=unpaired --in=PICTURES|A [--other=B] --out=DIR [--size=286]
biggan-prepare --from=clips --in=VIDEO|FOLDER --out=DIR --size=64 [--frames=32]
biggan-prepare --from=captions --in=PICTURES --out=DIR --size=64 [--captions=TABLE] [--embeddings=FILE.npz]
biggan-prepare --from=cifar10 --in=cifar-10-binary.tar.gz --out=DIR
biggan-prepare --from=imagenet --in=FOLDER_OF_THE_TWO_TARS --out=DIR
biggan-prepare --from=tfds --in=DIR/imagenet2012/5.1.0 --out=NEW [--size=128]
biggan-prepare --from=examples --in='CORPUS/train-*' --out=DIR [--classes=FILE --keep_classes=8500]

PICTURES has a folder of pictures for each class, or one of the other layouts of docs/data.md. After an interruption, run the same
command to resume. The last line of the output is the command to train with.
"""

from absl import flags

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import paths, values
from biggan_jax.runtime import cli

FROM = flags.DEFINE_string(
    "from",
    None,
    "Kind of the input: folder, zip, hf, arrays, pairs, edges, unpaired, clips, captions, cifar10, cifar100, imagenet, tfds, examples.",
)
IN = cli.define_path(
    "in",
    None,
    "Input folder; with --from=examples a pattern of TFRecord or ArrayRecord files, with zip, arrays or cifar10 a file.",
)
OTHER = cli.define_path(
    "other", None, "--from=pairs, unpaired: the folder of B; --in is then that of A. Default: both are in --in."
)
FRAMES = flags.DEFINE_integer("frames", 32, "--from=clips: frames of a clip.", 1, 4096)
EVERY = flags.DEFINE_integer("every", 1, "--from=clips: take each so many-th frame of a sequence.", 1)
CLIP_STEP = flags.DEFINE_integer(
    "clip_step", 0, "--from=clips: frames from the start of a clip to that of the next; 0: clips do not overlap.", 0
)
OUT = cli.define_path("out", None, "Output folder, local or gs://.")
SIZE = flags.DEFINE_string(
    "size", "0", "Store decoded central squares of this many pixels, or HxW, such as 96x128; 0: whole files."
)
CHANNELS = flags.DEFINE_integer(
    "channels", 0, "Channels to keep: 1, 3 or any number; 0: RGB, or all of arrays.", 0, 4096
)
OTHER_CHANNELS = flags.DEFINE_integer(
    "other_channels", 0, "--from=pairs: channels of the second picture to keep; 0: as --channels.", 0, 4096
)
BITS = flags.DEFINE_enum("bits", None, ("8", "16"), "Bits of each channel to keep. Default: 8, or those of arrays.")
RANGE = flags.DEFINE_string(
    "range",
    None,
    "LOW:HIGH, the values of black and white of pictures of more than 8 bits. Default: found from the values.",
)
CROP = flags.DEFINE_enum(
    "crop",
    "center",
    ("center", "pad", "pad_white"),
    "With --size: keep the central region, or pad with black or white.",
)
MIN_SIZE = flags.DEFINE_integer("min_size", 0, "Leave out pictures with a shorter edge, in pixels.", 0)
RESIZE = flags.DEFINE_enum(
    "resize", "area", ("area", "bilinear", "bicubic", "lanczos"), "With --size: the filter, as the key data.resize."
)
WORKERS = flags.DEFINE_integer("workers", 0, "Worker processes; 0: one per core; 1: only the command's own.", 0, 512)
HELD_OUT = flags.DEFINE_integer("held_out", 0, "Number of pictures of each class that become the split test.", 0)
HELD_OUT_BY = flags.DEFINE_enum("held_out_by", "random", ("random", "last"), "Which are held out; last: by file name.")
SEED = flags.DEFINE_integer("seed", 0, "With --held_out_by=random: another seed holds out others.", 0)
CLASS_ORDER = flags.DEFINE_enum(
    "class_order", "natural", ("natural", "name"), "Order of classes; natural: by number if all names are integers."
)
LABELS = cli.define_path(
    "labels",
    "auto",
    "Where classes are found: auto, folders, parent, prefix, none, or the path of a table; see docs/data.md.",
)
SKIP_NESTED = flags.DEFINE_bool("skip_nested", False, "Leave out pictures deeper than CLASS/FILE, however many.")
SKIP_OTHERS = flags.DEFINE_bool("skip_others", False, "Leave out unlabelled or unreadable pictures, however many.")
PER_SHARD = flags.DEFINE_integer("per_shard", 2048, "Maximum number of pictures per shard.", 1)
CLASSES = cli.define_path("classes", None, "--from=examples: a file with one class name per line, in order.")
IMAGE_KEY = flags.DEFINE_string(
    "image_key", None, "--from=tfds, hf, examples: the feature with the picture; of examples by default image/encoded."
)
LABEL_KEY = flags.DEFINE_string(
    "label_key",
    None,
    "The column of a table, or the feature, with the labels; of examples by default image/class/label.",
)
PICK = flags.DEFINE_enum("pick", "first", ("first", "frequent"), "--from=examples: which of several labels to keep.")
KEEP = flags.DEFINE_integer("keep_classes", 0, "--from=examples: number of most frequent classes to keep; 0: all.", 0)
CAPTIONS = cli.define_path(
    "captions",
    None,
    "--from=captions: a table of files and texts. Default: one that is found, or a .txt beside each picture.",
)
EMBEDDINGS = cli.define_path(
    "embeddings", None, "--from=captions: an .npz or .safetensors of embeddings [E] or [K, E], by pictures' paths."
)
MOST_CAPTIONS = flags.DEFINE_integer("most_captions", 0, "--from=captions: of each picture, the first ones; 0: all.", 0)

FORM = "size", "resize", "crop", "min_size", "range", "channels", "bits"
RULES = "held_out", "held_out_by", "seed", "per_shard"
PICTURES = *FORM, *RULES, "class_order", "labels", "label_key", "skip_nested", "skip_others"
OWN = {
    "folder": PICTURES,
    "zip": PICTURES,
    "hf": (*PICTURES, "image_key"),
    "arrays": (*FORM, *RULES, "skip_others"),
    "pairs": (*FORM, *RULES, "skip_others", "other", "other_channels"),
    "edges": ("size", "resize", "crop", "min_size", *RULES, "skip_others"),
    "unpaired": (*PICTURES, "other"),
    "clips": ("size", "resize", "crop", "min_size", "channels", *RULES, "skip_others", "frames", "every", "clip_step"),
    "captions": (*FORM, *RULES, "label_key", "skip_others", "captions", "embeddings", "most_captions"),
    "cifar10": ("size", "resize"),
    "cifar100": ("size", "resize", "label_key"),
    "imagenet": (),
    "tfds": (*FORM[:5], "image_key", "label_key", "skip_others"),
    "examples": (*FORM[:5], "skip_others", "classes", "image_key", "label_key", "pick", "keep_classes"),
}
"""The flags of each kind of input."""

FOLDERS = ("folder", "hf", "pairs", "edges", "unpaired", "captions")
"""Kinds whose --in is a folder of pictures."""


def check() -> None:
    cli.require(FROM, IN, OUT, example="--from=folder --in=pictures --out=data/pictures")
    own = choose(OWN, "--from", FROM.value)
    for name in sorted({flag for flags_ in OWN.values() for flag in flags_} - set(own)):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect with --from={FROM.value}")
    size = values.size_of(SIZE.value)
    if RANGE.value:
        values.limits_of(RANGE.value)
    if CROP.value != "center" and not size and not FROM.value.startswith("cifar"):
        raise UserError(f"--crop={CROP.value} needs --size")
    if FROM.value in ("zip", "arrays", "clips"):
        paths.check_inputs(IN)
    elif FROM.value in FOLDERS:
        paths.check_inputs(IN, OTHER, why="is not a folder")
    paths.check_inputs(CAPTIONS, EMBEDDINGS)


parse = cli.flags_parser(__name__, check)
