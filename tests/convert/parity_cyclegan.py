"""Distances of our translators and their updates from recordings of pytorch-CycleGAN-and-pix2pix; see parity."""

import functools
import re
from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from biggan_jax import gradients
from biggan_jax.convert import cyclegan
from biggan_jax.family import Network
from biggan_jax.losses import LOSSES
from biggan_jax.models.cyclegan import CycleGAN
from biggan_jax.models.optimizers import adam
from biggan_jax.models.pix2pix import Pix2Pix
from biggan_jax.state import init_state
from biggan_jax.train_step import apply_update
from tests.convert.recordings import Comparison, load, to_nchw, to_nhwc, under

PEER = "junyanz/pytorch-CycleGAN-and-pix2pix"
LOSS = {"lsgan": ("least_squares", 2.0, 1.0), "vanilla": ("non_saturating", 1.0, 0.5)}
"""The peer's loss to ours, with the strengths of G's and of D's that make them equal."""


def apply(module, network, x, train):
    """Return (output, batch statistics after it)."""
    stats = network.get("batch_stats")
    variables = {"params": network["params"]} | ({"batch_stats": stats} if stats else {})
    if not (stats and train):
        return module.apply(variables, x, train=train), {}
    out, moved = module.apply(variables, x, train=True, mutable=["batch_stats"])
    return out, moved["batch_stats"]


def map_or_image(out):
    """An image or a map of logits, as recorded."""
    return to_nchw(out if out.ndim == 4 else out[..., None])


def network_comparison(path) -> Comparison:
    """Compare the outputs and gradients of one network."""
    arrays, meta = load(path)
    state = under("state/", arrays)
    module = cyclegan.module_of(meta["model"], **meta["kwargs"])
    network = cyclegan.read_network(module, state, path.stem)
    assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == meta["params"]
    found, x = Comparison(arrays, meta), to_nhwc(arrays["x"])
    cotangent = to_nhwc(arrays["cotangent"])

    @jax.jit
    def passes(network, x):
        def weighed(params, x):
            out, moved = apply(module, network | {"params": params}, x, True)
            return (out.reshape(cotangent.shape) * cotangent).sum(), (out, moved)

        grads, (out, moved) = jax.grad(weighed, argnums=(0, 1), has_aux=True)(network["params"], x)
        return apply(module, network, x, False)[0], out, moved, grads

    evaluated, out, moved, (grads, slope) = passes(network, x)
    found.outputs("evaluation", {"out_eval": map_or_image(evaluated)})
    found.outputs("training", {"out_train": map_or_image(out)})
    found.outputs("statistics", cyclegan.named(module, {"batch_stats": moved}), "after_train/")
    found.gradients("gradients", cyclegan.named(module, {"params": grads}), "grad/")
    found.gradients("gradients", {"grad_x": to_nchw(slope)})
    return found


def gan_of(meta, arrays):
    """Return (GAN, its state) of a recorded training, with the recorded first weights."""
    options = meta["defaults"] | meta["options"]
    changed, size = meta["replaced_generator"], meta["batch"]
    channels = {"input_nc": options["input_nc"], "output_nc": options["output_nc"]}
    common = {"norm": options["norm"]}
    dropout = {"use_dropout": not options["no_dropout"]}
    make_g = lambda: cyclegan.module_of(
        changed["kind"], **channels, **common, **dropout, ngf=options["ngf"], **changed["kw"]
    )
    paired = meta["model"] == "Pix2PixModel"
    seen = channels["output_nc"] + (channels["input_nc"] if paired else 0)
    make_d = lambda: cyclegan.module_of(
        "NLayerDiscriminator", input_nc=seen, ndf=options["ndf"], n_layers=options["n_layers_D"], **common
    )
    own = SimpleNamespace(b1=options["beta1"], b2=0.999, eps=1e-8)
    shape = to_nhwc(arrays["A"][0]).shape[1:]
    example = lambda channels: lambda key: (jnp.zeros((1, *shape[:2], channels)),)
    network = lambda module, channels: Network(module, adam(options["lr"], own), example(channels))
    name, g_weight, d_weight = LOSS[options["gan_mode"]]
    names = ("G", "D") if paired else ("G_A", "G_B", "D_A", "D_B")
    networks = {
        name: network(make_g(), channels["input_nc"]) if name[0] == "G" else network(make_d(), seen) for name in names
    }
    if paired:
        gan = Pix2Pix(
            networks=networks,
            averaged=(),
            image_shape=shape,
            loss=LOSSES[name],
            d_weight=d_weight,
            l1=options["lambda_L1"],
        )
    else:
        gan = CycleGAN(
            networks=networks,
            averaged=(),
            sampled="G_A",
            image_shape=shape,
            loss=LOSSES[name],
            g_weight=g_weight,
            d_weight=d_weight,
            cycle_a=options["lambda_A"],
            cycle_b=options["lambda_B"],
            identity=options["lambda_identity"],
            pool=options["pool_size"],
            batch_size=size,
        )
    state = init_state(gan, 0)
    initial = {
        name: cyclegan.read_network(gan.networks[name].module, under(f"init/{name}/", arrays), name) for name in names
    }
    filled = {
        name: network.replace(
            params=initial[name]["params"],
            variables={"batch_stats": initial[name]["batch_stats"]} if "batch_stats" in initial[name] else {},
        )
        for name, network in state.networks.items()
    }
    return gan, state.replace(networks=filled)


def steps_of(gan) -> list[Callable]:
    """Return each update as (state, batch) to ((state, metrics), gradients)."""
    key = jax.random.key(0)

    def step_of(update):
        def step(state, batch):
            batch = batch | update.draw(key, len(batch["image"]))
            result = apply_update(gan, update, state, batch, key)
            return result, gradients.accumulate(gan, update, state, batch, key)[0]

        return jax.jit(step)

    return [step_of(update) for update in gan.updates()]


def training_comparison(path) -> Comparison:
    """Repeat recorded training from its first weights and batches; compare losses, gradients and weights."""
    arrays, meta = load(path)
    gan, state = gan_of(meta, arrays)
    steps = steps_of(gan)
    options, found, ours = meta["defaults"] | meta["options"], Comparison(arrays, meta), {}
    paired = meta["model"] == "Pix2PixModel"
    skipped = re.compile("|".join(map(re.escape, meta.get("weights_rounding_dominated") or ["\n"])))
    for it in range(meta["steps"]):
        batch = batch_of(arrays, it)
        if not it:
            images = jax.jit(functools.partial(images_of, gan))(state, batch)
            found.outputs("images", {name: to_nchw(image) for name, image in images.items()}, "image_it0/")
        for step in steps:
            (state, metrics), grads = step(state, batch)
            for name in grads if not it else ():
                own = cyclegan.named(gan.networks[name].module, {"params": grads[name]})
                found.gradients("gradients", own, f"grad_it0/{name}/")
            ours |= {f"loss/{it}/{peer}": metrics[own] for own, peer in losses_of(paired).items() if own in metrics}
        for name, network in state.networks.items():
            tree = {"params": network.params} | dict(network.variables)
            named = cyclegan.named(gan.networks[name].module, tree)
            prefix = f"after{it + 1}/{name}/"
            for skip in [key for key in named if skipped.fullmatch(prefix + key)]:
                named.pop(skip)
                found.compared.add(prefix + skip)
            limit = 2 * options["lr"] * meta["steps"]
            found.weights(
                f"{name} weights", {k: v for k, v in named.items() if "running" not in k}, prefix, furthest=limit
            )
            found.outputs(f"{name} statistics", {k: v for k, v in named.items() if "running" in k}, prefix)
    found.losses("losses", ours)
    return found


def batch_of(arrays, it: int) -> dict:
    """Return the batch of a recorded step."""
    return {"image": to_nhwc(arrays["A"][it]), "other": to_nhwc(arrays["B"][it])}


def losses_of(paired: bool) -> dict[str, str]:
    """Our metrics to the peer's names."""
    if paired:
        return {"g_adversarial": "G_GAN", "g_l1": "G_L1", "d_loss_real": "D_real", "d_loss_fake": "D_fake"}
    names = {"g_G_A": "G_A", "g_G_B": "G_B", "g_cycle_A": "cycle_A", "g_cycle_B": "cycle_B", "g_idt_A": "idt_A"}
    return names | {"g_idt_B": "idt_B", "d_D_A": "D_A", "d_D_B": "D_B"}


def images_of(gan, state, batch) -> dict:
    """Return the first step's images, by the peer's names."""
    draw = lambda name, x: apply(
        gan.networks[name].module,
        {"params": state.networks[name].params} | dict(state.networks[name].variables),
        x,
        True,
    )[0]
    a, b = batch["image"], batch["other"]
    if "G" in gan.networks:
        return {"fake_B": draw("G", a)}
    fake_b, fake_a = draw("G_A", a), draw("G_B", b)
    again = {
        "rec_A": draw("G_B", fake_b),
        "rec_B": draw("G_A", fake_a),
        "idt_A": draw("G_A", b),
        "idt_B": draw("G_B", a),
    }
    return {"fake_A": fake_a, "fake_B": fake_b} | again
