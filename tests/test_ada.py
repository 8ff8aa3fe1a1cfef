import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.augment import GROUPS, Ada, ada, filters, geometry

RANDOM = np.random.default_rng(0)
ALL = Ada(tuple((group, 1.0) for group in GROUPS))
NOISE = RANDOM.uniform(-1, 1, (4, 12, 12, 3)).astype(np.float32)
# Cosines continue smoothly where images are reflected.
rows, columns = np.meshgrid(*[np.cos(np.linspace(0, np.pi, 24))] * 2, indexing="ij")
SMOOTH = np.stack([rows, 0.5 * columns + 0.2, rows * columns - 0.1 * rows], -1)[None].astype(np.float32)


def values(**changed):
    """Neutral values of the transformations' groups for one image, but for those given."""
    groups = {ada.TRANSFORMS[name].group for name in changed}
    neutral = {n: jnp.full((1, t.numbers), t.neutral) for n, t in ada.TRANSFORMS.items() if t.group in groups}
    return neutral | {name: jnp.float32(value).reshape(1, -1) for name, value in changed.items()}


def test_probability_0_is_the_identity_bit_for_bit():
    def weighted_sum(x, p):
        y = ALL(x, jax.random.key(0), p)
        return (y * NOISE).sum(), y

    apply = jax.jit(jax.grad(weighted_sum, has_aux=True))
    grad, y = apply(NOISE, 0.0)
    np.testing.assert_array_equal(y, NOISE)
    np.testing.assert_array_equal(grad, NOISE)
    assert np.abs(apply(NOISE, 1.0)[1] - NOISE).max(axis=(1, 2, 3)).min() > 0.1


def test_constant_images_stay_constant_under_blit_and_geometry():
    pipe = Ada((("blit", 1.0), ("geometry", 1.0)))
    x = np.broadcast_to(np.float32([0.9, -0.3, 0.5]), (64, 6, 8, 3))
    np.testing.assert_allclose(jax.jit(lambda x: pipe(x, jax.random.key(1), 1.0))(x), x, atol=2e-6)
    far = jnp.eye(3).at[:2].multiply(7.0)[None]  # Far beyond the reflections.
    np.testing.assert_allclose(geometry.resample(x[:1], far), x[:1], atol=2e-6)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"flip": 1}, lambda x: x[:, :, ::-1]),
        ({"quarter_turns": 1}, lambda x: np.rot90(x, 1, (1, 2))),
        ({"shift": (0.125, 0)}, lambda x: np.pad(x, ((0, 0), (0, 0), (3, 0), (0, 0)), "reflect")[:, :, :-3]),
        ({"shift": (0, -0.125)}, lambda x: np.pad(x, ((0, 0), (0, 3), (0, 0), (0, 0)), "reflect")[:, 3:]),
        ({"turn_before": np.pi / 2, "turn_after": np.pi}, lambda x: np.rot90(x, 3, (1, 2))),
        ({"scale": 2.0, "stretch": 1.0}, lambda x: None),
    ],
)
def test_a_move_of_an_image_is_what_its_name_says(changed, expected):
    y = np.asarray(ada.transform(SMOOTH, values(**changed)))
    if "scale" in changed:
        # The middle, twice as large: each second pair of pixels has the mean of the old ones.
        np.testing.assert_allclose(y.reshape(1, 12, 2, 12, 2, 3).mean((2, 4)), SMOOTH[:, 6:18, 6:18], atol=0.01)
    else:
        np.testing.assert_allclose(y, expected(SMOOTH), atol=0.02)


def test_colours_change_as_their_names_say():
    colour = lambda **changed: np.asarray(ada.transform(SMOOTH, values(**changed)))
    np.testing.assert_allclose(colour(brightness=0.2), SMOOTH + 0.2, atol=1e-6)
    np.testing.assert_allclose(colour(contrast=1.5), 1.5 * SMOOTH, atol=1e-6)
    luma = SMOOTH.mean(3, keepdims=True)
    np.testing.assert_allclose(colour(saturation=0.0), np.broadcast_to(luma, SMOOTH.shape), atol=1e-6)
    np.testing.assert_allclose(colour(luma_flip=1), SMOOTH - 2 * luma, atol=1e-6)
    # A third of a turn exchanges the channels.
    np.testing.assert_allclose(colour(hue=2 * np.pi / 3), np.roll(SMOOTH, 1, 3), atol=1e-6)
    length = lambda x: np.square(x).sum(3)
    np.testing.assert_allclose(length(colour(hue=1.0, luma_flip=1)), length(SMOOTH), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_any_number_of_channels_are_augmented(channels):
    x = RANDOM.uniform(-1, 1, (3, 8, 10, channels)).astype(np.float32)
    y = ALL(x, jax.random.key(2), 1.0)
    assert y.shape == x.shape and np.isfinite(y).all()


def test_grey_images_have_the_colours_of_grey_rgb_images():
    changed = values(brightness=0.1, contrast=1.3, luma_flip=1, hue=0.7, saturation=1.9)
    grey = SMOOTH[..., :1]
    of_rgb = ada.transform(np.repeat(grey, 3, 3), changed)
    np.testing.assert_allclose(np.repeat(ada.transform(grey, changed), 3, 3), of_rgb, atol=1e-6)


def test_octave_bands_add_up_to_all_frequencies():
    bands = filters.octave_bands()
    whole = np.zeros(bands.shape[1])
    whole[len(whole) // 2] = 1
    np.testing.assert_allclose(bands.sum(0), whole, atol=1e-6)
    x = RANDOM.uniform(-1, 1, (1, 48, 48, 2)).astype(np.float32)
    np.testing.assert_allclose(ada.transform(x, values(band_1=1.0)), x, atol=1e-5)
    # Only the lowest octave: a slow wave stays, noise loses most.
    low = lambda x: ada.change_bands(x, jnp.float32([[1.0, 1e-3, 1e-3, 1e-3]]))
    assert np.std(low(x)) < 0.5 * np.std(x)


def test_noise_and_a_hole_have_their_size():
    noise = RANDOM.normal(size=SMOOTH.shape).astype(np.float32)
    y = ada.transform(SMOOTH, values(noise=0.3), noise)
    np.testing.assert_allclose(y - SMOOTH, 0.3 * noise, atol=1e-6)
    y = ada.transform(jnp.ones((1, 24, 32, 1)), values(cutout=(0.5, 0.75)))
    np.testing.assert_array_equal(np.argwhere(np.asarray(y)[0, :, :, 0] == 0)[[0, -1]], [[12, 8], [23, 23]])


def test_each_coin_has_its_probability():
    pipe = Ada((("geometry", 1.0), ("colour", 0.5)))
    found = jax.jit(lambda p: pipe.values(pipe.draw(jax.random.key(3), 4000), p))(0.6)
    share = {name: float(jnp.mean((value != ada.TRANSFORMS[name].neutral).any(1))) for name, value in found.items()}
    assert share["scale"] == pytest.approx(0.6, abs=0.03)
    assert share["contrast"] == pytest.approx(0.3, abs=0.03)
    # Two rotations, one of which is drawn with probability 0.6.
    either = (found["turn_before"] != 0) | (found["turn_after"] != 0)
    assert float(either.mean()) == pytest.approx(0.6, abs=0.03)
    assert np.corrcoef(found["scale"][:, 0], found["stretch"][:, 0])[0, 1] == pytest.approx(0, abs=0.06)


def test_draws_of_a_group_do_not_depend_on_other_groups():
    alone, key = Ada((("colour", 1.0),)), jax.random.key(4)
    for name, draws in alone.draw(key, 3).items():
        jax.tree.map(np.testing.assert_array_equal, draws, ALL.draw(key, 3)[name])
