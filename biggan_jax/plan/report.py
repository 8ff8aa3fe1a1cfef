"""A plan's figures, as data and as text, and the changes that may make it fit."""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

import jax
import ml_collections

from biggan_jax.layers import fused_attention
from biggan_jax.plan import gpu_hlo, gpu_table, gpus, hlo, program
from biggan_jax.plan.program import Program
from biggan_jax.plan.target import Chip, chip_of
from biggan_jax.state import init_shapes
from biggan_jax.types import UserError

GB = 1e9
KERNEL_SHARE = 0.8
"""Utilization of the matrix units in attention's kernels. The compiler's final schedules for v5e give 0.93 forward (1,110 bundles
for 256 queries and 1,024 keys) and 0.83 for the gradient (about 3,100)."""
MIN_IMAGES = 16
"""With fewer images, a pass of D leaves rows of a TPU's matrix units idle."""
LONG_NAMES = {"G": "generator", "D": "discriminator"}
"""The names that a plan has for networks, where they differ from the family's."""
_WRAPPERS = ("synthesis",)
"""Modules whose own modules are named in their place."""
_NOT_MODULES = ("", "jvp", "transpose", "checkpoint", "rematted_computation", "cond", "branch_fun")
_SCOPES = ("spectral_norm", "optimizer", "penalty", "average")


def figures(
    config: ml_collections.ConfigDict, devices: list[jax.Device], target: str, state_bytes: int, compiled: Program
) -> dict:
    """Return the plan as plain data: memory in bytes, time in seconds, None where unknown or not compiled."""
    chip = chip_of(devices[0]) if devices[0].platform == "tpu" else None
    gpu = gpus.of(devices[0]) if devices[0].platform == "gpu" else None
    work, most = (flops / len(devices) for flops in program.useful_work(config))
    cycles = seconds = mfu = None
    breakdown: Mapping[str, float] = {}
    of_gpu, flops = {}, compiled.flops
    modules = functools.partial(module_of, names=network_names(config))
    if gpu and compiled.text:
        breakdown = gpu_hlo.breakdown(compiled.text, gpu, modules)
        seconds = sum(breakdown.values()) / 1e6
        mfu = work / (seconds * gpu.rate("bf16" if config.dtype == "bfloat16" else "f32"))
        of_gpu = gpu_hlo.summary(compiled.text)
        flops = of_gpu.pop("flops")
    if chip and compiled.text:
        breakdown = hlo.breakdown(compiled.text, modules, lambda kernel: kernel_cycles(kernel, chip))
        cycles = sum(breakdown.values())
        seconds, mfu = cycles / chip.clock, work / (cycles * chip.flops_per_cycle)
    return {
        "target": target,
        "chips": len({tuple(getattr(d, "coords", (d.id,))) for d in devices}),
        "devices": len(devices),
        "batch_size": config.batch_size,
        "fits": fits(compiled, gpu or chip, state_bytes),
        "state_bytes_per_device": state_bytes,
        "hbm_bytes_per_device": compiled.memory,
        "hbm_capacity_bytes": capacity(gpu or chip),
        "useful_flops_per_device": work,
        # Of a step in which all updates run, as the compiler counts; a GPU's FLOPs are of a step in the mean.
        "most_useful_flops_per_device": work if gpu else most,
        # A loop's body is counted once, so the count is wrong if the step has loops.
        "compiled_flops_per_device": None if chip and config.microbatches * config.d_chunks > 1 else flops,
        "estimated_cycles_per_device": cycles,
        "estimated_mfu": mfu,
        "estimated_step_seconds": seconds,
        "estimated_hours": seconds and seconds * config.num_steps / 3600,
        "num_steps": config.num_steps,
        "breakdown": breakdown,
        **of_gpu,
        "collectives": hlo.collectives(compiled.text) if compiled.text else {},
        # Of a GPU they are estimated as all else, by their bytes.
        "unestimated": hlo.unestimated(compiled.text) if chip and compiled.text else {},
        **parameters(config),
        "compile_seconds": compiled.seconds,
        "program": compiled.content,
        "versions": program.versions(),
        "config": config.to_dict(),
    }


def capacity(chip: Chip | gpu_table.Gpu | None) -> int | None:
    """Return the bytes that a program may use on a device: of a GPU, those that JAX takes."""
    return chip.usable if isinstance(chip, gpu_table.Gpu) else chip.memory if chip else None


def fits(compiled: Program, chip: Chip | gpu_table.Gpu | None, state_bytes: int = 0) -> bool | None:
    """Return whether the step fits the device's memory; None if the memory of either is unknown."""
    limit = capacity(chip)
    if compiled.limit is not None or (limit and max(compiled.memory or 0, state_bytes) > limit):
        return False
    return True if limit and compiled.memory else None


def parameters(config: ml_collections.ConfigDict) -> dict[str, int]:
    """Return {"NAME_parameters": number of weights} of the networks."""
    gan = program.build_gan(config)
    state = init_shapes(gan)
    count = lambda name: sum(leaf.size for leaf in jax.tree.leaves(state.networks[name].params))
    return {f"{LONG_NAMES.get(name, name)}_parameters": count(name) for name in gan.networks}


def network_names(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Return {name of a module's class: name of the network}, "A/B" for networks of one class."""
    names: dict[str, list[str]] = {}
    for name, network in program.build_gan(config).networks.items():
        names.setdefault(type(network.module).__name__, []).append(name)
    return {kind: "/".join(of_kind) for kind, of_kind in names.items()}


def module_of(
    op_name: str, names: Mapping[str, str] = MappingProxyType({"Generator": "G", "Discriminator": "D"})
) -> str:
    """Return the module and direction of an operation, such as "G block_4 backward", or else its part of the step."""
    direction = "backward" if "transpose(" in op_name else "forward"
    text = re.sub(r"jit\([^()]*\)|(?<=\bbranch)_\d+(?=_fun\b)", "", op_name)
    parts = [part for part in re.split(r"[/()]+", text) if part not in _NOT_MODULES]
    # A call of another method than __call__ is named Module.method.
    parts = [part.partition(".")[0] for part in parts]
    networks = [i for i, part in enumerate(parts) if part in names]
    if networks:
        # The last part is the operation itself.
        network, *inside = parts[networks[-1] :][:-1] or parts[networks[-1] :]
        module = [part for part in inside if part not in _WRAPPERS][:1]
        return " ".join([names[network], *module, direction])
    return next((scope for scope in _SCOPES if scope in op_name), "other")


def kernel_cycles(kernel: hlo.Instruction, chip: Chip) -> int:
    """Return the compiler's estimate of a kernel's cycles; for attention, which has none, its FLOPs at KERNEL_SHARE of the peak."""
    name = kernel.op_name.removesuffix("/pallas_call").rpartition("/")[2]
    if not name.startswith("attend"):
        return kernel.cycles
    return round(fused_attention.busy_flops(name, kernel.operands) / chip.flops_per_cycle / KERNEL_SHARE)


def changes(config: ml_collections.ConfigDict, devices: int) -> list[dict]:
    """Return the overrides that may make a step fit, cheapest first; microbatches, which change the results, last."""
    images = config.batch_size // devices // config.microbatches // config.d_chunks  # Of each kind, in one pass of D.
    halvings = [2**i for i in range(1, images.bit_length()) if images % 2**i == 0]
    chunks = [{"d_chunks": config.d_chunks * n} for n in halvings]
    quick = sum(2 * images // n >= MIN_IMAGES for n in halvings)
    remats = [{"remat": remat} for remat in {"none": ("blocks", "full"), "blocks": ("full",), "full": ()}[config.remat]]
    parts = [{"microbatches": config.microbatches * n} for n in halvings]
    tries = [] if config.mesh.shard_update else [{"mesh.shard_update": True}]
    tries += chunks[:quick] + remats + [most | remat for most in chunks[-1:] for remat in remats]
    return tries + parts + [most | remat for most in parts[-1:] for remat in remats]


def changed(config: ml_collections.ConfigDict, overrides: dict) -> ml_collections.ConfigDict:
    other = ml_collections.ConfigDict(config.to_dict())
    other.update_from_flattened_dict(overrides)
    return other


def brief(plan: dict) -> str:
    """Return the plan in one line: chips, time, whether it fits."""
    used = _unknown_time(plan["chips"], plan["num_steps"])
    if hours := plan["estimated_hours"]:
        units = (hours, "h", "hours"), (60 * hours, "min", "minutes"), (3600 * hours, "s", "seconds")
        count, unit, name = next((known for known in units if known[0] >= 1), units[-1])
        product = f"{_chips(plan['chips'])} x {_rounded(count)} {unit} = {_rounded(plan['chips'] * count)} chip-{name}"
        whose = "at least, by kernels' work and bytes" if "kernels" in plan else "by the compiler's estimate"
        used = f"{product} for {plan['num_steps']:,} steps, {whose}"
    return f"{plan['target']}: {used}; {_memory(plan)}"


def brief_without_compiler(config: ml_collections.ConfigDict, name: str, chips: int, why: UserError) -> str:
    """Return what `brief` says as far as it is known without a compiler; `why` says what to install."""
    return f"{name}: {_unknown_time(chips, config.num_steps)}; whether it fits is unknown: {why}"


def _unknown_time(chips: int, steps: int) -> str:
    return f"{_chips(chips)} for {steps:,} steps, for an unknown time"


def _chips(count: int) -> str:
    return f"{count:,} chip{'s' * (count > 1)}"


def _rounded(x: float) -> str:
    return f"{x:,.0f}" if x >= 10 else f"{x:.2g}"


def text(plan: dict, rows: int = 24) -> str:
    """Return the plan as text, with the largest `rows` of the breakdown."""
    per_device = plan["batch_size"] / plan["devices"]
    useful, compiled = plan["useful_flops_per_device"], plan["compiled_flops_per_device"]
    ratio = compiled / plan["most_useful_flops_per_device"] if compiled else 0
    compares = f", compiled {ratio * useful / 1e12:.3f} ({ratio:.3f}x)" if compiled else ""
    counts = [f"{k.removesuffix('_parameters')} {plan[k]:,}" for k in plan if k.endswith("_parameters")]
    lines = [
        f"{plan['target']}: {plan['chips']} chip(s), {plan['devices']} device(s);"
        f" batch {plan['batch_size']}, {per_device:g} per device",
        f"parameters: {', '.join(counts)}",
        _memory(plan),
        f"work: {useful / 1e12:.3f} useful TFLOP per device and step{compares}",
    ]
    if cycles := plan["estimated_cycles_per_device"]:
        lines.append(
            f"time: {cycles / 1e6:.1f} million cycles = {plan['estimated_step_seconds']:.4f} s per step"
            f" by the compiler's estimate, MFU {100 * plan['estimated_mfu']:.1f} %;"
            f" {plan['num_steps']:,} steps: {plan['estimated_hours']:.1f} h. Communication stalls are not included"
        )
    if without := plan.get("unestimated"):
        counts = " and ".join(f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in without.items())
        lines.append(f"not in the time: {counts} a step, for which the compiler has no estimate")
    if plan.get("kernels"):
        lines += _gpu_lines(plan)
    for kind, found in plan["collectives"].items():
        lines.append(f"{kind}: {found['count']} per step, {found['bytes'] / GB:.3f} GB")
    for name, own in list(plan["breakdown"].items())[:rows]:
        share = 100 * own / sum(plan["breakdown"].values())
        amount = f"{own / 1e6:8.2f} Mcycles" if cycles else f"{own / 1e3:8.3f} ms"
        lines.append(f"  {amount} {share:5.1f} %  {name}")
    return "\n".join(lines)


def _gpu_lines(plan: dict) -> list[str]:
    """The time of a step on a GPU, whose estimate it is, and what is not in it."""
    calls = ", ".join(f"{count} {call}" for call, count in plan["cudnn_calls"].items())
    return [
        f"time: at least {1e3 * plan['estimated_step_seconds']:.3g} ms per step (MFU at most {100 * plan['estimated_mfu']:.0f} %):"
        f" convolutions and products at the GPU's peak, all else at its memory's bandwidth, by the shapes;"
        f" {plan['num_steps']:,} steps: {plan['estimated_hours']:.3g} h",
        f"kernels: {plan['kernels']} per step, of {1e6 * plan['estimated_step_seconds'] / plan['kernels']:.2g}"
        f" microseconds in the mean; of cuDNN: {calls or 'none'}",
        "not known without the GPU: starts of kernels, communication, cuDNN's speed and workspace, what tuning on it changes",
    ]


def _memory(plan: dict) -> str:
    size = lambda count: f"{count / GB:.2f} GB" if count >= GB / 10 else f"{count / 1e6:.1f} MB"
    of = f" of {plan['hbm_capacity_bytes'] / GB:.1f} GB" if plan["hbm_capacity_bytes"] else ""
    state = size(plan["state_bytes_per_device"])
    if plan["program"] is None:
        return f"not compiled; the state alone takes {state}{of} per device"
    verdict = {True: "fits", False: "DOES NOT FIT", None: "memory"}[plan["fits"]]
    taken = f" that JAX takes of a GPU ({gpu_table.memory_share():.0%})" if "kernels" in plan else ""
    return f"{verdict}: {size(plan['hbm_bytes_per_device'])}{of}{taken} per device, {state} of it for the state"
