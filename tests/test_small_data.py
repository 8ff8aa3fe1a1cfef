"""benchmarks/small_data.py: training on few pictures with and without augmentation."""

from types import SimpleNamespace

import pytest

from biggan_jax.models import build_gan
from tests.conftest import benchmark_script


@pytest.fixture(scope="module")
def script():
    return benchmark_script("small_data")


def test_each_variant_is_a_model_that_differs_by_its_keys(script, tmp_path):
    plain, *others = (script.config_of(tmp_path, name, 0, 100, 4, 5) for name in script.VARIANTS)
    for c, changes in zip(others, list(script.VARIANTS.values())[1:], strict=True):
        build_gan(c)
        assert changes
        with c.unlocked():
            c.update_from_flattened_dict({key: getattr(plain[key.split(".")[0]], key.split(".")[1]) for key in changes})
        assert c == plain


@pytest.mark.slow
def test_each_checkpoint_of_a_run_is_judged_and_shown(script, tmp_path):
    c = script.config_of(tmp_path, "ada_lecam", 0, 4, 2, 2)
    c.data.name, c.batch_size = "fake", 8
    evaluator = SimpleNamespace(num=8, evaluate=lambda sampler: SimpleNamespace(overall={"frechet_distance": 2.5}))
    rows = script.measure(c, evaluator, tmp_path / "run")
    assert [row["step"] for row in rows] == [2, 4] and rows[0]["distance"] == 2.5
    assert (tmp_path / "run" / "samples.png").exists()
    script.plot({"ada_lecam-0": rows}, tmp_path / "distance.png")
    assert (tmp_path / "distance.png").exists()
