"""Plan the paper's models on the paper's hardware and on current slices: `python benchmarks/plans.py`; rerun to resume.

Runs the planning command for each plan that is missing in docs/plans/, and writes docs/plans.md from all that exist.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import jax
import ml_collections

from biggan_jax import sharding
from biggan_jax.partitioning import compiler_options
from biggan_jax.plan import program, target

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "plans"

# The names of v3, v4 and v5p slices count cores, two per chip; those of v5e and v6e count chips.
PAPER = {128: ("v3-128", "v3:8x8"), 256: ("v3-256", "v3:8x16"), 512: ("v3-512", "v3:16x16")}
V5E = ("v5e-256", "v5e:16x16")
TODAY = (("v4-128", "v4:4x4x4"), ("v5p-128", "v5p:4x4x4"), ("v6e-256", "v6e:16x16"))


def queue() -> list[tuple[str, list[str]]]:
    """Return (name, flags of the planning command) of each plan, in order of importance."""
    wanted = []
    for size, paper in PAPER.items():
        for family in ("biggan", "biggan_deep"):
            slices = (paper, V5E, *TODAY) if size == 128 else (paper, V5E)
            wanted += [(family, size, name, topology, {"batch_size": 2048}) for name, topology in slices]
    # With 32 images per chip, D is faster in chunks.
    wanted.append(("biggan_deep", 128, *V5E, {"batch_size": 8192, "d_chunks": 4}))
    return [
        (
            f"{family}_{size}-{name}-{changes['batch_size']}",
            [f"--config={family}_imagenet{size}", f"--topology={topology}"]
            + [f"--config.{key}={value}" for key, value in changes.items()],
        )
        for family, size, name, topology, changes in wanted
    ]


GPUS = [
    ("biggan_imagenet128", "h100:8", 2048),
    ("biggan_imagenet128", "a100-80:8", 2048),
    ("biggan_imagenet128", "a100-80:8", 512),
    ("biggan_deep_imagenet128", "a100-80:8", 512),
    ("biggan_small128", "rtx4090:1", 64),
    ("biggan_small128", "l4:1", 64),
    ("biggan_cifar10", "t4:1", 64),
]
"""(preset, GPUs, global batch)."""


def gpu_queue() -> list[tuple[str, list[str]]]:
    """Return (name, flags of the planning command) of each plan for GPUs."""
    return [
        (
            f"gpu-{preset}-{gpus.replace(':', 'x')}-{batch}",
            [f"--config={preset}", f"--topology={gpus}", f"--config.batch_size={batch}"],
        )
        for preset, gpus, batch in GPUS
    ]


def plan(name: str, flags: list[str]) -> None:
    path = FOLDER / f"{name}.json"
    done = subprocess.run([sys.executable, "-m", "biggan_jax.plan", *flags, f"--json={path}"], cwd=ROOT)
    if not path.exists():
        raise SystemExit(f"plans: error: {name} failed with status {done.returncode}; rerun to resume")


def render() -> str:
    """Return the text of docs/plans.md."""
    plans = {name: json.loads(path.read_text()) for name, _ in queue() if (path := FOLDER / f"{name}.json").exists()}
    missing = [name for name, _ in queue() if name not in plans]
    lines = [
        "# Plans",
        "",
        "This page lists memory, time and MFU of the paper's models on TPU slices, as the TPU compiler estimates them. To plan",
        "one yourself:",
        "",
        "<!-- not run: needs the TPU compiler, and minutes -->",
        "```sh",
        "biggan-plan --config=biggan_imagenet128 --topology=v5litepod-256",
        "```",
        "",
        "No TPU has confirmed the cycles, and they exclude communication stalls. `python benchmarks/plans.py` writes this page",
        "from the files in [plans/](plans), which have all figures, also by module.",
        "",
        "Devices are counted as in JAX (a v3 chip is two), the batch is global, the ratio is compiled / useful FLOPs (- if a",
        "loop hides the former), and hours are for the preset's number of steps. An asterisk marks plans of an earlier step,",
        "which neither checked for non-finite updates nor upsampled by windows: [scaling](scaling.md#plan-a-run).",
        "",
        "| model | slice | devices | batch | memory, GB per device | Mcycles | step, s | MFU | ratio | hours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in plans.items():
        model, version, size, _ = name.split("-")
        lines.append(row(model, f"{version}-{size}", found))
    lines += gpu_lines()
    notes = [f"- {name}: {advice}" for name, found in plans.items() for advice in found.get("advice", [])]
    if notes:
        lines += ["", "Changes with which the others fit, as compiled:", "", *notes]
    if missing:
        lines += ["", f"Not planned yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def gpu_lines() -> list[str]:
    """Return the table of the plans for GPUs that exist."""
    lines = [
        "",
        "## GPUs",
        "",
        "The same step compiled by XLA for GPUs that were not there. Memory is against the 75 % that JAX takes of a GPU. The",
        "time is a bound from below, from each kernel's work and bytes; [scaling](scaling.md#gpus) says what is not in it.",
        "",
        "| preset | GPUs | batch | memory, GB per GPU | step, s, at least | kernels | calls of cuDNN | all-reduces |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, _ in gpu_queue():
        if (path := FOLDER / f"{name}.json").exists():
            found = json.loads(path.read_text())
            preset = name.split("-")[1]
            memory = f"{found['hbm_bytes_per_device'] / 1e9:.2f} of {found['hbm_capacity_bytes'] / 1e9:.1f}"
            cells = [preset, found["target"], found["batch_size"]]
            cells += [
                memory if found["fits"] else f"{memory}: **does not fit**",
                f"{found['estimated_step_seconds']:.4f}",
            ]
            cells += [found["kernels"], sum(found["cudnn_calls"].values())]
            cells += [found["collectives"].get("all-reduce", {"count": "-"})["count"]]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def row(model: str, slice_: str, found: dict) -> str:
    memory = f"{found['hbm_bytes_per_device'] / 1e9:.2f} of {found['hbm_capacity_bytes'] / 1e9:.1f}"
    chunks = found["config"]["d_chunks"]
    batch = f"{found['batch_size']}, D in {chunks} chunks" if chunks > 1 else found["batch_size"]
    older = "" if "most_useful_flops_per_device" in found else " *"
    cells = [model, slice_ + older, found["devices"], batch, memory if found["fits"] else f"{memory}: **does not fit**"]
    if found["estimated_cycles_per_device"]:
        compiled, useful = found["compiled_flops_per_device"], found["useful_flops_per_device"]
        useful = found.get("most_useful_flops_per_device", useful)
        cells += [
            f"{found['estimated_cycles_per_device'] / 1e6:.1f}",
            f"{found['estimated_step_seconds']:.3f}",
            f"{100 * found['estimated_mfu']:.1f} %",
            f"{compiled / useful:.3f}" if compiled else "-",
            f"{found['estimated_hours']:.1f}",
        ]
    else:
        cells += ["-"] * 5
    return "| " + " | ".join(map(str, cells)) + " |"


def stale() -> list[str]:
    """Return the names of plans whose program or versions differ from the present ones. Takes seconds per plan."""
    names = []
    jax.config.update("jax_platforms", "cpu")
    for name, _ in queue():
        if (path := FOLDER / f"{name}.json").exists():
            found = json.loads(path.read_text())
            config = ml_collections.ConfigDict(found["config"])
            devices = target.tpu_devices(found["target"])
            mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
            if (
                program.content_of(program.lower(config, mesh), found["target"], compiler_options(mesh))
                != found["program"]
            ):
                names.append(name)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a part of the names of plans; gpu- for those for GPUs")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--render", action="store_true", help="plan nothing, only write the page")
    instead.add_argument("--check", action="store_true", help="list outdated plans, and write nothing")
    options = parser.parse_args()
    if options.check:
        raise SystemExit(f"outdated plans: {', '.join(names)}" if (names := stale()) else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, flags in queue() + gpu_queue():
        if not options.render and options.only in name and not (FOLDER / f"{name}.json").exists():
            print(f"== {name}", flush=True)
            plan(name, flags)
            (ROOT / "docs" / "plans.md").write_text(render())
    (ROOT / "docs" / "plans.md").write_text(render())


if __name__ == "__main__":
    main()
