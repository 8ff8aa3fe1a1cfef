import dataclasses

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_generator
from biggan_jax.latents import Truncation
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sharding import make_mesh
from biggan_jax.types import UserError
from tests.conftest import fresh_state, leaves, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint whose average differs from its live weights."""
    c = tiny_config()
    folder = tmp_path_factory.mktemp("run")
    state = fresh_state()
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(state.replace(averages={"G": jax.tree.map(lambda x: x * 0.5, state.averages["G"])}), c)
    checkpoints.close()
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return load_generator(folder)


def drawn(ready, num=5):
    return ready.floats(ready.latents(num), np.arange(num, dtype=np.int32) % 10, batch_size=8)


def test_images_are_those_of_its_floats(trained):
    ready = Sampler.from_checkpoint(trained, passes=2)
    z, y = ready.latents(5), np.arange(5, dtype=np.int32)
    np.testing.assert_array_equal(ready.images(z, y, 8), pictures.to_uint8(ready.floats(z, y, 8)))


@pytest.mark.parametrize(
    ("z", "y", "sentence"),
    [
        ((3, 0), [0, 1, 10], "class 10 is out of range: this model has classes 0 to 9"),
        ((3, 0), [0, -1, 2], "class -1 is out of range"),
        ((3, 0), [0, 1], "3 latents need as many labels, but y has 2"),
        ((3, 0), [0] * 4, "but y has 4; give one for each"),
        ((3, 0), 3, "but y has one number"),
        ((3, 0), [0.5] * 3, "labels are integers .N., or weights of 10 classes"),
        ((3, 0), np.zeros((3, 5)), r"y is float64 \[3, 5\]; labels are integers"),
        ((3, 0), ["a cat"] * 3, "y is text, such as 'a cat', and this model reads none"),
        ((0, 0), [], "at least one"),
        (None, [0], "latents are .N, dim_z."),
    ],
)
def test_labels_that_are_none_of_the_models_are_refused(trained, z, y, sentence):
    ready = Sampler.from_checkpoint(trained, statistics="running")
    latents = np.zeros(4, np.float32) if z is None else ready.latents(*z)
    with pytest.raises(UserError, match=sentence):
        ready.images(latents, y)


def test_numbers_that_make_no_sampler_are_refused(folder, trained):
    with pytest.raises(UserError, match="num=-1 latents cannot be drawn"):
        Sampler.from_checkpoint(trained, statistics="running").latents(-1)
    with pytest.raises(UserError, match="passes=0 batches give no statistics"):
        Sampler.from_pretrained(folder, passes=0)


def test_samples_over_a_mesh_equal_those_of_one_device(folder, trained):
    """Batches of 3 on 8 devices, too: they are rounded up."""
    over_all = load_generator(folder, make_mesh())
    assert over_all.gan.mesh.size == 8
    one, all_ = (Sampler.from_checkpoint(t, Truncation(0.7), passes=2) for t in (trained, over_all))
    z, y = one.latents(11), np.arange(11, dtype=np.int32) % 10
    np.testing.assert_allclose(one.floats(z, y, 3), all_.floats(z, y, 3), atol=2e-5)


def test_a_mesh_divides_the_work_of_sampling(trained, folder):
    gan, one = load_generator(folder, make_mesh()).gan, trained.gan
    weights = jax.tree.map(np.asarray, trained.params)
    z, y = np.zeros((64, one.dim_z), np.float32), np.zeros(64, np.int32)

    def flops(gan, function, *arguments):
        return function.lower(gan, *arguments).compile().cost_analysis()["flops"]

    images = weights, jax.tree.map(np.asarray, trained.variables), z, y
    moments = weights, np.uint32(0), np.uint32(0), 64, None
    for function, arguments in ((generate.generate_batch, images), (generate._batch_statistics, moments)):
        assert flops(gan, function, *arguments) <= 1.15 * flops(one, function, *arguments) / 8


def test_live_weights_are_not_averaged(folder, trained):
    live = load_generator(folder, live=True)
    name, array = next(iter(leaves(live.params).items()))
    np.testing.assert_allclose(leaves(trained.params)[name], array * 0.5)


def test_truncation_changes_latents_and_statistics(trained):
    plain, tight = (
        Sampler.from_checkpoint(trained, passes=2),
        Sampler.from_checkpoint(trained, Truncation(0.1), passes=2),
    )
    assert np.abs(tight.latents(100)).max() <= 0.1 < np.abs(plain.latents(100)).max()
    var = lambda ready: float(ready.variables["batch_stats"]["bn_out"]["var"].mean())
    assert var(tight) < var(plain)
    assert drawn(tight).std() > 0


def test_missing_binned_statistics_are_refused(trained):
    with pytest.raises(UserError, match="has no statistics by truncation; use standing"):
        Sampler.from_checkpoint(trained, statistics="binned")


def test_binned_statistics_refuse_other_truncations(trained):
    binned = dataclasses.replace(trained, binned=trained.variables["batch_stats"])
    for truncation, sentence in (
        (Truncation(0.5), "of kind scale"),
        (Truncation(1.5, "scale"), "range of binned statistics, 0 to 1"),
    ):
        with pytest.raises(UserError, match=sentence):
            Sampler.from_checkpoint(binned, truncation)
