# ruff: noqa: F401
"""Augmentation of the images that D sees: DiffAugment; ADA and APA, with a probability."""

from biggan_jax.augment.ada import GROUPS, Ada
from biggan_jax.augment.apa import replace
from biggan_jax.augment.diffaugment import POLICIES, apply, colour, cutout, translate
from biggan_jax.augment.probability import STATE, Probability
