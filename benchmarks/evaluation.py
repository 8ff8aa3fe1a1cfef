"""Measure biggan-evaluate on two folders of pictures against torch-fidelity, with the same network of random weights:

python benchmarks/evaluation.py --num=1000 --peer=PYTHON --json=evaluation.json

PYTHON is the interpreter of an environment with torch, torchvision and torch-fidelity. Each runs in a process of its own, with
empty caches; the figures are its CPU seconds, its wall time and its peak memory. Both distances are printed: they must agree.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PEER = """
import contextlib, json, sys
import numpy as np, torch
with contextlib.suppress(RuntimeError):  # torchvision's compiled operators may be missing; they are not used.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torch_fidelity
from unittest import mock
from torch_fidelity import feature_extractor_inceptionv3 as module
weights, out, *folders = sys.argv[1:]
arrays = {name: torch.from_numpy(array) for name, array in np.load(weights).items()}
arrays["fc.bias"] = torch.zeros(1008)
with mock.patch.object(module, "load_state_dict_from_url", lambda *_, **__: arrays):
    load = torch.nn.Module.load_state_dict
    with mock.patch("torch.nn.Module.load_state_dict", lambda self, state, strict=True: load(self, state, strict=False)):
        found = torch_fidelity.calculate_metrics(
            input1=folders[0], input2=folders[1], fid=True, cuda=False, cache=False, verbose=False, batch_size=64
        )
open(out, "w").write(json.dumps(found["frechet_inception_distance"]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1000, help="pictures in each folder")
    parser.add_argument("--size", type=int, default=256, help="their height and width")
    parser.add_argument(
        "--peer", help="Python with torch, torchvision and torch-fidelity; without, only ours is measured"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file to write the figures to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        prepare(folder, options.num, options.size)
        found = {
            "pictures": 2 * options.num,
            "size": options.size,
            "cpus": os.cpu_count(),
            "ours": ours(folder, options.num),
        }
        print(json.dumps(found["ours"]), flush=True)
        if options.peer:
            found["torch_fidelity"] = peer(folder, options.peer, options.num)
            print(json.dumps(found["torch_fidelity"]))
            rates = [found[name]["images_per_cpu_second"] for name in ("ours", "torch_fidelity")]
            found["ratio"] = rates[0] / rates[1]
    text = json.dumps(found, indent=2) + "\n"
    print(text)
    if options.json:
        options.json.write_text(text)


def prepare(folder: pathlib.Path, num: int, size: int) -> None:
    """Write two folders of pictures, noise on gradients, and weights of Inception of Kaiming's variances. In a process of its own."""
    code = f"""
import numpy as np
from PIL import Image
from biggan_jax.convert import feature_networks, tables
from biggan_jax.evaluation.inception import Inception
from biggan_jax.evaluation.weights import shapes_of
rng = np.random.default_rng(0)
for name, base in (("a", 90), ("b", 110)):
    for i in range({num}):
        slope = np.linspace(0, 1, {size})[:, None, None] * rng.uniform(-90, 90, 3) + base
        noise = rng.standard_normal(({size}, {size}, 3), np.float32) * 30
        picture = Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8))
        picture.save({str(folder)!r} + f"/{{name}}/{{i:05d}}.png", compress_level=1)
arrays, shapes = {{}}, shapes_of(Inception())
leaves = dict(tables.leaves(shapes))
for entry in tables.table(shapes, feature_networks.inception_entry):
    shape = entry.layout.to_there(np.empty(leaves[entry.here].shape)).shape
    scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    positive = entry.there.endswith(("running_var", "bn.weight"))
    drawn = rng.uniform(0.5, 1.5, shape) if positive else rng.standard_normal(shape) * scale
    arrays[entry.there] = drawn.astype(np.float32)
np.savez({str(folder / "weights.npz")!r}, **arrays)
"""
    for name in ("a", "b"):
        (folder / name).mkdir()
    subprocess.run([sys.executable, "-c", code], check=True)


def ours(folder: pathlib.Path, num: int) -> dict:
    command = [sys.executable, "-m", "biggan_jax.evaluate", f"--samples={folder / 'a'}", f"--reference={folder / 'b'}"]
    command += [f"--inception={folder / 'weights.npz'}", "--scores=fid", f"--out={folder / 'out'}"]
    empty = {"BIGGAN_JAX_CACHE": str(folder / "cache"), "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    figures = measured(command, empty, num)
    record = json.loads((folder / "out" / "scores.jsonl").read_text().splitlines()[-1])
    return figures | {"distance": record["scores"]["frechet_distance"]}


def peer(folder: pathlib.Path, python: str, num: int) -> dict:
    out = folder / "distance.json"
    command = [python, "-c", PEER, str(folder / "weights.npz"), str(out), str(folder / "a"), str(folder / "b")]
    figures = measured(command, {"PYTHONPATH": ""}, num)
    return figures | {"distance": json.loads(out.read_text())}


def measured(command: list[str], environment: dict[str, str], num: int) -> dict:
    """Run a command; return its CPU seconds, images a CPU second, wall seconds and peak memory in MB."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, env=os.environ | environment, stderr=errors, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)  # Of this process alone, unlike getrusage.
        if status:
            errors.seek(0)
            raise SystemExit(errors.read().decode()[-3000:])
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "cpu_seconds": round(cpu, 1),
        "images_per_cpu_second": round(2 * num / cpu, 3),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "peak_mb": round(usage.ru_maxrss / 1e3),
    }


if __name__ == "__main__":
    main()
