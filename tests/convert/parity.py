"""Distances of our networks and updates from recordings of BigGAN-PyTorch, Hugging Face, StudioGAN, NVIDIA's GANs and others.

`python -m tests.convert.parity [FOLDER]` compares each recording of the folder, by default those of tests/data/parity and of the
folder PARITY_FIXTURES, and prints a table of distances. Exit status 1: one exceeds what is allowed.
"""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import optax
from etils import epath as etils_epath

from biggan_jax import config as configs
from biggan_jax.convert import biggan_pytorch, hf_biggan_deep, imported, tables
from biggan_jax.losses import LOSSES
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.train_step import moving_average
from biggan_jax.types import UserError
from tests.conftest import generate as in_training
from tests.conftest import update, with_optimizers
from tests.convert import (
    parity_ada,
    parity_cyclegan,
    parity_progan,
    parity_r3gan,
    parity_studiogan,
    parity_stylegan2,
    recordings,
)
from tests.convert.recordings import ROOT, Comparison, Row, distance, fixtures, load, peer_of, to_nchw, to_nhwc, under

__all__ = ["ROOT", "distance", "fixtures", "load", "to_nhwc", "under"]

BIGGAN_PYTORCH = "ajbrock/BigGAN-PyTorch"
HUGGING_FACE = "huggingface/pytorch-pretrained-BigGAN"
STUDIOGAN = "POSTECH-CVLab/PyTorch-StudioGAN"
R3GAN = "brownvc/R3GAN"


def epath(path):
    return etils_epath.Path(path)


def worst(ours, theirs):
    """Return the largest distance between arrays of the same name, over the names in `theirs`."""
    assert theirs
    return max(distance(ours[name], array) for name, array in theirs.items())


def read(states, *, bn_eps=1e-5, sn_eps=1e-6, **settings):
    """Return (config, gan, networks) of state dicts by role; the architecture is inferred from shapes."""
    config = biggan_pytorch.settings_of({}, bn_eps, sn_eps)
    for key, value in settings.items():
        config[key] = value
    imported.complete(
        config.model, imported.merge({name: biggan_pytorch.infer(state) for name, state in states.items()})
    )
    gan = build_gan(config)
    shapes = imported.shapes_of(gan)
    networks = {
        name: tables.to_here(
            state, shapes[name[0]], biggan_pytorch.entry_of(config.model, name != "D"), name, biggan_pytorch.is_foreign
        )
        for name, state in states.items()
    }
    return config, gan, networks


def named(network, config, role):
    return tables.to_there(network, biggan_pytorch.entry_of(config.model, role != "D"))


def model_errors(path):
    """Return {quantity: largest absolute error} of a BigGAN-PyTorch G or D file."""
    arrays, meta = load(path)
    state, ctor = under("state/", arrays), meta["ctor"]
    role = "G" if biggan_pytorch.is_generator(state) else "D"
    eps = {"bn_eps": ctor.get("BN_eps", 1e-5), "sn_eps": ctor["SN_eps"]}
    config, gan, networks = read({role: state}, **eps)
    network = networks[role]
    assert sum(p.size for p in jax.tree.leaves(network["params"])) == meta["params"]
    evaluation = jax.jit(gan.evaluation_weights)(network["params"], network["spectral"])
    training, spectral = jax.jit(gan.normalize)(network["params"], network["spectral"])
    y = arrays["y"].astype(np.int32)
    if role == "G":
        variables = {"params": evaluation, "batch_stats": network["batch_stats"]}
        images = jax.jit(gan.networks["G"].module.apply)(variables, arrays["z"], y)
        trained, batch_stats = jax.jit(lambda *a: in_training(gan, *a))(
            training, network["batch_stats"], arrays["z"], y
        )
        after = {"spectral": spectral, "batch_stats": batch_stats}
        errors = {
            "evaluation": distance(images, to_nhwc(arrays["out_eval"])),
            "training": distance(trained, to_nhwc(arrays["out_train"])),
        }
    else:
        logits = jax.jit(lambda weights, x: gan.networks["D"].module.apply({"params": weights}, x, y))
        after = {"spectral": spectral}
        errors = {
            "evaluation": max(
                distance(logits(evaluation, to_nhwc(arrays[x])), arrays[logit][:, 0])
                for x, logit in (("x", "logit_eval"), ("x_fake", "logit_eval_fake"))
                if x in arrays
            ),
            "training": distance(logits(training, to_nhwc(arrays["x"])), arrays["logit_train"][:, 0]),
        }
    theirs = under("after_train/", arrays)
    ours = named(after, config, role)
    errors["u"] = worst(ours, {name: a for name, a in theirs.items() if name.endswith("u0")})
    if role == "G":
        errors["running"] = worst(ours, {name: a for name, a in theirs.items() if "stored" in name})
    return errors


def hugging_face_errors(path):
    """Return {truncation: largest absolute error} of a Hugging Face file, with its swapped interpolation."""
    arrays, meta = load(path)
    state = under("state/", arrays)
    config = configs.base()
    config.model.bn_eps = config.model.spectral_eps = meta["config"]["eps"]
    found = hf_biggan_deep.infer(state)
    assert found["resolution"] == meta["config"]["output_dim"]
    imported.complete(config.model, found)
    gan = build_gan(config)
    network = hf_biggan_deep.read_network(state, config, path.name)
    assert sum(p.size for p in jax.tree.leaves(network["params"])) == meta["params"]
    weights = generate.evaluation_weights(gan, network["params"], network["spectral"])
    apply = jax.jit(gan.networks["G"].module.apply)
    errors = {}
    for z in (name for name in arrays if name.startswith("z@")):
        truncation = float(z.removeprefix("z@"))
        moments = generate.binned_statistics(network["binned"], truncation, swapped=True)
        images = apply({"params": weights, "batch_stats": moments}, arrays[z], arrays["class_vector"])
        errors[f"truncation {truncation}"] = distance(images, to_nhwc(arrays[z.replace("z@", "out@")]))
    return errors


@dataclasses.dataclass
class Worst:
    """The largest errors: relative to their tolerances, and as distances under the names of `meta_json`."""

    shares: dict
    distances: dict

    def share(self, what, value, limit):
        self.shares[what] = max(self.shares.get(what, 0.0), float(value / limit))

    def distance(self, what, value):
        self.distances[what] = max(self.distances.get(what, 0.0), float(value))


def training_errors(name):
    """Return the Worst of a recorded training run, repeated by our updates from its first weights, latents and batches.

    Tolerances: losses 1e-4 of the larger of 1 and themselves; gradients 2e-4 of an array's largest plus 5e-4; weights 2e-6
    on average over an array, and at most 2 lr per update; u and BN statistics 1e-4. Adam's second moments have the
    tolerance of weights after the first step, and later 2 lr per update and 3e-2 of an array's largest: rounding may flip
    a ReLU in the second step, which changes a gradient by as much. In float64 this does not occur. Where the true
    gradient is zero, Adam (b1 = 0) turns rounding errors into steps of up to lr, so only the second tolerance of weights
    applies.
    """
    part = lambda suffix: load(next(iter(fixtures(f"{name}_{suffix}.npz"))))[0]
    batches, meta = load(next(iter(fixtures(f"{name}_batches.npz"))))
    inits = fixtures(f"{name}_init.npz") or fixtures(f"{name.rpartition('_')[0]}_init.npz")
    config, gan, networks = recorded_run(meta, load(inits[0])[0])
    state = imported.to_state(imported.Imported(config, networks))
    restart = lambda name: state.networks[name].replace(
        opt_state=gan.networks[name].optimizer.init(state.networks[name].params)
    )
    state = state.with_networks(G=restart("G"), D=restart("D"))
    ema_params, ema_stats = state.networks["G"].params, state.networks["G"].stats
    update_d, update_g = (
        jax.jit(lambda state, data, name=name: update(gan, state, name, data, jax.random.key(0))) for name in "DG"
    )
    m = gan.microbatches
    worst_of = Worst({}, {})

    def examples(name, iteration, first):
        """`microbatches` recorded batches as the one that our updates take apart again: every m-th example is one's."""
        parts = batches[name][iteration, first : first + m]
        parts = parts.transpose(0, 1, 3, 4, 2) if name == "x" else parts
        parts = parts.astype(np.int32) if name in ("y", "gy") else parts
        return np.stack(list(parts), axis=1).reshape(-1, *parts.shape[2:])

    grads = {}
    for it in range(meta["iters"]):
        for step in range(gan.d_steps):
            first = step * m
            names = {"image": "x", "label": "y", "z": "z", "fake_label": "gy"}
            data = {ours: examples(theirs, it, first) for ours, theirs in names.items()}
            state, metrics = update_d(state, data)
            theirs = batches["d_losses_each"][it, first : first + m].mean(0)
            for ours, value in zip((metrics["d_loss_real"], metrics["d_loss_fake"]), theirs, strict=True):
                worst_of.share("D loss", abs(ours - value), 1e-4 * max(abs(value), 1))
            if it == 0:
                grads[f"D_step{step}"] = named({"params": state.networks["D"].opt_state[0].trace}, config, "D")
        first = gan.d_steps * m
        before = state
        state, metrics = update_g(state, {"z": examples("z", it, first), "fake_label": examples("gy", it, first)})
        G, D = state.networks["G"], state.networks["D"]
        # The recorded loss is the last microbatch's, divided by their number.
        ours = metrics["g_loss"] if m == 1 else last_g_loss(gan, before, batches, it, first)
        value = batches["losses"][it, 2]
        worst_of.share("G loss", abs(ours - value), 1e-4 * max(abs(value), 1))
        ema_params = moving_average(gan, np.int32(it), ema_params, G.params)
        # BigGAN-PyTorch's average covers G's buffers (BN statistics, u), ours does not.
        decay = float(gan.ema_decay_at(np.int32(it)))
        ema_stats = jax.tree.map(lambda a, b, decay=decay: a * decay + b * (1 - decay), ema_stats, G.stats)
        if it == 0:
            grads["G_step0"] = named({"params": G.opt_state[0].trace}, config, "G")
            if fixtures(f"{name}_grads_it1.npz"):
                compare_gradients(grads, under("grad_it1/", part("grads_it1")), worst_of)
        if fixtures(f"{name}_after{it + 1}.npz"):
            compared = {"G": G, "D": D, "G_ema": averaged(G, ema_params, ema_stats)}
            compare_networks(compared, part(f"after{it + 1}"), config, it + 1, worst_of)
    return worst_of


def recorded_run(meta, init):
    """Return (config, gan, networks) of a recorded run; the optimisers store the last gradient that they received."""
    g, d, run = meta["ctor_G"], meta["ctor_D"], meta["train_config"]
    assert run["num_D_accumulations"] == run["num_G_accumulations"]
    config, _, networks = read(
        {"G": under("G/", init), "D": under("D/", init)},
        bn_eps=g["BN_eps"],
        sn_eps=g["SN_eps"],
        d_steps=run["num_D_steps"],
        microbatches=run["num_D_accumulations"],
        spectral_advance="microbatch",
    )
    config.optimizer.update(g_lr=g["G_lr"], d_lr=d["D_lr"], b1=g["G_B1"], b2=g["G_B2"], eps=g["adam_eps"])
    config.regularizer.update(g_ortho=run["G_ortho"], d_ortho=run["D_ortho"], ortho_factor=2.0)
    config.ema.update(decay=meta["ema_decay"], start=meta["ema_start"])
    gan = build_gan(config)
    remember = lambda name: optax.chain(optax.trace(decay=0.0), gan.networks[name].optimizer)
    gan = with_optimizers(gan, G=remember("G"), D=remember("D"))
    return config, gan, networks


def compare_gradients(ours, recorded, worst_of):
    for role, arrays in ours.items():
        for name, theirs in under(f"{role}/", recorded).items():
            difference = distance(arrays[name], theirs)
            # One ReLU that rounding flips moves a bias's gradient by 1.3e-4 of itself.
            worst_of.share("gradients", difference, 2e-4 * np.abs(theirs).max() + 5e-4)
            worst_of.distance("grads_it1:grad_it1/", difference)


def compare_networks(compared, after, config, steps, worst_of):
    rate = {"G": config.optimizer.g_lr, "D": config.optimizer.d_lr}
    updates = {"G": steps, "D": steps * config.d_steps}
    for role, network in compared.items():
        who = role[0]
        theirs, squares = under(f"{role}/", after), under(f"adam_v/{who}/", after)
        for name, array in named({"params": network.params}, config, role).items():
            difference = np.abs(array - theirs[name])
            worst_of.share(f"{role} weights, max", difference.max(), 2 * rate[who] * updates[who])
            if squares[name].max() > 1e-12:
                worst_of.share(f"{role} weights, mean", difference.mean(), 2e-6)
            worst_of.distance(f"after{steps}:{role}/", difference.max())
        for name, array in named(network.stats, config, role).items():
            what = "u" if name.endswith("u0") else "BN statistics"
            worst_of.share(f"{role} {what}", distance(array, theirs[name]), 1e-4 * max(1.0, np.abs(theirs[name]).max()))
            worst_of.distance(f"after{steps}:{role}/", distance(array, theirs[name]))
        if role != "G_ema":
            nu = optax.tree_utils.tree_get(network.opt_state[1], "nu")
            for name, array in named({"params": nu}, config, role).items():
                difference = distance(array, squares[name])
                worst_of.share(f"{role} second moments", difference, 3e-2 * squares[name].max() + 1e-12)
                worst_of.share(f"{role} second moments, max", difference, 2 * rate[who] * updates[who])
                if steps == 1:
                    worst_of.share(f"{role} second moments, mean", np.abs(array - squares[name]).mean(), 2e-6)
                worst_of.distance(f"after{steps}:adam_v/", difference)


def averaged(G, params, stats):
    """Return the averaged G: its weights and BN statistics."""
    variables = {name: tree for name, tree in stats.items() if name != "spectral"}
    return G.replace(params=params, spectral=stats["spectral"], variables=variables)


def last_g_loss(gan, state, batches, iteration, first):
    """The loss of G's last microbatch over their number: the update, with one microbatch and weights held still, so often."""
    still = with_optimizers(dataclasses.replace(gan, microbatches=1, g_ortho=0.0), G=optax.sgd(0.0))
    G = state.networks["G"]
    state = state.with_networks(G=G.replace(opt_state=still.networks["G"].optimizer.init(G.params)))
    update_g = jax.jit(lambda state, data: update(still, state, "G", data, jax.random.key(0)))
    for i in range(first, first + gan.microbatches):
        data = {"z": batches["z"][iteration, i], "fake_label": batches["gy"][iteration, i].astype(np.int32)}
        state, metrics = update_g(state, data)
    return metrics["g_loss"] / gan.microbatches


def training_runs():
    return [path.name.removesuffix("_batches.npz") for path in fixtures("train_biggan*_batches.npz")]


def pair_comparison(path):
    """Compare a G and a D of BigGAN-PyTorch in two files, NAME_G.npz and NAME_D.npz, and an update of each."""
    arrays, meta = load(path)
    of_d = load(path.with_name(path.name.replace("_G.npz", "_D.npz")))[0]
    states = {"G": under("state/", arrays), "D": under("state/", of_d)}
    arrays |= of_d
    eps = {"bn_eps": meta["G_kwargs"]["BN_eps"], "sn_eps": meta["G_kwargs"]["SN_eps"]}
    config, gan, networks = read(states, **eps)
    assert config.model.resolution == meta["G_kwargs"]["resolution"]
    for role, network in networks.items():
        assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == meta[f"params_{role}"]
    found, G, D = Comparison(arrays, meta), networks["G"], networks["D"]
    x, y, z = to_nhwc(arrays["x"]), arrays["y"].astype(np.int32), arrays["z"]
    gy, fake, hinge = arrays["gy"].astype(np.int32), to_nhwc(arrays["G/out_train"]), LOSSES["hinge"]

    @jax.jit
    def g_passes(G, D):
        d_weights, _ = gan.normalize(D["params"], D["spectral"])

        def loss(params):
            weights, vectors = gan.normalize(params, G["spectral"])
            images, stats = in_training(gan, weights, G["batch_stats"], z, gy)
            logits = gan.networks["D"].module.apply({"params": d_weights}, images, gy)
            return hinge.generator(logits), (images, {"spectral": vectors, "batch_stats": stats})

        variables = {"batch_stats": G["batch_stats"]}
        evaluated = gan.sample(gan.evaluation_weights(G["params"], G["spectral"]), variables, z, gy)
        return evaluated, *jax.value_and_grad(loss, has_aux=True)(G["params"])

    @jax.jit
    def d_passes(D):
        apply = lambda weights, x, y: gan.networks["D"].module.apply({"params": weights}, x, y)
        evaluated = apply(gan.evaluation_weights(D["params"], D["spectral"]), x, y)

        def loss(params):
            weights, vectors = gan.normalize(params, D["spectral"])
            logits = apply(weights, np.concatenate([fake, x]), np.concatenate([gy, y]))
            fake_logits, real_logits = logits[: len(fake)], logits[len(fake) :]
            parts = hinge.discriminator(real_logits, fake_logits)
            return sum(parts), (parts, fake_logits, real_logits, {"spectral": vectors})

        return evaluated, *jax.value_and_grad(loss, has_aux=True)(D["params"])

    evaluated, (loss, (images, after)), grads = g_passes(G, D)
    found.outputs("G, evaluation", {"G/out_eval": to_nchw(evaluated)})
    found.outputs("G, training", {"G/out_train": to_nchw(images)})
    found.outputs("G, buffers after training", named(after, config, "G"), "G/after_train/")
    found.losses("G, losses", {"Gstep/loss": loss})
    found.gradients("G, gradients", named({"params": grads}, config, "G"), "Gstep/grad/")
    evaluated, (_, (parts, fake_logits, real_logits, after)), grads = d_passes(D)
    column = lambda logits: np.asarray(logits)[:, None]
    found.outputs("D, evaluation", {"D/logit_eval": column(evaluated)})
    logits = {"D/logit_train_fake": column(fake_logits), "D/logit_train_real": column(real_logits)}
    found.outputs("D, training", logits)
    found.outputs("D, buffers after training", named(after, config, "D"), "Dstep/after/")
    found.losses("D, losses", dict(zip(("Dstep/loss_real", "Dstep/loss_fake"), parts, strict=True)))
    found.gradients("D, gradients", named({"params": grads}, config, "D"), "Dstep/grad/")
    return found


def limits(path, meta):
    """Return rows of a network of BigGAN-PyTorch."""
    # Two images of 4x4 pixels pass forty batch norms: the peer's float32 and float64 differ by 4e-5.
    rounding = (meta["module"], meta["kind"]) == ("BigGANdeep", "generator")
    errors = model_errors(path)
    return [Row(what, error, 1e-4 if rounding and what == "training" else 2e-5) for what, error in errors.items()]


def kind_of(path):
    """Return (a function from the file to what it compares, None) or (None, why it is not compared)."""
    peer, meta = peer_of(path)
    if peer == STUDIOGAN and "MODEL" in meta.get("spec", {}):
        return parity_studiogan.network_comparison, None
    if peer == STUDIOGAN and "logit_real" in np.load(path).files:
        return parity_studiogan.losses_comparison, None
    if peer == R3GAN:
        return parity_r3gan.training_comparison if "train" in meta else parity_r3gan.network_comparison, None
    if peer == parity_progan.PEER:
        return parity_progan.comparison, None
    if peer == BIGGAN_PYTORCH and "train_config" in meta:
        name = path.name.removesuffix("_batches.npz")
        if name == path.name:
            return None, "belongs to a *_batches.npz"
        return lambda path: [Row(what, share, 1.0) for what, share in training_errors(name).shares.items()], None
    if peer == BIGGAN_PYTORCH and "G_kwargs" in meta:
        return (pair_comparison, None) if path.name.endswith("_G.npz") else (None, "belongs to a *_G.npz")
    if peer == BIGGAN_PYTORCH and "ctor" in meta:
        return functools.partial(limits, meta=meta), None
    if peer == parity_ada.PEER and meta.get("model") == parity_ada.MODEL:
        return parity_ada.comparison, None
    if peer == parity_cyclegan.PEER:
        networks, training = parity_cyclegan.network_comparison, parity_cyclegan.training_comparison
        return (networks if "kwargs" in meta else training), None
    if peer == parity_stylegan2.PEER:
        return parity_stylegan2.comparison_of(path, meta)
    if peer == HUGGING_FACE:
        return lambda path: [Row(what, error, 1e-4) for what, error in hugging_face_errors(path).items()], None
    return None, f"of {peer}, which has no comparison" if peer else "no recording"


def compare(path):
    """Return (rows, what was not compared) of one file. Raises what reading it or building its networks raises."""
    function, why = kind_of(path)
    if not function:
        return [], why
    found = function(path)
    if not isinstance(found, Comparison):
        return found, None
    missing = found.missing()
    return found.rows, f"{len(missing)} arrays, such as {missing[0]}" if missing else None


def in_float64(path):
    """Return {quantity: Row} of a file that is compared in float64, in a process of its own; {} if that fails."""
    command = [sys.executable, "-m", "tests.convert.float64", str(path)]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    rows = json.loads(result.stdout)[str(path)] if result.returncode == 0 else []
    return {row[0]: Row(*row) for row in rows}


def main(folder=None):
    """Print the table; return whether a distance exceeds what is allowed, in float32 and also in float64.

    Rounding may flip a ReLU or a maximum, which changes gradients by much; in float64 the same formulas then agree.
    """
    if folder:
        recordings.FOLDERS[:] = [pathlib.Path(folder)]
    paths = fixtures("*.npz")
    if not paths:
        raise SystemExit(f"no recordings (*.npz) in {', '.join(map(str, recordings.FOLDERS))}")
    print("| file | quantity | distance | allowed |\n|---|---|---|---|")
    exceeded, notes = [], []
    for path in paths:
        try:
            rows, note = compare(path)
        except (UserError, AssertionError, KeyError, TypeError, ValueError, OSError) as error:
            rows, note = [], f"failed: {type(error).__name__}: {error}"
            exceeded.append(path.stem)
        again = in_float64(path.resolve()) if any(row.share > 1 for row in rows) else {}
        for row in rows:
            double, mark = again.get(row.quantity, row), ""
            if row.share > 1:
                mark = f", in float64 {double.distance:.1e}" if double.share <= 1 else " **exceeded**"
                exceeded += [path.stem] * (double.share > 1)
            print(f"| {path.stem} | {row.quantity} | {row.distance:.1e}{mark} | {row.allowed:.1e} |")
        notes += [f"{path.stem}: not compared: {note}"] * bool(note and "belongs to" not in note)
        sys.stdout.flush()
    print("", *notes, sep="\n")
    print(f"exceeded: {', '.join(dict.fromkeys(exceeded))}" if exceeded else "all within what is allowed")
    return bool(exceeded)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
