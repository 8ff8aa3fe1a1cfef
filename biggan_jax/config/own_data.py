"""What `--config=auto` chooses for a prepared set of pictures: the tables, and the rule that reads them.

Sources. Rows say in brackets what they equal:
    small128, imagenet*, quickstart: the presets of these names. Those of BigGAN at 64 to 512 pixels are the paper's networks
        (Brock et al. 2019, App. B). quickstart's learning rates were chosen by runs on digits; small128 is not measured.
    StudioGAN: its recipe of BigGAN on CIFAR-10, 50,000 pictures, and of BigGAN with batch 256 on ImageNet.
    DiffAugment: Zhao et al. 2020 improve BigGAN on CIFAR-10, whole and in parts; its three operations.
    ADA: Karras et al. 2020 find that augmentation helps below about 100,000 pictures (Fig. 7 and Sec. 4), and batches of at most
        4096 / resolution images per device fit (the setting `auto` of their published code).
What has no source is a choice: the bounds between rows, and the numbers of steps below 1,000 pictures and on CPUs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_collections

from biggan_jax.config.defaults import base, table
from biggan_jax.config.keys import AUTO_OF_TYPE, flatten, is_auto
from biggan_jax.errors import UserError


class Facts(NamedTuple):
    """What is known of a prepared set. shape: of its pictures; of whole files, the median. stored: as pixels of that shape."""

    images: int
    classes: int
    shape: tuple[int, int, int]
    stored: bool = True
    condition: int = 0
    resize: str = "area"
    where: str = "the set"


class Scale(NamedTuple):
    """Settings by the number of pictures, or for CPUs."""

    ch: int
    batch_size: int
    num_steps: int
    policy: tuple[str, ...]  # augment.policy; CPUs have that of the number of pictures.
    g_lr: float = 1e-4
    d_lr: float = 4e-4
    b2: float = 0.999
    ema: float = 0.999


DIFFAUGMENT = ("colour", "translation", "cutout")

BY_IMAGES = {
    1_000: Scale(32, 64, 20_000, DIFFAUGMENT),
    10_000: Scale(64, 64, 50_000, DIFFAUGMENT),  # [small128]
    100_000: Scale(96, 64, 100_000, DIFFAUGMENT),  # [StudioGAN's CIFAR-10]
    2**62: Scale(96, 256, 150_000, (), ema=0.9999),  # [StudioGAN's batch of 256; the paper's steps and average]
}
"""Settings on GPUs and TPUs, for sets of fewer pictures than this."""

ON_CPU = Scale(16, 32, 5_000, DIFFAUGMENT, 4e-4, 8e-4, 0.99, 0.99)  # [quickstart; a run of hours]


class Size(NamedTuple):
    """Settings by resolution. most: images per device at a time."""

    dim_z: int
    g_attention: tuple[int, ...]
    d_attention: tuple[int, ...]
    most: int


BY_SIZE = {
    16: Size(60, (), (), 32),  # [quickstart]
    32: Size(80, (), (), 32),  # [biggan_cifar10]
    64: Size(120, (64,), (), 32),  # [imagenet64]
    128: Size(120, (64,), (64,), 32),  # [imagenet128]
    256: Size(140, (128,), (64,), 16),  # [imagenet256]
    512: Size(160, (64,), (64,), 8),  # [imagenet512]
}

LARGE = 1_000_000  # Pictures from which the paper's presets are recommended.
PER_CLASS = 10  # Pictures per class, in the mean, below which classes are not used.
WHOLE_FILES = 128  # The largest resolution that is chosen for whole files, as `prepare` recommends.
OTHER_HEIGHTS = 32, 64, 128, 256, 512  # Of the networks for pictures that BigGAN does not make: SNGAN's.

RECIPE = {"d_steps": 2, "data.name": "tfds", "data.flip": True}
"""What holds for all sets. data.flip and batch size's two updates of D are those of small128."""

Chosen = Iterator[tuple[str, Any, str]]


def template() -> ml_collections.ConfigDict:
    """Return the config in which everything that depends on the set is `auto`."""
    config, keys = base(), table("biggan")
    config.update_from_flattened_dict(RECIPE)
    automatic = {name: AUTO_OF_TYPE[type(key.default)] for name, key in keys.items() if key.auto}
    config.update_from_flattened_dict({name: value for name, value in automatic.items() if name != "regularizer.r1"})
    return config


def unresolved(config: ml_collections.ConfigDict) -> list[str]:
    """Return the keys that only the data decide: those that are `auto`, but for regularizer.r1."""
    keys, values = table(config.model.family), flatten(config.to_dict())
    return [n for n, key in keys.items() if key.auto and is_auto(values.get(n)) and n != "regularizer.r1"]


def choose_for(
    config: ml_collections.ConfigDict, facts: Facts, devices: int, platform: str
) -> tuple[ml_collections.ConfigDict, list[str]]:
    """Return the config without `auto`, and a line for each choice. devices: of all hosts. platform: cpu, gpu or tpu.

    Raises UserError if no choice suits the set.
    """
    config, lines, left = config.copy_and_resolve_references(), [], {*unresolved(config)}
    if whole := "model.resolution" in left:
        if reason := _needs_other_networks(facts):
            config = _with_networks(config, "sngan")
            left |= {"model.image_shape", "model.condition_dim"}
        lines.append(f"model.family={config.model.family}: {reason or 'square RGB pictures'}")
    for key, value, why in _choices(config, facts, devices, platform, whole=whole):
        if key in left:
            config.update_from_flattened_dict({key: value})
            lines.append(f"{key}={_text(value)}: {why}")
    if whole and config.data.flip:
        lines.append("data.flip=True: mirrored pictures are taken for as real; set False for text, digits and the like")
    if whole and facts.images >= LARGE and config.model.family == "biggan":
        lines.append("batch_size: for sets of this size the paper has 2,048, in the presets biggan_imagenet64 to 512")
    return config, lines


def choose_again(config: ml_collections.ConfigDict, stored: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Return the config with the values of a stored one for all that is `auto`. Raises UserError."""
    left, values = {*unresolved(config)}, flatten(stored.to_dict())
    if stored.model.family != config.model.family:
        left |= {key for key in values if key.startswith("model.")} - _given(config).keys()
        config = _with_networks(config, stored.model.family)
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({key: values[key] for key in left & values.keys()})
    return config


def _choices(config: ml_collections.ConfigDict, facts: Facts, devices: int, platform: str, *, whole: bool) -> Chosen:
    """Yield (key, value, reason) of each choice. Choices read the config, which has those before and what was given.

    whole: also choose the size of the images.
    """
    count, cpu = f"{facts.images:,} pictures", platform == "cpu"
    below = next(bound for bound in BY_IMAGES if facts.images < bound)
    row = f"{count}, fewer than {below:,}" if below < 2**60 else count
    scale, row = (ON_CPU, "a run of hours on CPUs, as in the preset quickstart") if cpu else (BY_IMAGES[below], row)
    if whole:
        yield from _shape(config, facts)
    yield from conditioning(facts)
    size = BY_SIZE[_nearest_below(BY_SIZE, _height(config)) or min(BY_SIZE)]
    networks = f"the networks of {_height(config)} pixels"
    yield "model.ch", scale.ch, row
    if config.model.family != "sngan":
        yield "model.dim_z", size.dim_z, networks
        for key, value in (("model.g_attention", size.g_attention), ("model.d_attention", size.d_attention)):
            yield key, () if cpu else value, "attention is slow on CPUs" if cpu and value else networks
    yield from _batch(config, facts, scale, size, devices, row)
    yield "num_steps", scale.num_steps, row
    rates = f"for batches of {scale.batch_size}; the preset {'quickstart' if cpu else 'biggan_small128'}"
    yield "optimizer.g_lr", scale.g_lr, rates
    yield "optimizer.d_lr", scale.d_lr, rates
    yield "optimizer.b2", scale.b2, rates
    yield "ema.decay", scale.ema, f"for {scale.num_steps:,} steps"
    yield "augment.policy", BY_IMAGES[below].policy, f"D would overfit {count}" if below < 2**60 else f"{count} suffice"
    yield "data.resize", facts.resize, "as the set was prepared" if facts.stored else "the default"


def _shape(config: ml_collections.ConfigDict, facts: Facts) -> Chosen:
    """Yield the size of the images."""
    height, width, channels = facts.shape
    pixels = f"{height} x {width}" if facts.stored else f"files of about {height} x {width}"
    if config.model.family == "sngan":
        tall = _nearest_below(OTHER_HEIGHTS, height if facts.stored else min(height, width, WHOLE_FILES))
        wide = width * tall // height // 32 * 32 if facts.stored else tall
        if not tall or not wide:
            what = f"pictures of {pixels} pixels with {channels} channel{'s' * (channels != 1)}"
            raise UserError(
                f"{facts.where} has {what}, for which --config=auto has no networks; prepare them with --size=HxW, H one of "
                f"{', '.join(map(str, OTHER_HEIGHTS))} and W a multiple of 32, or use --config=classic/gan_mnist"
            )
        yield "model.image_shape", (tall, wide, channels), f"pictures of {pixels} pixels, {channels} channels"
        return
    side = min(height, width) if facts.stored else min(height, width, WHOLE_FILES)
    size = _nearest_below(BY_SIZE, side)
    if not size:
        raise UserError(
            f"{facts.where} has pictures of {pixels} pixels; --config=auto needs {min(BY_SIZE)} or more: prepare them with "
            f"--size={min(BY_SIZE)}"
        )
    other = f"; networks have {', '.join(map(str, BY_SIZE))}" if size != side else ""
    yield "model.resolution", size, f"pictures of {pixels} pixels{other}"


def conditioning(facts: Facts) -> Chosen:
    """Yield (key, value, reason) of model.num_classes, then, if the set has a condition, of its length."""
    mean = facts.images / max(facts.classes, 1)
    if facts.condition:
        yield "model.num_classes", 0, "the set has a condition of real numbers"
        yield "model.condition_dim", facts.condition, "the length of the set's condition"
    elif facts.classes < 2:
        yield "model.num_classes", 0, "the set has no classes, or one"
    elif mean < PER_CLASS:
        few = f"{mean:.2g} pictures per class are too few to learn classes from, below {PER_CLASS}"
        yield "model.num_classes", 0, f"{few}; to use them, set model.num_classes={facts.classes}"
    else:
        yield "model.num_classes", facts.classes, "the classes of the set"


def _batch(config: ml_collections.ConfigDict, facts: Facts, scale: Scale, size: Size, devices: int, row: str) -> Chosen:
    """Yield the batch, a multiple of the devices and no larger than the set, and its parts."""
    if facts.images < devices:
        raise UserError(
            f"{facts.where} has {facts.images:,} pictures, fewer than the {devices} devices; use fewer devices or add pictures"
        )
    wanted = min(scale.batch_size, 2 ** (facts.images.bit_length() - 1))
    batch = max(wanted // devices, 1) * devices
    why = row if batch == scale.batch_size else f"{facts.images:,} pictures on {devices} devices"
    yield "batch_size", batch, why
    share = max(config.batch_size // devices, 1)
    parts = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= size.most)
    yield "microbatches", parts, f"at most {size.most} images per device at {_height(config)} pixels, for its memory"


def _needs_other_networks(facts: Facts) -> str:
    """Return why BigGAN does not make such pictures; "" if it does."""
    height, width, channels = facts.shape
    if channels != 3:
        return f"BigGAN makes RGB pictures, and these have {channels} channel{'s' * (channels != 1)}"
    if facts.stored and height != width:
        return f"BigGAN makes square pictures, and these have {height} x {width} pixels"
    return "BigGAN takes classes, and these have a condition of real numbers" if facts.condition else ""


def _with_networks(config: ml_collections.ConfigDict, family: str) -> ml_collections.ConfigDict:
    """Return the config with another family's networks, and all that was given. Raises UserError for keys that they lack."""
    ours, values = base(family), flatten(config.to_dict())
    given = _given(config)
    if unknown := sorted(given.keys() - flatten(ours.to_dict()).keys()):
        raise UserError(f"auto takes family {family} for these pictures, which has no key {unknown[0]}; leave it out")
    ours.update_from_flattened_dict({k: v for k, v in values.items() if not k.startswith("model.")} | given)
    return ours


def _given(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the keys of `model` that differ from those of `--config=auto`."""
    start = flatten(template().to_dict())
    own = {key: value for key, value in flatten(config.to_dict()).items() if key.startswith("model.")}
    return {key: value for key, value in own.items() if value != start.get(key)}


def _height(config: ml_collections.ConfigDict) -> int:
    return config.model.resolution if "resolution" in config.model else config.model.image_shape[0]


def _nearest_below(sizes: Any, size: int) -> int:
    """Return the largest of sizes that is at most `size`; 0 if all are larger."""
    return max((known for known in sizes if known <= size), default=0)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) or "()" if isinstance(value, tuple) else str(value)
