"""Write a trained G as a model to hand on: weights, config, card, sums."""

import pathlib
from typing import Any

import biggan_jax
from biggan_jax.checkpoint import TrainedGenerator, exported
from biggan_jax.sampling import training_data
from biggan_jax.tools.classes import find_names
from biggan_jax.tools.export.card import card


def write(folder: pathlib.Path, trained: TrainedGenerator, name: str) -> None:
    """Write the model into an empty folder. name: its title in the card."""
    names = find_names(trained)
    data: dict[str, Any] = {"class_names": list(names)} if names else {}
    data["dtype"] = "uint16" if training_data.bits_of(trained) == 16 else "uint8"
    for file, content in exported.contents(trained, data, biggan_jax.__version__).items():
        (folder / file).write_bytes(content)
    (folder / exported.CARD).write_text(card(trained, name, names))
