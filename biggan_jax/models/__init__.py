"""The families of GANs by name, and how a config becomes a model."""

from collections.abc import Callable

import ml_collections
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax.family import Family
from biggan_jax.models import (
    biggan,
    biggan_deep,
    cgan,
    cogan,
    cyclegan,
    dcgan,
    freeze,
    gan,
    pix2pix,
    progan,
    r3gan,
    sagan,
    sngan,
    stylegan,
    stylegan2,
    text_to_image,
    vgan,
    wgan,
    wgan_gp,
)

Build = Callable[[ml_collections.ConfigDict, Mesh | None], Family]

FAMILIES: dict[str, Build] = {
    "biggan": biggan.build,
    "biggan_deep": biggan_deep.build,
    "gan": gan.build,
    "cgan": cgan.build,
    "dcgan": dcgan.build,
    "wgan": wgan.build,
    "wgan_gp": wgan_gp.build,
    "sngan": sngan.build,
    "sagan": sagan.build,
    "r3gan": r3gan.build,
    "progan": progan.build,
    "stylegan": stylegan.build,
    "stylegan2": stylegan2.build,
    "cogan": cogan.build,
    "cyclegan": cyclegan.build,
    "pix2pix": pix2pix.build,
    "vgan": vgan.build,
    "text_to_image": text_to_image.build,
}
"""Name to build(config, mesh). A new family is a file, a section of defaults in config/families.py, and a line here."""


def register(name: str, build: Build, section: configs.Section) -> None:
    """Add a family: `build` makes the model, `section` returns the keys of config.model; see docs/adding_a_gan.md."""
    FAMILIES[name] = build
    configs.register(name, section)


def build_gan(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> Family:
    """The model that `config` describes. mesh: the devices over which its steps are split. Raises UserError.

    Equal configs give the same object, and so share what jit has compiled for it.
    """
    build = configs.choose(FAMILIES, "model.family", config.model.family)
    key = configs.to_json(config), mesh, build
    if key not in _built:
        config = config.copy_and_resolve_references()
        configs.resolve(config)
        _built[key] = freeze.freeze_d(build(config, mesh), config)
    return _built[key]


_built: dict[tuple, Family] = {}
