import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import convolution, resample
from biggan_jax.layers.linear import Conv3x3
from biggan_jax.layers.resample import Conv3x3Pool, UpConv3x3, average_pool, conv_pool, upsample, upsample_conv

X = np.arange(2 * 2 * 4 * 3, dtype=np.float32).reshape(2, 2, 4, 3)


@pytest.mark.parametrize("form", [upsample, resample._upsample_by_broadcast, resample._upsample_by_windows])
def test_upsampling_repeats_each_pixel(form):
    y = np.asarray(form(X))
    assert y.shape == (2, 4, 8, 3)
    for dy in (0, 1):
        for dx in (0, 1):
            np.testing.assert_array_equal(y[:, dy::2, dx::2], X)


def test_the_gradient_of_upsampling_sums_each_square():
    g = np.random.default_rng(0).standard_normal((2, 4, 8, 3)).astype(np.float32)
    for form in (upsample, resample._upsample_by_windows):
        (found,) = jax.vjp(form, X)[1](g)
        np.testing.assert_allclose(found, 4 * average_pool(g), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("platform", "windows"), [("tpu", True), ("cpu", False), ("cuda", False)])
def test_on_tpus_alone_upsampling_is_a_sum_of_windows(platform, windows):
    text = jax.jit(upsample).trace(X).lower(lowering_platforms=(platform,)).as_text()
    assert ("reduce_window" in text) == windows


def test_pooling_averages_each_square_and_undoes_upsampling():
    np.testing.assert_allclose(average_pool(X)[0, 0, 0], X[0, :2, :2].mean((0, 1)))
    np.testing.assert_allclose(average_pool(upsample(X)), X)


@pytest.mark.parametrize("smooth", [resample.smooth_upsample, resample.smooth_downsample])
def test_smooth_resampling_is_a_convolution_with_1_3_3_1(smooth):
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32)[:, :, None, None].repeat(3, 3) / 64
    up = smooth is resample.smooth_upsample
    settings = {"padding": ((2, 2), (2, 2)), "lhs_dilation": (2, 2)} if up else {"padding": ((1, 1), (1, 1))}
    layout = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 3}
    strides = (1, 1) if up else (2, 2)
    expected = jax.lax.conv_general_dilated(x, kernel * (4 if up else 1), strides, **settings, **layout)
    assert expected.shape == ((2, 8, 12, 3) if up else (2, 2, 3, 3))
    np.testing.assert_allclose(smooth(x), expected, atol=1e-6)


KERNEL = np.random.default_rng(1).standard_normal((3, 3, 3, 5)).astype(np.float32)


def plain_upsample_conv(x, kernel):
    return conv(upsample(x), kernel)


def plain_conv_pool(x, kernel):
    return average_pool(conv(x, kernel))


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


FORMS = ["plain", "strided", "phases"]


def set_form(form, monkeypatch):
    """Make resampling convolutions plain as of small images, strided, or by phases as of large images on one CPU."""
    monkeypatch.setattr(resample, "MIN_HEIGHT", 16 if form == "plain" else 0)
    monkeypatch.setattr(resample, "LEAST_WIDE", 0)
    monkeypatch.setattr(resample, "has_pieces", lambda shape, kernel: form == "phases")


@pytest.mark.parametrize(
    ("fused", "separate"), [(upsample_conv, plain_upsample_conv), (conv_pool, plain_conv_pool)], ids=["up", "pool"]
)
@pytest.mark.parametrize("form", FORMS)
def test_fused_resampling_equals_separate_operations(fused, separate, form, monkeypatch):
    set_form(form, monkeypatch)
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    y, pullback = jax.vjp(fused, x, KERNEL)
    expected, expected_pullback = jax.vjp(separate, x, KERNEL)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    g = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    for ours, theirs in zip(pullback(g), expected_pullback(g), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("form", FORMS[1:])
def test_the_gradient_of_conv_pool_can_be_differentiated(form, monkeypatch):
    """R1 needs this in D."""
    set_form(form, monkeypatch)
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 3)).astype(np.float32)
    size = lambda f: lambda kernel: jnp.sum(jax.grad(lambda x: jnp.sum(f(x, kernel) ** 2))(x) ** 2)
    ours, theirs = (jax.grad(size(f))(KERNEL) for f in (conv_pool, plain_conv_pool))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("fused", "size"), [(upsample_conv, 8), (conv_pool, 16)])
def test_large_images_on_one_cpu_are_resampled_by_phases(fused, size):
    def has_phases(channels):
        x, kernel = jnp.zeros((32, size, size, 32)), jnp.zeros((3, 3, 32, channels))

        def gradient(x):
            y, pullback = jax.vjp(fused, x, kernel)
            return pullback(y)

        return ["f32[2,2," in str(jax.make_jaxpr(f)(x)) for f in (lambda x: fused(x, kernel), gradient)]

    # A pooled convolution is plain itself; the gradient is by phases.
    up = fused is upsample_conv
    assert has_phases(32) == [False, False]
    with convolution.in_pieces():
        assert has_phases(32) == [up, True] and has_phases(16) == [False, False]


@pytest.mark.parametrize("module", [UpConv3x3(5), Conv3x3Pool(5)])
def test_fused_modules_have_the_parameters_of_a_convolution(module):
    ours = module.init(jax.random.key(0), X)
    theirs = Conv3x3(5).init(jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)
    np.testing.assert_array_equal(ours["params"]["kernel"], theirs["params"]["kernel"])
