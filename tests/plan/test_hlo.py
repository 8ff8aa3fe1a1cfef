import dataclasses

import jax
import pytest

from biggan_jax import sharding
from biggan_jax.plan import hlo, program, report
from biggan_jax.plan.target import Chip
from tests.conftest import tiny_config
from tests.families import minimal

# Shortened output of the TPU compiler: a loop of 3 iterations, a kernel, a collective in two pieces, and one in one piece.
TEXT = """HloModule jit_train_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %sum = f32[] add(%a, %a)
}

%gather_1 (p: f32[4,8]) -> f32[8,8] {
  %p.1 = f32[4,8]{1,0} parameter(0)
  ROOT %all-gather.1 = f32[8,8]{1,0:T(8,128)} all-gather(%p.1), channel_id=7, dimensions={0}
}

%gather_2 (p: f32[4,8]) -> f32[8,8] {
  %p.2 = f32[4,8]{1,0} parameter(0)
  ROOT %all-gather.2 = f32[8,8]{1,0:T(8,128)} all-gather(%p.2), channel_id=7, dimensions={0}
}

%body (state: (s32[], bf16[4])) -> (s32[], bf16[4]) {
  %state = (s32[], bf16[4]) parameter(0)
  %inner = bf16[4]{0} fusion(%state), kind=kLoop, calls=%add, metadata={op_name="jit(train_step)/transpose(jvp(Discriminator))/block_0/conv_1/mul"}, backend_config={"window_config":{"estimated_cycles":"100"}}
  %all-reduce.5 = f32[] all-reduce(%inner), channel_id=9, to_apply=%add
  ROOT %next = (s32[], bf16[4]) tuple(%state, %inner)
}

%condition (state: (s32[], bf16[4])) -> pred[] {
  %bound = s32[]{:T(128)} constant(3)
  %state.1 = (s32[], bf16[4]) parameter(0)
  ROOT %less = pred[] compare(%state.1, %bound), direction=LT
}

ENTRY %main (x: f32[4,8]) -> f32[8,8] {
  %x = f32[4,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %first = f32[8,8]{1,0} fusion(%x), kind=kCustom, calls=%gather_1, backend_config={"estimated_cycles":"40"}, metadata={op_name="jit(train_step)/jvp(spectral_norm)/div"}
  %second = f32[8,8]{1,0} fusion(%x), kind=kCustom, calls=%gather_2
  %loop = (s32[], bf16[4]) while(%zero), condition=%condition, body=%body
  %kernel = bf16[4]{0} custom-call(%x), custom_call_target="tpu_custom_call", operand_layout_constraints={bf16[8,64,12]{2,1,0}, bf16[8,16,12]{2,1,0}, bf16[8,16,48]{2,1,0}}, metadata={op_name="jit(train_step)/jvp(Generator)/attention_3/shard_map/attend/pallas_call"}
  %permute = (f32[2]{0}, f32[2]{0}, u32[], u32[]) collective-permute-start(%x), channel_id=11
  ROOT %out = f32[8,8]{1,0} fusion(%first), kind=kLoop, calls=%add, metadata={op_name="jit(train_step)/jvp(Generator)/add"}, backend_config={"estimated_cycles":"5"}
}
"""


def test_cycles_of_a_program_are_those_of_its_loops_and_of_no_kernel():
    assert hlo.cycles(TEXT) == 3 * 100 + 40 + 5


def test_a_loop_runs_as_often_as_the_compiler_says():
    text = TEXT.replace(
        "%bound = s32[]{:T(128)} constant(3)", "%bound = pred[] fusion(%state.1), kind=kLoop, calls=%add"
    )
    with pytest.raises(ValueError, match="trip count"):
        hlo.cycles(text)
    counted = 'body=%body, backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}'
    assert hlo.cycles(text.replace("body=%body", counted)) == 5 * 100 + 40 + 5


def test_gathers_without_an_estimate_are_counted():
    within = "ROOT %all-gather.2 = f32[8,8]{1,0:T(8,128)} all-gather(%p.2), channel_id=7, dimensions={0}"
    rows = "%rows = f32[8,8]{1,0:T(8,128)} gather(%p.2, %p.2), slice_sizes={1,8}\n  ROOT %back = f32[8,8]{1,0} scatter(%rows, %p.2)"
    text = TEXT.replace(within, rows)
    assert hlo.unestimated(text) == {"gather": 1, "scatter": 1} and not hlo.unestimated(TEXT)
    nested = text.replace("all-gather(%p.1), channel_id=7, dimensions={0}", "fusion(%p.1), kind=kLoop, calls=%gather_2")
    assert hlo.unestimated(nested) == {"gather": 1, "scatter": 1}, "the outer fusion has an estimate"
    assert hlo.unestimated(nested.replace('{"estimated_cycles":"40"}', "{}")) == {"gather": 2, "scatter": 2}
    in_loop = text.replace("fusion(%state), kind=kLoop, calls=%add,", "fusion(%state), kind=kCustom, calls=%gather_2,")
    assert hlo.unestimated(in_loop.replace('{"estimated_cycles":"100"}', "{}")) == {"gather": 1 + 3, "scatter": 1 + 3}


def test_gathers_without_an_estimate_are_said():
    plan = {
        "target": "v5e:1x1",
        "chips": 1,
        "devices": 1,
        "batch_size": 1,
        "useful_flops_per_device": 1.0,
        "program": None,
    }
    plan |= {"compiled_flops_per_device": None, "estimated_cycles_per_device": None, "collectives": {}, "breakdown": {}}
    plan |= {"state_bytes_per_device": 1, "hbm_capacity_bytes": None, "unestimated": {"gather": 4, "scatter": 1}}
    assert "not in the time: 4 gathers and 1 scatter a step" in report.text(plan)


def test_cycles_are_summed_by_module_and_direction_over_loops():
    kernels = []
    found = hlo.breakdown(TEXT, report.module_of, lambda kernel: kernels.append(kernel) or 100)
    assert found == {"D block_0 backward": 3 * 100, "G attention_3 forward": 100, "spectral_norm": 40, "G forward": 5}
    assert [kernel.operands for kernel in kernels] == [((8, 64, 12), (8, 16, 12), (8, 16, 48))]


def test_branches_of_a_lazy_update_count_by_how_often_they_run():
    branches = ("branch_computations={%skip, %body}", "true_computation=%body, false_computation=%skip")
    for attribute in branches:
        call = f'(s32[], bf16[4]) conditional(%zero, %x, %x), {attribute}, metadata={{op_name="jit(train_step)/once_in_4/cond"}}'
        text = TEXT.replace("(s32[], bf16[4]) while(%zero), condition=%condition, body=%body", call)
        text = text.replace(
            "%condition (state: (s32[], bf16[4])) -> pred[] {", "%skip (state: (s32[], bf16[4])) -> pred[] {"
        )
        assert hlo.breakdown(text, report.module_of, lambda kernel: 0)["D block_0 backward"] == 100 / 4
        assert (
            hlo.breakdown(text.replace("once_in_4/", ""), report.module_of, lambda kernel: 0)["D block_0 backward"]
            == 100
        )


def test_the_step_names_how_often_a_lazy_update_runs(monkeypatch):
    config = minimal.registered("lazy_penalty", monkeypatch)
    lowered = program.lower(config, sharding.make_mesh(jax.local_devices()[:1]))
    found = {
        hlo.steps_between(instruction.op_name)
        for instruction, _ in hlo.executed(lowered.as_text("hlo", debug_info=True))
        if instruction.opcode == "conditional"
    }
    assert found == {4}


def test_a_kernels_cycles_follow_the_columns_it_keeps_busy():
    (kernel,) = (i for i, _ in hlo.executed(TEXT) if i.operands)
    # Two products; each of the 8 x 64 x 16 scores occupies 128 columns.
    assert report.kernel_cycles(kernel, Chip(0, 1000, 1.0)) == round(8 * 64 * 16 * 2 * (128 + 128) / 1000 / 0.8)
    others = dataclasses.replace(kernel, op_name="", cycles=7)
    assert report.kernel_cycles(others, Chip(0, 1000, 1.0)) == 7


@pytest.mark.parametrize(
    ("op_name", "module"),
    [
        ("jit(f)/jvp(Generator)/cond/branch_0_fun/reduce_window_sum", "G forward"),
        ("jit(f)/transpose(jvp(Generator))/block_4_1/cond/branch_1_fun/reduce_window_sum", "G block_4_1 backward"),
        ("jit(train_step)/transpose(jvp(Generator))/Generator.synthesize/synthesis/block_8/add", "G block_8 backward"),
        ("jit(train_step)/once_in_4/cond/branch_1_fun/jvp(Generator.map)/mapping/dense_2/add", "G mapping forward"),
        ("jit(train_step)/jvp(Generator)/jit(relu)/max", "G forward"),
        (
            "jit(train_step)/transpose(jvp(Generator))/block_3/conv_2/transpose(jvp(jit(_pad)))/pad",
            "G block_3 backward",
        ),
        ("jit(f)/transpose(jvp(Generator))/jvp(Generator)/checkpoint/block_0/conv_1/add", "G block_0 backward"),
        ("jit(f)/transpose(jvp(Discriminator))/rematted_computation/block_1/mul", "D block_1 backward"),
        ("jit(f)/jvp(Generator)/checkpoint/block_0/conv_1/add", "G block_0 forward"),
        ("jit(train_step)/optimizer/mul", "optimizer"),
        ("concatenate.8", "other"),
    ],
)
def test_operations_are_attributed_to_modules(op_name, module):
    assert report.module_of(op_name) == module


def test_modules_have_the_names_of_the_familys_networks():
    names = report.network_names(tiny_config("biggan_deep"))
    assert names == {"Generator": "G", "Discriminator": "D"}
    assert (
        report.module_of("jit(f)/transpose(jvp(Critic))/dense/dot", {"Critic": "D_A/D_B"}) == "D_A/D_B dense backward"
    )


def test_start_instructions_do_not_count_operands():
    line = "  %{0} = {1} {0}(%x), channel_id={2}\n"
    text = TEXT.replace(
        "  %zero =",
        line.format("all-reduce-start", "(f32[100]{0}, f32[200]{0})", 21)
        + line.format("all-gather-start", "((f32[1]{0}, f32[2]{0}), (f32[8]{0}, f32[16]{0}))", 22)
        + "  %zero =",
    )
    assert hlo.collectives(text)["all-reduce"]["bytes"] == 3 * 4 + 300 * 4
    assert hlo.collectives(text)["all-gather"]["bytes"] == 8 * 8 * 4 + 24 * 4


def test_split_collectives_count_once_and_looped_ones_each_time():
    assert hlo.collectives(TEXT) == {
        "all-gather": {"count": 1, "bytes": 8 * 8 * 4},
        "all-reduce": {"count": 3, "bytes": 3 * 4},
        "collective-permute": {"count": 1, "bytes": 8},
    }


def test_a_loop_of_unknown_trip_count_is_an_error():
    with pytest.raises(ValueError, match="the trip count of a loop cannot be read"):
        hlo.collectives(TEXT.replace("constant(3)", "parameter(1)"))
