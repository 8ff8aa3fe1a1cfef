"""Make a folder with all files that the pages name: small runs such as runs/demo, pictures, labels.

Commands run there unchanged, except for two things that make them small. `python` and `biggan-*` are stand-ins that append
the arguments in SHORTER, and for BigGAN those in NARROW (the last of two equal flags counts), and the runs have two steps
of a narrow network at 16 pixels, so their samples are noise. A status of 1 that is an answer, not a failure (ANSWERS),
counts as success.
"""

import os
import shutil
import stat
import subprocess
import sys

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from tests.docs.pages import MODULES

NARROW = ["--config.model.resolution=16", "--config.model.g_attention=()", "--config.model.d_attention=()"]
NARROW += ["--config.model.ch=4"]
SHORT = ["--config.batch_size=8", "--config.num_steps=2", "--config.checkpoint_every=2"]
SHORT += ["--config.stability.every=2", "--config.score.every=0", "--config.sample_every=2"]
SHORTER = {
    "main": SHORT,
    "sample": ["--passes=1"],
    "tools.grids": ["--passes=1"],
    "tools.edit": ["--passes=1"],
    "tools.export": ["--passes=1"],
}
ANSWERS = {"config": "they differ", "checkpoint": "they differ", "plan": "it does not fit"}

STAND_IN = f"""#!{sys.executable}
import subprocess, sys
arguments = sys.argv[1:]
module = arguments[1].removeprefix("biggan_jax.") if arguments[:1] == ["-m"] else ""
biggan = module == "main" and not any(argument.startswith(("--config=classic/", "--config=modern/")) for argument in arguments)
exports_model = module == "tools.export" and "model" in arguments  # Nothing is drawn.
shorter = {SHORTER}.get(module, []) * (not exports_model) + {NARROW} * biggan
done = subprocess.run([{sys.executable!r}, *arguments, *shorter], stderr=subprocess.PIPE)
sys.stderr.buffer.write(done.stderr)
answered = done.returncode == 1 and module in {ANSWERS} and b"Traceback" not in done.stderr
sys.exit(0 if answered else done.returncode)
"""


def make(folder):
    """Make the scratch folder; takes a minute."""
    bin_ = folder / "bin"
    bin_.mkdir(parents=True)
    for name in ("python", "python3"):  # launch/ calls python3.
        (bin_ / name).write_text(STAND_IN)
    for command, module in MODULES.items():
        if command.startswith("biggan-"):
            (bin_ / command).write_text(f'#!/bin/sh\nexec python -m biggan_jax.{module} "$@"\n')
    for path in bin_.iterdir():
        path.chmod(stat.S_IRWXU)
    for name in ("launch", "configs"):
        (folder / name).symlink_to(ROOT / name)
    draw_pictures(folder / "pictures", {"Flags": 12, "Objects": 12, "Symbols": 8})
    Image.fromarray(noise(40)).save(folder / "three.png")
    (folder / "labels.csv").write_text("".join(f"{i % 2}\n" for i in range(8)))
    lines = [
        "python -m biggan_jax.main --config=quickstart --workdir=runs/demo",
        "python -m biggan_jax.data.prepare --from=folder --in=pictures --out=data/emoji --size=16",
        "python -m biggan_jax.main --config=quickstart --workdir=runs/emoji --config.model.num_classes=3 \
            --config.data.name=tfds --config.data.dir=data/emoji",
        "python -m biggan_jax.main --config=modern/stylegan2_digits --workdir=runs/style",
    ]
    result = run(folder, "\n".join(lines))
    assert result.returncode == 0, result.stderr
    for name in ("a", "b", "imagenet"):
        shutil.copytree(folder / "runs" / "demo", folder / "runs" / name)
    return folder


def run(folder, text):
    """Run a block of commands up to the first that fails."""
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment["XLA_FLAGS"] = environment["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=8", "")
    command = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


def draw_pictures(folder, counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(noise(40)).save(folder / name / f"{i}.png")


random = np.random.default_rng(0)


def noise(size):
    return random.integers(0, 256, (size, size, 3), dtype=np.uint8)
