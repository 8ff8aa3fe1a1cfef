"""DINOv2, CLIP and SwAV's ResNet-50 against the PyTorch originals on random weights; diversity by LPIPS."""

import re
import types

import jax
import numpy as np
import pytest
from etils import epath
from flax.traverse_util import flatten_dict

from biggan_jax.convert import encoders, tables
from biggan_jax.evaluation import diversity, networks, resnet, vit, weights
from biggan_jax.types import UserError
from tests.evaluation import oracle

PARAMETERS = {
    "dinov2-vitl14": 304_367_616,  # Of 304,368,640, without the token of masks, which is for training.
    "clip-vit-b32": 87_849_216,
    "clip-vit-l14-336": 304_293_888,
    "swav-resnet50": 23_508_032,
}
NAMES_BEFORE_5 = {
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "o": "attention.output.dense",
}
"""Names of DINOv2's arrays in the files on the hub."""

SMALL = vit.Size(image=28, patch=7, width=16, depth=2, heads=2, table=5, features=10)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_full_size_has_the_published_count(name):
    shapes = weights.shapes_of(networks.MODULES[name](), networks.INPUTS[name].size)
    counted = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    assert counted == PARAMETERS[name]


def images(edge, num=3):
    return oracle.images(edge, num)


def run(module, params, x):
    return np.asarray(jax.jit(lambda params, x: module.apply(params, x)[0])(params, x))


def standard(x, mean, deviation):
    return (x / np.float32(255) - np.float32(mean)) / np.float32(deviation)


def arrays_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def dinov2():
    """Hugging Face's DINOv2 of a small size, with weights drawn so that nothing vanishes."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=35, patch_size=7, layerscale_value=0.5
    )
    return drawn(transformers.Dinov2Model(config))


def drawn(module):
    import torch

    arrays = oracle.draw({n: s for n, s in oracle.shapes_of(module).items() if "position_ids" not in n})
    module.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in arrays.items()}, strict=False)
    return module.eval().requires_grad_(False)


def test_dinov2_is_the_original(dinov2):
    import torch

    x, module = images(28), vit.DinoV2(SMALL)
    params = encoders.dinov2(arrays_of(dinov2), weights.shapes_of(module, 28), "hf")
    given = torch.from_numpy(oracle.to_nchw(standard(x, *vit.IMAGENET)))
    # Hugging Face interpolates positions to a size, the authors by a factor; so ours are given to it.
    positions = vit.positions_for(params["params"]["pos_embed"], 5, 4)
    dinov2.embeddings.interpolate_pos_encoding = lambda *_: torch.from_numpy(np.array(positions))
    theirs = dinov2(given).last_hidden_state[:, 0].numpy()
    assert oracle.distance(run(module, params, x), theirs) < 1e-5


def test_positions_are_interpolated_as_by_dinov2s_authors():
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).standard_normal((1, 1 + 37**2, 4)).astype(np.float32)
    found = vit.positions_for(table, 37, 16)
    patches = torch.from_numpy(table[:, 1:]).reshape(1, 37, 37, 4).permute(0, 3, 1, 2)
    factor = (16 + vit.OFFSET) / 37
    theirs = torch.nn.functional.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    assert theirs.shape == (1, 4, 16, 16)
    np.testing.assert_allclose(found[:, 1:], theirs.permute(0, 2, 3, 1).reshape(1, 256, 4), atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], table[:, 0])


def test_dinov2s_files_are_equal_under_all_names(dinov2):
    """The authors have query, key and value in one array."""
    shapes = weights.shapes_of(vit.DinoV2(SMALL), 28)
    params = encoders.dinov2(arrays_of(dinov2), shapes, "hf")
    authors = tables.to_there(params, encoders.dinov2_entry)
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.1.attn.qkv.bias", "blocks.0.ls1.gamma"} <= set(
        authors
    )
    older = {
        re.sub(r"attention\.(\w)_proj", lambda found: NAMES_BEFORE_5[found[1]], name): array
        for name, array in arrays_of(dinov2).items()
    }
    for arrays in (authors | {"mask_token": np.zeros((1, 16))}, older):
        for name, leaf in flatten_dict(encoders.dinov2(arrays, shapes, "another")).items():
            np.testing.assert_array_equal(leaf, flatten_dict(params)[name])


def test_clip_is_the_original():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=35, patch_size=7
    )
    config.projection_dim = 10
    theirs = drawn(transformers.CLIPVisionModelWithProjection(config))
    x, size = images(35), SMALL._replace(image=35)
    params = encoders.clip(arrays_of(theirs), weights.shapes_of(vit.Clip(size), 35), "hf")
    expected = theirs(torch.from_numpy(oracle.to_nchw(standard(x, *vit.CLIP)))).image_embeds.numpy()
    assert oracle.distance(run(vit.Clip(size), params, x), expected) < 1e-5
    openai = {f"visual.{name}": array for name, array in tables.to_there(params, encoders.clip_entry).items()}
    assert "visual.transformer.resblocks.1.attn.in_proj_weight" in openai
    again = encoders.clip(openai | {"ln_final.weight": np.zeros(1)}, weights.shapes_of(vit.Clip(size), 35), "openai")
    for name, leaf in flatten_dict(again).items():
        np.testing.assert_array_equal(leaf, flatten_dict(params)[name])


def test_swav_is_the_original():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.ResNetConfig(depths=[2, 1, 1, 1], hidden_sizes=[32, 64, 128, 256], embedding_size=8)
    theirs = drawn(transformers.ResNetModel(config))
    module, x = resnet.ResNet50(width=8, stages=(2, 1, 1, 1)), images(64, 2)
    arrays = {f"module.{torchvision_name(name)}": array for name, array in arrays_of(theirs).items()}
    extra = {"module.prototypes.weight": np.zeros(1), "module.projection_head.0.weight": np.zeros(1)}
    params = encoders.swav(arrays | extra, weights.shapes_of(module, 64), "swav")
    expected = theirs(torch.from_numpy(oracle.to_nchw(standard(x, *vit.IMAGENET)))).pooler_output[..., 0, 0].numpy()
    assert oracle.distance(run(module, params, x), expected) < 1e-5


def torchvision_name(name):
    """Translate a name of Hugging Face's ResNet."""
    name = name.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
    if found := re.match(r"encoder\.stages\.(\d)\.layers\.(\d+)\.(shortcut|layer\.(\d))\.(\w+)\.(.+)", name):
        stage, block, part, number, kind, leaf = found.groups()
        norm = kind == "normalization"
        inner = f"downsample.{int(norm)}" if part == "shortcut" else f"{'bn' if norm else 'conv'}{int(number) + 1}"
        return f"layer{int(stage) + 1}.{block}.{inner}.{leaf}"
    return name


def test_pairs_are_of_one_class_and_of_two_images():
    labels = np.random.default_rng(0).integers(0, 5, 200)
    labels[0] = 6  # A class with one image.
    first, second = diversity.pairs(labels, 3000).reshape(-1, 2).T
    assert (labels[first] == labels[second]).all() and (first != second).all()
    shares = np.bincount(labels[first], minlength=5)[:5] / 3000
    np.testing.assert_allclose(shares, np.bincount(labels[1:], minlength=5) / 199, atol=0.03)
    assert len(np.unique(first)) > 190
    with pytest.raises(UserError, match="no class or condition has two"):
        diversity.pairs(np.arange(4))


def test_diversity_is_the_mean_of_its_pairs():
    """A stand-in for LPIPS, the mean squared difference: equal images have distance 0, and padding does not count."""
    squares = lambda params, a, b: params * ((a - b) ** 2).mean((1, 2, 3))
    network = types.SimpleNamespace(params=np.float32(3), distance=squares, check_shape=lambda shape: None)
    x = images(8, 4)
    batches = [(np.stack([x[0], x[1], x[2], x[2]]), np.zeros(4)), (np.stack([x[3], x[3], x[0], x[1]]), np.zeros(2))]
    one = 3 * ((x[0] / 127.5 - x[1] / 127.5) ** 2).mean()
    assert diversity.diversity(network, batches) == pytest.approx(one / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "path", "sentence"),
    [
        ("dinov2-vitl14", None, "dinov2-vitl14 needs its weights: --network_weights=PATH of https"),
        ("dinov2-vitl14", "download", "its authors publish no checksum, so it is not downloaded"),
        ("clip-vit-b32", None, "or --network_weights=download"),
        ("swav-resnet50", "nowhere.pth", "nowhere.pth cannot be read"),
    ],
)
def test_without_weights_an_encoder_says_how_to_get_them(name, path, sentence):
    with pytest.raises(UserError, match=sentence):
        networks.check_network(name, inception=path, training=None)


@oracle.needs("torch")
def test_a_torchscript_archive_of_another_sum_is_refused(tmp_path):
    """Such an archive is a program."""
    import torch

    path = epath.Path(tmp_path / "ViT-B-32.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(UserError, match="is not a PyTorch file, is corrupted, or has more than tensors"):
        weights.read_arrays(path, published="0" * 64)
    assert weights.read_arrays(path, published=weights.hash_of(path)).keys() == {"weight", "bias"}
