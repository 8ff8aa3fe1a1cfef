"""Distances of our StyleGAN2, its losses and its updates from recordings of NVlabs/stylegan2-ada-pytorch; see parity."""

import dataclasses
import functools
import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.convert import imported, stylegan2, tables
from biggan_jax.convert.stylegan2_settings import to_model
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.models.style import STATE
from biggan_jax.models.stylegan2 import Noise
from biggan_jax.train_step import apply_update, moving_average
from tests.conftest import with_optimizers
from tests.convert.recordings import Comparison, load, to_nhwc, under

PEER = "NVlabs/stylegan2-ada-pytorch"
PREFIXES = {"Gmain": "g", "Greg": "g_path", "Dmain": "d", "Dreg": "d_lazy"}
"""Prefixes of our updates, by the peer's phases in their order."""
PHASES = tuple(PREFIXES)
PER_IMAGE = ("G_loss", "G_reg", "D_loss", "D_reg", "pl_penalty", "r1_penalty")


def read(states, meta, **changes):
    """Return (config, GAN, networks) of state dicts by role, with the architecture of the recorded arguments."""
    # Recordings are of float32, whatever the networks have for GPUs.
    float32 = {"bfloat16_stages": 0}
    settings = {role: to_model(role, meta[f"{role}_kwargs"]) | float32 for role in "GD" if f"{role}_kwargs" in meta}
    config = imported.base_config("stylegan2")
    stylegan2.mirror(config.model, settings.get("D", {}) | settings.get("G", {}))
    path = {key: meta[f"pl_{key}"] for key in ("weight", "decay", "batch_shrink") if f"pl_{key}" in meta}
    config.model.path_length = float(path.get("weight", 0.0))
    config.model.path_decay, config.model.path_shrink = path.get("decay", 0.01), path.get("batch_shrink", 2)
    config.model.path_every = meta.get("G_reg_interval", 1)
    config.model.style_mixing = float(meta.get("style_mixing_prob", 0))
    config.batch_size, config.d_steps, config.loss = meta.get("batch", 8), 1, "non_saturating"
    config.regularizer.r1, config.regularizer.every = float(meta.get("r1_gamma", 10)), meta.get("D_reg_interval", 2)
    config.optimizer.eps = 1e-8
    config.update_from_flattened_dict(changes)
    gan = build_gan(config)
    if "D" in settings:  # Keys that both networks have may differ between the peer's.
        of_d = config.copy_and_resolve_references()
        stylegan2.mirror(of_d.model, settings.get("G", {}) | settings["D"])
        gan = dataclasses.replace(gan, networks={"G": gan.networks["G"], "D": build_gan(of_d).networks["D"]})
    shapes = imported.shapes_of(gan)
    networks = {}
    for role, state in states.items():
        inferred = stylegan2.infer(state)
        own = {**config.model} | settings[role[0]]
        differing = {key for key, value in inferred.items() if value and own[key] != value}
        # Shapes alone do not tell base and maximum where all channels are equal.
        assert all("channel_" in key for key in differing), differing
        entry = stylegan2.entry_of(role[0] == "G")
        networks[role] = tables.to_here(state, shapes[role[0]], entry, role, stylegan2.is_foreign)
        back = stylegan2.state_dict(networks[role], role[0] == "G")
        assert back.keys() == state.keys(), back.keys() ^ state.keys()
        assert all(back[name].tobytes() == np.ascontiguousarray(state[name]).tobytes() for name in state)
    return config, gan, networks


def recorded_noise(noise):
    """Return a context in which G's noise is this list of maps [B, H, W, 1], in the order of its layers; if it is empty, G's own."""
    count = itertools.count()

    def instead(method, args, kwargs, context):
        if noise and isinstance(context.module, Noise) and context.method_name == "__call__":
            return noise[next(count) % len(noise)]
        return method(*args, **kwargs)

    return nn.intercept_methods(instead)


def images_of(noise, rows):
    """Return recorded noise {number of a layer: [B, 1, H, W]} as a list, of the images `rows`."""
    return [to_nhwc(noise[str(i)])[rows] for i in range(len(noise))]


def grouped(meta, batch):
    """Return an order of images in which the peer's groups of the minibatch standard deviation are consecutive."""
    group = meta["D_kwargs"].get("epilogue_kwargs", {}).get("mbstd_group_size", 4)
    group = min(group or batch, batch)
    return np.arange(batch).reshape(group, -1).T.reshape(-1)


def labels(c):
    """Return recorded one-hot labels [B, classes] as numbers, other conditions as they are; zeros if there are none."""
    if not c.shape[-1]:
        return np.zeros(len(c), np.int32)
    one_hot = (c.max(-1) == 1).all() and (c.sum(-1) == 1).all()
    return c.argmax(-1).astype(np.int32) if one_hot else c


def variables_of(network):
    return {name: tree for name, tree in network.items() if name not in ("params", "spectral")}


def named(params, role):
    """Return a tree like a network's parameters by the peer's names."""
    return tables.to_there({"params": params}, stylegan2.entry_of(role[0] == "G"))


def generator_comparison(path):
    """Compare w's and images of a recorded G in each mode."""
    arrays, meta = load(path)
    _, gan, networks = read({"G": under("state/", arrays)}, meta)
    found, network, module = Comparison(arrays, meta), networks["G"], gan.networks["G"].module
    assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == meta["params"]
    z, y, styles = arrays["z"], labels(arrays["c"]), gan.styles
    assert styles == meta["num_ws"]
    weights = {"params": network["params"], **variables_of(network)}
    rngs = {"params": jax.random.key(0)}
    w_of = jax.jit(lambda psi: module.apply(weights, z, y, psi=psi, method="map"))
    until = lambda psi, cutoff: np.where(np.arange(styles) < cutoff, psi, 1).astype(np.float32)
    w = w_of(until(1.0, styles))
    found.outputs("w", {"w_eval": w})
    truncated = {}
    for name in arrays:
        if match := re.fullmatch(r"(w|img_const)_psi([\d.]+)(?:_cutoff(\d+))?", name):
            truncated[name] = w_of(until(float(match[2]), int(match[3] or styles)))
            if match[1] == "w":
                found.outputs("w, truncated", {name: truncated[name]})
    images = {}
    for per_sample in (False, True):
        own = dataclasses.replace(module, synthesis=dataclasses.replace(module.synthesis, per_sample=per_sample))
        draw = jax.jit(
            lambda ws, mix, m=own: jnp.moveaxis(m.apply(weights, ws, mix, method="synthesize", rngs=rngs), 3, 1)
        )
        fixed, none = np.float32([0, 1]), np.float32([0, 0])
        images = {"img_const": draw(w, fixed), "img_none": draw(w, none)}
        images |= {name: draw(ws, fixed) for name, ws in truncated.items() if name.startswith("img")}
        images["img_ws_const"] = images["img_nonfused_const"] = draw(arrays["ws"], fixed)
        found.outputs("images, a kernel for each" if per_sample else "images", images)
    if "img_random" in arrays:
        noise = images_of(under("noise_random/", arrays), slice(None))
        with recorded_noise(noise):
            images = jax.jit(lambda ws: jnp.moveaxis(module.apply(weights, ws, method="synthesize", rngs=rngs), 3, 1))(
                w
            )
        found.outputs("images, noise", {"img_random": images})
    trained, moved = jax.jit(lambda: module.apply(weights, z, y, method="map", train=True, mutable=["moving"]))()
    found.outputs("w in training", {"w_train": trained, "w_avg_after_train": moved["moving"]["w"]})
    return found


def discriminator_comparison(path):
    """Compare logits of a recorded D for real images, and for the recorded G's."""
    arrays, meta = load(path)
    _, gan, networks = read({"D": under("state/", arrays)}, meta)
    found, params = Comparison(arrays, meta), networks["D"]["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == meta["params"]
    x, order = to_nhwc(arrays["x"]), grouped(meta, len(arrays["x"]))
    y = labels(arrays["c"])
    logits = jax.jit(lambda x, y: gan.networks["D"].module.apply({"params": params}, x, y))
    back = np.argsort(order)
    of = lambda x: np.asarray(logits(x[order], y[order]))[back][:, None]
    found.outputs("D", {"logit": of(x)})
    of_g = path.with_name(path.name.replace("_D.npz", "_G.npz"))
    if of_g.exists() and "logit_fake" in arrays:
        found.outputs("D", {"logit_fake": of(to_nhwc(load(of_g)[0]["img_const"]))})
    return found


def evaluate(gan, networks, prefix, batch, extra, noise):
    """Return (loss, metrics, gradients, Moving) of one of the GAN's updates, with recorded noise."""
    update = next(u for u in gan.updates() if u.prefix == prefix)
    (trained,) = update.trains

    @jax.jit
    def of(networks, batch, extra, noise):
        moving = Moving({role: variables_of(networks[role]) for role in "GD"}, extra, 0)
        weights = {role: networks[role]["params"] for role in "GD"}

        def loss(own):
            nets = Nets(gan, {**weights, trained: own}, moving, jax.random.key(0))
            value, metrics = update.loss(nets, batch, jax.random.key(1))
            return value, (metrics, nets.moving)

        with recorded_noise(noise):
            return jax.value_and_grad(loss, has_aux=True)(weights[trained])

    (loss, (metrics, moving)), grads = of(networks, batch, extra, noise)
    return loss, metrics, grads, moving


def values_of(phase, metrics, gan, extra):
    """Return the recorded values of a phase, as means over images, from the metrics of our update."""
    found = {
        "Gmain": lambda: {"G_loss": metrics["g_loss"]},
        "Greg": lambda: (
            {"pl_penalty": metrics["g_path_penalty"], "pl_mean_after": extra[STATE]}
            | {"G_reg": metrics["g_path_penalty"] * gan.path.strength}
        ),
        "Dmain": lambda: {"D_loss": metrics["d_loss"]},
        "Dreg": lambda: {"r1_penalty": 2 * metrics["d_r1"], "D_reg": metrics["d_r1"] * dict(gan.terms)["r1"]},
    }
    return found[phase]()


def as_means(arrays):
    """Return recorded values of single images as their means."""
    return {name: a.mean() if name.rpartition("/")[2] in PER_IMAGE else a for name, a in arrays.items()}


def losses_comparison(path):
    """Compare the four phases of a recorded step, each from the stored weights, and one with style mixing."""
    arrays, meta = load(path)
    states = {}
    for role in "GD":
        (file,) = (f.strip() for f in meta["states"].split(",") if f.strip().endswith(f"_{role}.npz"))
        states[role] = under("state/", load(path.with_name(file))[0])
    _, gan, networks = read(states, meta)
    z, y, x, order = arrays["z"], labels(arrays["c"]), to_nhwc(arrays["x"]), grouped(meta, len(arrays["z"]))
    whole = {"image": x[order], "label": y[order], "z": z[order], "fake_label": y[order]}
    extra = {STATE: np.float32(meta.get("pl_mean_before", 0))}
    found = Comparison(as_means(arrays), meta)
    # A softplus far below 0 is as near as its argument.
    terms = max(float(np.abs(a).max()) for name, a in arrays.items() if "scores" in name)
    for phase in (phase for phase in PHASES if any(name.startswith(f"grad_{phase}/") for name in arrays)):
        batch, rows, noise = whole, order, under(f"{phase}/noise/", arrays)
        if phase == "Greg":
            rows = np.arange(len(z) // gan.path.shrink)
            batch = whole | {"z": z[rows], "fake_label": y[rows]}
            batch |= {"path_noise": to_nhwc(arrays["Greg/pl_noise_unscaled"])}
        drawn = images_of(noise, rows)
        loss, metrics, grads, moving = evaluate(gan, networks, PREFIXES[phase], batch, extra, drawn)
        gain = {"Greg": gan.path.every if gan.path else 1, "Dreg": gan.every}.get(phase, 1)
        role = phase[0]
        grads = {name: grad / gain for name, grad in named(grads, role).items()}
        found.gradients(f"{phase}, gradients", grads, f"grad_{phase}/")
        values = values_of(phase, metrics | {"g_loss": loss}, gan, moving.extra)
        found.losses(f"{phase}, losses", values, f"{phase}/", terms=terms if phase.endswith("main") else 0.0)
        found.outputs("w's mean", {f"{phase}/w_avg_after": moving.variables["G"]["moving"]["w"]})
    found.outputs("scores", scores(gan, networks, arrays, whole, order))
    found.compared |= {"mix/cutoff", "mix/u", "mix/z2"}  # They are draws.
    return found


def scores(gan, networks, arrays, batch, order):
    """Return the logits of each phase."""
    weights = {role: {"params": networks[role]["params"], **variables_of(networks[role])} for role in "GD"}
    rngs, G, D = {"params": jax.random.key(0)}, gan.networks["G"].module, gan.networks["D"].module
    back = np.argsort(order)
    logits = jax.jit(lambda x: D.apply(weights["D"], x, batch["label"])[back][:, None])

    @jax.jit
    def fake(noise, **options):
        with recorded_noise(noise):
            return G.apply(weights["G"], batch["z"], batch["label"], rngs=rngs, **options)

    found = {f"{phase}/scores_real": logits(batch["image"]) for phase in ("Dmain", "Dreg")}
    for phase in (phase for phase in ("Gmain", "Dmain", "mix") if f"{phase}/scores_fake" in arrays):
        noise, options = images_of(under(f"{phase}/noise/", arrays), order), {}
        if phase == "mix":
            cutoff = arrays["mix/cutoff"] if arrays["mix/u"] < 0.9 else gan.styles
            options = {"z2": arrays["mix/z2"][order], "cutoff": np.full(len(order), cutoff, np.int32)}
        found[f"{phase}/scores_fake"] = logits(fake(noise, **options))
    return found


def training_comparison(path):
    """Repeat recorded training from its first weights, latents and batches, and compare losses, gradients and weights."""
    batches, meta = load(path)
    part = lambda name: load(path.with_name(path.name.replace("_batches", f"_{name}")))[0]
    init, adam = part("init"), meta["adam"]
    changes = {f"optimizer.{key}": adam["lr"] for key in ("g_lr", "d_lr")}
    changes |= {"optimizer.b1": float(adam["betas"][0]), "optimizer.b2": adam["betas"][1], "optimizer.eps": adam["eps"]}
    changes |= {"ema.half_life": meta["ema_kimg"] * 1000, "ema.ramp": float(meta["ema_rampup"] or 0)}
    config, gan, networks = read({role: under(f"{role}/", init) for role in "GD"}, meta, **changes)
    state, order = imported.to_state(imported.Imported(config, networks)), grouped(meta, meta["batch"])
    # The optimizers store the last gradient that they received.
    gan = with_optimizers(gan, **{r: optax.chain(optax.trace(decay=0.0), gan.networks[r].optimizer) for r in "GD"})
    restart = lambda r: state.networks[r].replace(opt_state=gan.networks[r].optimizer.init(state.networks[r].params))
    state = state.with_networks(G=restart("G"), D=restart("D"))
    recorded = {name: a for name, a in batches.items() if name.startswith("ema_beta/")}
    # The losses are functions of the scores.
    recorded |= {
        name: a for name, a in as_means(batches).items() if name.startswith("stats/") and "/scores" not in name
    }
    for suffix in ("grads_it0", *(f"after{it}" for it in meta["save"])):
        recorded |= {f"{suffix}/{name}": a for name, a in part(suffix).items()}
    found, steps, average = Comparison(recorded, meta), {}, state.networks["G"].params
    terms = max(float(np.abs(a).max()) for name, a in batches.items() if "/scores" in name)
    for it in range(meta["iterations"]):
        for update in gan.updates():
            phase = next(phase for phase, prefix in PREFIXES.items() if prefix == update.prefix)
            if not update.runs_in(it):
                continue
            if phase not in steps:
                steps[phase] = jax.jit(functools.partial(recorded_update, gan, update))
            batch, noise = batch_of(batches, it, phase, gan, order)
            state, metrics = steps[phase](state.replace(step=jnp.int32(it)), batch, noise)
            if it == 0:
                grads = named(state.networks[phase[0]].opt_state[0].trace, phase[0])
                found.gradients(f"{phase}, gradients", grads, f"grads_it0/grad_it0/{phase}/")
            values = values_of(phase, metrics, gan, state.extra)
            found.losses(f"{phase}, losses", values, f"stats/{it}/{phase}/", terms=terms)
        decay = gan.ema_decay_at(jnp.int32(it))
        found.outputs("decay of the average", {f"ema_beta/{it}": decay})
        average = moving_average(gan, jnp.int32(it), average, state.networks["G"].params)
        if it + 1 in meta["save"]:
            compare_states(found, f"after{it + 1}/", state, average, 2 * adam["lr"] * (it + 1))
    return found


def recorded_update(gan, update, state, batch, noise):
    """Return (state, metrics) after an update with recorded noise."""
    with recorded_noise(noise):
        return apply_update(gan, update, state, batch, jax.random.key(0))


def batch_of(batches, it, phase, gan, order):
    """Return the recorded batch of a phase, and its noise."""
    z, real = batches["z"][it, list(PHASES).index(phase)], labels(batches["c"][it])
    y, rows = labels(batches["gc"][it, list(PHASES).index(phase)]), order
    batch = {"image": to_nhwc(batches["x"][it])[order], "label": real[order]}
    if phase == "Greg":
        rows = np.arange(len(z) // gan.path.shrink)
        batch |= {"path_noise": to_nhwc(batches[f"{it}/Greg/pl_noise_unscaled"])}
    return batch | {"z": z[rows], "fake_label": y[rows]}, images_of(under(f"{it}/{phase}/noise/", batches), rows)


def compare_states(found, after, state, average, furthest):
    """Compare weights, their average, the means of w, Adam's second moments and numbers of steps."""
    networks = {"G": state.networks["G"].params, "D": state.networks["D"].params, "G_ema": average}
    for role, params in networks.items():
        found.weights(f"{role} weights", named(params, role), f"{after}{role}/", furthest=furthest)
    w = state.networks["G"].variables["moving"]["w"]
    found.outputs("w's mean", {f"{after}{role}/mapping.w_avg": w for role in ("G", "G_ema")})
    for role in "GD":
        nu, count = (optax.tree_utils.tree_get(state.networks[role].opt_state[1], name) for name in ("nu", "count"))
        found.gradients(f"{role} second moments", named(nu, role), f"{after}adam_v/{role}/")
        found.outputs("updates", {f"{after}adam_steps/{role}": count})


def comparison_of(path, meta):
    """Return (a function from the file to what it compares, None) or (None, why it is not compared)."""
    kinds = {"Generator": generator_comparison, "Discriminator": discriminator_comparison}
    kinds |= {"StyleGAN2Loss": losses_comparison}
    if meta.get("model") in kinds:
        return kinds[meta["model"]], None
    if "adam" in meta:
        batches = path.name.endswith("_batches.npz")
        return (training_comparison, None) if batches else (None, "belongs to a *_batches.npz")
    return None, f"of {PEER}, with no known model"
