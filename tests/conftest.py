"""Eight simulated devices, a persistent compilation cache, and the tiny models that most tests share."""

import contextlib
import dataclasses
import functools
import gc
import importlib
import importlib.metadata
import os
import pathlib
import shutil

ROOT = pathlib.Path(__file__).parent.parent
# Set before any import of jax; commands that tests start inherit it.
os.environ["JAX_PLATFORMS"] = os.environ.get("TEST_PLATFORM", "cpu")  # benchmarks/gpu_check.sh sets another.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
if os.environ["JAX_PLATFORMS"] == "cpu":
    # Compiled programs run only a few times in tests, so that less optimisation saves time.
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    # Two workers leave no core for more threads.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
    if int(importlib.metadata.version("jaxlib").split(".")[1]) <= 10:
        # The older emitters of fusions compile a training step in a third of the CPU time. Newer jaxlibs have them no more.
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
# Holds fitted classifiers and other results, named by their content, that later tests reuse.
os.environ.setdefault("BIGGAN_JAX_CACHE", str(ROOT / ".cache" / "biggan_jax"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax import models
from biggan_jax import train as training
from biggan_jax.checkpoint import Checkpoints, load_generator, resume
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.partitioning import compile_step, sharded_init_state
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import init_state
from biggan_jax.train_step import apply_update
from tests.configs import tiny
from tests.families import minimal


def pytest_collection_finish():
    """Collect garbage seldom: what is imported and collected stays, and passes over it took a fifth of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def tiny_config(family="biggan"):
    """Return the smallest config with every layer: attention in both networks, skip-z, conditional batch norm.

    family: biggan, biggan_deep, or dense, which is quicker to compile; see tests/families/minimal.py.
    """
    if family == "dense":
        return minimal.dense_config()
    c = tiny.get_config()
    c.model.family = family
    return c


@pytest.fixture
def config():
    return tiny_config()


def build(config, mesh=None):
    """Return the model of a `tiny_config`."""
    return (minimal.dense if config.model.family == "dense" else build_gan)(config, mesh)


@pytest.fixture(scope="module")
def with_dense():
    """The family dense of tests/families/minimal.py, among those of the package until the module ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.FAMILIES, "dense", minimal.dense)
        patch.setitem(configs.SECTIONS, "dense", minimal.dense_section)
        yield


@pytest.fixture
def dense(with_dense):
    """The config of a run of dense networks, for tests of what is around a step."""
    return minimal.dense_config()


@functools.cache
def _tiny(family):
    """(gan, jitted init_state: seed to state) of `tiny_config`."""
    gan = build(tiny_config(family))
    return gan, jax.jit(functools.partial(init_state, gan))


def fresh_state(family="biggan", seed=0):
    """Return a fresh state of the model of `tiny_config`, from one program for all tests of a process."""
    return _tiny(family)[1](seed)


# Not of scope "session": pytest would run all tests of one family first, and set up every module's fixtures twice.
# BigGAN-deep runs the same code of its own tables in `make test-slow`; its golden steps and its networks are tested in the quick suite.
@pytest.fixture(scope="module", params=["biggan", pytest.param("biggan_deep", marks=pytest.mark.slow)])
def model(request):
    """(gan, fresh state) of each family, without a mesh. Attention has gamma 0.5, since with 0 it gets no gradient."""
    return _tiny(request.param)[0], _with_attention(request.param)


@functools.cache
def _with_attention(family):
    return with_attention(fresh_state(family))


LOOP = (
    *("num_steps", "checkpoint_every", "checkpoint_keep", "checkpoint_keep_every", "sample_every", "log_every"),
    *("profile_steps", "stability", "score", "seed"),
)
"""Keys that only the training loop reads. A step does not depend on them; below, `build_gan` fails if it reads one."""


@pytest.fixture(scope="session")
def programs():
    """(build, compile, init): build_gan, compile_step and sharded_init_state, each cached by its arguments."""
    gans, steps, states = {}, {}, {}

    def build(config, mesh=None):
        config = config.copy_and_resolve_references()
        with config.unlocked():
            for name in LOOP:
                del config[name]
        key = config.to_json(), mesh
        if key not in gans:
            gans[key] = build_gan(config, mesh)
        return gans[key]

    def compile_(gan):
        if id(gan) not in steps:  # `gans` keeps each GAN alive, so no id recurs.
            steps[id(gan)] = compile_step(gan)
        return steps[id(gan)]

    def init(gan, seed):
        if (id(gan), seed) not in states:
            state = sharded_init_state(gan, seed)
            states[id(gan), seed] = jax.tree.map(np.asarray, state), jax.tree.map(lambda x: x.sharding, state)
        return jax.device_put(*states[id(gan), seed])  # A copy, since a step donates its state.

    return build, compile_, init


@contextlib.contextmanager
def reused(programs):
    """Make train() reuse what was compiled for the same GAN before, which saves seconds.

    Only for tests that do not replace functions that a training step uses.
    """
    build, compile_, init = programs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_gan", build)
        patch.setattr(training, "compile_step", compile_)
        patch.setattr(resume, "sharded_init_state", init)
        yield


@pytest.fixture
def compile_once(programs):
    """See `reused`."""
    with reused(programs):
        yield


def untrained_run(folder, config=None):
    """Save the checkpoint of a fresh model in the folder, as a training run does; return the folder.

    config: of the model; the default is `tiny_config`.
    """
    c = config or tiny_config()
    same = c.model == tiny_config().model
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(fresh_state() if same else jax.jit(lambda: init_state(build_gan(c), 0))(), c)
    checkpoints.close()
    return folder


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A working directory with one checkpoint, of a tiny untrained model. Tests must not change it."""
    return untrained_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def trained(workdir):
    """The generator of `workdir`."""
    return load_generator(workdir)


@pytest.fixture(scope="session")
def sampler(trained):
    """A sampler of `trained` with running statistics, which needs no compilation."""
    return Sampler.from_checkpoint(trained, statistics="running")


@pytest.fixture(scope="session")
def classifier():
    """Put the fitted classifier of mnist5k into the cache, where the commands that evaluate find it: 1,500 steps saved."""
    cache = pathlib.Path(os.environ["BIGGAN_JAX_CACHE"]) / "classifier"
    cache.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / "tests" / "data" / "classifier").iterdir():
        if not (cache / file.name).exists():
            own = cache / f"{file.name}.{os.getpid()}"
            shutil.copy(file, own)
            own.replace(cache / file.name)


def with_attention(state, gamma=0.5):
    """Return the state with every attention's gamma set to `gamma`."""

    def set_gamma(path, leaf):
        return jax.numpy.full_like(leaf, gamma) if path[-1].key == "gamma" else leaf

    change = lambda params: jax.tree_util.tree_map_with_path(set_gamma, params)
    networks = {name: network.replace(params=change(network.params)) for name, network in state.networks.items()}
    return state.replace(networks=networks, averages={name: change(a) for name, a in state.averages.items()})


def random_batch(gan, batch_size=16, seed=0):
    """Return a batch of noise with labels, as host arrays like those of the data loader."""
    rng = np.random.default_rng(seed)
    shapes = {name: (batch_size, *shape[1:]) for name, shape in gan.data_shapes(batch_size).items()}
    shapes = shapes if len(shapes) > 1 else {"image": (batch_size, *gan.image_shape)}
    of_texts = gan.condition.kind == "text"
    label = (gan.minibatches, batch_size, *(gan.label_shape if of_texts else ()))
    return {
        **{name: rng.integers(0, 256, (gan.minibatches, *shape), dtype=np.uint8) for name, shape in shapes.items()},
        "label": rng.integers(of_texts, 256 if of_texts else max(gan.num_classes, 1), label, dtype=np.int32),
    }


def with_optimizers(gan, **optimizers):
    """Return the family with other optimizers for the networks named."""
    changed = {name: dataclasses.replace(gan.networks[name], optimizer=o) for name, o in optimizers.items()}
    return dataclasses.replace(gan, networks={**gan.networks, **changed})


def nets_of(gan, key=None, **networks):
    """Return the Nets of some networks, given name=(weights, variables)."""
    weights = {name: weights for name, (weights, _) in networks.items()}
    variables = {name: variables for name, (_, variables) in networks.items()}
    return Nets(gan, weights, Moving(variables, {}), jax.random.key(0) if key is None else key)


def generate(gan, weights, batch_stats, z, y):
    """Return (images of G in training mode, its updated batch_stats)."""
    nets = nets_of(gan, G=(weights, {"batch_stats": batch_stats}))
    return nets("G", z, y), nets.moving.variables["G"]["batch_stats"]


def discriminate(gan, weights, x, y, key):
    """Return D's logits for augmented images."""
    return gan.discriminate(nets_of(gan, D=(weights, {})), x, y, key)


def update(gan, state, network, batch, key):
    """Return (state, metrics) after the first update that trains `network`; it reads image, label, z, fake_label of batch."""
    chosen = next(u for u in gan.updates() if u.trains == (network,))
    return apply_update(gan, chosen, state, batch, key)


def leaves(tree):
    """Return {dotted name: array}."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in named}


def assert_identical(a, b):
    a, b = leaves(a), leaves(b)
    assert a.keys() == b.keys()
    different = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    assert not different, f"differ: {different}"


def unchanged(before, after):
    """Return the names of the arrays that are equal."""
    before, after = leaves(before), leaves(after)
    return {name for name in before if np.array_equal(before[name], after[name])}


def biases_that_feed_only_batch_norm(family):
    """Return G's biases, in the family's tiny config, that batch norm cancels: their true gradient is zero, the computed one rounding.

    The biases of a block's last convolutions are among them only after the attention, which the earlier ones act on.
    """
    if family == "dense":
        return {"hidden.bias"}
    if family == "biggan_deep":
        inner = {f"block_{i}_{j}.conv_{k}.bias" for i in range(2) for j in range(2) for k in (1, 2, 3)}
        return inner | {"block_1_0.conv_4.bias", "block_1_1.conv_4.bias"}
    return {"block_0.conv_1.bias", "block_1.conv_1.bias", "block_1.conv_2.bias", "block_1.conv_skip.bias"}


def family_of(gan):
    return type(gan.networks["G"].module).__module__.rpartition(".")[2]


def benchmark_script(name):
    """Import a script of benchmarks/, which import each other by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)
