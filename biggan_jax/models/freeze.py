"""FreezeD: blocks of D that stay as they were in fine-tuning (Mo et al. 2020)."""

import dataclasses
import re

import jax
import ml_collections

from biggan_jax.family import Family, Network
from biggan_jax.types import UserError


def freeze_d(family: Family, config: ml_collections.ConfigDict) -> Family:
    """Return the family whose D keeps its first config.freeze_d blocks, as seen from the image. Raises UserError."""
    count = config.freeze_d
    if not count:
        return family
    if not config.init_from:
        raise UserError(f"freeze_d={count} needs init_from, a run whose D has learned, as with --config=finetune:DIR")
    if "D" not in family.networks:
        raise UserError(f"freeze_d={count}: model.family {config.model.family} has no network D")
    found = blocks(family.networks["D"])
    if count > len(found):
        raise UserError(f"freeze_d={count}: D has {len(found)} blocks besides its head; freeze at most so many")
    frozen = tuple(name for block in found[:count] for name in block)
    networks = {**family.networks, "D": dataclasses.replace(family.networks["D"], frozen=frozen)}
    return dataclasses.replace(family, networks=networks)


def blocks(network: Network) -> list[list[str]]:
    """Return the names of a network's modules in the order in which they are applied, by block, without the head.

    Modules with the same first number are a block, together with unnumbered ones before the first; those behind the last are
    the head. Without any numbers, each module is a block, and the last is the head.
    """
    order: list[str] = []

    def init(key: jax.Array):
        # jax sorts the names of what a traced function returns.
        order.extend(network.module.init(key, *network.example(key), **network.mode(True))["params"])
        return key

    jax.eval_shape(init, jax.random.key(0))
    numbers = [re.search(r"\d+", name) for name in order]
    if not any(numbers):
        return [[name] for name in order[:-1]]
    first = next(i for i, number in enumerate(numbers) if number)
    found: dict[str, list[str]] = {}
    for i, (name, number) in enumerate(zip(order, numbers, strict=True)):
        if number or i < first:
            found.setdefault((number or numbers[first])[0], []).append(name)
    return list(found.values())
