"""Time training steps against those of PyTorch references on CPU: benchmarks/results/steps_against_pytorch.json.

    python benchmarks/steps_against_pytorch.py --peer_python=PYTHON [--biggan=DIR] [--stylegan2_ada=DIR] [--r3gan=DIR] [--pairs=3]

PYTHON has torch; the folders are checkouts of ajbrock/BigGAN-PyTorch, NVlabs/stylegan2-ada-pytorch and brownvc/R3GAN. The same
networks, batch and updates in both, in float32, in processes that run in turn. A ratio above 1 says that this code takes less.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import clock
import jax
from measure import environment, prepare

from biggan_jax import config as configs
from biggan_jax import sharding

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "steps_against_pytorch.json"
SHAPE = {
    "model.image_shape": (32, 32, 3),
    "model.num_classes": 10,
    "model.dim_z": 64,
    "d_steps": 1,
    "data.name": "fake",
}
RATES = {"optimizer.b1": 0.0, "optimizer.b2": 0.99, "optimizer.eps": 1e-8, "ema.decay": 0.99, "stability.every": 0}

BIGGAN = {
    "model.family": "biggan",
    "model.num_classes": 10,
    "d_steps": 2,
    "data.name": "fake",
    "loss": "hinge",
    "model.dim_z": 120,
}
BIGGAN |= {"model.bn_group": 0, "ema.start": 0, "stability.every": 0}

MODELS = {
    "biggan32": BIGGAN | {"model.resolution": 32, "model.ch": 32, "model.g_attention": (), "model.d_attention": ()},
    "biggan128": BIGGAN | {"model.resolution": 128, "model.ch": 16, "model.g_attention": (64,), "model.d_attention": (64,)},
    "stylegan2_ada": SHAPE | RATES | {"model.family": "stylegan2", "loss": "non_saturating"}
    | {"model.channel_base": 1024, "model.channel_max": 64, "model.dim_w": 64}
    | {"model.mapping_layers": 2, "model.d_mapping_layers": 2, "model.style_mixing": 0.9, "model.d_stddev_group": 4}
    | {"regularizer.r1": 0.1, "regularizer.every": 16, "model.path_length": 2.0, "model.path_every": 4},
    "r3gan": SHAPE | RATES | {"model.family": "r3gan", "model.widths": (96, 96, 64, 32), "model.groups": (12, 12, 8, 4)}
    | {"model.blocks": (1, 1, 1, 1), "model.d_embed_dim": 64, "loss": "relativistic_pairs"}
    | {"g_real": "own", "condition.labels": "paired"}
    | {"regularizer.r1": 0.5, "regularizer.r2": 0.5},
}  # fmt: skip
CODE = {"biggan32": "biggan", "biggan128": "biggan", "stylegan2_ada": "stylegan2_ada", "r3gan": "r3gan"}
"""Model to the flag that names the peer's code."""
LOAD = {"biggan32": (32, 2, 5), "biggan128": (8, 2, 5), "stylegan2_ada": (16, 16, 32), "r3gan": (16, 4, 16)}
"""Images of a batch, steps before the timed ones, and timed ones: a multiple of all intervals of penalties."""

"""Peer to the model; benchmarks/pytorch_steps.py builds the same from the peer's code."""


def config_of(peer: str, batch: int):
    changes = dict(MODELS[peer])
    c = configs.base(changes.pop("model.family"))
    c.update_from_flattened_dict(changes | {"batch_size": batch})
    configs.validate(c)
    return c


def ours(peer: str, batch: int, warmup: int, steps: int) -> dict[str, float]:
    """Return seconds of CPU and of a clock a step."""
    step = prepare(config_of(peer, batch), sharding.make_mesh(jax.local_devices()))
    state = step.state

    def run(count: int) -> None:
        nonlocal state
        for _ in range(count):
            state, metrics = step.compiled(state, step.batch)
            jax.block_until_ready(metrics)

    # The step's number is in the state: the timed steps begin at a multiple of all intervals, as the peer's do.
    run(warmup)
    _, wall, cpu = clock.timed(lambda: run(steps))
    return {"cpu": cpu / steps, "wall": wall / steps}


def in_turn(peer: str, options: argparse.Namespace) -> dict[str, object]:
    """Run pairs of processes, one of ours and one of theirs, and return their seconds and ratios."""
    batch, warmup, steps = LOAD[peer]
    size = [f"--peer={peer}", f"--batch={batch}", f"--warmup={warmup}", f"--steps={steps}"]
    commands = {
        "ours": [sys.executable, __file__, "--one", *size],
        "theirs": [
            options.peer_python,
            str(HERE / "pytorch_steps.py"),
            f"--code={getattr(options, CODE[peer])}",
            *size,
        ],
    }
    # Threads that spin while they wait for others would count as work.
    environ = os.environ | {"OMP_WAIT_POLICY": "passive"}
    found = {name: [] for name in commands}
    for _ in range(options.pairs):
        for name, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, env=environ)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr[-2000:]}")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(peer, name, found[name][-1], flush=True)
    pairs = list(zip(found["ours"], found["theirs"], strict=True))
    ratios = {unit: sorted(b[unit] / a[unit] for a, b in pairs) for unit in ("cpu", "wall")}
    summary = {
        f"ratio_{unit}": {"median": statistics.median(r), "least": r[0], "greatest": r[-1]}
        for unit, r in ratios.items()
    }
    return {"batch_size": batch, "steps": steps, **summary, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer_python", help="a Python that has torch")
    parser.add_argument("--biggan", help="a checkout of ajbrock/BigGAN-PyTorch")
    parser.add_argument("--stylegan2_ada", help="a checkout of NVlabs/stylegan2-ada-pytorch")
    parser.add_argument("--r3gan", help="a checkout of brownvc/R3GAN")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", default=",".join(MODELS), help="models, separated by commas")
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--warmup", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peer", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(ours(options.peer, options.batch, options.warmup, options.steps)))
        return
    peers = [peer for peer in options.only.split(",") if getattr(options, CODE[peer])]
    if not peers or not options.peer_python:
        parser.error("give --peer_python, and one of --biggan, --stylegan2_ada and --r3gan or more")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for peer in peers:
        known[peer] = in_turn(peer, options)
        RESULTS.write_text(json.dumps({**known, "environment": environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
