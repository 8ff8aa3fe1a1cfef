"""Flags of evaluation: feature network, real images, metrics; and the evaluator that they describe."""

from absl import flags

from biggan_jax.flags.choices import NETWORKS
from biggan_jax.flags.choices import SCORES as SCORE_NAMES
from biggan_jax.runtime import cli
from biggan_jax.sampling.labels import LABELINGS

NETWORK = flags.DEFINE_enum("network", "inception-2015", list(NETWORKS), "Feature network; see docs/evaluation.md.")
INCEPTION = cli.define_path("inception", None, "Inception's weights: a .pth or .npz, or `download`.")
NETWORK_WEIGHTS = cli.define_path(
    "network_weights",
    None,
    "Weights of DINOv2, CLIP or SwAV: the authors' file, a .safetensors or .npz; CLIP: or `download`.",
)
RESIZER = flags.DEFINE_enum(
    "resizer",
    None,
    ["tf1", "pytorch-fid", "clean", "clean-quantized", "pil-bilinear", "antialiased"],
    "How images are resized. Default: the network's own.",
)
JPEG = flags.DEFINE_integer("jpeg", None, "Encode images as JPEG of this quality before.", 1, 100)
REAL = (
    "Real images: train or test, of the run's data; a folder of pictures or of a prepared set; an .npz with arr_0, mu and "
    "sigma, or both; or StyleGAN's .pkl of statistics."
)
REFERENCE = cli.define_path("reference", "train", REAL)
REFERENCE_COUNT = flags.DEFINE_integer(
    "reference_count", None, "Use this many real images, evenly spread. Default: all.", lower_bound=2
)
MAX_BROKEN = flags.DEFINE_integer(
    "max_broken",
    None,
    "Unreadable pictures of a folder that are left out; more are refused. Default: one in a hundred.",
    0,
)
DATA_DIR = cli.define_path("data_dir", None, "Folder of the run's data, if they have moved.")
NUM = flags.DEFINE_integer("num", 50_000, "Number of samples.", lower_bound=2)
LABELS = flags.DEFINE_enum("labels", "balanced", list(LABELINGS), "How the samples' classes are drawn.")
SCORES = flags.DEFINE_list(
    "scores",
    None,
    f"Some of {', '.join(SCORE_NAMES)}. Default: fid, is, kid, prdc and agreement, if possible.",
)
LPIPS = cli.define_path("lpips", None, "LPIPS's network VGG16: torchvision's file, .pth or .npz, or `download`.")
LPIPS_HEADS = cli.define_path("lpips_heads", None, "LPIPS's own weights, vgg.pth. Default: those of the package lpips.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch on each device.", lower_bound=1)
