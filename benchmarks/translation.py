"""Train pix2pix and CycleGAN on emoji at 32 pixels, and measure them: benchmarks/results/translation.json.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0   # Extract img/google/64 and img/twitter/64.
    python benchmarks/translation.py --a=google --b=twitter [--only=pix2pix] [--out=runs/translation]
    python benchmarks/translation.py --a=google --only=colouring    # From the lines of emoji to the emoji.

A figure is the mean absolute difference of held-out pictures of B from their pairs, of grey levels in [-1, 1]: of translated
pictures of A, and of those of A themselves (copy).
"""

import argparse
import functools
import pathlib
import subprocess
import sys

import figures
import numpy as np

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator
from biggan_jax.config.loading import load
from biggan_jax.data import domains
from biggan_jax.sampling import pictures, translations
from biggan_jax.train import train

RESULTS = pathlib.Path(__file__).parent / "results" / "translation.json"
HELD_OUT = 378  # A tenth of the pairs.
RUNS = {
    "pix2pix": ("classic/pix2pix32", "pairs"),
    "cyclegan": ("classic/cyclegan32", "unpaired"),
    "colouring": ("classic/pix2pix32", "edges"),
}
"""Name to (preset, kind of set)."""
SHOWN = 12  # Rows of a sheet.


def prepare(kind: str, a: pathlib.Path, b: pathlib.Path | None, out: pathlib.Path) -> None:
    """Prepare a set. The held-out pictures of both kinds are the same."""
    flags = (
        f"--from={kind}",
        f"--in={a}",
        *([f"--other={b}"] if b else ["--crop=pad_white"]),
        f"--out={out}",
        "--size=32",
        f"--held_out={HELD_OUT}",
        "--workers=1",
    )
    subprocess.run([sys.executable, "-m", "biggan_jax.data.prepare", *flags], check=True)


def config_of(name: str, folder: pathlib.Path, steps: int | None = None):
    c = load(RUNS[name][0])
    channels = 1 if RUNS[name][1] == "edges" else 3
    shape = {"model.image_shape": (32, 32, 3), "model.input_channels": channels}
    shape |= {"data.name": "tfds", "data.dir": str(folder)}
    c.update_from_flattened_dict(shape)
    if steps:
        c.num_steps = c.optimizer.decay_end = c.checkpoint_every = c.sample_every = steps
        c.optimizer.decay_start = steps // 2
    configs.validate(c)
    return c


def held_out_pairs(name: str, folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the held-out pictures of A and of B, uint8 [N, H, W, C], in pairs. name: of the run whose set is in the folder."""
    c = config_of(name, folder)
    source = data.make_source(c, "test")
    two = domains.of(source, c)
    assert two is not None
    found, _ = two.unchanged().read(source, 0, 0, np.arange(len(source)))
    return found["image"], found["other"]


def translator(run: pathlib.Path, direction: str) -> translations.Translator:
    trained = load_generator(run, choose=lambda gan: translations.network_of(gan, direction))
    return translations.Translator.from_checkpoint(trained)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return round(float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean() / 127.5), 4)


def measure(name: str, run: pathlib.Path, a: np.ndarray, b: np.ndarray) -> dict:
    """Return the figures of a trained run, and draw its sheet of held-out pictures."""
    copy, columns, found = distance(a, b), [a], {}
    sides = {"AtoB": (a, b), "BtoA": (b, a)} if name == "cyclegan" else {"AtoB": (a, b)}
    for direction, (given, wanted) in sides.items():
        made = translator(run, direction)(given)
        found[direction] = {"l1": distance(made, wanted), "share_of_copy": round(distance(made, wanted) / copy, 4)}
        columns += [made, wanted]
    rows = np.stack([pictures.to_rgb(column[:SHOWN]) for column in columns], axis=1)
    sheet = pictures.grid(rows.reshape(-1, *rows.shape[2:]), len(columns))
    pictures.save_png(run / "held_out.png", sheet)
    return {"copy_l1": copy, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--a", type=pathlib.Path, help="folder of the pictures of A; not needed where sets are prepared"
    )
    parser.add_argument("--b", type=pathlib.Path, help="folder of those of B, with the same names")
    parser.add_argument("--only", default="pix2pix,cyclegan", help="names, separated by commas")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/translation"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="the file of figures that is added to")
    parser.add_argument(
        "--steps", type=int, help="instead of the preset's; a decay of learning rates begins at half of them"
    )
    arguments = parser.parse_args()
    held_out_of = {name: "colouring" if RUNS[name][1] == "edges" else "pix2pix" for name in arguments.only.split(",")}
    for kind in {RUNS[name][1] for name in [*held_out_of, *held_out_of.values()]}:
        if not (arguments.out / kind).exists():
            other = None if kind == "edges" else arguments.b
            if not (arguments.a and (other or kind == "edges")):
                parser.error(f"{arguments.out / kind} does not exist: give --a and --b")
            prepare(kind, arguments.a, other, arguments.out / kind)
    for name, pairs in held_out_of.items():
        a, b = held_out_pairs(pairs, arguments.out / RUNS[pairs][1])
        c, run = config_of(name, arguments.out / RUNS[name][1], arguments.steps), arguments.out / name
        done, times = figures.timed(functools.partial(train, c, run))
        assert done
        about = {"preset": RUNS[name][0], "steps": c.num_steps, "batch_size": c.batch_size, "pairs_held_out": len(a)}
        about |= figures.device()
        figures.add(arguments.results, name, about | measure(name, run, a, b) | times)


if __name__ == "__main__":
    main()
