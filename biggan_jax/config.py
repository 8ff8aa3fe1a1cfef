"""Owns every setting: its default, meaning, unit and source, and which values make sense. Must not build anything from them.

Run as a program it compares two configs: `python -m biggan_jax.config diff A B`.
"""

import difflib
import json
import math
import pathlib
import runpy
import sys
from typing import Any

import ml_collections
from etils import epath

from biggan_jax import plain
from biggan_jax.types import UserError


def base() -> ml_collections.ConfigDict:
    """The defaults, in the paper's manner (Brock et al. 2019). A config file calls this and changes what differs."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # Of weights, latents and data order.
    c.num_steps = 150_000  # Rounds: each is d_steps updates of D and one of G.
    c.batch_size = 2048  # Global: real images for one D update, over all devices of all hosts.
    c.d_steps = 2  # D updates for each G update.
    c.init_from = ""  # A checkpoint whose weights and optimisers a new run starts with; see configs/finetune.py.
    c.dtype = "float32"  # Of activations: float32 or bfloat16. Weights, moments, losses are always float32.
    c.loss = "hinge"  # A name in losses.LOSSES: hinge, non_saturating, wasserstein, least_squares.
    # Parts in which an update works through its batch, to save memory; batch norm sees one part at a time.
    c.microbatches = 1
    # Parts in which D works through a microbatch, to save memory: the same result, but for rounding and augmentation's draws.
    c.d_chunks = 1
    # Activations computed again for the gradient, to save memory: none, those inside blocks, or full: all.
    c.remat = "none"
    c.fused_attention = (
        True  # Attention as one kernel where there is one: TPU v4 and later, bfloat16. Equal but for rounding.
    )
    c.spectral_advance = (
        "update"  # Power steps once an update, or once a microbatch, as BigGAN-PyTorch's accumulation does.
    )

    c.model = ml_collections.ConfigDict()
    c.model.family = "biggan"  # A name in models.FAMILIES.
    c.model.resolution = 128  # Pixels: a row of models.tables.WIDTHS.
    c.model.num_classes = 1000  # 0: unconditional.
    c.model.ch = 96  # Channel multiplier. The paper's: 96 for BigGAN, 128 for BigGAN-deep.
    c.model.g_ch = 0  # Overrides ch in G; 0: same as ch.
    c.model.d_ch = 0  # Overrides ch in D; 0: same as ch.
    c.model.dim_z = 120  # Length of z; with skip_z a multiple of the number of chunks (G's blocks + 1).
    c.model.shared_dim = 128  # Length of G's class embedding.
    c.model.shared_embedding = (
        True  # False: each of G's batch norms has its own tables of classes (SA-GAN); with skip_z=False.
    )
    c.model.skip_z = True  # BigGAN: z in chunks, one for each block. BigGAN-deep always feeds all of z everywhere.
    c.model.depth = 2  # BigGAN-deep: blocks a stage.
    c.model.g_attention = (64,)  # Pixels: sizes of G's feature maps that self-attention follows.
    c.model.d_attention = (64,)  # Likewise in D.
    c.model.d_wide = True  # False: D's blocks change channels at their second convolution (SN-GAN).
    c.model.pad_rgb = (
        False  # G's last convolution keeps ch filters, the first 3 are the image: the released BigGAN-deep.
    )
    c.model.prior = "normal"  # Of z: names in latents.PRIORS; a*b multiplies, a|b gives each half of the entries.
    c.model.init = "orthogonal"  # Of weights: orthogonal (the paper's), xavier, normal.
    c.model.bn_eps = 1e-4  # Added to variances. The paper's.
    c.model.bn_out_eps = 0.0  # That of G's last batch norm; 0: same as bn_eps. BigGAN-PyTorch's is always 1e-5.
    c.model.bn_momentum = 0.9  # Share of the old running moments that a training pass keeps.
    c.model.spectral_eps = 1e-4  # Least norm by which a power iteration's vector is divided. The paper's.
    c.model.spectral_iterations = 1  # Power iterations an update.
    c.model.spectral_eval = (
        "step"  # In evaluation one power step that is discarded, or the vectors as stored (Hugging Face).
    )
    c.model.g_spectral_norm = True  # False: only D is normalised (SN-GAN).
    c.model.d_spectral_norm = True  # False: D is not normalised; some penalty should then bound it.

    c.mesh = ml_collections.ConfigDict()
    c.mesh.data = -1  # Devices over which the batch is split; -1: all that fsdp leaves.
    c.mesh.fsdp = 1  # Devices over which, besides the batch, weights, their moments and averages are kept in parts.
    c.mesh.shard_update = (
        True  # Weights are kept and updated in parts over data, too: less memory and work, more gathering.
    )

    c.regularizer = ml_collections.ConfigDict()
    c.regularizer.g_ortho = 0.0  # Strength of the orthogonal penalty on G's weights. The paper's: 1e-4.
    c.regularizer.d_ortho = 0.0  # Likewise on D's.
    c.regularizer.ortho_factor = 4.0  # Of its gradient: 4 is the exact one of the paper's formula, 2 BigGAN-PyTorch's.
    c.regularizer.r1 = 0.0  # Strength of R1, the zero-centred gradient penalty on real images; Brock et al. tried 10.

    c.optimizer = ml_collections.ConfigDict()
    c.optimizer.g_lr = 5e-5  # The paper's.
    c.optimizer.d_lr = 2e-4  # The paper's.
    c.optimizer.b1 = 0.0  # Adam's. The paper's.
    c.optimizer.b2 = 0.999  # Adam's. The paper's.
    c.optimizer.eps = 1e-6  # Adam's. BigGAN-PyTorch's; the paper gives none.

    c.ema = ml_collections.ConfigDict()
    c.ema.decay = 0.9999  # Of the average of G's weights, a round. The paper's.
    c.ema.start = 0  # Rounds; before, the average is a copy of the weights.

    c.augment = ml_collections.ConfigDict()
    c.augment.policy = ()  # DiffAugment: colour, translation, cutout, in order. For small data sets.

    c.data = ml_collections.ConfigDict()
    c.data.name = "fake"  # A name in data.SOURCES.
    c.data.dataset = ""  # With name tfds: the builder, such as imagenet2012; empty: dir is one prepared set.
    c.data.dir = ""  # With name tfds: the folder of prepared data, local or gs://; empty: TFDS's default.
    c.data.flip = False  # Mirrors half of the images, drawn anew each epoch.
    c.data.crop = "center"  # Of the square along the long edge: center (the paper's), or random, drawn anew each epoch.
    c.data.resize = (
        "area"  # How to resize: area (the paper's), or Pillow's bilinear, bicubic, lanczos. FID depends on it.
    )
    c.data.draft = False  # Lets the JPEG decoder shrink first: faster, blurs a little; docs/data.md has figures.
    c.data.workers = 0  # Processes that read ahead; 0: threads of the training process.
    c.data.threads = 0  # Threads that decode, in each of these processes; 0: all cores among them.
    c.data.unreadable_limit = 100  # Records. More that cannot be read stop the run; for each, the next one stands in.

    c.stability = ml_collections.ConfigDict()
    c.stability.every = 100  # Rounds between looks at what foretells a collapse: docs/stability.md; 0: none.
    c.stability.on_collapse = "stop"  # Or rollback: goes on from before it with new latents and data order; or ignore.
    c.stability.rollbacks = 3  # At most so many of them; the next collapse stops.
    c.stability.rollback_d_lr = 1.0  # D's learning rate is multiplied by this at each of them.
    c.stability.rollback_d_steps = 0  # So many more D updates a round after each of them.
    # So many more rounds with an update that was not finite, so not applied, than rounds without stop the run.
    c.stability.nonfinite_limit = 10
    c.stability.expected = ""  # "300:600,600:200": from these rounds on a run that learns has had a score below these.

    c.score = ml_collections.ConfigDict()
    c.score.every = 0  # Rounds between scores in training, by which the best checkpoint is kept; 0: none.
    c.score.network = (
        "classifier"  # What sees the images, a name in evaluation.networks.NETWORKS; it needs no download.
    )
    c.score.inception = ""  # With network inception-2015: the weights' file, or download.
    c.score.num = 1000  # Samples, and at most ten times as many real images.

    c.log_every = 100  # Rounds between lines of metrics.
    c.sample_every = 1000  # Rounds between sample grids; 0: none.
    c.checkpoint_every = 1000  # Rounds between checkpoints; one is always written at the end.
    c.checkpoint_keep = 3  # Newest checkpoints kept.
    c.checkpoint_keep_every = 0  # Besides, those of each multiple of so many rounds are kept for good; 0: none.
    c.profile_steps = ""  # "100:105" writes a jax.profiler trace of these rounds.
    c.wandb_project = ""  # Logs to this Weights & Biases project, if wandb is installed.
    return c


SAFE_TO_CHANGE = (
    "d_chunks",
    "data.dir",
    "data.workers",
    "data.threads",
    "data.unreadable_limit",
    "mesh.data",
    "mesh.fsdp",
    "mesh.shard_update",
    "remat",
    "fused_attention",
    "num_steps",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "checkpoint_keep",
    "checkpoint_keep_every",
    "profile_steps",
    "wandb_project",
    "stability.every",
    "stability.on_collapse",
    "stability.rollbacks",
    "stability.nonfinite_limit",
    "stability.expected",
    "stability.rollback_d_lr",
    "stability.rollback_d_steps",
    "score.every",
)
"""Keys that a run may change when it goes on: none of them touches what is computed (but for rounding, by d_chunks for which
numbers augmentation draws, and by stability.rollback_* after a rollback, for what they are for)."""


def choose(table: dict, key: str, name: str):
    """table[name], or a UserError that names the config key and the nearest known names."""
    if name not in table:
        near = difflib.get_close_matches(str(name), [str(n) for n in table], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{key} {name!r} is unknown; {hint}known are {', '.join(str(n) for n in table)}")
    return table[name]


POSITIVE = ("num_steps", "batch_size", "d_steps", "log_every", "checkpoint_every", "checkpoint_keep", "model.ch")
POSITIVE += ("model.dim_z", "model.shared_dim", "model.depth", "model.bn_eps", "model.spectral_eps")
POSITIVE += ("model.spectral_iterations", "optimizer.g_lr", "optimizer.d_lr", "optimizer.eps", "microbatches")
POSITIVE += (
    "d_chunks",
    "regularizer.ortho_factor",
    "stability.rollback_d_lr",
    "stability.nonfinite_limit",
    "score.num",
)
NOT_NEGATIVE = (
    "seed",
    "sample_every",
    "checkpoint_keep_every",
    "ema.start",
    "model.num_classes",
    "model.g_ch",
    "model.d_ch",
    "model.bn_out_eps",
    "regularizer.g_ortho",
    "regularizer.d_ortho",
    "regularizer.r1",
    "data.workers",
    "data.threads",
    "data.unreadable_limit",
    "stability.every",
    "stability.rollbacks",
    "stability.rollback_d_steps",
    "score.every",
)
ONE_OF = {
    "dtype": ("float32", "bfloat16"),
    "remat": ("none", "blocks", "full"),
    "spectral_advance": ("update", "microbatch"),
    "model.spectral_eval": ("step", "stored"),
    "stability.on_collapse": ("stop", "rollback", "ignore"),
    "data.crop": ("center", "random"),
    "data.resize": ("area", "bilinear", "bicubic", "lanczos"),
}
MOST = {
    "d_steps": 1000,
    "model.num_classes": 2**24,
    "model.ch": 2**12,
    "model.g_ch": 2**12,
    "model.d_ch": 2**12,
    "model.dim_z": 2**16,
    "model.shared_dim": 2**16,
    "model.depth": 64,
    "model.spectral_iterations": 1000,
}
"""Beyond these, shapes are more than jax can say, or a program is more than can be traced."""
SHARES = ("ema.decay", "model.bn_momentum", "optimizer.b1", "optimizer.b2")


def validate(config: ml_collections.ConfigDict) -> None:
    """Raises UserError for the first value that makes no sense by itself; rooms check what only they know."""
    plain.laid_upon(flatten(base().to_dict()), config.to_dict(), "the config")  # A config file may have any types.
    for key in POSITIVE:
        if not config[key] > 0:
            raise UserError(f"{key} is {config[key]}; it must be greater than 0")
    for key in NOT_NEGATIVE:
        if not config[key] >= 0:
            raise UserError(f"{key} is {config[key]}; it must not be negative")
    for key in SHARES:
        if not 0 <= config[key] < 1:
            raise UserError(f"{key} is {config[key]}; it must be at least 0 and less than 1")
    for key, value in flatten(config.to_dict()).items():
        if type(value) is int and value >= 2**31:
            raise UserError(f"{key} is {value}; it must be less than 2**31")
        if key in MOST and value > MOST[key]:
            raise UserError(f"{key} is {value}; it must be at most {MOST[key]}")
    for key, values in ONE_OF.items():
        choose(dict.fromkeys(values), key, config[key])
    if config.batch_size % config.microbatches:
        raise UserError(
            f"batch_size {config.batch_size} cannot be split in {config.microbatches} microbatches of equal size"
        )
    part = config.batch_size // config.microbatches
    if part % config.d_chunks:
        near = max(n for n in range(1, min(config.d_chunks, part + 1)) if part % n == 0)
        what = f"batch_size {part}" if config.microbatches == 1 else f"a microbatch of {part} images"
        raise UserError(f"{what} cannot be split in d_chunks={config.d_chunks} of equal size; d_chunks={near} can")
    if config.score.every % config.checkpoint_every:
        near = max(round(config.score.every / config.checkpoint_every), 1) * config.checkpoint_every
        raise UserError(
            f"score.every {config.score.every} is no multiple of checkpoint_every {config.checkpoint_every}, and what is not "
            f"saved cannot be kept as the best; {near} is"
        )
    expected_scores(config)
    profile_range(config)


def profile_range(config: ml_collections.ConfigDict) -> range:
    """The rounds that profile_steps names, the last excluded; empty if none."""
    if not config.profile_steps:
        return range(0)
    start, _, stop = config.profile_steps.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and max(len(start), len(stop)) < 10 and int(start) < int(stop)):
        raise UserError(f"profile_steps {config.profile_steps!r} is not START:STOP in rounds, such as 100:105")
    return range(int(start), int(stop))


def expected_scores(config: ml_collections.ConfigDict) -> tuple[tuple[int, float], ...]:
    """stability.expected as (round, score) pairs, in order of rounds. Raises UserError."""
    text = config.stability.expected
    try:
        pairs = [pair.split(":") for pair in text.split(",") if text]
        found = tuple(sorted((int(round_), float(score)) for round_, score in pairs))
        if not all(math.isfinite(score) for _, score in found):
            raise ValueError("a score is no number")
        return found
    except ValueError as error:
        raise UserError(
            f"stability.expected {text!r} is not ROUND:SCORE,ROUND:SCORE, such as 300:600,600:200"
        ) from error


def of_run(workdir: str) -> ml_collections.ConfigDict:
    """The config of a run's folder. Raises UserError if there is none."""
    path = epath.Path(workdir) / "config.json"
    if not workdir or not path.exists():
        raise UserError(f"{path} does not exist; name the folder of a run, as in --config=finetune:runs/converted")
    return of_file(path)


def of_file(path: epath.PathLike) -> ml_collections.ConfigDict:
    """The config of a JSON file, whole or only what differs from the defaults. Nothing in it is run. Raises UserError."""
    if not path:
        raise UserError(
            "--config_json names no file; give a run's config.json, or one with the keys that differ from the defaults"
        )
    return from_plain(plain.read(path), str(path))


def config_path(name: str) -> pathlib.Path:
    """The file of a config that ships with the package, by its name, with or without its folder. Raises UserError."""
    package = pathlib.Path(__file__).parent
    # Installed from a wheel it lies in the package; in a checkout beside it.
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    known = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("[a-z]*.py"))}
    wanted = name.removesuffix(".py").removeprefix("configs/")
    for known_name, path in known.items():
        if wanted in (known_name, path.stem):
            return path
    near = difflib.get_close_matches(wanted, [*known, *(path.stem for path in known.values())], 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(
        f"config {name!r} is neither a file nor a config that ships with the package; {hint}known: {', '.join(known)}"
    )


def load(name: str) -> ml_collections.ConfigDict:
    """The config of a file, or of a name of one that ships with the package; `NAME:ARGUMENT` for one that takes an argument."""
    name, _, argument = name.partition(":")
    path = pathlib.Path(name) if name.endswith(".py") and pathlib.Path(name).exists() else config_path(name)
    try:
        get_config = runpy.run_path(str(path))["get_config"]
        config = get_config(argument) if argument else get_config()
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError("get_config must return a ConfigDict")
        return config
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the config file {path} failed with {type(error).__name__}: {error}") from error


def differences(a: dict, b: dict) -> dict[str, tuple]:
    """Which keys differ between two configs, as {dotted key: (value in a, value in b)}; None where one lacks it."""
    a, b = (flatten(json.loads(to_json(c))) for c in (a, b))
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def flatten(tree: dict, prefix: str = "") -> dict:
    """{'model': {'ch': 96}} to {'model.ch': 96}."""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def to_json(config: ml_collections.ConfigDict | dict) -> str:
    """The resolved config as JSON text; tuples become lists."""
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    return json.dumps(tree, indent=2, sort_keys=True)


def from_json(text: str) -> ml_collections.ConfigDict:
    """The config that `to_json` wrote, upon today's defaults: keys that it lacks have their default. Raises UserError."""
    return from_plain(plain.parse(text, "the stored config"), "the stored config")


def from_plain(given: Any, where: str) -> ml_collections.ConfigDict:
    """The config of plain data, nested or by dotted keys, upon today's defaults, whose types are those allowed.

    Raises UserError, which calls it `where`, for a key that is not known, or a value of another type.
    """
    config = base()
    for key, value in plain.laid_upon(flatten(config.to_dict()), given, where).items():
        _set(config, key, value)
    return config


def main() -> int:
    """`python -m biggan_jax.config diff A B`: the keys in which two configs differ, and each one's value; exits 1 if any."""
    if len(sys.argv) != 4 or sys.argv[1] != "diff":
        print("usage: python -m biggan_jax.config diff A B", file=sys.stderr)
        return 2
    try:
        changed = differences(*(load(name).to_dict() for name in sys.argv[2:]))
    except UserError as error:
        print(f"config: error: {error}", file=sys.stderr)
        return 2
    widths = [max([len(str(row[i])) for row in _rows(changed)], default=0) for i in range(2)]
    for key, a, b in _rows(changed):
        print(f"{key:{widths[0]}}  {a:{widths[1]}}  {b}")
    return 1 if changed else 0


def _rows(changed: dict[str, tuple]) -> list[tuple[str, str, str]]:
    return [(key, *(json.dumps(value) for value in values)) for key, values in changed.items()]


def _set(config: ml_collections.ConfigDict, key: str, value) -> None:
    *path, last = key.split(".")
    for name in path:
        config = config[name]
    config[last] = value


if __name__ == "__main__":
    raise SystemExit(main())
