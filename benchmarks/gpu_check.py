"""Parts of gpu_check.sh: the device, BigGAN-PyTorch's step on it, the report.

    python benchmarks/gpu_check.py device | report --out=DIR | peer --peer=DIR --batch=N --json=FILE

The peer is timed with a Python that has torch; it is run from its own folder, with its own training function, in float32 (TF32,
as PyTorch's default for convolutions) and under autocast to bfloat16.
"""

import argparse
import json
import pathlib
import statistics
import time

from biggan_pytorch import open_networks, training_function

LAUNCH = "--G_ch 96 --D_ch 96 --dim_z 120 --shared_dim 128 --hier --G_shared --num_D_steps 2 "
LAUNCH += "--G_attn 64 --D_attn 64 --G_init ortho --D_init ortho --G_nl inplace_relu --D_nl inplace_relu --SN_eps 1e-6 --BN_eps 1e-5"
"""Of its launch script for BigGAN-128; 2 D steps, as in the paper and in biggan_imagenet128."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=("device", "peer", "report"))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--peer", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if options.part == "device":
        return device()
    if options.part == "peer":
        peer(options.peer, options.batch, options.json)
        return 0
    text = report(options.out)
    (options.out / "report.md").write_text(text)
    print(text)
    return 0 if "| failed: " not in text else 1


def device() -> int:
    """Print the devices, and fail if there is none of the platform asked for."""
    import jax

    for found in jax.devices():
        print(found.device_kind, found.memory_stats() or "no statistics of memory")
    return 0


def peer(folder: pathlib.Path, batch: int, file: pathlib.Path, steps: int = 10) -> None:
    """Write the seconds of a training step of BigGAN-PyTorch, median of `steps`, by precision; what is known so far, after each."""
    import torch

    on = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    found = {"device": torch.cuda.get_device_name() if on == "cuda" else "cpu", "torch": torch.__version__}
    for precision in ("float32", "bfloat16"):
        changes = {"batch_size": batch, "n_classes": 1000, "ema": False, "resolution": 128}
        opened = open_networks(folder, LAUNCH.split(), changes, on)
        config, latents = opened.config, opened.utils.prepare_z_y(batch, opened.G.dim_z, 1000, device=on)
        step = training_function(opened, latents, None, {"itr": 0})
        x = torch.randn(batch * config["num_D_steps"], 3, 128, 128, device=on)
        y = torch.randint(1000, (len(x),), device=on)
        seconds = []
        for _ in range(3 + steps):
            began = time.perf_counter()
            with torch.autocast(on, torch.bfloat16, enabled=precision == "bfloat16"):
                step(x, y)  # It reads the losses, so it waits for the GPU.
            seconds.append(time.perf_counter() - began)
        memory = torch.cuda.max_memory_allocated() if on == "cuda" else None
        found[precision] = {"step_seconds": statistics.median(seconds[3:]), "peak_memory_bytes": memory}
        file.write_text(json.dumps(found, indent=1) + "\n")
        del opened, step


def report(out: pathlib.Path) -> str:
    """Return the results of all parts as a page."""
    lines = ["# A check on a GPU", "", "| part | result | seconds |", "|---|---|---|"]
    for line in (out / "parts.tsv").read_text().splitlines():
        name, status, seconds = line.split("\t")
        result = {"0": "passed", "124": "failed: out of time"}.get(status, f"failed: status {status}")
        lines.append(f"| {name} | {result} | {seconds} |")
    read = lambda name: json.loads(path.read_text()) if (path := out / name).exists() else {}
    step, plan, other, demo = read("step.json"), read("plan.json"), read("peer.json"), read("demo/report.json")
    rows = []
    if step:
        memory, mfu = step["peak_memory_bytes"], step["mfu"]
        rows += [
            ("device", step["device_kind"]),
            ("batch", step["batch_size"]),
            ("seconds a step", f"{step['step_seconds']:.4f}"),
            ("MFU", "unknown" if mfu is None else f"{100 * mfu:.1f} %"),
            ("memory", f"{(memory or 0) / 1e9:.3g} GB, by {step['peak_memory_source']}"),
        ]
    if step and plan:
        planned, bound = plan["hbm_bytes_per_device"], plan["estimated_step_seconds"]
        rows.append(("memory as planned", f"{planned / 1e9:.3g} GB"))
        rows.append(("step at least, as planned", f"{bound:.4f} s: {bound / step['step_seconds']:.2f} of the measured"))
    for precision in ("float32", "bfloat16"):
        if step and precision in other:
            theirs = other[precision]["step_seconds"]
            rows.append(
                (f"BigGAN-PyTorch, {precision}", f"{theirs:.4f} s: {theirs / step['step_seconds']:.2f} times ours")
            )
    if demo:
        rows.append(("digits: agreement, distance", f"{demo['class_agreement']:.3f}, {demo['frechet_distance']:.1f}"))
        rows.append(("digits: training", f"{demo['train_seconds']:.0f} s; samples in demo/samples.png"))
    lines += ["", "| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
