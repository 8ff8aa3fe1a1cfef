"""Sets that TFDS's own builders write, with TensorFlow, read by their keys."""

import numpy as np
import pytest

from biggan_jax.data import make_source
from tests.data.conftest import encode, read_all
from tests.data.test_features import config, pixels

pytest.importorskip("tensorflow", reason="TFDS builds sets with TensorFlow, which is not installed")
tfds = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.tf


class Faces(tfds.core.GeneratorBasedBuilder):
    """Six pictures with attributes, as celeb_a has them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        attributes = tfds.features.FeaturesDict({"Young": np.bool_, "Bald": np.bool_})
        features = {"image": tfds.features.Image(shape=(12, 12, 3), encoding_format="png"), "attributes": attributes}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(6):
            yield i, {"image": pixels(i), "attributes": {"Young": i % 2 == 0, "Bald": i % 3 == 0}}


def test_attributes_that_tfds_wrote_are_conditions_and_labels(tmp_path):
    builder = Faces(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    read = read_all(make_source(config(builder.data_path, condition=2, condition_key="attributes")))
    seen = {encode(image): label.tolist() for image, label in zip(read.images, read.labels, strict=True)}
    assert seen == {encode(pixels(i)): [i % 3 == 0, i % 2 == 0] for i in range(6)}
    labelled = read_all(make_source(config(builder.data_path, classes=2, label_key="attributes/Young")))
    assert sorted(labelled.labels.tolist()) == [0, 0, 0, 1, 1, 1]
