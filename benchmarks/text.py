"""Train text to image on emoji and their names at 32 pixels, and measure it: benchmarks/results/text.json.

    npm pack emoji-datasource-google@16.0.0                         # Extract img/google/64, and keep the .tgz.
    python benchmarks/text.py --pictures=google --package=emoji-datasource-google-16.0.0.tgz [--out=runs/text]

D's mean logits are of real pictures with their captions and with shuffled ones. Retrieval is the share of pictures whose own caption
has the largest cosine among 10, the others drawn at random: by a judge of two encoders that is trained on the real training pictures
with another seed, and has no part in the training of G. Beside samples it judges real pictures, and samples of shuffled captions.
"""

import argparse
import functools
import json
import pathlib
import subprocess
import sys
import tarfile

import figures
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import unflatten_dict

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator, load_state, safetensors
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.config.loading import load
from biggan_jax.data import captions
from biggan_jax.evaluation.captions import agreement
from biggan_jax.models import build_gan
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.stability.signals import logits_and_features
from biggan_jax.state import init_state
from biggan_jax.train import train
from biggan_jax.train_step import to_float

RESULTS = pathlib.Path(__file__).parent / "results" / "text.json"
PRESET = "classic/text_to_image32"
HELD_OUT = 378  # A tenth of the pictures.
JUDGE_STEPS, JUDGE_SEED = 800, 1
TONES = {"1F3FB": "light", "1F3FC": "medium light", "1F3FD": "medium", "1F3FE": "medium dark", "1F3FF": "dark"}


def names_of(package: pathlib.Path) -> dict[str, list[str]]:
    """Return the names of each picture, the first one as Unicode has it."""
    with tarfile.open(package) as archive:
        table = json.load(archive.extractfile("package/emoji.json"))
    found = {}
    for row in table:
        short = [name.replace("_", " ").replace("-", " ") for name in row["short_names"]]
        names = list(dict.fromkeys([row["name"].lower(), *short]))
        found[row["image"]] = names
        for tones, variant in row.get("skin_variations", {}).items():
            with_tone = f"with {' and '.join(TONES[tone] for tone in tones.split('-'))} skin"
            found[variant["image"]] = [f"{name} {with_tone}" for name in names]
    return found


def prepare(folder: pathlib.Path, package: pathlib.Path, out: pathlib.Path) -> None:
    """Prepare the set, with a tenth of the pictures held out."""
    table = out.parent / "captions.jsonl"
    rows = [json.dumps({"file_name": name, "text": texts}) for name, texts in names_of(package).items()]
    table.write_text("\n".join(rows))
    flags = f"--from=captions --in={folder} --captions={table} --out={out} --size=32 --held_out={HELD_OUT} --workers=1"
    subprocess.run([sys.executable, "-m", "biggan_jax.data.prepare", *flags.split()], check=True)


def config_of(folder: pathlib.Path, steps: int | None = None):
    c = load(PRESET)
    c.data.name, c.data.dir = "tfds", str(folder)
    if steps:
        c.num_steps = c.checkpoint_every = steps
        c.sample_every = max(steps // 4, 1)
    configs.validate(c)
    return c


def pictures_of(config, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all pictures of a split, uint8, and the first caption of each, int32 [N, L]."""
    source = data.make_source(config, split)
    found = source.read(np.arange(len(source)), np.full(len(source), 0.5))
    return found.images, captions.first_captions(found.labels)


def trained_judge(config) -> tuple[dict, dict]:
    """Train two encoders on the training pictures; return their weights and the last metrics."""
    gan = build_gan(config)
    state = init_state(gan, JUDGE_SEED)
    optimizer = optax.adam(1e-3)
    nets = {name: gan.networks[name].module for name in ("T", "V")}
    params = {name: state.networks[name].params for name in nets}
    apply = lambda params: lambda name, x, **_: nets[name].apply({"params": params[name]}, x)

    @jax.jit
    def step(params, moments, batch):
        loss = lambda params: gan.joint_loss(apply(params), batch, jax.random.key(0))
        grads, metrics = jax.grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), moments, metrics

    own = config.copy_and_resolve_references()
    own.seed = JUDGE_SEED
    batches, moments = data.host_batches(data.make_source(own), own, 0), optimizer.init(params)
    for i in range(JUDGE_STEPS):
        read, _ = batches(i)
        batch = {"image": to_float(jnp.asarray(read["image"][0])), "label": jnp.asarray(read["label"][0])}
        params, moments, metrics = step(params, moments, batch)
    return jax.tree.map(np.asarray, params), {name: round(float(value), 3) for name, value in metrics.items()}


def judge(config, path: pathlib.Path):
    """Return a function from (pictures, captions) to the directions [N, E] of both. path: where the judge's weights are kept."""
    if not path.exists():
        params, metrics = trained_judge(config)
        print("judge:", metrics, flush=True)
        named = safetensors.to_bytes({name: np.asarray(x) for name, x in named_arrays(params).items()}, {})
        path.write_bytes(named)
    arrays, _ = safetensors.from_bytes(path.read_bytes(), str(path))
    params = unflatten_dict(arrays, sep=".")
    gan = build_gan(config)
    nets = {name: gan.networks[name].module for name in ("T", "V")}

    @jax.jit
    def directions(images, texts):
        text = gan.embedding(lambda y: nets["T"].apply({"params": params["T"]}, y), texts)
        text = text / jnp.linalg.norm(text, axis=-1, keepdims=True)
        return nets["V"].apply({"params": params["V"]}, to_float(images)), text

    return lambda images, texts: [np.asarray(x) for x in directions(jnp.asarray(images), jnp.asarray(texts))]


def shuffled(count: int) -> np.ndarray:
    """Return a random order: neighbours in a set are alike."""
    return np.random.default_rng(1).permutation(count)


def d_logits(run: pathlib.Path, images: np.ndarray, texts: np.ndarray) -> dict[str, float]:
    """Return D's mean logits of pictures with their captions, and with those of others."""
    state, config, _ = load_state(run)
    gan = build_gan(config)
    weights = {name: network.params for name, network in state.networks.items()}
    y = gan.conditions(weights, texts)
    of = jax.jit(functools.partial(logits_and_features, gan, weights["D"], state.networks["D"].variables))
    mean = lambda y: round(float(of(to_float(jnp.asarray(images)), y)[0].mean()), 3)
    return {"right": mean(y), "shuffled": mean(y[shuffled(len(y))])}


def measure(run: pathlib.Path, config, directions) -> dict:
    """Return the figures of a trained run, and draw a sheet of held-out and training captions: real, then three samples."""
    trained = load_generator(run)
    sampler = Sampler.from_checkpoint(trained)
    rng = np.random.default_rng(0)
    found: dict = {"steps": trained.step, "d_logits": {}, "retrieval_of_10": {}}
    for split, name in (("train", "training"), ("test", "held_out")):
        images, texts = pictures_of(config, split)
        chosen = np.sort(rng.permutation(len(images))[:HELD_OUT])
        images, texts = images[chosen], texts[chosen]
        found["d_logits"][name] = d_logits(run, images, texts)
        made = sampler.images(sampler.latents(len(texts), 0), texts)
        of_samples, of_texts = directions(made, texts)
        by_kind = {
            "real": directions(images, texts)[0],
            "samples": of_samples,
            "samples_of_shuffled_captions": of_samples[shuffled(len(of_samples))],
        }
        share = lambda each, of_texts=of_texts, texts=texts: round(agreement(each, of_texts, texts), 4)
        found["retrieval_of_10"][name] = {kind: share(each) for kind, each in by_kind.items()}
        shown = np.arange(0, len(texts), max(len(texts) // 24, 1))[:24]
        columns = [images[shown], *(sampler.images(sampler.latents(24, seed), texts[shown]) for seed in range(3))]
        rows = np.stack(columns, axis=1).reshape(-1, *images.shape[1:])
        pictures.save_png(run / f"{name}.png", pictures.grid(rows, 2 * len(columns) * 2))
        (run / f"{name}.txt").write_text("\n".join(captions.decode(texts[i]) for i in shown))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--pictures", type=pathlib.Path, help="folder of the pictures; not needed once the set is prepared"
    )
    parser.add_argument("--package", type=pathlib.Path, help="the package's .tgz, with the names")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/text"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--judge", action="store_true", help="train the judge alone")
    arguments = parser.parse_args()
    folder, run = arguments.out / "emoji", arguments.out / "run"
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        if not (arguments.pictures and arguments.package):
            parser.error(f"{folder} does not exist: give --pictures and --package")
        prepare(arguments.pictures, arguments.package, folder)
    c = config_of(folder, arguments.steps)
    directions = judge(c, arguments.out / "judge.safetensors")
    if arguments.judge:
        return
    times = arguments.out / "seconds.json"
    known = json.loads(times.read_text()) if times.exists() else {"train_seconds": 0, "cpu_seconds": 0}
    done, seconds = figures.timed(lambda: train(c, run))
    known = {name: known[name] + more for name, more in seconds.items()}
    times.write_text(json.dumps(known))
    if not done:
        raise SystemExit("interrupted; rerun to resume")
    about = {"preset": PRESET, "batch_size": c.batch_size, "held_out": HELD_OUT}
    about |= figures.device()
    found = about | measure(run, c, directions) | known
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
