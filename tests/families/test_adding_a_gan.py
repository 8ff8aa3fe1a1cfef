"""The page docs/adding_a_gan.md: its family is short, trains and samples."""

import re

from PIL import Image

from tests import cli
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "adding_a_gan.md"
FEW = {"64, 600, 1": "16, 3, 1", "300, 300": "2, 2", "positive(32)": "positive(4)"}
FEW |= {'("runs/my_gan"))': '("runs/my_gan"), passes=2)'}


def script_of_the_page(tmp_path):
    """The page's family as a file, with fewer steps, images and channels."""
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert source.count("\n") < 80
    for text, other in FEW.items():
        assert text in source
        source = source.replace(text, other)
    path = tmp_path / "my_gan.py"
    path.write_text(source)
    return path


def test_the_page_s_family_trains_logs_and_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli.run(script_of_the_page(tmp_path))
    assert done.returncode == 0 and "step 3 of 3" in done.stderr, done.stderr
    assert (tmp_path / "runs/my_gan/checkpoints/3").is_dir()
    assert Image.open(tmp_path / "my_gan.png").size == (438, 438)


def test_the_page_s_family_draws_nothing_if_interrupted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = script_of_the_page(tmp_path)
    script.write_text(script.read_text().replace("not train(", "not (lambda *_: False)("))
    done = cli.run(script)
    assert (done.returncode, done.stderr) == (1, "interrupted; rerun to resume\n")
    assert not (tmp_path / "my_gan.png").exists()


def test_the_page_names_families_that_exist():
    named = re.findall(
        r"`(TwoOutputs|PAIRS|LazyPenalty|OwnState|TwoPairs|one_channel_not_square|vectors)`", PAGE.read_text()
    )
    text = (ROOT / "tests" / "families" / "minimal.py").read_text()
    assert len(named) == 7 and all(name in text for name in named)
