"""Scores of models of texts and of real numbers: the network of captions, and samples of real images' conditions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.checkpoint import load_generator
from biggan_jax.config.loading import load
from biggan_jax.data import builtin
from biggan_jax.data.captions import encode
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import captions, conditions, diversity, evaluator, networks, ppl
from biggan_jax.evaluation.lpips import Lpips
from biggan_jax.evaluation.networks import FeatureNetwork, Outputs
from biggan_jax.models import build_gan
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import init_state
from biggan_jax.types import UserError
from tests import cli
from tests.conftest import untrained_run
from tests.models.test_text_to_image import SMALL

RNG = np.random.default_rng(0)
captions_fit = captions.fit
SIXTEEN = SMALL | {"model.image_shape": (16, 16, 3), "model.text_length": 24}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """A cache with encoders of two steps, where the commands look for fitted ones."""
    fit = lambda source, **_: captions_fit(source, steps=2, batch_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGGAN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(captions, "fit", fit)
        networks.open_network("captions", training=builtin.digit_captions(16, "train", 3, 24))
        patch.setattr(captions, "fit", captions_fit)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run of a small model of captions of digits."""
    c = load("classic/text_to_image32")
    c.update_from_flattened_dict(SIXTEEN)
    return untrained_run(tmp_path_factory.mktemp("captions") / "run", c)


def command(run, *arguments):
    return cli.run("evaluate", f"--checkpoint={run}", "--network=captions", "--num=40", *arguments)


def test_agreement_is_the_share_that_finds_its_caption():
    texts = encode([f"picture {i % 20}" for i in range(400)], 12)
    own = np.eye(20, dtype=np.float32)[np.arange(400) % 20]
    assert captions.agreement(own, own, texts) == 1
    assert captions.agreement(np.roll(own, 1, axis=1), own, texts) == 0
    drawn = RNG.normal(size=(2, 400, 8))
    assert captions.agreement(*drawn, texts) == pytest.approx(0.1, abs=0.05), "chance"
    with pytest.raises(
        UserError, match="compares 10 different captions, but these images have 9; choose other metrics"
    ):
        captions.agreement(own[:9], own[:9], texts[:9])


def test_two_encoders_learn_which_caption_is_an_image_s():
    train, test = (builtin.digit_captions(16, split, 1, 24) for split in ("train", "test"))
    network, params = captions.encoders_of(train), captions.fit(train, steps=120)
    texts = test.labels[:, 0]
    embed = jax.jit(lambda images, texts: network.apply(params, np.repeat(images, 3, -1), texts, method="both"))
    of_images, of_texts = (np.asarray(x) for x in embed(test.images, texts))
    np.testing.assert_allclose(np.linalg.norm(of_images, axis=1), 1, rtol=1e-4)
    assert captions.agreement(of_images, of_texts, texts) > 0.4


def test_samples_are_of_all_real_images_before_any_again():
    labels = np.arange(12).reshape(6, 2)
    y = conditions.of_real(labels, 15, 0)
    for part in (y[:6], y[6:12]):
        np.testing.assert_array_equal(part[part[:, 0].argsort()], labels)
    assert not np.array_equal(y[:6], labels) and not np.array_equal(y, conditions.of_real(labels, 15, 1))


def test_pairs_for_diversity_have_one_condition():
    labels = np.array([[1, 2], [3, 4], [1, 2], [3, 4], [5, 6]])
    first, second = diversity.pairs(labels, 50).reshape(-1, 2).T
    assert (labels[first] == labels[second]).all() and (first != second).all() and 4 not in first


def test_the_command_scores_samples_of_captions(run):
    result = command(run, "--reference=test", "--scores=fid,agreement")
    assert result.returncode == 0, result.stderr
    (record,) = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    assert record["protocol"]["labels"] == "first captions of the real images in an order by the seed"
    assert record["protocol"]["network"] == "captions" and "test" in record["protocol"]["reference"]
    assert {"frechet_distance", "caption_agreement", "real_caption_agreement"} <= record["scores"].keys()
    assert "caption agreement" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--labels=uniform"], "--labels=uniform has no meaning: this model is conditioned on texts, and its samples"),
        (
            ["--network=classifier"],
            "the network classifier is fitted to labels, but this data set has none; use captions",
        ),
        (["--scores=is"], "--scores=is needs a network with classes, which captions has not"),
        (["--scores=intra_fid"], "--scores=intra_fid needs classes of both samples and real images"),
        (["--truncation_sweep=0.5:1:2"], "--truncation_sweep needs a network with classes, which captions has not"),
        (
            ["--reference=FILE", "--scores=fid"],
            "samples of this model are of texts of the real images, and --reference=",
        ),
    ],
)
def test_what_has_no_meaning_for_texts_is_one_sentence(run, tmp_path, arguments, sentence):
    np.savez(tmp_path / "a.npz", mu=np.zeros(128), sigma=np.eye(128))
    arguments = (argument.replace("FILE", str(tmp_path / "a.npz")) for argument in arguments)
    cli.refused(command(run, *arguments), sentence)


def test_path_lengths_are_of_samples_of_captions(run):
    sampler = Sampler.from_checkpoint(load_generator(run))
    y = builtin.digit_captions(16, "train", 3, 24).labels[:6, 0]
    found = ppl.measure(sampler, Lpips("vgg", "", 8, {}, lambda params, x: (x,)), "z_end", y)
    assert np.isfinite(found) and found > 0


def test_captions_need_a_set_that_has_some():
    labelled = Images(np.zeros((2, 16, 16, 1), np.uint8), np.zeros(2, np.int32), 2)
    with pytest.raises(UserError, match="fitted to captions, but this data set has none; use classifier"):
        networks.check_network("captions", inception=None, training=labelled)


def brightness():
    """A network whose features are the brightnesses of 16 image regions."""

    def apply(params, images):
        parts = images.astype(jnp.float32).reshape(len(images), 4, 4, 4, 4, 3).mean((2, 4, 5)).reshape(len(images), 16)
        return Outputs(parts, parts[:, :1])

    return FeatureNetwork("bright", "0", "none", "", "", {}, apply)


@pytest.mark.parametrize("changes", [{}, {"model.condition_dim": 3}])
def test_training_scores_samples_of_real_conditions(changes, monkeypatch):
    c = load("classic/text_to_image32")
    embedded = {"model.text_length": 201, "model.embed_dim": 1024, "model.text_ch": 256, "model.text_lr": 2e-4}
    c.update_from_flattened_dict(SIXTEEN | (embedded if changes else {}) | changes)
    shape, count = c.model.image_shape, 60
    images = RNG.integers(0, 256, (count, *shape), dtype=np.uint8)
    texts = encode([f"text {i}" for i in range(2 * count)], 24).reshape(count, 2, 24)
    labels = RNG.normal(size=(count, 3)).astype(np.float32) if changes else texts
    source = Images(images, labels, 0)
    monkeypatch.setattr(evaluator, "open_network", lambda *_, **__: brightness())
    monkeypatch.setattr(evaluator, "check_network", lambda *_, **__: None)
    evaluator.check_score("bright", "", source, shape, "kid", 64)
    gan, options = build_gan(c), {"network": "bright", "inception": "", "num": 64, "seed": 0, "also": "kid"}
    score = evaluator.score_in_training(source, sharding.make_mesh(jax.devices()[:1]), **options)
    state, drawn, original = jax.jit(lambda: init_state(gan, 0))(), [], Sampler.batches
    monkeypatch.setattr(Sampler, "batches", lambda self, z, y, size: drawn.append(y) or original(self, z, y, size))
    found = score(gan, state)
    assert np.isfinite(found) and found > 0 and score(gan, state) == found
    known = {row.tobytes() for row in (labels if changes else labels[:, 0])}
    assert {row.tobytes() for row in drawn[0]} == known and len(drawn[0]) == 64


def test_metrics_of_classes_are_refused_for_captions():
    source = builtin.fake_captions((16, 16, 3), 24)
    with pytest.raises(UserError, match="score.also=cas needs classes, but the data have none"):
        evaluator.check_score("captions", "", source, (16, 16, 3), "cas")
    with pytest.raises(UserError, match="score.also=agreement needs score.network=classifier, or captions for data"):
        evaluator.check_score("inception-2015", "download", source, (16, 16, 3), "agreement")
    evaluator.check_score("captions", "", source, (16, 16, 3), "agreement,kid")
