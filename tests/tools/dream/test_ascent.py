"""Dreams of a tiny network: what grows, what stays, and what is refused."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from biggan_jax.tools.dream import ascent
from biggan_jax.tools.dream.ascent import Dreamer, Settings, octaves_of
from biggan_jax.tools.dream.layers import Network
from biggan_jax.types import UserError


class Module(nn.Module):
    """Two convolutions, and a product that takes pictures of one size alone."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (1, 1), name="first")(x / 128 - 1))
        x = nn.Conv(6, (3, 3), 2, name="second")(x)
        return nn.Dense(3, name="head")(x.reshape(len(x), -1))


SHAPE = 8, 8, 3
PICTURE = np.random.default_rng(0).integers(40, 200, (14, 10, 3), np.uint8)
SHORT = Settings(steps=3, octaves=2, jitter=5, step_size=4.0)


@pytest.fixture(scope="module")
def network():
    params = Module().init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    return Network("tiny", params, Module().apply, SHAPE, "second")


@pytest.fixture(scope="module")
def dream(network):
    return Dreamer(network, "second", SHORT)(PICTURE)


def test_the_layer_grows_at_each_octave(dream):
    assert [octave[:2] for octave in dream.octaves] == [(10, 7), (14, 10)]
    assert all(octave.after > 1.02 * octave.before for octave in dream.octaves)


def test_octaves_that_do_not_grow_are_numbered():
    octaves = [ascent.Octave(4, 6, 3.3, 3.2), ascent.Octave(8, 12, 5.1, 5.2), ascent.Octave(16, 24, 2.0, 2.0)]
    assert ascent.without_growth(octaves) == [1, 3]


def test_pixels_keep_their_size_and_range_and_change(dream):
    assert dream.pixels.shape == PICTURE.shape
    assert dream.pixels.min() >= 0 and dream.pixels.max() <= 255
    # Each octave moves the mean pixel by at most its steps.
    assert 1 < np.abs(dream.pixels - PICTURE).mean() < 2 * SHORT.steps * SHORT.step_size


def test_the_seed_decides_the_picture(network, dream):
    again, other = (Dreamer(network, "second", SHORT, seed=seed)(PICTURE).pixels for seed in (0, 1))
    np.testing.assert_array_equal(again, dream.pixels)
    assert (other != again).any()


def test_a_shift_is_undone(network):
    """A pointwise layer does not see where a pixel is, so no shift changes the step."""
    dreamer = Dreamer(network, "first", SHORT)
    pixels = PICTURE[None].astype(np.float32)
    steps = [dreamer._step(network.params, None, pixels, np.array(shift), 1.5) for shift in ((0, 0), (3, -32))]
    np.testing.assert_allclose(*steps, atol=1e-3)
    np.testing.assert_allclose(np.abs(steps[0] - pixels).mean(), 1.5, rtol=0.05)


def test_a_guide_makes_the_layer_like_its_own(network):
    guide = np.random.default_rng(1).integers(0, 256, (9, 8, 3), np.uint8)
    dreamer = Dreamer(network, "second", SHORT, guide)
    assert all(octave.after > octave.before for octave in dreamer(PICTURE).octaves)
    found = dreamer._guide
    output = network.output(network.params, PICTURE[None].astype(np.float32), "second")
    _, wanted = ascent._likeness(output, found)
    for place, chosen in zip(output.reshape(-1, 6), wanted.reshape(-1, 6), strict=True):
        np.testing.assert_array_equal(chosen, found[np.argmax(found @ place)])


def test_a_zoom_leaves_out_the_border():
    ramp = np.tile(np.arange(41, dtype=np.float32)[:, None, None], (1, 3, 1))
    grown = ascent.magnified(ramp)
    # The first row shows what was 2.5 % of the side below the edge, the middle stays.
    np.testing.assert_allclose(grown[[0, 20, 40], 1, 0], [1, 20, 39], atol=0.05)
    assert grown.shape == ramp.shape


def test_frames_continue_from_the_one_before(network, dream):
    frames = list(Dreamer(network, "second", SHORT).zoom(PICTURE, 2))
    assert [frame.pixels.shape for frame in frames] == [PICTURE.shape] * 2
    np.testing.assert_array_equal(frames[0].pixels, dream.pixels)
    before = ascent.magnified(frames[0].pixels)
    assert np.abs(frames[1].pixels - before).mean() < np.abs(frames[1].pixels - PICTURE).mean()


def test_a_layer_without_a_gradient_leaves_the_picture(network):
    params = jax.tree.map(lambda array: array * 0, network.params)
    still = Network("tiny", params, Module().apply, SHAPE, "second")
    found = Dreamer(still, "second", SHORT)(PICTURE)
    np.testing.assert_allclose(found.pixels, PICTURE, atol=1e-3)


def test_layers_are_listed_and_later_ones_are_left_out(network):
    assert network.layers() == {"first": (8, 8, 4), "second": (4, 4, 6), "head": (3,)}
    assert network.check_layer("") == "second"
    with pytest.raises(UserError, match="--layer 'secnod' is unknown; did you mean second"):
        network.check_layer("secnod")
    with pytest.raises(UserError, match="of tiny up to head take pictures of 8 x 8 pixels alone, but .* 14 x 10"):
        Dreamer(network, "head", Settings(1, 1))(PICTURE)
    with pytest.raises(UserError, match="--guide: the layer head has one output"):
        Dreamer(network, "head", Settings(1, 1), guide=PICTURE[:8, :8])


@pytest.mark.parametrize(("shape", "expected"), [((1, 1), [(1, 1)] * 3), ((3, 300), [(2, 153), (2, 214), (3, 300)])])
def test_octaves_of_any_picture_have_pixels(shape, expected):
    assert octaves_of(shape, 3, 1.4) == expected


def test_pictures_are_mirrored_to_the_sides_that_a_network_takes(network):
    taken = Network("tiny", network.params, Module().apply, SHAPE, "second", multiple=(8, 8), least=12)
    assert taken.padded(5, 17) == (12, 24)
    wide = Dreamer(taken, "second")._pad(PICTURE[:9, :1].astype(np.float32))
    assert wide.shape == (16, 12, 3)  # No side is below 12, even if that is no multiple.
    np.testing.assert_array_equal(wide[:9, 0], PICTURE[:9, 0])
    np.testing.assert_array_equal(wide[9, 0], PICTURE[8, 0])
