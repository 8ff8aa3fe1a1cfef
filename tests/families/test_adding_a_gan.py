"""The page docs/adding_a_gan.md: its family is short, trains and samples."""

import re

from PIL import Image

from biggan_jax import config as configs
from biggan_jax import models
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "adding_a_gan.md"


def test_the_page_s_family_trains_and_samples(tmp_path, monkeypatch):
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert source.count("\n") < 80
    monkeypatch.chdir(tmp_path)
    for registry in (models.FAMILIES, configs.SECTIONS):
        monkeypatch.setitem(registry, "my_gan", None)  # The page registers the family; remove it after the test.
    few = (
        source.replace("600, 1", "3, 1")
        .replace("300, 300", "2, 2")
        .replace('("runs/my_gan"))', '("runs/my_gan"), passes=2)')
    )
    assert all(change in few for change in ("3, 1", "2, 2", "passes=2"))
    exec(compile(few, "my_gan.py", "exec"), {"__name__": "__main__"})
    assert (tmp_path / "runs/my_gan/checkpoints/3").is_dir()
    assert Image.open(tmp_path / "my_gan.png").size == (438, 438)


def test_the_page_names_families_that_exist():
    named = re.findall(
        r"`(TwoOutputs|PAIRS|LazyPenalty|OwnState|TwoPairs|one_channel_not_square|vectors)`", PAGE.read_text()
    )
    text = (ROOT / "tests" / "families" / "minimal.py").read_text()
    assert len(named) == 7 and all(name in text for name in named)
