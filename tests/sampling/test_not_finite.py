"""A generator whose arrays or images are not finite is refused by everything that draws."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_generator
from biggan_jax.evaluation import features
from biggan_jax.sampling import sampler as sampling
from biggan_jax.sampling.sampler import NotFiniteError, Sampler
from biggan_jax.tools.app.studio import Studio
from biggan_jax.tools.export import samples
from tests.cli import refused, run
from tests.conftest import fresh_state, tiny_config

NAMES = "these arrays of G are not finite: params.linear.kernel"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose averaged G has one NaN."""
    folder, state = tmp_path_factory.mktemp("run"), fresh_state()
    average = jax.tree.map(np.array, state.averages["G"])
    average["linear"]["kernel"][0, 0] = math.nan
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(state.replace(averages={"G": average}), tiny_config())
    checkpoints.close()
    return folder


@pytest.fixture
def overflowing(sampler):
    """A sampler of finite arrays whose images are not finite."""
    weights = jax.tree.map(np.array, sampler.weights)
    weights["linear"]["kernel"][:] = 3e38
    return dataclasses.replace(sampler, weights=weights)


@pytest.mark.parametrize(
    "prepare", [Sampler.from_checkpoint, lambda t: Studio.from_checkpoint(t, "scale", "running", 1)]
)
def test_arrays_that_are_not_finite_are_named(folder, prepare):
    with pytest.raises(NotFiniteError, match=NAMES):
        prepare(load_generator(folder))


def test_arrays_are_listed_up_to_three():
    tree = {"a": {name: np.array([math.inf]) for name in "vwxyz"}, "b": np.zeros(3), "c": np.arange(3)}
    assert sampling.not_finite(tree) == "a.v, a.w, a.x and 2 more"
    assert sampling.not_finite({"b": np.zeros(3)}) == ""


@pytest.mark.parametrize(
    "draw",
    [
        lambda sampler, z, y: sampler.floats(z, y),
        lambda sampler, z, y: sampler.images(z, y),
        lambda sampler, z, y: list(features.of_samples(sampler, z, y, 64)),
        lambda sampler, z, y: list(samples.draw_pictures(sampler, 0, y, y)),
    ],
    ids=["floats", "images", "evaluation", "export"],
)
def test_images_that_are_not_finite_are_refused(overflowing, draw):
    z, y = overflowing.latents(2), np.zeros(2, np.int32)
    with pytest.raises(NotFiniteError, match="though all arrays of G are: its activations overflow"):
        draw(overflowing, z, y)


def test_the_sample_command_writes_nothing(folder, tmp_path):
    refused(run("sample", f"--checkpoint={folder}", f"--out={tmp_path / 'x.png'}"), NAMES)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["tools.grids", "--sheet=classes", "--out={}/x.png"],
        ["tools.edit", "--do=mix", "--y=1 + 2", "--out={}/x"],
        ["tools.export", "--per_class=1", "--out={}/x"],
        ["tools.app", "--port=0"],
        ["evaluate", "--network=classifier", "--num=8", "--out={}/x"],
        ["evaluate", "--network=classifier", "--num=8", "--all", "--out={}/x"],
        ["evaluate", "--network=classifier", "--num=8", "--truncation_sweep=0.5:1:2", "--out={}/x"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_that_draws_refuses_them(folder, tmp_path, command):
    module, *arguments = command
    result = run(module, f"--checkpoint={folder}", *(argument.format(tmp_path) for argument in arguments))
    refused(result, "images are not finite" if "--all" in command else NAMES)
    assert NAMES in result.stderr
