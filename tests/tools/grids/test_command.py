import pytest
from PIL import Image

from tests.cli import refused, run
from tests.conftest import tiny_config, untrained_run


def test_the_command_draws_neighbours_and_animates_interpolations(workdir, tmp_path):
    beside, moving = tmp_path / "near.png", tmp_path / "between.gif"
    shared = f"--checkpoint={workdir}", "--passes=2", "--rows=2"
    result = run("sheets", *shared, "--sheet=neighbours", "--network=none", "--columns=3", f"--out={beside}")
    assert result.returncode == 0, result.stderr
    assert f"2 rows of 4 images in {beside}" in result.stdout
    width, height = Image.open(beside).size
    assert width > 4 * 80 and height > 2 * 80
    result = run("sheets", *shared, "--sheet=interpolation", "--columns=4", f"--out={moving}")
    assert result.returncode == 0, result.stderr
    assert Image.open(moving).is_animated


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sheet=clases"], "--sheet 'clases' is unknown; did you mean classes? known are classes, fixed_z"),
        (["--sheet=classes", "--spherical"], "--spherical has no effect with --sheet=classes"),
        (
            ["--sheet=truncation", "--thresholds=1,0"],
            "truncation 0 of kind resample must be greater than 0; 0 is for kind w",
        ),
        (["--sheet=truncation", "--truncation=1"], "give them by --thresholds instead of --truncation"),
        (["--sheet=fixed_z", "--out=x.gif"], "--out=x.gif must end in .png for --sheet=fixed_z"),
        (["--sheet=classes", "--columns=101"], "10 rows of 101 images are more than the limit of 1000"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(workdir, tmp_path, arguments, sentence):
    refused(run("sheets", f"--checkpoint={workdir}", f"--out={tmp_path / 'x.png'}", *arguments), sentence)
    assert not any(tmp_path.iterdir())


def test_an_unconditional_model_has_no_grid_of_classes(tmp_path):
    config = tiny_config()
    config.model.num_classes = 0
    shared = f"--checkpoint={untrained_run(tmp_path / 'run', config)}", "--statistics=running"
    refused(run("sheets", *shared, "--sheet=classes", f"--out={tmp_path / 'x.png'}"), "--sheet=classes needs classes")
    out = tmp_path / "z.png"
    result = run("sheets", *shared, "--sheet=interpolation", "--rows=1", "--columns=3", f"--out={out}")
    assert result.returncode == 0 and "1 rows of 3 images" in result.stdout, result.stderr
