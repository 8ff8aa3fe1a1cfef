"""Measure a training step: `python benchmarks/train_step.py --config=NAME [--config.KEY=VALUE] [--json=PATH] [--peak=FLOPS]`.

Compiles the training step over all local devices, and times it on noise that is on the devices already: no data is read.
`--sweep=batch:8,16,32` or `--sweep=resolution:32,64,128` measures instead how time grows with FLOPs on one device; with
`--topology=v5e:1x1` it uses the estimates of the TPU compiler. benchmarks/README.md explains the figures.
"""

import json
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import flags
from measure import environment, estimate, measure
from ml_collections import config_flags

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.models.tables import WIDTHS
from biggan_jax.plan import program, target
from biggan_jax.runtime import cli
from biggan_jax.types import UserError

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
JSON = flags.DEFINE_string("json", None, "Also write all figures to this file.")
PEAK = flags.DEFINE_float(
    "peak", None, "FLOP/s of one device, for mfu; by default from a table of devices.", lower_bound=1
)
STEPS = flags.DEFINE_integer("steps", 20, "Steps to time.", lower_bound=1)
WARMUP = flags.DEFINE_integer("warmup", 3, "Steps before the timed ones.", lower_bound=1)
KERNELS = flags.DEFINE_string(
    "kernels", None, "Write a GPU's seconds in a step by kind of kernel to this file, as a table."
)
SWEEP = flags.DEFINE_string("sweep", None, "batch:8,16,32 or resolution:32,64,128: time against FLOPs, on one device.")

TOPOLOGY = flags.DEFINE_string(
    "topology", None, "For a sweep: one TPU chip, for which the TPU compiler estimates each step."
)

KEYS = {"batch": "batch_size", "resolution": "model.resolution"}
"""{what can be swept: its config key}"""


def main() -> None:
    if CONFIG.value is None:
        raise UserError("--config is needed, such as --config=quickstart or --config=biggan_imagenet128")
    if TOPOLOGY.value and not SWEEP.value:
        raise UserError("--topology is for --sweep; for a single step use biggan-plan")
    if JSON.value and not pathlib.Path(JSON.value).absolute().parent.is_dir():
        raise UserError(f"--json={JSON.value}: the folder does not exist")
    config = CONFIG.value
    report = describe(config)
    if SWEEP.value:
        report |= sweep(config, *parse_sweep(SWEEP.value))
    else:
        configs.validate(config)
        mesh = sharding.make_mesh(jax.local_devices(), data=config.mesh.data, fsdp=config.mesh.fsdp)
        sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches, config.d_chunks)
        figures = measure(config, mesh, warmup=WARMUP.value, steps=STEPS.value, peak=PEAK.value, kernels=KERNELS.value)
        report |= figures
        for name, value in figures.items():
            print(f"{name:22}  {'unknown' if value is None else value}")
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(report, indent=2) + "\n")


def describe(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Return the config's name, the overrides, the device and versions."""
    flag = flags.FLAGS["config"]
    return {
        "config": pathlib.Path(config_flags.get_config_filename(flag)).stem,
        "overrides": dict(sorted(config_flags.get_override_values(flag).items())),
        "dtype": config.dtype,
        **environment(),
    }


def parse_sweep(text: str) -> tuple[str, list[int]]:
    """Parse "batch:16,8,32" as ("batch", [8, 16, 32])."""
    of, _, values = text.partition(":")
    sizes = [int(value) for value in values.split(",") if value.isdigit()]
    if of not in KEYS or len(sizes) != len(values.split(",")) or len(set(sizes)) < 3:
        raise UserError(f"--sweep={text} is neither batch:8,16,32 nor resolution:32,64,128, with three or more values")
    return of, sorted(sizes)


def sweep(config: ml_collections.ConfigDict, of: str, sizes: list[int]) -> dict[str, Any]:
    """Measure the config at each size on one device, print a table, and fit a line of step time against FLOPs."""
    devices = target.tpu_devices(TOPOLOGY.value) if TOPOLOGY.value else jax.local_devices()[:1]
    if len(devices) > 1:
        raise UserError(f"--topology={TOPOLOGY.value} has {len(devices)} devices; a sweep needs one, such as v5e:1x1")
    mesh = sharding.make_mesh(devices)
    variants = [at(config, of, size) for size in sizes]
    for variant in variants:
        configs.validate(variant)
        sharding.check_batch_size(variant.batch_size, 1, variant.microbatches, variant.d_chunks)
    rows = [
        estimate(variant, mesh, TOPOLOGY.value)
        if TOPOLOGY.value
        else measure(variant, mesh, warmup=WARMUP.value, steps=STEPS.value, peak=PEAK.value)
        for variant in variants
    ]
    print(f"{of:>10} {'useful_flops':>13} {'step_seconds':>13} {'images/s':>9} {'line':>10} {'residual':>9}")
    line = fit([row["useful_flops"] for row in rows], [row["step_seconds"] for row in rows])
    for size, row in zip(sizes, rows, strict=True):
        expected = line["intercept_seconds"] + line["seconds_per_flop"] * row["useful_flops"]
        row["residual"] = expected / row["step_seconds"] - 1
        print(
            f"{size:10} {row['useful_flops']:13.4g} {row['step_seconds']:13.4g} {row['images_per_second']:9.4g} "
            f"{expected:10.4g} {row['residual']:+9.1%}"
        )
    line["largest_relative_residual"] = max(abs(row["residual"]) for row in rows)
    print(f"step_seconds = {line['intercept_seconds']:.4g} + {line['seconds_per_flop']:.4g} * useful_flops")
    print(f"largest relative residual: {line['largest_relative_residual']:.1%}")
    found = {"sweep": of, "rows": rows, "line": line}
    if TOPOLOGY.value:
        found |= {"device_kind": devices[0].device_kind, "topology": TOPOLOGY.value, "compiler": program.versions()}
    return found


def at(config: ml_collections.ConfigDict, of: str, size: int) -> ml_collections.ConfigDict:
    """Return the config at another batch size or resolution; at another resolution the chunks of z keep their length."""
    changed = config.copy_and_resolve_references()
    if of == "batch":
        changed.batch_size = size
        return changed
    here, there = (len(configs.choose(WIDTHS, KEYS[of], r).generator) for r in (config.model.resolution, size))
    changed.model.resolution = size
    if config.model.skip_z and config.model.family == "biggan":
        changed.model.dim_z = config.model.dim_z // here * there
    return changed


def fit(work: list[float], seconds: list[float]) -> dict[str, float]:
    """Fit intercept + slope * work by least squares of the relative residuals, so that small sizes count as much as large ones."""
    terms = np.stack([np.ones(len(work)), np.array(work) / max(work)], axis=1) / np.array(seconds)[:, None]
    intercept, slope = np.linalg.lstsq(terms, np.ones(len(work)))[0]
    return {"intercept_seconds": float(intercept), "seconds_per_flop": float(slope / max(work))}


if __name__ == "__main__":
    cli.run(main)
