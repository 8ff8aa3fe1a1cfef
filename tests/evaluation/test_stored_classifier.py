"""The fitted classifier in tests/data, which spares the commands of tests its 1,500 steps."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.evaluation import networks


def test_it_is_of_todays_data_and_recipe(classifier, monkeypatch):
    monkeypatch.setattr(
        networks.classifier, "fit", lambda *_, **__: pytest.fail("it is fitted again: store the new one")
    )
    networks.open_network("classifier", training=data.make_source(configs.load("quickstart")))


@pytest.mark.slow
def test_it_is_what_fitting_gives(classifier, tmp_path, monkeypatch):
    source = data.make_source(configs.load("quickstart"))
    stored = networks.open_network("classifier", training=source)
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))
    fitted = networks.open_network("classifier", training=source)
    held_out = data.make_source(configs.load("quickstart"), "test")
    read = held_out.read(np.arange(500), np.full(500, 0.5))
    seen = [np.asarray(n.apply(n.params, read.images).logits).argmax(1) for n in (stored, fitted)]
    assert np.mean(seen[0] == read.labels) >= 0.96 and np.mean(seen[0] == seen[1]) >= 0.97
    assert flatten_dict(stored.params).keys() == flatten_dict(fitted.params).keys()
