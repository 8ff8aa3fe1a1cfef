"""Plans for GPUs: the table, topologies, and what is read from a compiled program."""

import json
import math

import pytest

from biggan_jax.plan import gpu_hlo, gpu_table, gpus, report
from biggan_jax.types import UserError
from tests import cli
from tests.plan.test_plan import TINY, plan

needs_gpu_compiler = pytest.mark.skipif(not gpus.has_compiler(), reason="jax's plugin for CUDA is not installed")

# In the form of XLA's GPU compiler: a forward convolution and its two gradients, a product in a loop, an all-reduce.
PROGRAM = """\
HloModule jit_train_step, is_scheduled=true

%fused_product (parameter_0: bf16[64,16], parameter_1: bf16[16,32]) -> f32[64,32] {
  %parameter_0 = bf16[64,16]{1,0} parameter(0)
  %parameter_1 = bf16[16,32]{1,0} parameter(1)
  ROOT %dot.1 = f32[64,32]{1,0} dot(%parameter_0, %parameter_1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (p: (s32[], bf16[64,16], bf16[16,32])) -> (s32[], bf16[64,16], bf16[16,32]) {
  %p = (s32[], bf16[64,16]{1,0}, bf16[16,32]{1,0}) parameter(0)
  %a = bf16[64,16]{1,0} get-tuple-element(%p), index=1
  %b = bf16[16,32]{1,0} get-tuple-element(%p), index=2
  %product = f32[64,32]{1,0} fusion(%a, %b), kind=kCustom, calls=%fused_product, metadata={op_name="jit(f)/jvp(Generator)/linear/dot"}
  ROOT %again = (s32[], bf16[64,16]{1,0}, bf16[16,32]{1,0}) tuple(%p)
}

ENTRY %main (x: f32[8,4,4,3], w: f32[5,3,3,3]) -> f32[8,4,4,5] {
  %x = f32[8,4,4,3]{3,2,1,0} parameter(0)
  %w = f32[5,3,3,3]{3,2,1,0} parameter(1)
  %y = (f32[8,4,4,5]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(f)/jvp(Discriminator)/block_0/conv"}
  %g = f32[8,4,4,5]{3,2,1,0} get-tuple-element(%y), index=0
  %dw = (f32[5,3,3,3]{3,2,1,0}, u8[0]{0}) custom-call(%x, %g), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, \
custom_call_target="__cudnn$convBackwardFilter", metadata={op_name="jit(f)/transpose(jvp(Discriminator))/block_0/conv"}
  %dx = (f32[8,4,4,3]{3,2,1,0}, u8[0]{0}) custom-call(%g, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, \
custom_call_target="__cudnn$convBackwardInput", metadata={op_name="jit(f)/transpose(jvp(Discriminator))/block_0/conv"}
  %loop = (s32[], bf16[64,16]{1,0}, bf16[16,32]{1,0}) while(%t), condition=%c, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %all-reduce-start = f32[5,3,3,3]{3,2,1,0} all-reduce-start(%dw), channel_id=1, to_apply=%add
  %all-reduce-done = f32[5,3,3,3]{3,2,1,0} all-reduce-done(%all-reduce-start)
  ROOT %scaled = f32[8,4,4,5]{3,2,1,0} fusion(%g), kind=kLoop, calls=%none, metadata={op_name="jit(f)/optimizer/mul"}
}
"""
CONVOLUTION = 2 * (8 * 4 * 4 * 5) * (3 * 3 * 3)
PRODUCT = 2 * 64 * 32 * 16


def test_work_is_counted_from_shapes_and_loops_count_all_trips():
    found = gpu_hlo.summary(PROGRAM)
    assert found["flops"] == 3 * CONVOLUTION + 3 * PRODUCT
    assert found["cudnn_calls"] == {"convForward": 1, "convBackwardFilter": 1, "convBackwardInput": 1}
    assert found["kernels"] == 3 + 3 + 1, "parameters and collectives are no kernels"


def test_a_kernel_takes_its_work_or_its_bytes_at_least():
    gpu = gpu_table.table()["h100"]._replace(half=2e3, single=1e3, bandwidth=1e3)
    of = {kernel.kind: kernel for kernel, _ in gpu_hlo.kernels(PROGRAM)}
    assert of["product"].seconds(gpu) == max(PRODUCT / 2e3, (64 * 16 * 2 + 16 * 32 * 2 + 64 * 32 * 4) / 1e3)
    assert of["convolution"].seconds(gpu) == CONVOLUTION / 1e3
    assert of["fusion"].seconds(gpu) == 2 * 8 * 4 * 4 * 5 * 4 / 1e3
    by_module = gpu_hlo.breakdown(PROGRAM, gpu, report.module_of)
    assert by_module["D block_0 backward"] == pytest.approx(2e6 * CONVOLUTION / 1e3)
    assert by_module["G linear forward"] == pytest.approx(3e6 * of["product"].seconds(gpu))
    assert by_module.keys() == {"D block_0 forward", "D block_0 backward", "G linear forward", "optimizer"}


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 989),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA B200", 2250),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA L4", 121),
        ("NVIDIA L40", None),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device_is_that_of_its_form(kind, tflops):
    found = gpu_table.peak_of(kind)
    assert (found and found[0]) == (tflops and pytest.approx(tflops * 1e12))


def test_every_gpu_has_a_description_and_a_source():
    for name, gpu in gpu_table.table().items():
        text = gpus.description(gpu)
        assert f"core_count: {gpu.cores}" in text and f'device_description_str: "{gpu.device}"' in text, name
        assert text.count("{") == text.count("}") and gpu.source, name
        # Peaks are those of tensor cores: some multiple of what the other units give at the clock.
        units = gpu.cores * gpus.ARCHITECTURES[gpu.capability][3] * 2 * gpu.clock
        assert 1.9 <= gpu.half / units <= 17 and 0.9 <= gpu.single / units <= 9, name
    assert (
        gpu_table.is_gpu("h100:8")
        and gpu_table.is_gpu("A100-80:8")
        and gpu_table.is_gpu("b200:8")
        and gpu_table.is_gpu("a100:8")
    )
    assert not any(
        map(gpu_table.is_gpu, ("v3:8x8", "v5e:4x4", "v5litepod-256", "tpu7x:4x4x4", "v6e-1", "v4-8", "v2:2x2"))
    )


@pytest.mark.parametrize(
    ("topology", "sentence"),
    [
        ("a100:8", "no GPU a100 is known for --topology=a100:8; known are v100, t4, a100-40, a100-80"),
        ("b200:8", "no GPU b200 is known"),
        ("h100", "--topology=h100 does not say how many GPUs; such as h100:8"),
        ("h100:0", "does not say how many GPUs"),
        ("h100:2x", "does not say how many GPUs"),
        ("h100:2x4x4", "does not say how many GPUs"),
    ],
)
def test_a_topology_that_is_none_is_refused(topology, sentence):
    cli.refused(cli.run("plan", f"--config={TINY}", f"--topology={topology}"), sentence)


def test_nodes_and_gpus_of_a_node():
    assert gpu_table.parse("H100:4x8")[1:] == (4, 8) and gpu_table.parse("t4:1")[1:] == (1, 1)


def test_jax_takes_a_share_of_the_memory(monkeypatch):
    gpu = gpu_table.table()["rtx4090"]
    assert gpu.usable == int(0.75 * gpu.memory)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    assert gpu.usable == int(0.9 * gpu.memory)
    for wrong in ("90", "x", "0", "nan"):
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", wrong)
        with pytest.raises(UserError, match=f"XLA_PYTHON_CLIENT_MEM_FRACTION={wrong} is not"):
            gpu.usable  # noqa: B018


@pytest.mark.skipif(gpus.has_compiler(), reason="the compiler is installed")
def test_without_the_compiler_it_says_what_to_install():
    given = f"--config={TINY}", "--topology=h100:2x4"
    cli.refused(cli.run("plan", *given), "pip install 'biggan-jax[plan-gpu]'")
    brief = cli.run("plan", *given, "--brief")
    assert brief.returncode == 0 and "h100:2x4: 8 chips" in brief.stdout and "[plan-gpu]" in brief.stdout


@pytest.mark.plan_gpu
@needs_gpu_compiler
def test_a_step_is_compiled_for_gpus_that_are_not_there(tmp_path):
    done = plan("--topology=h100:2", f"--json={tmp_path}/plan.json", cache=tmp_path)
    assert done.returncode == 0 and "fits: " in done.stdout, done.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert (
        figures["devices"] == 2
        and figures["fits"]
        and figures["hbm_capacity_bytes"] == gpu_table.table()["h100"].usable
    )
    # Convolutions alone, whose padding counts: XLA's count has all operations, and leaves out the padding.
    assert 0.7 < figures["compiled_flops_per_device"] / figures["useful_flops_per_device"] < 1.6
    assert math.isclose(sum(figures["breakdown"].values()) / 1e6, figures["estimated_step_seconds"])
    assert sum(figures["cudnn_calls"].values()) > 30 and figures["collectives"].keys() >= {"all-reduce"}


@pytest.mark.plan_gpu
@needs_gpu_compiler
def test_what_does_not_fit_has_advice_and_every_gpu_compiles(tmp_path):
    for name in gpu_table.table():
        done = plan(f"--topology={name}:1", "--config.batch_size=8", "--brief", cache=tmp_path)
        assert done.returncode == 0 and "fits" in done.stdout, (name, done.stderr)
    done = cli.run(
        "plan",
        *(f"--config={TINY}", "--topology=t4:1", "--config.batch_size=64"),
        **{"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.0008", "XDG_CACHE_HOME": str(tmp_path)},
        limit=900,
    )
    assert done.returncode == 1 and "DOES NOT FIT" in done.stdout and "--config.d_chunks=2" in done.stdout, done.stderr
