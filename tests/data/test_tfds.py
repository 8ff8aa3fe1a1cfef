import cv2
import numpy as np
import pytest

from biggan_jax import data
from biggan_jax.data import tfds
from biggan_jax.types import UserError


@pytest.fixture
def picture():
    """A smooth colour picture, 60 wide and 40 high."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 255 - 4 * x], -1).clip(0, 255).astype(np.uint8)


def encode(picture, how):
    return cv2.imencode(how, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def test_a_picture_is_cropped_to_its_centre_and_averaged_by_areas(picture):
    square = picture[:, 10:50]
    np.testing.assert_array_equal(tfds.decode(encode(picture, ".png"), 40), square)
    halved = square.reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(tfds.decode(encode(picture, ".png"), 20) - halved).max() <= 0.5
    # 40 to 16: areas of 2.5 pixels, which are 5 halves of pixels.
    areas = square.repeat(2, 0).repeat(2, 1).reshape(16, 5, 16, 5, 3).mean((1, 3))
    assert np.abs(tfds.decode(encode(picture, ".png"), 16) - areas).max() <= 0.5 + 1e-3


def test_jpegs_and_small_pictures_are_decoded_too(picture):
    assert (
        np.abs(tfds.decode(encode(picture, ".jpg"), 20).astype(int) - tfds.decode(encode(picture, ".png"), 20)).max()
        < 20
    )
    assert tfds.decode(encode(picture, ".png"), 128).shape == (128, 128, 3)


def test_a_source_hands_out_pictures_in_the_shape_of_the_question(picture):
    class Records(list):
        def __getitems__(self, keys):
            return [self[k] for k in keys]

    records = Records({"image": encode(np.roll(picture, i, 1), ".png"), "label": i} for i in range(6))
    source = tfds.TfdsSource(records, 16, num_classes=6)
    images, labels = source[np.array([[0, 3], [5, 1]])]
    assert images.shape == (2, 2, 16, 16, 3) and labels.tolist() == [[0, 3], [5, 1]]
    np.testing.assert_array_equal(images[1, 0], tfds.decode(records[5]["image"], 16))


def test_what_is_not_prepared_is_refused_in_a_sentence(config, tmp_path):
    config.data.name, config.data.dataset, config.data.dir = "tfds", "cifar10", str(tmp_path)
    with pytest.raises(UserError, match="data.dataset 'cifar10' cannot be read from data.dir"):
        data.make_source(config)


def test_a_prepared_builder_is_read_without_tensorflow(config, tmp_path):
    """Preparing needs TensorFlow; reading what was prepared happens in a process that has none."""
    pytest.importorskip("tensorflow", reason="TFDS prepares data with TensorFlow, which is not installed")
    import subprocess
    import sys

    prepare = f"""
import numpy as np, tensorflow_datasets as tfds
class Squares(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = tfds.features.FeaturesDict(
            {{"image": tfds.features.Image(shape=(32, 32, 3)), "label": tfds.features.ClassLabel(num_classes=10)}}
        )
        return tfds.core.DatasetInfo(builder=self, features=features)
    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}
    def _generate_examples(self):
        for i in range(40):
            yield i, {{"image": np.full((32, 32, 3), 6 * i, np.uint8), "label": i % 10}}
Squares(data_dir={str(tmp_path)!r}, file_format="array_record").download_and_prepare()
"""
    subprocess.run([sys.executable, "-c", prepare], check=True, capture_output=True, timeout=300)
    read = f"""
import sys
import numpy as np
from tests.configs.tiny import get_config
from biggan_jax import data
c = get_config()
c.data.name, c.data.dataset, c.data.dir = "tfds", "squares", {str(tmp_path)!r}
source = data.make_source(c)
images, labels = source[np.arange(40)]
assert images.shape == (40, 16, 16, 3) and sorted(set(labels.tolist())) == list(range(10))
assert all((image // 6 % 10 == label).all() for image, label in zip(images, labels))
assert "tensorflow" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
