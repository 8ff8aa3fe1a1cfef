"""Distances of our networks, losses and penalties from recordings of PyTorch-StudioGAN; see parity.

StudioGAN passes real and fake images to D one after the other, and each pass moves the singular vectors and the running
statistics. Our training normalises once an update. Here networks are called as StudioGAN calls them.
"""

import dataclasses
import functools
import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax import penalties
from biggan_jax.conditioning import CLASS_LOSSES, Output, normal_nll
from biggan_jax.convert import imported, studiogan, studiogan_files, tables
from biggan_jax.layers import spectral
from biggan_jax.losses import LOSSES
from biggan_jax.models import build_gan
from biggan_jax.regularizers import LeCam, TopK
from biggan_jax.terms import logit_of
from tests.convert.recordings import Comparison, load, to_nchw, to_nhwc, under

ADVERSARIAL = {
    "vanilla": "non_saturating",
    "logistic": "non_saturating",
    "hinge": "hinge",
    "wasserstein": "wasserstein",
    "ls": "least_squares",
    "least_square": "least_squares",
    "MH": "multi_hinge",
}
PENALTIES = ("gp", "dragan", "maxgp", "r1")


@dataclasses.dataclass(frozen=True)
class Case:
    """What compiled functions depend on: the networks, and the settings of their losses."""

    generator: nn.Module
    discriminator: nn.Module
    adversarial: str
    head: str
    weight: float
    temperature: float
    margin: float

    def adversarial_loss(self, kind, real, fake, y, fake_y):
        loss = LOSSES[ADVERSARIAL[kind]]
        if loss.of_classes:
            return sum(loss.discriminator((real.classes, y), (fake.classes, fake_y)))
        return sum(loss.discriminator(logit_of(real), logit_of(fake)))

    def generator_loss(self, kind, fake, y):
        loss = LOSSES[ADVERSARIAL[kind]]
        return loss.generator((fake.classes, y) if loss.of_classes else logit_of(fake))

    def class_loss(self, output, y):
        if self.head not in CLASS_LOSSES:
            return None
        return CLASS_LOSSES[self.head](output, y, temperature=self.temperature, margin=self.margin)

    def total(self, adversarial, classes):
        return adversarial if classes is None else adversarial + self.weight * classes


def apply(module, weights, network, *args, train):
    """Return (output, statistics after it) of a pass with normalised weights."""
    stats = {name: network[name] for name in ("batch_stats",) if name in network}
    mode = {"train": train} if "train" in inspect.signature(type(module).__call__).parameters else {}
    if not (train and stats):
        return module.apply({"params": weights, **stats}, *args, **mode), stats
    return module.apply({"params": weights, **stats}, *args, **mode, mutable=list(stats))


def normalized_pass(module, params, network, *args):
    """Return (output, the network after it) of a pass in training mode: one power step, with PyTorch's order."""
    weights, vectors = spectral.normalize(params, network["spectral"], eps=studiogan_files.SN_EPS)
    out, stats = apply(module, weights, network, *args, train=True)
    return out, {**network, **stats, "spectral": vectors}


def evaluated(module, network, *args):
    weights = spectral.normalize_stored(network["params"], network["spectral"])
    return apply(module, weights, network, *args, train=False)[0]


@functools.partial(jax.jit, static_argnums=0)
def g_passes(generator, network, z, y):
    trained, after = normalized_pass(generator, network["params"], network, z, y)
    return evaluated(generator, network, z, y), trained, after


@functools.partial(jax.jit, static_argnums=0)
def d_evaluation(discriminator, network, x, y):
    return evaluated(discriminator, network, x, y)


@functools.partial(jax.jit, static_argnums=0)
def d_step(case, network, x, y, fake, fake_y):
    """Return (real output, fake output, network after, total loss, gradients) of D's loss, real images first."""

    def loss(params):
        real_out, after = normalized_pass(case.discriminator, params, network, x, y)
        fake_out, after = normalized_pass(case.discriminator, params, after, fake, fake_y)
        adversarial = case.adversarial_loss(case.adversarial, real_out, fake_out, y, fake_y)
        return case.total(adversarial, case.class_loss(real_out, y)), (real_out, fake_out, after)

    (total, parts), grads = jax.value_and_grad(loss, has_aux=True)(network["params"])
    return *parts, total, grads


@functools.partial(jax.jit, static_argnums=0)
def g_step(case, G, D, z, y):
    """Return (D's output, adversarial loss, loss of classes, total, gradients) of G's loss."""

    def loss(params):
        fake, _ = normalized_pass(case.generator, params, G, z, y)
        out, _ = normalized_pass(case.discriminator, D["params"], D, fake, y)
        adversarial, classes = case.generator_loss(case.adversarial, out, y), case.class_loss(out, y)
        return case.total(adversarial, classes), (out, adversarial, classes)

    (total, parts), grads = jax.value_and_grad(loss, has_aux=True)(G["params"])
    return *parts, total, grads


@functools.partial(jax.jit, static_argnums=(0, 1))
def penalty(discriminator, name, network, x, y):
    """Return (value, gradients, network after) of a penalty on images x, which are mixed or perturbed already."""
    value_of = {"r1": penalties.gradient_penalty, "maxgp": penalties.largest}.get(name, penalties.one_centred)

    def value(params):
        discriminate = lambda images: logit_of(normalized_pass(discriminator, params, network, images, y)[0])
        return value_of(discriminate, x)

    total, grads = jax.value_and_grad(value)(network["params"])
    return total, grads, {"spectral": spectral.normalize(network["params"], network["spectral"], eps=1e-6)[1]}


def penalised(name, x, fake, draws):
    """Return the images of a penalty, by its recorded draws."""
    if name in ("gp", "maxgp"):
        return penalties.mix(x, fake, draws[0].reshape(-1))
    return penalties.perturb(x, draws[0].reshape(-1), to_nhwc(draws[1])) if name == "dragan" else x


def named_output(output: Any, spec: dict) -> dict:
    """Return D's output with StudioGAN's names."""
    out = output if isinstance(output, Output) else Output(output)
    unit = lambda a: a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    normal = unit if spec["MODEL"].get("normalize_d_embed", False) else np.asarray
    named = {"h": out.features, "adv_output": out.logit}
    if spec["MODEL"]["d_cond_mtd"] == "MH":
        named["adv_output"] = out.classes
    if spec["MODEL"]["d_cond_mtd"] == "AC":
        named |= {"h": normal(out.features), "cls_output": out.classes}
    if out.embedding is not None:
        named |= {"embed": normal(np.asarray(out.embedding)), "proxy": normal(np.asarray(out.proxy))}
    return named


def read(arrays: dict, spec: dict):
    """Return (config, GAN, networks) of the state dicts of a recording."""
    model = spec["MODEL"]
    states = {role: under(f"{role}/state/", arrays) for role in "GD"}
    found = studiogan.infer_all(states, backbone=model["backbone"], head=model["d_cond_mtd"])
    config = studiogan_files.config_of({"backbone": model["backbone"]} | imported.merge(found), set(states))
    assert config.condition.d == (studiogan.HEADS[model["d_cond_mtd"]]), "the head is not the recorded one"
    gan = build_gan(config)
    shapes = imported.shapes_of(gan)
    entries = {role: studiogan.entry_of(config.model, role == "G", shapes[role]) for role in "GD"}
    read_one = lambda role, state: tables.to_here(state, shapes[role], entries[role], role, studiogan.is_foreign)
    networks = {role: read_one(role, state) for role, state in states.items()}
    return config, gan, networks, entries


def network_comparison(path) -> Comparison:
    """Compare all of a recording of a G and a D."""
    arrays, meta = load(path)
    spec = meta["spec"]
    own = spec["MODEL"]
    config, gan, networks, entries = read(arrays, spec)
    G, D = networks["G"], networks["D"]
    for role, network in networks.items():
        assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == meta[f"params_{role}"]
    head = gan.networks["D"].module.head._replace(features=True, normalize=own.get("normalize_d_embed", False))
    case = Case(
        gan.networks["G"].module,
        gan.networks["D"].module.clone(head=head),
        spec["adv"],
        config.condition.d,
        spec.get("cond_lambda", 0.0),
        spec.get("temperature", 1.0),
        spec.get("m_p", 0.98),
    )
    named = lambda role, tree: tables.to_there(tree, entries[role])
    buffers = lambda role, network: named(
        role, {kind: network[kind] for kind in ("spectral", "batch_stats") if jax.tree.leaves(network.get(kind))}
    )
    z, y, x = arrays["z"], arrays["y"].astype(np.int32), to_nhwc(arrays["x"])
    gy = arrays["gy"].astype(np.int32)
    found = Comparison(arrays, meta)

    evaluation, trained, after = g_passes(case.generator, G, z, gy)
    found.outputs("G, evaluation", {"G/out_eval": to_nchw(evaluation)})
    out = d_evaluation(case.discriminator, D, x, y)
    found.outputs("D, evaluation", named_output(out, spec), "D/eval/")
    if "G/out_train" not in arrays:  # A part of a recording, as in tests/data.
        return found
    found.outputs("G, training", {"G/out_train": to_nchw(trained)})
    found.outputs("G, buffers after training", buffers("G", after), "G/after_train/")
    fake = to_nhwc(arrays["G/out_train"])

    real, fakes, after, total, grads = d_step(case, D, x, y, fake, gy)
    found.outputs("D, training", named_output(real, spec), "D/train_real/")
    found.outputs("D, training", named_output(fakes, spec), "D/train_fake/")
    found.outputs("D, buffers after training", buffers("D", after), "Dstep/after/")
    largest = lambda *outputs: max(float(np.abs(logit_of(o)).max()) for o in outputs)
    losses = {"Dstep/loss_total": total, "Dstep/cond_loss_real": case.class_loss(real, y)}
    for kind in ADVERSARIAL:
        if LOSSES[ADVERSARIAL[kind]].of_classes == (own["d_cond_mtd"] == "MH"):
            losses[f"Dstep/loss_{kind}"] = case.adversarial_loss(kind, real, fakes, y, gy)
            losses[f"Gloss_of_train_fake/{kind}"] = case.generator_loss(kind, fakes, gy)
    found.losses("D, losses", losses, terms=largest(real, fakes))
    found.gradients("D, gradients", named("D", {"params": grads}), "Dstep/grad/")

    out, adversarial, classes, total, grads = g_step(case, G, D, z, gy)
    losses = {"Gstep/adv_loss": adversarial, "Gstep/cond_loss": classes, "Gstep/loss_total": total}
    found.losses("G, losses", losses, terms=largest(out))
    found.outputs("D, training", named_output(out, spec), "Gstep/")
    found.gradients("G, gradients", named("G", {"params": grads}), "Gstep/grad/")

    for name in PENALTIES:
        if f"{name}/value" in arrays:
            draws = [arrays[key] for key in sorted(under(f"{name}/draw", arrays, keep=True))]
            images = penalised(name, jnp.asarray(x), jnp.asarray(fake), draws)
            value, grads, after = penalty(case.discriminator, name, D, images, y)
            # A mean of (norm - 1)^2 may be small, though norms are not.
            terms = 0.0 if name in ("r1", "maxgp") else 2 * float(np.sqrt(value))
            found.losses(f"{name}, value", {f"{name}/value": value}, terms=terms)
            found.gradients(f"{name}, gradients", named("D", {"params": grads}), f"{name}/grad/")
            found.outputs(f"{name}, vectors after", buffers("D", after), f"{name}/after/")
    return found


def losses_comparison(path) -> Comparison:
    """Compare each loss, and its gradient, on recorded logits and embeddings."""
    arrays, meta = load(path)
    found = Comparison(arrays, meta)
    real, fake, label = arrays["logit_real"], arrays["logit_fake"], arrays["label"].astype(np.int32)

    def compare(name, function, arguments, names):
        grads = jax.grad(function, argnums=tuple(range(len(arguments))))(*arguments)
        value = {f"{name}/value": function(*arguments)}
        found.losses(name.partition("/")[0], value)
        found.gradients(
            f"{name.partition('/')[0]}, gradients",
            {f"{name}/grad_{of}": grad for of, grad in zip(names, grads, strict=True)},
        )

    for kind, ours in ADVERSARIAL.items():
        loss = LOSSES[ours]
        if not loss.of_classes:
            compare(f"d_{kind}", lambda r, f, loss=loss: sum(loss.discriminator(r, f)), (real, fake), ("real", "fake"))
            compare(f"g_{kind}", loss.generator, (fake,), ("fake",))
    for k in meta["spec"]["topk"]:
        weigh = TopK(k / len(fake), 0.0, 1).weights
        hinge = lambda f, weigh=weigh: -jnp.mean(jax.lax.stop_gradient(weigh(f, 1)) * f)
        compare(f"topk{k}/g_hinge", hinge, (fake,), ("fake",))
        kept = np.asarray(fake)[np.asarray(weigh(fake, 1)) > 0]
        found.outputs("top k", {f"topk{k}/values": np.sort(kept)[::-1]})
    start, gamma, least = meta["spec"]["adjust_k"]
    steps = np.arange(1, len(arrays["adjust_k/sequence"]) + 1)
    found.outputs("top k", {"adjust_k/sequence": np.maximum(start * gamma**steps, least)})

    of_classes = lambda kind: lambda c: CLASS_LOSSES[kind](Output(None, classes=c), label, temperature=1, margin=0)
    compare("ac", of_classes("ac"), (arrays["cls_logits"],), ("cls_logits",))
    hinge = lambda logits: LOSSES["multi_hinge"].generator((logits, label))
    compare("mh_crammer_singer", hinge, (arrays["mh_logits"],), ("mh_logits",))
    unit = lambda a: a / jnp.linalg.norm(a, axis=1, keepdims=True)
    of = {"contra_2C": "contrastive", "d2dce": "d2dce"}
    for name in sorted({name.rpartition("/")[0] for name in arrays if name.startswith(tuple(of))}):
        kind, setting, form = name.split("/")
        temperature, _, margin = setting.removeprefix("t").partition("_mp")
        before = unit if form == "normalized" else lambda a: a

        def loss(e, p, kind=kind, t=float(temperature), m=float(margin or 0), before=before):
            output = Output(None, embedding=before(e), proxy=before(p))
            return CLASS_LOSSES[of[kind]](output, label, temperature=t, margin=m)

        compare(name, loss, (arrays["embed"], arrays["proxy"]), ("embed", "proxy"))

    lecam = LeCam(1.0, meta["lecam_ema_decay"], meta["lecam_ema_start_iter"])
    anchors, moved = {"real": jnp.float32(7777), "fake": jnp.float32(7777)}, {"real": [], "fake": []}
    for step, means in enumerate(zip(arrays["lecam_mean_real"], arrays["lecam_mean_fake"], strict=True)):
        anchors = lecam.anchors(anchors, *(jnp.asarray(mean)[None] for mean in means), step)
        for side in moved:
            moved[side].append(anchors[side])
    found.outputs("lecam", {f"lecam/ema_D_{side}": np.stack(values) for side, values in moved.items()})
    term = lambda r, f: penalties.lecam(r, f, anchors["real"], anchors["fake"])
    compare("lecam/reg", term, (real, fake), ("real", "fake"))
    embeddings = arrays["embed"], arrays["proxy"]
    compare("feature_matching", penalties.feature_matching, embeddings, ("real_embed", "fake_embed"))
    compare("infogan_normal_nll", normal_nll, (*embeddings, arrays["var"]), ("x", "mu", "var"))
    return found
