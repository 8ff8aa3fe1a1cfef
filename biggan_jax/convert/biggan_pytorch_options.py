"""Options of BigGAN-PyTorch that have no counterpart here: refused, or named as a difference."""

import logging
from collections.abc import Callable

from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

Run = dict
"""The options of one run by their names there, as its state_dict.pth stores them; empty if that file is absent."""


def _half_precision(run: Run) -> bool:
    return any(run.get(f"{who}_{how}") for who in "GD" for how in ("fp16", "mixed_precision"))


DIFFERENCES: dict[str, Callable[[Run], bool]] = {
    "split_D: D saw real and fake images apart, and its u advanced twice per update; here once": (
        lambda run: run.get("split_D", False)
    ),
    "G_batch_size: updates of G had another number of images than those of D; here both have batch_size": (
        lambda run: run.get("G_batch_size", 0) not in (0, run.get("batch_size", 0))
    ),
    "norm_style in: training normalised each image alone; here the batch, so sample with --statistics=running": (
        lambda run: run.get("norm_style", "bn") == "in"
    ),
    "mybn: running variances were biased; here they are unbiased": lambda run: run.get("mybn", False),
    "parallel without cross_replica: each GPU normalised its own images; here batch norm has all of a microbatch": (
        lambda run: run.get("parallel", False) and not run.get("cross_replica", False)
    ),
    "half precision: weights and activations here are float32, unless dtype is set": _half_precision,
    "augment: images were cropped and flipped at random; set data.flip for flips": (
        lambda run: run.get("augment", False)
    ),
}
"""What differs in further training, or in sampling, and whether a run had it."""

SYNCHRONIZED = (
    "cross_replica: gains of batch norm multiply here, as in training on several GPUs; BigGAN-PyTorch's evaluation, "
    "and its training on one GPU, add them instead, so its own images of these weights differ"
)


def refuse_unsupported(run: Run, where: str) -> None:
    """Raise UserError for a run whose networks do not exist here. where: names the run."""
    for name in ("G_nl", "D_nl"):
        if run.get(name, "relu") not in ("relu", "inplace_relu"):
            raise UserError(f"{where} was trained with {name} {run[name]}; networks here support only ReLU")
    if run.get("norm_style", "bn") not in ("bn", "in"):
        raise UserError(f"{where} was trained with norm_style {run['norm_style']}; bn is supported, and in")
    depths = run.get("G_depth", 1), run.get("D_depth", 1)
    if run.get("model") == "BigGANdeep" and depths[0] != depths[1]:
        raise UserError(f"{where} has G_depth {depths[0]}, but D_depth {depths[1]}; here G and D share model.depth")


def name_differences(run: Run, where: str, *, synchronized: bool, bn_eps: float | None, sn_eps: float | None) -> None:
    """Log the options of the run that differ here.

    synchronized: whether the run has cross_replica's batch norm. bn_eps, sn_eps: as given by the user, or None.
    """
    found = [sentence for sentence, applies in DIFFERENCES.items() if applies(run)]
    for sentence in found + [SYNCHRONIZED] * synchronized:
        logger.warning("%s: %s", where, sentence)
    for flag, given, stored, assumed in (("bn_eps", bn_eps, "BN_eps", 1e-5), ("sn_eps", sn_eps, "SN_eps", 1e-6)):
        if given is None and stored not in run:
            logger.warning(
                "%s does not tell %s: %g as in the launch scripts; --%s sets another", where, stored, assumed, flag
            )
