import flax.linen as nn
import jax
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.layers.norm import BatchNorm
from biggan_jax.models import build_gan
from biggan_jax.models.optimizers import adam
from biggan_jax.models.tables import WIDTHS
from biggan_jax.state import init_shapes, init_state
from biggan_jax.types import UserError
from tests.conftest import family_of, generate, tiny_config


def shapes(config):
    gan = build_gan(config)
    return gan, init_shapes(gan)


def parameters(config):
    """Return {network: the shapes of its parameters}, which takes a third of the time of `shapes`."""
    key = jax.random.key(0)
    init = lambda network: network.module.init(key, *network.example(key), **network.mode(True))["params"]
    return {name: jax.eval_shape(lambda n=n: init(n)) for name, n in build_gan(config).networks.items()}


def count(params):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("family", "resolution", "ch", "dim_z", "attention", "expected"),
    [
        ("biggan", 32, 96, 128, ((), ()), (9_487_619, 9_836_929)),
        ("biggan", 32, 96, 120, ((), ()), (9_466_115, 9_836_929)),
        ("biggan", 64, 96, 120, ((64,), ()), (70_239_108, 45_500_449)),
        ("biggan", 64, 96, 125, ((64,), ()), (70_277_892, 45_500_449)),
        ("biggan", 128, 96, 120, ((64,), (64,)), (70_433_988, 87_982_370)),
        ("biggan", 128, 96, 126, ((64,), (64,)), (70_473_348, 87_982_370)),
        ("biggan", 256, 96, 140, ((128,), (64,)), (82_097_604, 99_225_890)),
        ("biggan", 256, 96, 140, ((64,), (64,)), (82_235_844, 99_225_890)),
        ("biggan", 512, 96, 160, ((64,), (64,)), (82_468_068, 99_401_282)),
        ("biggan", 512, 96, 128, ((64,), (64,)), (82_296_804, 99_401_282)),
        ("biggan_deep", 32, 128, 128, ((), ()), (7_561_987, 3_088_129)),
        ("biggan_deep", 64, 128, 128, ((64,), ()), (49_583_876, 20_869_633)),
        ("biggan_deep", 128, 128, 128, ((64,), (64,)), (50_244_484, 34_590_210)),
        ("biggan_deep", 256, 128, 128, ((64,), (64,)), (55_736_708, 38_247_426)),
        ("biggan_deep", 512, 128, 128, ((64,), (64,)), (56_019_780, 38_301_122)),
    ],
)
def test_parameter_counts_equal_the_published_ones(family, resolution, ch, dim_z, attention, expected):
    c = base()
    c.model.update(family=family, resolution=resolution, ch=ch, dim_z=dim_z)
    c.model.g_attention, c.model.d_attention = attention
    params = parameters(c)
    assert (count(params["G"]), count(params["D"])) == expected


@pytest.mark.parametrize(("resolution", "expected"), [(128, 50_388_609), (256, 55_880_833), (512, 56_163_905)])
def test_padded_rgb_gives_biggan_deep_the_papers_parameters(resolution, expected):
    c = base()
    c.model.update(family="biggan_deep", resolution=resolution, ch=128, dim_z=128, pad_rgb=True)
    _, state = shapes(c)
    assert count(state.networks["G"].params) == expected
    assert state.networks["G"].spectral["u"]["conv_out"]["kernel"].shape == (128,), "sigma is that of all filters"


@pytest.mark.parametrize("family", ["biggan", "biggan_deep"])
def test_every_table_maps_latents_to_images_to_logits(family):
    z, y, key = jax.ShapeDtypeStruct((2, 840), np.float32), jax.ShapeDtypeStruct((2,), np.int32), jax.random.key(0)
    for resolution, num_classes in [*((resolution, 7) for resolution in WIDTHS), (min(WIDTHS), 0), (max(WIDTHS), 0)]:
        c = tiny_config(family)
        c.model.update(resolution=resolution, num_classes=num_classes, ch=8, dim_z=840)
        c.model.g_attention = c.model.d_attention = (8,)
        gan = build_gan(c)

        def outputs(z, y, gan=gan):
            images, G = gan.networks["G"].module.init_with_output(key, z, y, train=True)
            logits, D = gan.networks["D"].module.init_with_output(key, images, y)
            return images, logits, {"G": G["params"], "D": D["params"]}

        images, logits, params = jax.eval_shape(outputs, z, y)
        assert images.shape == (2, resolution, resolution, 3) and images.dtype == np.float32
        assert logits.shape == (2,) and logits.dtype == np.float32
        for network in params.values():
            assert any("embed" in name or "shared" in name for name in names_of(network)) == bool(num_classes)


def names_of(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def test_attention_follows_the_blocks_of_the_given_sizes():
    c = base()
    c.model.g_attention = (32, 64)
    _, state = shapes(c)
    # At 128 pixels, G's blocks make 8, 16, 32, 64, 128, and D's make 64, 32, ...
    assert {n for n in state.networks["G"].params if "attention" in n} == {"attention_2", "attention_3"}
    assert {n for n in state.networks["D"].params if "attention" in n} == {"attention_0"}


def test_unconditional_without_skip_z_has_plain_batch_norm(config):
    config.model.num_classes, config.model.skip_z = 0, False
    _, state = shapes(config)
    assert set(state.networks["G"].params["block_0"]["bn_1"]) == {"gain", "offset"}
    assert state.networks["G"].params["block_0"]["bn_1"]["gain"].shape == (16,)


def test_a_chunk_of_z_reaches_only_its_block_and_later_ones(model):
    gan, state = model
    if family_of(gan) == "biggan_deep":
        pytest.skip("BigGAN-deep passes all of z to every block")
    variables = {"params": state.networks["G"].params, "batch_stats": state.networks["G"].variables["batch_stats"]}
    z = np.zeros((1, 12), np.float32)
    capture = jax.jit(
        lambda z: gan.networks["G"].module.apply(
            variables, z, np.array([1]), capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]
    )
    last = z.copy()
    last[:, 8:] = 1
    a, b = capture(z), capture(last)
    np.testing.assert_array_equal(a["block_0"]["__call__"][0], b["block_0"]["__call__"][0])
    assert np.abs(a["block_1"]["__call__"][0] - b["block_1"]["__call__"][0]).max() > 0


def test_bfloat16_keeps_weights_and_outputs_in_float32(config):
    config.dtype = "bfloat16"
    gan = build_gan(config)

    def drawn():
        G = init_state(gan, 0).networks["G"]
        return G, *generate(gan, G.params, G.variables["batch_stats"], *gan.latents(jax.random.key(0), 2))

    G, images, stats = jax.eval_shape(drawn)
    assert {leaf.dtype for leaf in jax.tree.leaves(G)} <= {np.dtype(t) for t in (np.float32, np.int32)}
    assert images.dtype == np.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} == {np.dtype(np.float32)}


def test_adam_without_momentum_stores_no_first_moment(config):
    import optax

    config.optimizer.b1 = 0.0
    ours, full = adam(1e-2, config.optimizer), optax.adam(1e-2, b1=0.0, b2=0.999, eps=1e-6)
    params = {"w": np.linspace(-1, 1, 5, dtype=np.float32)}
    ours_state, full_state = ours.init(params), full.init(params)
    assert len(jax.tree.leaves(ours_state)) < len(jax.tree.leaves(full_state))
    for i in range(5):
        grads = {"w": np.sin(np.arange(5, dtype=np.float32) + i)}
        a, ours_state = ours.update(grads, ours_state, params)
        b, full_state = full.update(grads, full_state, params)
        np.testing.assert_allclose(a["w"], b["w"], rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("resolution", 100, "model.resolution 100 is unknown; known are 16, 32, 64, 128, 256, 512"),
        ("dim_z", 13, "model.dim_z 13 is not divisible by 3, the number of chunks of skip_z; nearest are 12 and 15"),
        ("family", "bigan", "did you mean biggan?"),
    ],
)
def test_invalid_models_are_refused_with_a_clear_message(config, key, value, sentence):
    config.model[key] = value
    with pytest.raises(UserError, match=sentence):
        build_gan(config)


def test_embeddings_per_layer_are_tables_without_spectral_norm(config):
    config.model.shared_embedding, config.model.skip_z = False, False
    _, state = shapes(config)
    G = state.networks["G"]
    assert "shared" not in G.params
    assert G.params["block_0"]["bn_1"]["gain"]["embedding"].shape == (10, 16)
    assert not any("embedding" in name for name in names_of(G.spectral))


def test_a_thin_d_changes_channels_at_the_second_convolution(config):
    config.model.d_wide = False
    _, state = shapes(config)
    block = state.networks["D"].params["block_1"]
    assert block["conv_1"]["kernel"].shape == (3, 3, 8, 8)
    assert block["conv_2"]["kernel"].shape == (3, 3, 8, 16)


def test_without_spectral_norm_in_g_only_d_is_normalised(config):
    config.model.g_spectral_norm = False
    _, state = shapes(config)
    assert state.networks["G"].spectral == {"u": {}}
    assert state.networks["D"].spectral["u"]


def test_the_last_batch_norm_can_have_its_own_eps(config):
    for value, expected in ((0.0, 1e-4), (1e-5, 1e-5)):
        config.model.bn_out_eps = value
        gan, state = shapes(config)
        zeros = jax.tree.map(
            lambda s: np.zeros(s.shape, s.dtype), (state.networks["G"].params, state.networks["G"].stats)
        )
        params, stats = zeros
        params["bn_out"]["gain"] += 1
        params["conv_out"]["kernel"][1, 1] = 1
        params["conv_in"] = {}
        # With all-zero weights the input of bn_out is zero, and its mean scaled by eps determines the image.
        stats["batch_stats"]["bn_out"]["mean"] -= 1e-3
        variables = {"params": params, "batch_stats": stats["batch_stats"]}
        image = gan.networks["G"].module.apply(variables, np.zeros((1, 12), np.float32), np.zeros(1, np.int32))
        assert float(image[0, 8, 8, 0]) == pytest.approx(np.tanh(16 * 1e-3 / expected**0.5), rel=1e-4)


@pytest.mark.parametrize("family", ["biggan", "biggan_deep"])
def test_all_batch_norms_of_g_have_the_groups(family):
    config = tiny_config(family)
    config.model.bn_group = 4
    generator, groups = build_gan(config).networks["G"].module, []

    def look(call, arguments, options, context):
        groups.extend([context.module.group] if isinstance(context.module, BatchNorm) else [])
        return call(*arguments, **options)

    with nn.intercept_methods(look):
        z, y = np.zeros((8, config.model.dim_z), np.float32), np.zeros(8, np.int32)
        jax.eval_shape(lambda: generator.init(jax.random.key(0), z, y, train=True))
    assert len(groups) > 4 and set(groups) == {4}


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("biggan", {"shared_embedding": False}, "model.shared_embedding=False needs model.skip_z=False"),
        ("biggan_deep", {"shared_embedding": False}, "only with model.family=biggan"),
        ("biggan_deep", {"d_wide": False}, "only with model.family=biggan"),
        ("biggan", {"init": "xavir"}, "model.init 'xavir' is unknown; did you mean xavier"),
        ("biggan", {"prior": "gauss"}, "model.prior 'gauss' is unknown"),
    ],
)
def test_options_that_cannot_be_combined_are_refused(family, changes, sentence):
    c = tiny_config(family)
    c.model.update(changes)
    with pytest.raises(UserError, match=sentence):
        build_gan(c)


def test_dropout_of_the_conditional_gan_can_be_left_out():
    c = base("cgan")
    c.model.update(num_classes=3, image_shape=(4, 4, 1), hidden=12, units=4)
    rates = {}
    for rate in (0.5, 0.0):
        c.model.update(g_dropout=rate, d_dropout=rate)
        gan = build_gan(c)

        @jax.jit
        def draw(key, gan=gan):
            params = init_state(gan, 0).networks["G"].params
            z, y = gan.latents(jax.random.key(0), 4)
            rngs = {"dropout": jax.random.key(key)}
            return gan.networks["G"].module.apply({"params": params}, z, y, train=True, rngs=rngs)

        rates[rate] = bool(np.array_equal(draw(1), draw(2)))
    assert rates == {0.5: False, 0.0: True}
