"""Files of images and statistics, of this project and of others."""

import jax
import numpy as np
import pytest
from etils import epath

from biggan_jax.evaluation import formulas, metrics, networks, npz
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.reference import Reference, of_statistics
from biggan_jax.types import UserError
from tests.variants import further_slow

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 4, 6, 3), dtype=np.uint8)
FLOATS = IMAGES / np.float32(255)


@pytest.fixture
def said(monkeypatch):
    """The lines that are logged."""
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(npz.logger, level, lambda text, *arguments: lines.append(text % arguments))
    return lines


@pytest.mark.parametrize(
    ("images", "name"),
    [
        (FLOATS * 2 - 1, "[-1, 1]"),
        (FLOATS, "[0, 1]"),
        (IMAGES.astype(np.float64), "[0, 255]"),
        (IMAGES.astype(np.int64), "[0, 255]"),
        (IMAGES.astype(np.uint16) * 257, "[0, 65535]"),
    ],
)
def test_a_clear_range_is_read_as_8_bits_and_said(said, images, name):
    np.testing.assert_array_equal(npz.as_uint8(images, "a"), IMAGES)
    assert said == [
        f"a: arr_0 is {images.dtype} from {images.min():g} to {images.max():g}; it is read as {name} and "
        + "rounded to 8 bits"
    ]


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (FLOATS * 4 - 2, "from -2 to 2, which is no clear range of pixels"),
        (FLOATS * 0.4, "no clear range"),
        (FLOATS * 20, "no clear range"),
        (IMAGES.astype(np.int32) * 4, "no clear range"),
        (IMAGES.astype(np.uint16), "no clear range"),
        (IMAGES.astype(np.uint16) * 16, "no clear range"),
        (FLOATS * np.nan, "not finite"),
        (IMAGES > 9, "arr_0 is bool; give uint8"),
        ((IMAGES > 9).astype(np.uint8), "from 0 to 1: images of"),
    ],
)
def test_an_unclear_range_is_refused(images, sentence):
    with pytest.raises(UserError, match=sentence):
        npz.as_uint8(images, "a")


def test_images_of_8_bits_stay_and_dark_ones_are_named(said):
    assert npz.as_uint8(IMAGES, "a") is IMAGES and not said
    npz.as_uint8(IMAGES // 8, "a")
    assert said == ["a: arr_0 is uint8 from 0 to 31, so all images are dark"]


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return epath.Path(tmp_path / "a.npz")


def test_arrays_and_labels_that_are_not_used_are_named(tmp_path, said):
    path = saved(tmp_path, arr_0=IMAGES, y=np.zeros((12, 3)), mu=np.zeros(3), latents=np.zeros(3), z=np.zeros((12, 3)))
    assert npz.read_samples(path, "--npz").num_classes == 0
    assert said[0].endswith("a.npz: arrays that are not used: mu, latents")
    assert said[1].endswith("y is float64 [12, 3], and no ids [12], so the images have no labels")


def test_a_batch_of_adm_has_images_and_statistics(tmp_path, said):
    more = {"mu_s": np.zeros(7), "sigma_s": np.eye(7)}
    path = saved(tmp_path, arr_0=IMAGES, arr_1=np.arange(12), mu=np.ones(5), sigma=np.eye(5, dtype=np.float32), **more)
    images, (statistics, spatial) = npz.read_reference(path, "--reference")
    assert len(spatial.mean) == 7
    assert images.num_classes == 12 and statistics.mean.dtype == statistics.covariance.dtype == np.float64
    assert not said


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"latents": np.zeros(3)}, "has the arrays latents; arr_0, or mu and sigma, are needed"),
        ({"mu": np.zeros(3)}, "has no sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"sigma float64 \[4, 4\]; floats \[D\] and \[D, D\] are needed"),
        ({"mu": np.zeros(3), "sigma": np.eye(3) * np.nan}, "not finite"),
        ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"arr_0": IMAGES.transpose(0, 3, 1, 2)}, "its channels are not last; give uint8"),
    ],
)
def test_a_reference_that_is_not_one_is_refused(tmp_path, arrays, sentence):
    with pytest.raises(UserError, match=sentence):
        npz.read_reference(saved(tmp_path, **arrays), "--reference")


def features_of(count, shift=0.0):
    values = RNG.normal(shift, 1, (count, 4))
    return Features(values, values, np.zeros(count, np.int32))


def test_the_distance_is_to_the_statistics_where_they_are():
    real, fake, others = features_of(50), features_of(60, 0.5), features_of(70, 2)
    by_images = Reference("", "c", formulas.moments([real.features]), real)
    theirs = formulas.moments([others.features])
    reference = of_statistics(theirs._replace(count=0), "theirs", by_images)
    found = metrics.compute(fake, reference, ("fid", "kid")).overall
    expected = metrics.compute(fake, Reference("", "", theirs, real), ("fid", "kid")).overall
    assert found == pytest.approx(expected)
    alone = of_statistics(theirs, "theirs", None)
    assert metrics.compute(fake, alone, ("fid", "is")).overall["frechet_distance"] == pytest.approx(
        expected["frechet_distance"]
    )
    assert len({alone.content, reference.content, by_images.content}) == 3 and np.isnan(alone.inception_score)


@pytest.mark.parametrize("name", further_slow(list(networks.DIMENSIONS), quick=(2, 3, 6)))
def test_the_lengths_of_features_are_known(name):
    fitted = {"classifier": lambda: networks.classifier.Network(10), "captions": lambda: networks.captions.Encoders(32)}
    network = (fitted | networks.MODULES)[name]()
    size = networks.INPUTS[name].size if name in networks.INPUTS else 32
    shape = jax.ShapeDtypeStruct((1, size, size, 3), "uint8")
    features, _ = jax.eval_shape(lambda x: network.apply(network.init(jax.random.key(0), x), x), shape)
    assert features.shape == (1, networks.DIMENSIONS[name]) and networks.DIMENSIONS.keys() == networks.NETWORKS.keys()
