"""The package's helpers for notebooks, tested without a notebook."""

import io

import numpy as np
import pytest
from PIL import Image

from biggan_jax.runtime.metric_writer import MetricWriter
from biggan_jax.tools import notebook
from biggan_jax.types import UserError


def test_each_loss_of_any_family_is_drawn(tmp_path):
    writer, seen = MetricWriter(tmp_path, start=0), []
    for step, losses in ((1, {"d_a_loss": 1.0}), (2, {"d_a_loss": 2.0, "g_a_g_b_loss": 1.0})):
        writer.scalars(step, {**losses, "images_per_second": 1.0})
        seen.append(notebook.picture(tmp_path))
    writer.picture(2, "live", np.zeros((8, 8, 3), np.uint8))  # This family keeps no average.
    writer.close()
    assert len({*seen, notebook.picture(tmp_path)}) == 3


def test_the_picture_of_a_run_changes_with_what_it_writes(tmp_path):
    seen = [notebook.picture(tmp_path)]
    writer = MetricWriter(tmp_path, start=0)
    for step in (1, 2):
        writer.scalars(step, {"d_loss": 1.0 * step, "g_loss": 0.5, "images_per_second": 3.0})
        seen.append(notebook.picture(tmp_path))
    writer.picture(2, "ema", np.zeros((8, 8, 3), np.uint8))
    seen.append(notebook.picture(tmp_path))
    writer.close()
    assert len(set(seen)) == 4 and notebook.picture(tmp_path) == seen[-1]
    assert Image.open(io.BytesIO(seen[-1])).size == (880, 360)


def test_a_command_prints_and_fails_in_one_sentence(capfd, tmp_path):
    with pytest.raises(UserError, match="the command sample failed with status 2; its output above says why"):
        notebook.command("sample", f"--checkpoint={tmp_path}", f"--out={tmp_path / 'x.png'}")
    assert "no checkpoint at" in capfd.readouterr().out


def test_a_mistake_is_one_sentence_in_ipython():
    assert UserError("give another folder")._render_traceback_() == ["error: give another folder"]
