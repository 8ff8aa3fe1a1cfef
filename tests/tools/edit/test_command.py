"""The edit command on an untrained model: what it writes, and that `sample` reads it."""

import numpy as np
from PIL import Image

from tests.cli import refused, run

QUICK = "--statistics=running"


def edit(workdir, *arguments):
    result = run("edit", f"--checkpoint={workdir}", QUICK, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_sum_of_classes_is_drawn_and_read_back(workdir, tmp_path):
    out = tmp_path / "mix.png"
    assert "mix.png" in edit(workdir, "--do=mix", "--y=3 - 5 + 8", "--num=2", f"--out={out}")
    made = np.load(tmp_path / "mix.npz")
    assert made["y"].tolist() == [[0, 0, 0, 1, 0, -1, 0, 0, 1, 0]] * 2
    width, height = Image.open(out).size
    assert height > 4 * 96 > width, "one row per class, and one for the sum"
    again = tmp_path / "again.npz"
    assert (
        run(
            "sample", f"--checkpoint={workdir}", QUICK, f"--latents={tmp_path / 'mix.npz'}", f"--out={again}"
        ).returncode
        == 0
    )
    np.testing.assert_array_equal(np.load(again)["arr_0"], made["arr_0"])

    said = edit(
        workdir,
        "--do=mix",
        f"--z={out.with_suffix('.npz')}:0 - {again}:1",
        "--y=4",
        "--rescale",
        f"--out={tmp_path / 'z'}",
    )
    summed = np.load(tmp_path / "z.npz")
    difference = made["z"][0] - made["z"][1]
    length = np.linalg.norm(made["z"], axis=1).mean()
    np.testing.assert_allclose(summed["z"][0], difference * length / np.linalg.norm(difference), rtol=1e-5)
    assert summed["y"].tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0, 0]] and "rescaled to 1" in said


def test_latents_add_up_with_classes_and_nothing_points_nowhere(workdir, tmp_path):
    z, y = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32), np.array([2, 5, 2], np.int32)
    source, out = tmp_path / "a.npz", tmp_path / "sum.npz"
    np.savez(source, z=z, y=y)
    edit(workdir, "--do=mix", f"--z={source}:0 - {source}:1 + 0.5*{source}:2", f"--out={out}")
    np.testing.assert_allclose(np.load(out)["z"][0], z[0] - z[1] + 0.5 * z[2], rtol=1e-5)
    assert np.load(out)["y"].tolist() == [[0, 0, 1.5, 0, 0, -1, 0, 0, 0, 0]]
    edit(workdir, "--do=mix", f"--z={source}:0 - {source}:0", "--rescale", f"--out={out}")
    assert not np.load(out)["z"].any() and not np.load(out)["y"].any()


def test_a_direction_is_found_and_followed(workdir, tmp_path):
    found = edit(workdir, "--do=find", "--attribute=brightness", "--num=64", f"--out={tmp_path / 'd'}")
    assert "brightness: held-out accuracy" in found and "-3.00" in found
    edit(
        workdir,
        "--do=move",
        f"--direction={tmp_path / 'd.npz'}",
        "--num=2",
        "--columns=3",
        "--class=4",
        f"--out={tmp_path / 'm'}",
    )
    moved, direction = np.load(tmp_path / "m.npz"), np.load(tmp_path / "d.npz")["direction"]
    assert moved["arr_0"].shape == (6, 16, 16, 3) and moved["y"].tolist() == [4] * 6
    np.testing.assert_allclose(moved["z"][2] - moved["z"][0], 6 * direction, atol=1e-5)


def test_a_picture_is_inverted(workdir, tmp_path):
    Image.new("RGB", (40, 30), "gray").save(tmp_path / "gray.png")
    picture = f"--picture={tmp_path / 'gray.png'}"
    said = edit(
        workdir,
        "--do=invert",
        picture,
        "--class=2",
        "--candidates=8",
        "--restarts=2",
        "--steps=2",
        f"--out={tmp_path / 'g'}",
    )
    made = np.load(tmp_path / "g.npz")
    assert "PSNR" in said and made["y"].tolist() == [2] and made["psnr"].shape == made["loss"].shape == (1,)


def test_an_unknown_class_is_refused(workdir, tmp_path):
    result = run("edit", f"--checkpoint={workdir}", QUICK, "--do=mix", "--y=3 - 11", f"--out={tmp_path / 'x'}")
    refused(result, "class 11 is out of range: this model has classes 0 to 9")
    assert not any(tmp_path.iterdir())
