"""Distances of our ProGAN, its losses, real images and schedule from recordings of tkarras/progressive_growing_of_gans; see parity."""

import dataclasses
import functools
import re
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax import penalties, regularizers
from biggan_jax.config import base
from biggan_jax.family import Moving, Nets
from biggan_jax.growth import Growth
from biggan_jax.layers.resample import upsample
from biggan_jax.models import build_gan, growing
from biggan_jax.state import init_shapes
from biggan_jax.terms import logit_of
from biggan_jax.train_step import to_float
from tests.convert.recordings import Comparison, load, to_nchw, to_nhwc, under

PEER = "tkarras/progressive_growing_of_gans"

SHARED = {"num_channels": 1, "resolution": 32, "label_size": 0, "fmap_base": 8192, "fmap_max": 512, "fused_scale": True}
OWN = {"G": {"latent_size": None}, "D": {"mbstd_group_size": 4}}
"""Arguments of the peer's networks that a comparison reads, and their defaults there."""

FIXED = {"fmap_decay": 1.0, "use_wscale": True, "use_leakyrelu": True, "use_pixelnorm": True, "normalize_latents": True}
FIXED |= {
    "pixelnorm_epsilon": 1e-8,
    "dtype": "float32",
    "tanh_at_end": None,
    "is_template_graph": False,
    "structure": None,
}
"""Arguments that must have these values, or be absent. The peer's structures give the same."""

LOSSES = {"G": {"cond_weight"}, "D": {"wgan_lambda", "wgan_epsilon", "wgan_target", "cond_weight"}}


def arguments_of(meta: dict, role: str) -> dict:
    """Return a network's arguments, with the peer's defaults where none was recorded."""
    given = dict(meta[f"{role}_kwargs"])
    for key, value in FIXED.items():
        own = given.pop(key, value)
        assert own == value or key == "structure" or not (own or value), (
            f"{role} has {key}={own}, which is not compared"
        )
    known = SHARED | OWN[role]
    assert not given.keys() - known.keys(), f"{role} has arguments without a comparison: {given.keys() - known.keys()}"
    return known | given


def loss_arguments_of(meta: dict, role: str) -> dict:
    """Return the recorded arguments of a network's loss; without, all are defaults."""
    given = meta.get(f"loss_kwargs_{role}") or {}
    assert not given.keys() - LOSSES[role], f"{role}'s loss has arguments without a comparison: {given}"
    return given


def config_of(meta: dict):
    """Return the config of recorded arguments."""
    g, d = (arguments_of(meta, role) for role in "GD")
    assert {key: g[key] for key in SHARED if key != "fused_scale"} == {
        key: d[key] for key in SHARED if key != "fused_scale"
    }
    c = base("progan")
    size, channels = g["resolution"], g["num_channels"]
    c.model.update(image_shape=(size, size, channels), num_classes=g["label_size"], start_size=4)
    c.model.update({key: g[key] for key in ("fmap_base", "fmap_max")})
    c.model.dim_z = g["latent_size"] or min(c.model.fmap_base, c.model.fmap_max)
    # G's form does not matter here; see entry_of.
    c.model.stddev_group, c.model.fused_scale = d["mbstd_group_size"] or 0, d["fused_scale"]
    of_g, of_d = loss_arguments_of(meta, "G"), loss_arguments_of(meta, "D")
    c.loss, c.d_steps, c.condition.labels = "wasserstein", 1, "real"
    c.batch_size = meta["batch"]
    c.regularizer.update(gp=of_d.get("wgan_lambda", 10.0), drift=of_d.get("wgan_epsilon", 0.001))
    c.regularizer.gp_target = of_d.get("wgan_target", 1.0)
    if c.model.num_classes:
        weight = of_d.get("cond_weight", 1.0)
        c.condition.update(d="ac", d_weight=weight, d_fake_weight=weight, g_weight=of_g.get("cond_weight", 1.0))
    return c


def entry_of(name: str, last: int):
    """Return (path of the peer's variable here, its array here, a gradient of ours there): functions of arrays."""
    scope, layer, kind = (*([""] * (2 - name.count("/"))), *name.split("/"))
    same, kernel = (lambda w: w), "kernel" if kind == "weight" else "bias"
    if match := re.fullmatch(r"(To|From)RGB_lod(\d+)", layer):
        return (f"{match[1].lower()}_image_{last - int(match[2])}", kernel), same, same
    size = int(scope.partition("x")[0])
    if size > 4:
        path = (f"block_{size.bit_length() - 3}", f"conv_{layer[4]}", kernel)
        if layer == "Conv0_up" and kind == "weight":  # The kernel of a transposed convolution.
            turn = lambda w: w[::-1, ::-1].swapaxes(2, 3)
            return path, turn, turn
        return path, same, same
    if layer == "Dense":
        if kind == "bias":
            return ("bias",), same, same
        here = lambda w: w.reshape(len(w), -1, 4, 4).transpose(0, 2, 3, 1).reshape(w.shape)
        return ("linear", kernel), here, lambda w: w.reshape(len(w), 4, 4, -1).transpose(0, 3, 1, 2).reshape(w.shape)
    path = {"Conv": "conv", "Dense0": "dense", "Dense1": "linear"}[layer], kernel
    if (layer, kind) != ("Dense0", "weight"):
        return path, same, same
    here = lambda w: w.reshape(-1, 4, 4, w.shape[1]).transpose(1, 2, 0, 3).reshape(w.shape)
    return path, here, lambda w: w.reshape(4, 4, -1, w.shape[1]).transpose(2, 0, 1, 3).reshape(w.shape)


def params_of(state: dict, last: int) -> dict:
    """Return the parameters here of the peer's variables."""
    found = {}
    for name, array in state.items():
        if name != "lod":
            path, here, _ = entry_of(name, last)
            found[path] = jnp.asarray(here(array))
    return unflatten_dict(found)


def named(tree: dict, names, last: int) -> dict:
    """Return a tree like a network's parameters by the peer's names."""
    flat, found = flatten_dict(tree), {}
    for name in names:
        path, _, there = entry_of(name, last)
        found[name] = there(np.asarray(flat[path]))
    return found


def groups(batch: int, size: int) -> np.ndarray:
    """Return the order in which the peer's groups of the minibatch deviation, every (B / size)-th image, are consecutive."""
    size = min(size or 1, batch)
    return np.arange(batch).reshape(size, -1).T.ravel()


def gradients(gan, params: dict, name: str, batch: dict, lod: float):
    """Return (loss, gradients) of an update of the GAN."""
    chosen = next(u for u in gan.updates() if u.trains == (name,))

    @jax.jit
    def of(params, batch, variables):
        def loss(own):
            moving = Moving(dict.fromkeys(params, variables), {}, 0)
            return chosen.loss(Nets(gan, {**params, name: own}, moving, jax.random.key(0)), batch, jax.random.key(1))[0]

        return jax.value_and_grad(loss)(params[name])

    return of(params, batch, variables_at(lod))


def variables_at(lod: float) -> dict:
    return {growing.COLLECTION: {"lod": jnp.float32(lod)}}


def lods(arrays: dict, pattern: str) -> list[tuple[str, float]]:
    """Return (prefix, level of detail) of what is recorded under `pattern`, which contains LOD."""
    found = {
        match[0]: float(match[1])
        for name in arrays
        if (match := re.match(pattern.replace("LOD", r"lod([\d.]+)/"), name))
    }
    return sorted(found.items())


@functools.cache
def compiled(module):
    """Return the compiled function of a module's variables and inputs."""
    return jax.jit(module.apply)


def applied(modules: dict, params: dict, lod: float):
    """Return the function of a role and its inputs to a network's output at a level of detail."""
    variables = variables_at(lod)
    return lambda role, *inputs: compiled(modules[role])({"params": params[role], **variables}, *inputs)


def compare_networks(found: Comparison, gan, params: dict) -> None:
    """Compare images and D's outputs at each recorded level of detail: of the whole networks, and of the stage's."""
    arrays, last = found.arrays, gan.growth.last
    z, x, y = arrays["latents"], to_nhwc(arrays["reals"]), arrays.get("labels")
    order = groups(len(x), gan.networks["D"].module.group)
    back = lambda values: np.asarray(values)[np.argsort(order)]
    modules = {role: network.module for role, network in gan.networks.items()}
    for prefix, lod in lods(arrays, "^LOD"):
        staged = {role: module.clone(stage=last - int(lod)) for role, module in modules.items()}
        for what, networks in (("", modules), (", stage", staged)):
            apply = applied(networks, params, lod)
            images = np.asarray(apply("G", z, y))
            found.outputs(f"G{what}", {f"{prefix}images": to_nchw(images)})
            for kind, seen in (("real", x), ("fake", images)):
                out = apply("D", seen[order], None)
                found.outputs(f"D{what}", {f"{prefix}scores_{kind}": back(logit_of(out))[:, None]})
                if y is not None:
                    found.outputs(f"D, classes{what}", {f"{prefix}labels_{kind}": back(out.classes)})


class Losses:
    """Compares losses, their terms and gradients. Inputs are in our order of groups, results in the peer's."""

    def __init__(self, found: Comparison, gan, params: dict, meta: dict):
        self.found, self.gan, self.params = found, gan, params
        self.of = {role: loss_arguments_of(meta, role) for role in "GD"}
        self.order = groups(len(found.arrays["reals"]), gan.networks["D"].module.group)
        self.modules = {role: network.module for role, network in gan.networks.items()}

    def input(self, name: str):
        """Return a recorded input, or None if it was not recorded."""
        return jnp.asarray(self.found.arrays[name])[self.order] if name in self.found.arrays else None

    def back(self, values) -> np.ndarray:
        return np.asarray(values)[np.argsort(self.order)]

    def cross(self, out, y) -> np.ndarray:
        """Return the cross entropy of D's classes, of each image."""
        return self.back(optax.softmax_cross_entropy(out.classes, y))

    def gradients(self, role: str, batch: dict, prefix: str, lod: float, terms: float) -> None:
        """Compare the mean loss and the gradients of an update."""
        loss, grads = gradients(self.gan, self.params, role, batch, lod)
        names = [name for name in under(f"state/{role}/", self.found.arrays) if name != "lod"]
        self.found.losses(f"{role}, losses", {f"{prefix}mean": loss}, terms=terms)
        self.found.gradients(f"{role}, gradients", named(grads, names, self.gan.growth.last), f"{prefix}grad/")

    def of_g(self, prefix: str, lod: float) -> None:
        z, y, apply = self.input("loss_G_latents"), self.input("loss_G_labels"), applied(self.modules, self.params, lod)
        out = apply("D", apply("G", z, y), y)
        each = -self.back(logit_of(out))
        if y is not None:
            each = each[:, None] + self.of["G"].get("cond_weight", 1.0) * self.cross(out, y)[None]
        terms = float(np.abs(each).max())
        self.found.losses("G, losses", {f"{prefix}per_sample": each}, terms=terms)
        label = jnp.zeros(len(z), jnp.int32) if y is None else y
        self.gradients("G", {"z": z, "fake_label": label}, prefix, lod, terms)

    def of_d(self, prefix: str, lod: float) -> None:
        own, apply = self.of["D"], applied(self.modules, self.params, lod)
        z, y = self.input("loss_D_latents"), self.input("labels")
        x = self.input("reals").transpose(0, 2, 3, 1)
        share = 1 - self.input("loss_D_mixing").ravel()  # Ours is that of the real image.
        fake = apply("G", z, y)
        mixed = penalties.mix(x, fake, share)
        outs = {kind: apply("D", images, y) for kind, images in (("real", x), ("fake", fake), ("mixed", mixed))}
        score = {kind: self.back(logit_of(out)) for kind, out in outs.items()}
        self.found.outputs("D, scores", {f"{prefix}{kind}_scores": values for kind, values in score.items()})
        logits = lambda x: logit_of(apply("D", x, y))
        norms = self.back(penalties.gradient_norms(logits, mixed))
        drift = {f"{prefix}epsilon_penalty": score["real"] ** 2}
        self.found.losses("D, terms", {f"{prefix}mixed_norms": norms} | drift)
        target = own.get("wgan_target", 1.0)
        rows = score["fake"] - score["real"] + own.get("wgan_epsilon", 0.001) * score["real"] ** 2
        columns = own.get("wgan_lambda", 10.0) / target**2 * (norms - target) ** 2
        if y is not None:
            classes = {kind: self.cross(outs[kind], y) for kind in ("real", "fake")}
            of_classes = {f"{prefix}label_penalty_{kind}s": values for kind, values in classes.items()}
            self.found.losses("D, terms", of_classes)
            columns = columns + own.get("cond_weight", 1.0) * (classes["real"] + classes["fake"])
        terms = float(max(np.abs(values).max() for values in (rows, columns, *score.values())))
        self.found.losses("D, losses", {f"{prefix}per_sample": rows[:, None] + columns[None]}, terms=terms)
        label = jnp.zeros(len(z), jnp.int32) if y is None else y
        batch = {"image": x, "label": label, "z": z, "fake_label": label}
        with mock.patch.object(regularizers, "_shares", lambda seen, key: share):
            self.gradients("D", batch, prefix, lod, terms)


def compare_reals(found: Comparison, gan) -> None:
    """Compare real images as a step sees them: uint8 of the stage's size, which the peer enlarges again."""
    for prefix, lod in lods(found.arrays, "^process_reals/LOD"):
        own = gan.growth
        staged = dataclasses.replace(gan, stage=own.last - int(lod))
        state = init_state_at(gan, lod)
        images = staged.real_images(to_float(jnp.asarray(to_nhwc(found.arrays[f"{prefix}x"]))), state)
        while images.shape[1] < gan.image_shape[0]:
            images = upsample(images)
        found.outputs("real images", {f"{prefix}y": to_nchw(images)})
        found.compared.add(f"{prefix}x")


def init_state_at(gan, lod: float):
    """Return a state whose D is at a level of detail; it has no weights."""
    shapes = init_shapes(gan)
    return shapes.with_networks(D=shapes.networks["D"].replace(variables=variables_at(lod)))


def schedule_of(kwargs: dict, resolution: int) -> Growth:
    """Return our schedule of the arguments of the peer's."""
    known = {"minibatch_base", "minibatch_dict", "lod_training_kimg", "lod_transition_kimg", "lod_initial_resolution"}
    of_gpus = {"max_minibatch_per_gpu", "num_gpus"}
    assert not kwargs.keys() - known - of_gpus, f"the schedule has arguments without a comparison: {kwargs}"
    by_size = lambda name: {int(size): value for size, value in kwargs.get(name, {}).items()}
    given, most, gpus = by_size("minibatch_dict"), by_size("max_minibatch_per_gpu"), kwargs.get("num_gpus", 1)
    sizes = [2**i for i in range(2, resolution.bit_length())]
    of_size = lambda size: given.get(size, kwargs.get("minibatch_base", 16))
    # Whole parts of the GPUs, and what fits them.
    batches = tuple(min(of_size(size) // gpus, most.get(size, of_size(size))) * gpus for size in sizes)
    train, fade = (round(1000 * kwargs.get(f"lod_{phase}_kimg", 600)) for phase in ("training", "transition"))
    first = sizes.index(kwargs.get("lod_initial_resolution", 4))
    return Growth(len(sizes) - 1, first, train, fade, batches, (1.0,) * len(sizes))


def compare_schedule(found: Comparison, meta: dict) -> None:
    """Compare the level of detail, size and batch at recorded numbers of images."""
    own = schedule_of(meta["schedule_kwargs"], arguments_of(meta, "G")["resolution"])
    found_lods = np.array([float(own.lod_of(int(images))) for images in found.arrays["schedule/nimg"]])
    stages = own.last - np.floor(found_lods).astype(int)
    found.outputs("schedule", {"schedule/lod": found_lods})
    found.outputs(
        "schedule", {"schedule/resolution": 4 << stages, "schedule/minibatch": np.array(own.batch_sizes)[stages]}
    )
    found.compared.add("schedule/nimg")


def comparison(path) -> Comparison:
    """Compare all of a recording."""
    arrays, meta = load(path)
    gan = build_gan(config_of(meta))
    params = {role: params_of(under(f"state/{role}/", arrays), gan.growth.last) for role in "GD"}
    shapes = init_shapes(gan)
    for role, network in shapes.networks.items():
        assert jax.tree.map(lambda a: a.shape, params[role]) == jax.tree.map(lambda a: a.shape, network.params)
        assert sum(leaf.size for leaf in jax.tree.leaves(params[role])) == meta[f"params_{role}"]
    found = Comparison(arrays, meta)
    compare_networks(found, gan, params)
    losses = Losses(found, gan, params, meta)
    for prefix, lod in lods(arrays, "^G_loss/LOD"):
        losses.of_g(prefix, lod)
    for prefix, lod in lods(arrays, "^D_loss/LOD"):
        losses.of_d(prefix, lod)
    compare_reals(found, gan)
    if "schedule/nimg" in arrays:
        compare_schedule(found, meta)
    return found
