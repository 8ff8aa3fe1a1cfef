import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import data, sharding
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import evaluator
from biggan_jax.evaluation.networks import FeatureNetwork, Outputs
from biggan_jax.models import build_gan
from biggan_jax.partitioning import sharded_init_state
from biggan_jax.types import UserError
from tests.conftest import tiny_config

RNG = np.random.default_rng(0)
HELD_OUT = RNG.integers(0, 256, (70, 16, 16, 3), dtype=np.uint8), np.arange(70, dtype=np.int32) % 10


@pytest.fixture(scope="module")
def scored():
    """(gan, state, score function) on eight devices; the network's features are the brightnesses of 16 image regions."""

    def apply(params, images):
        parts = images.astype(jnp.float32).reshape(len(images), 4, 4, 4, 4, 3).mean((2, 4, 5)).reshape(len(images), 16)
        return Outputs(parts, parts[:, :10])

    bright = FeatureNetwork("bright", "0", "none", "", "data", {}, apply)
    config, mesh = tiny_config(), sharding.make_mesh()
    gan = build_gan(config, mesh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "open_network", lambda *_, **__: bright)
        options = {"network": "classifier", "inception": "", "num": 64, "seed": 0, "also": "kid,prdc"}
        held_out = Images(*HELD_OUT, 10)
        score = evaluator.score_in_training(data.make_source(config), mesh, held_out=held_out, **options)
    return gan, sharded_init_state(gan, 0), score


def test_real_images_are_scored_beside_samples(scored):
    _, _, score = scored
    assert score.images == "64 held-out images" and 0 <= score.real["score_accuracy"] <= 1
    assert np.isfinite(score.real["score_of_real"]) and score.real["score_of_real"] > 0


def shifted(params):
    return params | {"conv_out": params["conv_out"] | {"bias": params["conv_out"]["bias"] + 1}}


def test_the_score_is_that_of_the_averaged_generator_and_repeats(scored):
    gan, state, score = scored
    first = score(gan, state)
    assert np.isfinite(first) and first > 0 and score(gan, state) == first
    live = state.with_networks(G=state.networks["G"].replace(params=shifted(state.networks["G"].params)))
    assert score(gan, live) == first
    assert score(gan, state.replace(averages={"G": shifted(state.averages["G"])})) > 1.2 * first


def test_other_metrics_are_recorded_beside_the_score(scored):
    gan, state, score = scored
    score(gan, state)
    others = score.beside.keys() - score.real.keys()
    assert {"score_kernel_distance", "score_recall", "score_coverage"} <= others
    assert "score_frechet_distance" not in others and all(np.isfinite(value) for value in score.beside.values())


def test_images_that_are_not_finite_have_no_score(scored):
    gan, state, score = scored
    broken = jax.tree.map(lambda x: x * np.nan, state.averages["G"]["conv_out"])
    assert np.isnan(score(gan, state.replace(averages={"G": state.averages["G"] | {"conv_out": broken}})))
    assert score.beside == score.real


def test_scores_of_samples_that_are_no_pictures_are_refused():
    source = data.make_source(tiny_config())
    evaluator.check_score("classifier", "", source, (16, 16, 1))
    for shape in ((2,), (16, 16, 5)):
        with pytest.raises(UserError, match=r"score.every needs grey or RGB images, .* set it to 0"):
            evaluator.check_score("classifier", "", source, shape)


@pytest.mark.parametrize(
    ("also", "sentence"),
    [
        ("kdi", "did you mean kid"),
        ("lpips", "score.also 'lpips' is unknown"),
        ("fid, is", "the metric is needs 10 or more samples, not 9"),
        ("cas", "score.also=cas needs classes"),
    ],
)
def test_metrics_that_cannot_be_recorded_are_refused(also, sentence):
    with pytest.raises(UserError, match=sentence):
        evaluator.check_score("inception-2015", "download", Images(*HELD_OUT, 0), (16, 16, 3), also, 9)
