"""The table of config keys: defaults and accepted values. docs/config_keys.md is made from its comments."""

import ast
import inspect
import textwrap
from typing import Any

import ml_collections

from biggan_jax.config.families import SECTIONS, Section, section_of
from biggan_jax.config.keys import Key, choice, fraction, non_negative, positive, share


def general() -> dict[str, Any]:
    """Return the keys that all families have. The paper is Brock et al. 2019."""
    return {
        "seed": non_negative(0),  # Seed of weights, latents and data order.
        "num_steps": positive(150_000, safe=True, auto=True),  # Steps; each is d_steps updates of D and one of G.
        # Global: real images per D update, over all devices of all hosts.
        "batch_size": positive(2048, auto=True),
        "d_steps": positive(2, at_most=1000),  # D updates per step.
        # Real images that G's loss compares with, if it does (relativistic losses): those of D's last update, or its own.
        "g_real": choice("shared", "own"),
        "g_batch": positive(1, at_most=1000),  # Images of G's update for each of D's: 2 in SNGAN and WGAN-GP.
        "init_from": Key(
            "", path=True
        ),  # Checkpoint whose weights and optimizer state a new run starts with; see configs/finetune.py.
        # Blocks of D, from the image on, that are not trained (FreezeD), with init_from; 0: none. See small_data.md.
        "freeze_d": non_negative(0),
        # Type of activations: float32 or bfloat16. Weights, moments and losses are always float32.
        "dtype": choice("float32", "bfloat16"),
        # A name in losses.LOSSES: hinge, non_saturating, minimax, wasserstein, least_squares, relativistic_average,
        # relativistic_pairs, multi_hinge.
        "loss": "hinge",
        # Parts a batch is split into, to save memory. Batch norm sees one part at a time.
        "microbatches": positive(1, auto=True),
        # Parts D splits a microbatch into, to save memory. Equal up to rounding and augmentation's random draws.
        "d_chunks": positive(1, safe=True),
        # Activations recomputed in the backward pass, to save memory: none, those inside blocks, or all (full).
        "remat": choice("none", "blocks", "full", safe=True),
        # Use the fused attention kernel on TPU v4 and later, in bfloat16. Equal up to rounding.
        "fused_attention": Key(True, safe=True),
        # Power iterations run once per update, or once per microbatch as with BigGAN-PyTorch's accumulation.
        "spectral_advance": choice("update", "microbatch"),
        "mesh.data": Key(-1, safe=True),  # Devices the batch is sharded over; -1: all that fsdp leaves.
        "mesh.fsdp": Key(1, safe=True),  # Devices that shard weights, optimizer moments and EMA besides the batch.
        # Also shard weights and their updates over data: less memory and compute, more communication.
        "mesh.shard_update": Key(True, safe=True),
        "regularizer.g_ortho": non_negative(0.0),  # Strength of the orthogonal penalty on G's weights; paper: 1e-4.
        "regularizer.d_ortho": non_negative(0.0),  # Strength of the orthogonal penalty on D's weights.
        # Factor of the orthogonal penalty's gradient: 4 is exact for the paper's formula, 2 is BigGAN-PyTorch's.
        "regularizer.ortho_factor": positive(4.0),
        # Strength of R1, the zero-centered gradient penalty on real images; Brock et al. tried 10. auto: StyleGAN2-ADA's
        # rule, 0.0002 height width / batch_size.
        "regularizer.r1": non_negative(0.0, auto=True),
        "regularizer.r2": non_negative(0.0),  # Strength of R2, the same on fake images.
        "regularizer.gp": non_negative(0.0),  # Strength of WGAN-GP's penalty, on mixed images; its paper: 10.
        # Norm that WGAN-GP's penalty pulls gradients to; it is divided by its square. ProGAN on CIFAR-10: 750.
        "regularizer.gp_target": positive(1.0),
        "regularizer.drift": non_negative(0.0),  # Strength of D's squared logits of real images; ProGAN: 0.001.
        "regularizer.max_gp": non_negative(0.0),  # Strength of the largest squared gradient on mixed images.
        "regularizer.dragan": non_negative(0.0),  # Strength of DRAGAN's penalty, near real images; its paper: 10.
        # Steps per update of gradient penalties (lazy regularization); above 1 the update is one of their own.
        "regularizer.every": positive(1, at_most=10_000),
        # Gradient penalties see images through augmentation (StyleGAN2-ADA, R3GAN) or without it, plain (StudioGAN).
        "regularizer.see": choice("augmented", "plain"),
        "regularizer.cr": non_negative(0.0),  # Strength of consistency on mirrored and shifted real images (CR, bCR).
        "regularizer.cr_fake": non_negative(0.0),  # Strength of consistency on such fake images (bCR).
        "regularizer.zcr_d": non_negative(0.0),  # Strength of consistency of D for near latents (zCR); its paper: 5.
        "regularizer.zcr_g": non_negative(0.0),  # Strength of G's difference for near latents (zCR); its paper: 0.5.
        "regularizer.zcr_radius": positive(0.05),  # Standard deviation of the distance of near latents.
        "regularizer.clip": non_negative(0.0),  # Bound to which D's weights are clipped (WGAN: 0.01); 0: none.
        "regularizer.lecam": non_negative(0.0),  # Strength of LeCam; its paper: 0.3 for BigGAN.
        "regularizer.lecam_decay": fraction(0.99),  # Decay of LeCam's moving means, per update of D.
        "regularizer.lecam_start": non_negative(1000),  # Step after which LeCam acts.
        "regularizer.top_k": fraction(0.0),  # Factor of the share of images that G learns from, per decay; 0: all.
        "regularizer.top_k_least": share(0.5),  # Smallest share of images that G learns from.
        "regularizer.top_k_steps": positive(1000),  # Steps between decays of that share; the paper: an epoch.
        "regularizer.feature_matching": non_negative(0.0),  # Strength of matching the means of D's features.
        "regularizer.logan": non_negative(0.0),  # Length of LOGAN's step of latents; its paper: 0.9. 0: none.
        "regularizer.logan_beta": positive(0.1),  # Damping of that step.
        "regularizer.logan_rate": share(0.8),  # Share of the images whose latents take it.
        "regularizer.logan_cost": non_negative(0.0),  # Strength of its squared length in the losses.
        # D's head: none, projection, ac (AC-GAN), contrastive (ContraGAN), d2dce (ReACGAN), multi_hinge.
        "condition.d": choice("projection", "none", "ac", "contrastive", "d2dce", "multi_hinge"),
        "condition.d_weight": non_negative(1.0),  # Weight of the loss of classes of real images in D's loss.
        "condition.d_fake_weight": non_negative(0.0),  # Weight of that of fake images in D's loss.
        "condition.g_weight": non_negative(1.0),  # Weight of that of fake images in G's loss.
        "condition.temperature": positive(1.0),  # Divides similarities in contrastive and d2dce.
        "condition.margin": share(0.98),  # d2dce's margin between similarities.
        "condition.normalize": False,  # AC-GAN's layer of classes sees unit features, as in StudioGAN's normalize_d_embed.
        "condition.embed_dim": positive(512, at_most=2**16),  # Length of D's embeddings in contrastive and d2dce.
        # Labels of fake images: uniform, or those of real images in D's updates (real: WGAN-GP) or in all (paired: R3GAN).
        "condition.labels": choice("uniform", "real", "paired"),
        "optimizer.name": choice("adam", "rmsprop", "sgd"),  # sgd has momentum.
        "optimizer.g_lr": positive(5e-5, auto=True),  # G's learning rate (paper).
        "optimizer.d_lr": positive(2e-4, auto=True),  # D's learning rate (paper).
        "optimizer.b1": fraction(0.0),  # Adam's beta1 (paper).
        "optimizer.b2": fraction(0.999, auto=True),  # Adam's beta2, and the decay of RMSProp (paper).
        "optimizer.eps": positive(1e-6),  # Adam's epsilon (BigGAN-PyTorch; the paper gives none).
        "optimizer.weight_decay": non_negative(0.0),  # Factor of the weights that is added to their gradients (L2).
        # Learning rates over steps: constant; linear, to 0 at decay_end; or exponential, times decay_factor per update.
        "optimizer.decay": choice("constant", "linear", "exponential"),
        "optimizer.decay_start": non_negative(0),  # Step at which the linear decay begins.
        "optimizer.decay_end": non_negative(0),  # Step at which it reaches 0.
        "optimizer.decay_factor": share(1.0),  # Factor of exponential decay.
        "optimizer.least_lr": non_negative(0.0),  # Rate below which exponential decay does not go.
        "optimizer.momentum": fraction(0.0),  # Of sgd.
        "optimizer.last_momentum": fraction(0.0),  # Of sgd from step momentum_end on; before, momentum grows linearly.
        "optimizer.momentum_end": non_negative(0),  # 0: momentum is constant.
        "ema.decay": fraction(0.9999, auto=True),  # Decay per step of the EMA of G's weights (paper).
        "ema.start": non_negative(0),  # Step from which the EMA averages; before, it is a copy of the weights.
        # Instead of ema.decay: images (batch_size per step) after which half of an old value is forgotten; 0: ema.decay.
        "ema.half_life": non_negative(0.0),
        "ema.ramp": non_negative(0.0),  # Largest half-life as a share of the images seen; StyleGAN2-ADA: 0.05. 0: none.
        # Factor of both learning rates over images seen, such as cosine:1:0.25:2e7; empty: constant. See configs.md.
        "schedule.lr": "",
        "schedule.b2": "",  # Adam's beta2, in place of optimizer.b2; R3GAN: cosine:0.9:0.99:2e7.
        "schedule.ema_half_life": "",  # The EMA's half-life, in place of ema.half_life; R3GAN: cosine:0:5e5:2e7.
        "schedule.penalties": "",  # Factor of the strengths of all gradient penalties; R3GAN: cosine:1:0.1:2e7.
        "schedule.augment_p": "",  # Probability of ADA and APA, in place of augment.p; R3GAN: cosine:0:0.3:2e7.
        # DiffAugment's operations in order: colour, translation, cutout. For small data sets.
        "augment.policy": Key((), auto=True),
        # Groups of ADA: blit, geometry, colour (the paper's bgc), filter, noise, cutout; colour:0.5 halves its probability.
        "augment.ada": Key((), entries=str),
        "augment.apa": False,  # Show D fake images as real ones, with probability augment.p (APA).
        "augment.p": Key(0.0, rule=("at least 0 and at most 1", lambda value: 0 <= value <= 1)),  # Of ADA and APA.
        # Mean sign of D's logits of real images to which augment.p is adapted; the papers: 0.6. 0: p is not adapted.
        "augment.target": fraction(0.0),
        # Images over which an adapted p changes by 1; the papers: 500,000, and 100,000 in fine-tuning.
        "augment.speed": positive(500_000.0),
        "augment.every": positive(4),  # Updates of D between two changes of an adapted p.
        "data.name": "fake",  # Source of images: a name in data.SOURCES.
        "data.dataset": "",  # With name tfds: the builder, such as imagenet2012; empty: dir is one prepared set.
        # With name tfds: folder of prepared data, local or gs://; empty: TFDS's default.
        "data.dir": Key("", safe=True, path=True),
        # If the data of a resumed run are not those with which it was saved: refuse, or allow.
        "data.on_change": choice("refuse", "allow", safe=True),
        # With name tfds: the feature with the picture, OUTER/INNER for one inside another; empty: the only one, or image.
        "data.image_key": "",
        "data.label_key": "",  # With name tfds: the feature with the class; empty: the only class label, or label.
        # With name tfds: features of numbers that are the condition, such as attributes or a,b; empty: condition, if any.
        "data.condition_key": "",
        "data.dequantize": False,  # Add noise below a grey level to real images: x / 128 - 1 + U(0, 1 / 128).
        # Draw the classes of training images equally often; images of small classes are then repeated more often.
        "data.balance": False,
        "data.flip": False,  # Mirror half of the images, drawn again each epoch.
        # Position of the square crop along the long edge: center (the paper's), or random, drawn again each epoch.
        "data.crop": choice("center", "random"),
        # Resampling: area (the paper's), or Pillow's bilinear, bicubic, lanczos. FID depends on it.
        "data.resize": choice("area", "bilinear", "bicubic", "lanczos", auto=True),
        "data.draft": False,  # Let the JPEG decoder downscale first: faster, slightly blurred; figures in docs/data.md.
        # Shuffling: grain (Grain's index_shuffle), or feistel. A stored config without this key means feistel.
        "data.order": choice("grain", "feistel"),
        "data.workers": non_negative(0, safe=True),  # Processes that read ahead; 0: threads of the training process.
        "data.threads": non_negative(0, safe=True),  # Decoding threads per process; 0: the cores divided among them.
        # Unreadable records before the run stops. The next record replaces an unreadable one.
        "data.unreadable_limit": non_negative(100, safe=True),
        "stability.every": non_negative(100, safe=True),  # Steps between probes of the collapse monitor; 0: none.
        # On collapse: stop, rollback (resume from before it with new latents and data order), or ignore.
        "stability.on_collapse": choice("stop", "rollback", "ignore", safe=True),
        "stability.rollbacks": non_negative(3, safe=True),  # Most rollbacks of a run; the next collapse stops it.
        "stability.rollback_d_lr": positive(1.0, safe=True),  # Factor of D's learning rate after each rollback.
        "stability.rollback_d_steps": non_negative(0, safe=True),  # D updates per step added by each rollback.
        # Net non-finite steps before the run stops: a non-finite step adds one, a finite one subtracts one.
        "stability.nonfinite_limit": positive(10, safe=True),
        # Maximum scores expected by given steps, such as 300:600,600:200; empty: none.
        "stability.expected": Key("", safe=True),
        "score.every": non_negative(0, safe=True),  # Steps between scores. The best checkpoint is kept. 0: none.
        # Feature network: a name in evaluation.networks.NETWORKS. classifier, of labels, and captions need no download.
        "score.network": "classifier",
        "score.inception": Key("", path=True),  # Weights of inception-2015, DINOv2, CLIP or SwAV: a file, or download.
        # Other metrics that are recorded beside the score, such as kid,prdc,cas; empty: none.
        "score.also": Key("", safe=True),
        "score.num": Key(
            1000, rule=("at least 2", lambda value: value >= 2)
        ),  # Samples per score; at most ten times as many real images.
        "log_every": positive(100, safe=True),  # Steps between lines of metrics.
        "sample_every": non_negative(1000, safe=True),  # Steps between sample grids; 0: none.
        "checkpoint_every": positive(1000, safe=True),  # Steps between checkpoints; the last step always has one.
        "checkpoint_keep": positive(3, safe=True),  # Newest checkpoints kept.
        "checkpoint_keep_every": non_negative(0, safe=True),  # Also keep checkpoints at multiples of this; 0: none.
        "profile_steps": Key("", safe=True),  # Steps to trace with jax.profiler, such as 100:105; empty: none.
        "wandb_project": Key("", safe=True),  # Weights & Biases project to log to, if wandb is installed.
        "model.family": "biggan",  # Family of GANs. It decides which other keys `model` has.
    }


def table(family: str) -> dict[str, Key]:
    """Return {dotted key: Key} of a family's configs. Raises UserError for an unknown family."""
    section = section_of(family)()
    rows = general() | {"model.family": family} | {f"model.{key}": row for key, row in section.items()}
    return {key: row if isinstance(row, Key) else Key(row) for key, row in rows.items()}


def base(family: str = "biggan") -> ml_collections.ConfigDict:
    """Return the defaults, with `model` of that family. A config file calls this and changes what differs."""
    tree: dict[str, Any] = {}
    for name, key in table(family).items():
        section, _, last = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[last] = key.default
    return ml_collections.ConfigDict(tree)


SAFE_TO_CHANGE = tuple(name for name, key in general().items() if isinstance(key, Key) and key.safe)
"""Keys that a resumed run may change: they do not change what is computed, up to rounding, the random draws of augmentation
(d_chunks), and what follows a rollback (stability.rollback_*)."""


def meanings(family: str) -> dict[str, str]:
    """Return {dotted key: its comment, or ""} of all keys of a family's configs, in the order of the table."""
    found = comments(general) | {f"model.{key}": text for key, text in comments(SECTIONS[family]).items()}
    return {key: found.get(key, "") for key in table(family)}


def comments(section: Section) -> dict[str, str]:
    """Return {key: the comment above or behind it} of a function that returns a dict display.

    A section may extend another, as in `biggan() | {...}` or `{**biggan(), ...}`, whose comments it then has.
    """
    try:
        source = textwrap.dedent(inspect.getsource(section))
        nodes, lines = list(ast.walk(ast.parse(source))), source.splitlines()
    except (OSError, SyntaxError):  # Typed into a shell, or a lambda within a call: there are no comments to read.
        return {}
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not (node.args or node.keywords):
            found |= comments(section.__globals__[node.func.id])
    for display in (node for node in nodes if isinstance(node, ast.Dict)):
        for key, value in zip(display.keys, display.values, strict=True):
            if isinstance(key, ast.Constant):  # `**other` has the key None.
                first = key.lineno - 1
                while lines[first - 1].lstrip().startswith("# "):
                    first -= 1
                above = [line.strip().removeprefix("# ") for line in lines[first : key.lineno - 1]]
                behind = lines[(value.end_lineno or key.lineno) - 1].partition("  # ")[2]
                found[str(key.value)] = " ".join([*above, behind]).strip() or found.get(str(key.value), "")
    return found
