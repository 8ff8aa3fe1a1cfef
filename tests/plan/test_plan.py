import importlib.util
import json
import pathlib
import sys
import types

import jax
import pytest

from biggan_jax import models, sharding
from biggan_jax.plan import program, report, target
from biggan_jax.plan.target import CHIPS
from biggan_jax.types import UserError
from tests import cli
from tests.conftest import tiny_config
from tests.families import minimal

TINY = pathlib.Path(__file__).parent.parent / "configs" / "tiny.py"
KEYS = {"chips", "devices", "fits", "hbm_bytes_per_device", "hbm_capacity_bytes", "useful_flops_per_device"}
KEYS |= {"compiled_flops_per_device", "estimated_cycles_per_device", "estimated_mfu", "estimated_step_seconds"}
KEYS |= {"program", "state_bytes_per_device", "breakdown", "collectives", "unestimated", "versions"}
KEYS |= {"generator_parameters", "discriminator_parameters"}
needs_compiler = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu") or jax.__version_info__ < (0, 8),
    reason="libtpu is not installed, or this jax crashes with it",
)


def plan(*flags, cache):
    config = () if any(flag.startswith("--config=") for flag in flags) else (f"--config={TINY}",)
    # A step that does not fit a TPU is compiled several times, until advice is found that does.
    return cli.run("plan", *config, *flags, limit=1200, XDG_CACHE_HOME=str(cache), **cli.devices(0))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """(folder, finished process, its figures) of a plan for two simulated devices."""
    folder = tmp_path_factory.mktemp("plan")
    done = plan("--devices=cpu:2", f"--json={folder}/plan.json", cache=folder)
    assert done.returncode == 0, done.stderr
    return folder, done, json.loads((folder / "plan.json").read_text())


def test_a_plan_for_simulated_devices_has_all_known_figures(simulated):
    _, done, figures = simulated
    assert figures.keys() >= KEYS
    assert figures["devices"] == 2 and figures["fits"] is None and figures["estimated_cycles_per_device"] is None
    assert figures["hbm_bytes_per_device"] > 4 * 3 * figures["discriminator_parameters"]
    assert 0.9 < figures["compiled_flops_per_device"] / figures["useful_flops_per_device"] < 1.5
    assert figures["collectives"].keys() == {"all-reduce"}
    assert "parameters: generator 13,508, discriminator 9,370" in done.stdout


def test_no_compile_prints_what_shapes_tell(simulated):
    folder, _, compiled = simulated
    done = plan("--devices=cpu:2", "--no-compile", f"--json={folder}/shapes.json", cache=folder / "empty")
    assert done.returncode == 0 and "compiling" not in done.stderr, done.stderr
    figures = json.loads((folder / "shapes.json").read_text())
    assert figures.keys() == compiled.keys()
    assert figures["hbm_bytes_per_device"] is figures["fits"] is figures["compiled_flops_per_device"] is None
    for same in ("generator_parameters", "useful_flops_per_device", "state_bytes_per_device"):
        assert figures[same] == compiled[same] > 0
    parameters = figures["generator_parameters"], figures["discriminator_parameters"]
    # Weights and second moments of both, and G's EMA; each device holds half of them.
    assert figures["state_bytes_per_device"] == pytest.approx(4 * (3 * parameters[0] + 2 * parameters[1]), rel=0.5)
    state = f"{figures['state_bytes_per_device'] / 1e6:.1f} MB"
    assert f"not compiled; the state alone takes {state} per device" in done.stdout


def test_a_second_plan_reads_the_compiled_step_from_the_cache(simulated):
    folder, _, figures = simulated
    again = plan("--devices=cpu:2", f"--json={folder}/again.json", cache=folder)
    assert "read from the cache" in again.stderr
    assert json.loads((folder / "again.json").read_text()) == figures


def test_a_damaged_or_unwritable_cache_is_ignored(tmp_path, monkeypatch, caplog):
    class Lowered:
        as_text = staticmethod(lambda debug_info=False: "program")

    monkeypatch.setattr(program, "_compile", lambda _, content: program.Program(content, "text", 1, None, 2.0, 3.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = program.compile(Lowered(), "cpu:2")
    (kept,) = (tmp_path / "biggan_jax" / "plans").iterdir()
    kept.write_bytes(kept.read_bytes()[:9])
    assert program.compile(Lowered(), "cpu:2") == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert program.compile(Lowered(), "cpu:2") == first
    assert "cannot be cached" in caplog.text


def test_the_hash_depends_on_operation_names_not_on_source_lines():
    def lowered(name):
        def step(x):
            with jax.named_scope(name):
                return jax.numpy.sin(x)

        return jax.jit(step).lower(1.0)

    assert program.content_of(lowered("a"), "cpu:2") == program.content_of(lowered("a"), "cpu:2")
    assert program.content_of(lowered("a"), "cpu:2") != program.content_of(lowered("b"), "cpu:2")
    with_options = program.content_of(lowered("a"), "cpu:2", {"xla_option": False})
    assert program.content_of(lowered("a"), "cpu:2") != with_options


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "--config and one of --topology and --devices are needed, not both"),
        (("--devices=gpu:8",), "--devices=gpu:8 is not cpu:N, such as cpu:8"),
        (("--devices=cpu:3",), "batch_size 16 is not divisible by 3 devices; nearest are 15 and 18"),
        (("--devices=cpu:2", "--config.mesh.fsdp=3"), "mesh.data=-1, mesh.fsdp=3 does not fit 2 devices"),
        (("--devices=cpu:2", "--config.remat=all"), "remat 'all' is unknown"),
        (("--devices=cpu:2", "--json=/"), "--json=/ is not a file in a folder that exists"),
        (("--topology=v5e-256",), "known are v5litepod-1, v5litepod-4"),
        pytest.param(("--topology=v5e:256",), "give VERSION:SHAPE in chips", marks=needs_compiler),
        pytest.param(("--topology=v9:2x2",), "Invalid TPU external name: TPU v9", marks=needs_compiler),
    ],
)
def test_bad_flags_are_refused_in_one_sentence(flags, sentence, tmp_path):
    done = plan(*flags, cache=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_the_compiler_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(UserError, match="pip install 'biggan-jax\\[plan\\]'"):
        target.tpu_devices("v5e:2x2")


def test_a_jax_that_crashes_when_planning_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", types.ModuleType("libtpu"))
    monkeypatch.setattr(jax, "__version_info__", (0, 7, 2))
    with pytest.raises(UserError, match="needs jax 0.8 or newer"):
        target.tpu_devices("v5e:2x2")


@needs_compiler
def test_slices_smaller_than_a_host_have_devices():
    assert [len(target.tpu_devices(name)) for name in ("v5e:1x1", "v5e:2x1", "v3:1x1", "v4:2x2x1")] == [1, 2, 2, 4]


def test_useful_flops_ignore_chunks_microbatches_and_remat(dense):
    plain = program.useful_work(dense)
    dense.update(remat="full", d_chunks=4, microbatches=2)
    assert program.useful_work(dense) == plain
    assert plain.mean == plain.most > 0


def test_lazy_updates_count_by_how_often_they_run(monkeypatch):
    c = minimal.registered("lazy_penalty", monkeypatch)
    updates = models.build_gan(c).updates()
    (lazy,) = (i for i, update in enumerate(updates) if not update.always)
    assert updates[lazy].every == 4
    least = program._flops(c, [i for i in range(len(updates)) if i != lazy])
    work = program.useful_work(c)
    assert 0 < least < work.most
    assert work.mean == pytest.approx(least + (work.most - least) / 4)


def test_shapes_and_networks_are_the_familys(monkeypatch):
    mesh = sharding.make_mesh(jax.devices()[:2])
    for name in ("one_channel_not_square", "vectors", "two_pairs"):
        c = minimal.registered(name, monkeypatch)
        gan = models.build_gan(c)
        assert program.batch_shapes(c)["image"].shape == (gan.minibatches, 8, *gan.image_shape)
        assert program.lower(c, mesh) and program.state_bytes(c, mesh) > 0
        figures = report.figures(c, mesh.devices.ravel().tolist(), "cpu:2", 0, program.NOT_COMPILED)
        assert figures["useful_flops_per_device"] > 0
        names = {f"{report.LONG_NAMES.get(network, network)}_parameters" for network in gan.networks}
        assert {key for key in figures if key.endswith("_parameters")} == names
    assert report.network_names(c) == {"G": "G_A/G_B", "D": "D_A/D_B"}


def test_useful_flops_without_a_cpu_backend_are_refused(monkeypatch):
    def no_backend(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", no_backend)
    with pytest.raises(UserError, match="JAX_PLATFORMS leaves out; append ,cpu"):
        program.useful_work(tiny_config())


def test_changes_come_cheapest_first_and_split_evenly():
    config = tiny_config()
    config.batch_size = 128
    assert report.changes(config, devices=4) == [
        {"d_chunks": 2},
        {"d_chunks": 4},
        {"remat": "blocks"},
        {"remat": "full"},
        {"d_chunks": 32, "remat": "blocks"},
        {"d_chunks": 32, "remat": "full"},
        *({"microbatches": m} for m in (2, 4, 8, 16, 32)),
        {"microbatches": 32, "remat": "blocks"},
        {"microbatches": 32, "remat": "full"},
    ]
    config.remat = "full"
    assert report.changes(config, devices=128) == []
    for overrides in report.changes(config, devices=4):
        other = report.changed(config, overrides)
        sharding.check_batch_size(other.batch_size, 4, other.microbatches, other.d_chunks)


def test_chips_have_the_published_peaks():
    chips = {"TPU v2": 46, "TPU v3": 123, "TPU v4": 275, "TPU v5 lite": 197, "TPU v5": 459, "TPU v6 lite": 918}
    cores = {"TPU v2": 2, "TPU v3": 2}
    for kind, teraflops in chips.items():
        assert CHIPS[kind].peak * cores.get(kind, 1) / 1e12 == pytest.approx(teraflops, rel=0.02)


@pytest.mark.parametrize(
    "sentence",
    [
        "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 17.21G of 15.75G hbm. Exceeded",
        "the total memory required for HLO temporaries (17.21G) exceeds available HBM (15.75G).",
    ],
)
def test_a_too_large_program_has_the_memory_it_needs(sentence):
    class Lowered:
        def compile(self):
            raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {sentence}")

    compiled = program._compile(Lowered(), "")
    assert compiled.memory == round(17.21 * 2**30) and compiled.limit == round(15.75 * 2**30)
    assert report.fits(compiled, CHIPS["TPU v5 lite"]) is False


def test_a_too_large_state_does_not_fit_without_compiling():
    chip = CHIPS["TPU v5 lite"]
    assert report.fits(program.NOT_COMPILED, chip, state_bytes=chip.memory + 1) is False
    assert report.fits(program.NOT_COMPILED, chip, state_bytes=chip.memory) is None


@pytest.mark.plan
@needs_compiler
def test_a_tiny_step_is_compiled_for_a_tpu(tmp_path):
    done = plan("--topology=v5e:2x2", "--config.dtype=bfloat16", f"--json={tmp_path}/plan.json", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["chips"] == figures["devices"] == 4 and figures["fits"] is True
    assert figures["estimated_cycles_per_device"] == sum(figures["breakdown"].values()) > 0
    assert 0 < figures["estimated_mfu"] < 1
    # The fused attention kernel is used and counted.
    assert figures["breakdown"]["D attention_0 backward"] > 0
    assert figures["collectives"].keys() <= {"all-reduce", "all-gather", "reduce-scatter"}


@pytest.mark.plan
@needs_compiler
def test_microbatches_chunks_and_remat_save_memory(tmp_path):
    """Also: the loop over microbatches counts once per iteration."""
    # v3 cores have little memory.
    flags = "--topology=v3:2x2", "--config.dtype=bfloat16", "--config.batch_size=4096", "--config.model.ch=16"
    figures = {}
    # Chunks reduce D's activations, so D is wide in their test.
    ways = {"blocks": ["remat=blocks"], "parts": ["microbatches=4"]}
    ways |= {"wide": ["model.d_ch=64"], "chunks": ["model.d_ch=64", "d_chunks=4"]}
    for name, changes in ({"plain": []} | ways).items():
        more = [f"--config.{change}" for change in changes]
        done = plan(*flags, *more, f"--json={tmp_path}/{name}.json", cache=tmp_path)
        assert done.returncode == 0, done.stderr
        figures[name] = json.loads((tmp_path / f"{name}.json").read_text())
    memory = {name: found["hbm_bytes_per_device"] for name, found in figures.items()}
    # Activations dominate, and the largest are those of G's and D's outermost blocks, present in each variant.
    assert memory["blocks"] < 0.95 * memory["plain"] and memory["parts"] < 0.6 * memory["plain"]
    assert memory["chunks"] < 0.7 * memory["wide"]
    # D's gradients are summed over the devices once, in float32 instead of bfloat16; once per chunk would be eightfold.
    sent = {name: found["collectives"]["all-reduce"]["bytes"] for name, found in figures.items()}
    assert sent["chunks"] <= 2.2 * sent["wide"]
    cycles = {name: found["estimated_cycles_per_device"] for name, found in figures.items()}
    assert cycles["blocks"] > cycles["plain"] and cycles["parts"] > 0.9 * cycles["plain"]


@pytest.mark.plan
@needs_compiler
def test_a_step_that_does_not_fit_gets_advice_that_fits(tmp_path):
    flags = "--topology=v5e:2x2", "--config.batch_size=65536", "--config.model.ch=64", f"--json={tmp_path}/plan.json"
    done = plan(*flags, cache=tmp_path)
    assert done.returncode == 1, done.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["fits"] is False and "DOES NOT FIT" in done.stdout
    assert "does fit" in figures["advice"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("config", ["biggan_imagenet128", "biggan_deep_imagenet128"])
def test_presets_use_only_all_reduce_gather_and_scatter(config, tmp_path):
    done = plan(
        f"--config={config}",
        "--devices=cpu:8",
        "--config.batch_size=16",
        f"--json={tmp_path}/plan.json",
        cache=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert (
        {"all-reduce", "all-gather"} <= figures["collectives"].keys() <= {"all-reduce", "all-gather", "reduce-scatter"}
    )
    assert figures["compiled_flops_per_device"] <= 1.1 * figures["useful_flops_per_device"]
