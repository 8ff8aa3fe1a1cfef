"""Open the networks of a checkout of ajbrock/BigGAN-PyTorch, for benchmarks that run in an environment with torch."""

import pathlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock


class Opened(NamedTuple):
    """The networks, the modules `utils` and `train_fns`, and the settings that all of its functions take."""

    G: Any
    D: Any
    joined: Any
    utils: ModuleType
    train_fns: ModuleType
    config: dict[str, Any]


def open_networks(folder: pathlib.Path, flags: Sequence[str], changes: dict[str, Any], device: str = "cpu") -> Opened:
    """Build G and D with flags of its train.py and changes of its settings."""
    # It imports these to read image files and to draw sheets, which no one does here.
    for name in ("datasets", "torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, mock.MagicMock())
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    import BigGAN
    import train_fns
    import utils

    config = vars(utils.prepare_parser().parse_args(list(flags))) | changes
    config |= {f"{net}_activation": utils.activation_dict[config[f"{net}_nl"]] for net in "GD"}
    utils.seed_rng(config["seed"])
    G, D = BigGAN.Generator(**config).to(device), BigGAN.Discriminator(**config).to(device)
    return Opened(G, D, BigGAN.G_D(G, D), utils, train_fns, config)


def average_of(opened: Opened, decay: float, start: int) -> tuple[Any, Any]:
    """Return a G for averages of weights, and what moves it."""
    average = type(opened.G)(**{**opened.config, "skip_init": True, "no_optim": True})
    return average, opened.utils.ema(opened.G, average, decay, start)


def training_function(opened: Opened, latents: tuple[Any, Any], ema: Any, state: dict[str, int]) -> Any:
    """Return its function of images and labels that makes a step."""
    make = opened.train_fns.GAN_training_function
    return make(opened.G, opened.D, opened.joined, *latents, ema, state, opened.config)
