"""Plans the paper's games on the paper's hardware and on today's: `python benchmarks/plans.py`, and again to go on.

One plan after another, by the planning command itself, each kept in docs/plans/ as it is done; what is there already is not
planned again. docs/plans.md is written anew from what is there. `--only=TEXT` plans those whose name has the text, `--render`
writes the page alone, and `--check` names plans that are not of the code as it is, without compiling.
"""

import json
import pathlib
import subprocess
import sys

import jax
import ml_collections

from biggan_jax import sharding
from biggan_jax.plan import program, target

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "plans"

# The paper's slices count cores, of which a v3 chip has two; v4 and v5p do so in their names, v5e and v6e count chips.
PAPER = {128: ("v3-128", "v3:8x8"), 256: ("v3-256", "v3:8x16"), 512: ("v3-512", "v3:16x16")}
V5E = ("v5e-256", "v5e:16x16")
TODAY = (("v4-128", "v4:4x4x4"), ("v5p-128", "v5p:4x4x4"), ("v6e-256", "v6e:16x16"))


def queue() -> list[tuple[str, list[str]]]:
    """(name, flags of the planning command) of each plan, those most asked for first."""
    wanted = []
    for size, paper in PAPER.items():
        for family in ("biggan", "biggan_deep"):
            slices = (paper, V5E, *TODAY) if size == 128 else (paper, V5E)
            wanted += [(family, size, name, topology, {"batch_size": 2048}) for name, topology in slices]
    # With 32 images a chip, D is faster in chunks.
    wanted.append(("biggan_deep", 128, *V5E, {"batch_size": 8192, "d_chunks": 4}))
    return [
        (
            f"{family}_{size}-{name}-{changes['batch_size']}",
            [f"--config={family}_imagenet{size}", f"--topology={topology}"]
            + [f"--config.{key}={value}" for key, value in changes.items()],
        )
        for family, size, name, topology, changes in wanted
    ]


def plan(name: str, flags: list[str]) -> None:
    path = FOLDER / f"{name}.json"
    done = subprocess.run([sys.executable, "-m", "biggan_jax.plan", *flags, f"--json={path}"], cwd=ROOT)
    if not path.exists():
        raise SystemExit(
            f"plans: error: {name} failed with status {done.returncode}; the same command goes on from here"
        )


def render() -> str:
    """docs/plans.md."""
    plans = {name: json.loads(path.read_text()) for name, _ in queue() if (path := FOLDER / f"{name}.json").exists()}
    missing = [name for name, _ in queue() if name not in plans]
    lines = [
        "# Plans",
        "",
        "What the TPU compiler says of each step, with no TPU: written by `python benchmarks/plans.py` from the files in",
        "[plans/](plans), which hold every figure, by module too. Cycles are the compiler's estimate, in which waiting for other",
        "devices is not; no TPU has confirmed them. A device is what jax calls one: a v3 chip is two. Batch is global;",
        "ratio is compiled by useful FLOPs, where no loop hides the former; hours are for the preset's own number of steps.",
        "",
        "| game | slice | devices | batch | memory, GB a device | fits | Mcycles | step, s | MFU | ratio | hours |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in plans.items():
        game, version, size, _ = name.split("-")
        lines.append(row(game, f"{version}-{size}", found))
    notes = [f"- {name}: {advice}" for name, found in plans.items() for advice in found.get("advice", [])]
    if notes:
        lines += ["", "What would make those fit that do not, as compiled:", "", *notes]
    if missing:
        lines += ["", f"Not planned yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def row(game: str, slice_: str, found: dict) -> str:
    memory = f"{found['hbm_bytes_per_device'] / 1e9:.2f} of {found['hbm_capacity_bytes'] / 1e9:.1f}"
    chunks = found["config"]["d_chunks"]
    batch = f"{found['batch_size']}, D in {chunks} chunks" if chunks > 1 else found["batch_size"]
    cells = [game, slice_, found["devices"], batch, memory, "yes" if found["fits"] else "**no**"]
    if found["estimated_cycles_per_device"]:
        compiled = found["compiled_flops_per_device"]
        cells += [
            f"{found['estimated_cycles_per_device'] / 1e6:.1f}",
            f"{found['estimated_step_seconds']:.3f}",
            f"{100 * found['estimated_mfu']:.1f} %",
            f"{compiled / found['useful_flops_per_device']:.3f}" if compiled else "-",
            f"{found['estimated_hours']:.1f}",
        ]
    else:
        cells += ["-"] * 5
    return "| " + " | ".join(map(str, cells)) + " |"


def stale() -> list[str]:
    """Names of plans of another program than the one that this code gives now, or of other versions; seconds each."""
    names = []
    jax.config.update("jax_platforms", "cpu")
    for name, _ in queue():
        if (path := FOLDER / f"{name}.json").exists():
            found = json.loads(path.read_text())
            config = ml_collections.ConfigDict(found["config"])
            devices = target.tpu_devices(found["target"])
            mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
            if program.content_of(program.lower(config, mesh), found["target"]) != found["program"]:
                names.append(name)
    return names


def main() -> None:
    if "--check" in sys.argv:
        raise SystemExit(f"plans of another program: {', '.join(names)}" if (names := stale()) else 0)
    only = [flag.removeprefix("--only=") for flag in sys.argv[1:] if flag.startswith("--only=")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, flags in queue():
        wanted = "--render" not in sys.argv and all(text in name for text in only)
        if wanted and not (FOLDER / f"{name}.json").exists():
            print(f"== {name}", flush=True)
            plan(name, flags)
            (ROOT / "docs" / "plans.md").write_text(render())
    (ROOT / "docs" / "plans.md").write_text(render())


if __name__ == "__main__":
    main()
