"""Distances of our R3GAN, its losses and its updates from recordings of brownvc/R3GAN; see parity."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax import schedules
from biggan_jax.convert import imported, r3gan, tables
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.train_step import moving_average
from tests.conftest import update
from tests.convert.recordings import Comparison, load, to_nchw, to_nhwc, under

softplus = jax.nn.softplus

DEFAULTS = {"ConditionDimension": None, "KernelSize": 3, "ResamplingFilter": [1, 2, 1]}
"""Arguments of R3GAN's networks whose other values our settings name, or our networks do not have."""


def read(states: dict, meta: dict, gamma: float = 1.0, decay: float = 0.0, **optimizer):
    """Return (config, GAN, networks) of state dicts by role, whose architecture must be that of the recorded arguments."""
    found = imported.merge({role: r3gan.infer(state) for role, state in states.items()})
    config = r3gan.config_of(found)
    config.regularizer.r1 = config.regularizer.r2 = gamma
    config.optimizer.update(**optimizer)
    config.ema.decay = decay
    settings = r3gan.settings_of(config)
    for role in "GD":
        recorded = meta[f"{role}_kwargs"]
        ours = DEFAULTS | settings[role]
        unused = {"ConditionEmbeddingDimension"} if not ours["ConditionDimension"] else set()
        other = [key for key in recorded.keys() - unused if (ours[key] or None) != (recorded[key] or None)]
        assert not other, (
            f"{role} is not the recorded network: {other[0]} is {ours[other[0]]}, not {recorded[other[0]]}"
        )
    gan = build_gan(config)
    shapes = imported.shapes_of(gan)
    networks = {
        role: tables.to_here(state, shapes[role], r3gan.entry_of(config.model, role == "G"), role, r3gan.is_foreign)
        for role, state in states.items()
    }
    for role, network in networks.items():
        assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == meta[f"params_{role}"]
    return config, gan, networks


def labels(arrays: dict, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return recorded one-hot labels as numbers, mixtures of classes as they are; zeros if there are none."""
    if name not in arrays:
        return np.zeros(shape, np.int32)
    one_hot = (arrays[name].max(-1) == 1).all() and (arrays[name].sum(-1) == 1).all()
    return arrays[name].argmax(-1).astype(np.int32) if one_hot else arrays[name]


def named(tree, config, role: str) -> dict:
    """Return a tree like a network's parameters by R3GAN's names."""
    return tables.to_there({"params": tree}, r3gan.entry_of(config.model, role != "D"))


def gradients(gan, networks: dict, name: str, batch: dict):
    """Return (loss, gradients) of an update of the GAN, without augmentation."""
    chosen = next(u for u in gan.updates() if u.trains == (name,))

    @jax.jit
    def of(weights):
        def loss(own):
            moving = Moving({"G": {}, "D": {}}, {}, 0)
            return chosen.loss(Nets(gan, {**weights, name: own}, moving, jax.random.key(0)), batch, jax.random.key(1))[
                0
            ]

        return jax.value_and_grad(loss)(weights[name])

    return of({role: network["params"] for role, network in networks.items()})


def schedule_of(base_value, final_value, total_nimg, warmup_value=0.0, warmup_nimg=0, hold_base_value_nimg=0) -> str:
    """Return our schedule of the arguments of a recorded one: linear to the base, some time at it, then a cosine."""
    fall = total_nimg - warmup_nimg - hold_base_value_nimg
    parts = [
        (warmup_nimg, f"linear:{warmup_value}:{base_value}:{warmup_nimg}"),
        (hold_base_value_nimg, f"constant:{base_value}:{hold_base_value_nimg}"),
        (fall, f"cosine:{base_value}:{final_value}:{fall}"),
    ]
    return ",".join(text for images, text in parts if images)


def compare_schedules(found: Comparison, arrays: dict) -> None:
    """Compare recorded schedules at recorded numbers of images."""
    images = arrays.get("schedule/nimg")
    for name in (name for name in arrays if re.fullmatch(r"schedule\d+/value", name)):
        ours = schedules.parse(schedule_of(**json.loads(str(arrays[name.replace("value", "kwargs")]))), batch_size=1)
        found.losses("schedules", {name: jnp.stack([ours(n) for n in images])})
        found.compared.add(name.replace("value", "kwargs"))
    found.compared.add("schedule/nimg")


def network_comparison(path) -> Comparison:
    """Compare all of a recording of a G and a D."""
    arrays, meta = load(path)
    states = {role: under(f"{role}/state/", arrays) for role in "GD"}
    config, gan, networks = read(states, meta)
    found = Comparison(arrays, meta)
    x, z = to_nhwc(arrays["x"]), arrays["z"]
    y = labels(arrays, "c", z.shape[:1])
    apply = {
        role: functools.partial(jax.jit(gan.networks[role].module.apply), {"params": networks[role]["params"]})
        for role in "GD"
    }
    fake = apply["G"](z, y)
    real_logit, fake_logit = apply["D"](x, y), apply["D"](fake, y)
    found.outputs("G", {"img": to_nchw(fake)})
    found.outputs("D", {"logit_real": real_logit, "logit_fake": fake_logit})

    batch = {"image": jnp.asarray(x), "label": y, "z": z, "fake_label": y}
    higher = fake_logit - real_logit
    found.outputs("G, relativistic logits", {"Gstep/relativistic_logits": higher})
    # A softplus far below 0 is as near as its argument.
    terms = float(np.abs(higher).max())
    found.losses("G, losses", {"Gstep/adversarial_loss": softplus(-higher)}, terms=terms)
    loss, grads = gradients(gan, networks, "G", batch)
    found.losses("G, losses", {"Gstep/loss": loss}, terms=terms)
    found.gradients("G, gradients", named(grads, config, "G"), "Gstep/grad/")

    slope = jax.jit(
        lambda weights, x: jax.grad(lambda x: gan.networks["D"].module.apply({"params": weights}, x, y).sum())(x)
    )
    lengths = lambda x: jnp.sum(jnp.square(slope(networks["D"]["params"], x)), (1, 2, 3))
    for step in sorted({name.partition("/")[0] + "/" for name in arrays if name.startswith("Dstep_gamma")}):
        gamma = float(step.removeprefix("Dstep_gamma").removesuffix("/"))
        found.outputs("D, relativistic logits", {f"{step}relativistic_logits": -higher})
        found.losses("D, losses", {f"{step}adversarial_loss": softplus(higher)}, terms=terms)
        found.losses("R1, R2", {f"{step}r1": lengths(x), f"{step}r2": lengths(fake)})
        _, penalised, _ = read(states, meta, gamma)
        loss, grads = gradients(penalised, networks, "D", batch)
        found.losses("D, losses", {f"{step}loss": loss}, terms=terms)
        found.gradients("D, gradients", named(grads, config, "D"), f"{step}grad/")
    compare_schedules(found, arrays)
    return found


def training_comparison(path) -> Comparison:
    """Repeat recorded training from its first weights, latents and batches, and compare losses and weights."""
    arrays, meta = load(path)
    run = meta["train"]
    assert run["order"] == ["D", "G"]
    init = load(path.with_name(meta["initial_state"]))[0]
    states = {role: under(f"{role}/state/", init) for role in "GD"}
    rates = {"g_lr": run["lr"], "d_lr": run["lr"], "b2": run["beta2"]}
    decay = 0.5 ** (arrays["tz"].shape[2] / run["ema_nimg"])
    config, gan, networks = read(states, meta, run["gamma"], decay, **rates)
    state = imported.to_state(imported.Imported(config, networks))
    step = {name: jax.jit(functools.partial(update, gan, network=name, key=jax.random.key(0))) for name in "DG"}
    average, ours = state.networks["G"].params, {}
    y = labels(arrays, "tc", arrays["tz"].shape[:3])
    for it in range(run["iters"]):
        for phase, name in enumerate(run["order"]):
            batch = {"image": to_nhwc(arrays["tx"][it, phase]), "label": y[it, phase]}
            batch |= {"z": arrays["tz"][it, phase], "fake_label": y[it, phase]}
            state, metrics = step[name](state, batch=batch)
            if name == "D":
                ours[f"train/{it}/D/adversarial_loss"] = metrics["d_loss"]
                ours |= {f"train/{it}/D/{penalty}": 2 * metrics[f"d_{penalty}"] for penalty in ("r1", "r2")}
            else:
                ours[f"train/{it}/G/adversarial_loss"] = metrics["g_loss"]
        average = moving_average(gan, np.int32(it), average, state.networks["G"].params)
    # The recorded values are those of single images.
    means = {name: (a.mean() if name.startswith("train/") else a) for name, a in arrays.items()}
    found = Comparison(means, meta)
    found.losses("losses", ours)
    networks = {"G": state.networks["G"].params, "D": state.networks["D"].params, "G_ema": average}
    for role, params in networks.items():
        recorded = named(params, config, role)
        found.weights(f"{role} weights", recorded, f"after/{role}/", furthest=2 * run["lr"] * run["iters"])
    return found
