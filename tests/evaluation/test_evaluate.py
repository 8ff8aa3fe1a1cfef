"""The evaluation command, as a user runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_generator
from biggan_jax.sampling.sampler import Sampler
from tests.cli import Process, refused, run
from tests.conftest import ROOT, fresh_state, tiny_config, untrained_run
from tests.runtime.commands import four_devices, free_port

OPTIONS = "--network=classifier", "--num=40", "--passes=2", "--reference=test", "--reference_count=60", "--batch_size=2"


@pytest.fixture(scope="module")
def copy(tmp_path_factory, classifier):
    """An untrained run on real digits."""
    c = tiny_config()
    c.data.name = "mnist5k"
    return untrained_run(tmp_path_factory.mktemp("evaluated") / "run", c)


def without(*names):
    """Return OPTIONS without the flags named."""
    return [option for option in OPTIONS if not option.startswith(tuple(f"--{name}=" for name in names))]


def records(folder, name="scores.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_checkpoint_is_evaluated_once_per_protocol(copy):
    result = run("evaluate", f"--checkpoint={copy}", *OPTIONS)
    assert result.returncode == 0, result.stderr
    assert "not comparable with Inception FID" in result.stdout and "Frechet distance" in result.stdout
    again = run("evaluate", f"--checkpoint={copy}", *OPTIONS, "--all")
    assert again.stdout == result.stdout and len(records(copy)) == 1
    more = run("evaluate", f"--checkpoint={copy}", *OPTIONS, "--scores=fid,intra_fid")
    assert more.returncode == 0, more.stderr
    first, second = records(copy)
    assert first["step"] == 0 and first["scores"]["class_agreement"] < 0.5
    assert first["scores"]["real_class_agreement"] > 0.9, "the accuracy of the classifier"
    assert first["scores"]["real_frechet_distance"] < first["scores"]["frechet_distance"]
    assert "real: 40 training images; the accuracy is that on held-out ones; accuracy of classifier" in result.stdout
    assert first["scores"].keys() > {"frechet_distance", "inception_score", "kernel_distance", "precision", "coverage"}
    assert second["judged"] == ["intra_fid"], "known metrics are not computed again"
    assert second["protocol"] == first["protocol"] and "Frechet distance in class" in more.stdout
    other = run("evaluate", f"--checkpoint={copy}", *OPTIONS, "--truncation=0.5", "--scores=fid")
    assert "truncation resample 0.5" in other.stdout
    assert (copy / "scores.md").read_text().count("| step |") == 2


def test_a_sweep_draws_its_curve_and_resumes(copy):
    sweep = "--truncation_sweep=0.5:1.0:2"
    result = run("evaluate", f"--checkpoint={copy}", *OPTIONS, sweep)
    assert result.returncode == 0, result.stderr
    assert "no truncation" in result.stdout and "best distance" in result.stdout
    assert len(list(copy.glob("truncation_sweep-0-classifier-*.png"))) == 1
    lines = records(copy, "truncation_sweep.jsonl")
    assert [line["protocol"]["truncation"] for line in lines] == ["resample 0.5", "resample 1", "none"]
    (copy / "truncation_sweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert run("evaluate", f"--checkpoint={copy}", *OPTIONS, sweep).stdout == result.stdout
    again = records(copy, "truncation_sweep.jsonl")
    assert [line["scores"] for line in again] == [line["scores"] for line in lines]
    assert [line["time"] for line in again[:2]] == [line["time"] for line in lines[:2]]


@pytest.mark.slow
def test_a_file_of_samples_scores_as_its_checkpoint(copy, tmp_path):
    """`sample` sorts classes and `evaluate` takes them in turn, so the latents are given to both."""
    samples, latents = tmp_path / "samples.npz", tmp_path / "latents.npz"
    drawn = Sampler.from_checkpoint(load_generator(copy), statistics="running")
    np.savez(latents, z=drawn.latents(40), y=np.arange(40, dtype=np.int32) % 10)
    shared = f"--checkpoint={copy}", "--statistics=running"
    assert run("sample", *shared, f"--latents={latents}", f"--out={samples}").returncode == 0
    assert run("evaluate", *shared, *without("passes")).returncode == 0
    result = run("evaluate", f"--npz={samples}", "--config=quickstart", *without("num", "passes"))
    assert result.returncode == 0, result.stderr
    (of_samples,) = records(tmp_path)
    of_checkpoint = records(copy)[-1]
    assert of_checkpoint["protocol"]["statistics"] == "running"
    # The baselines differ: a file of samples has no training images, so halves of the reference are compared.
    of_the_samples = {name: of_samples["scores"][name] for name in of_samples["scores"] if not name.startswith("real_")}
    assert len(of_the_samples) >= 5
    for name, figure in of_the_samples.items():
        # Rounding may move a pixel by one level.
        assert figure == pytest.approx(of_checkpoint["scores"][name], rel=1e-2, abs=0.03), name


@pytest.mark.slow
def test_watch_evaluates_new_checkpoints_until_the_run_ends(tmp_path):
    c = tiny_config()
    c.data.name, c.num_steps = "mnist5k", 2
    state = fresh_state()
    for folder, step in ((tmp_path / "run", 1), (tmp_path / "later", 2)):
        checkpoints = Checkpoints(folder, keep=1)
        checkpoints.save(state.replace(step=np.int32(step)), c)
        checkpoints.close()
    options = f"--checkpoint={tmp_path / 'run'}", *OPTIONS, "--scores=fid", "--watch", "--watch_every=0.1"
    with Process("evaluate", *options) as watching:
        lines = iter(watching.stdout.readline, "")
        assert any(line.startswith("|    1 |") for line in lines), "the first is evaluated, and the command waits"
        os.rename(tmp_path / "later" / "checkpoints" / "2", tmp_path / "run" / "checkpoints" / "2")
        assert any(line.startswith("|    2 |") for line in lines)
        assert watching.wait(60) == 0
    assert [r["step"] for r in records(tmp_path / "run")] == [1, 2]


@pytest.mark.slow
def test_two_hosts_evaluate_as_one_and_process_0_writes(copy, tmp_path):
    options = f"--checkpoint={copy}", *without("passes"), "--statistics=running", f"--out={tmp_path}"
    cluster = "--multihost", f"--coordinator=localhost:{free_port()}", "--num_processes=2"
    # Real processes, not forks: a process of a cluster starts itself again.
    command = [sys.executable, "-m", "biggan_jax.evaluate", *options, *cluster]
    shared = {"cwd": ROOT, "env": four_devices(), "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*command, f"--process_id={i}"], **shared) for i in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    (together,) = records(tmp_path)
    assert run("evaluate", *options[:-1], f"--out={tmp_path / 'one'}").returncode == 0
    (alone,) = records(tmp_path / "one")
    assert together["protocol"] == alone["protocol"]
    for name, figure in alone["scores"].items():
        assert together["scores"][name] == pytest.approx(figure, rel=1e-2, abs=0.03), name


MISTAKES = [
    ("", "give one of --checkpoint, --samples and --write_statistics"),
    ("--npz=a.npz", "a.npz cannot be read: No such file"),
    ("--npz=a.npz --all", "--all has no effect here"),
    ("--samples=a.npz --npz=a.npz", "give one of --checkpoint, --samples"),
    (
        "--samples=nowhere",
        "--samples=nowhere does not exist; give an .npz, a folder of pictures, a prepared set's folder",
    ),
    (
        "--samples=UNLABELLED",
        "a --reference is needed: an .npz, a folder of pictures, a prepared set's folder; or --config",
    ),
    ("--samples=UNLABELLED --reference=nowhere", "--reference=nowhere does not exist; give an .npz"),
    ("--samples=UNLABELLED --reference=UNLABELLED --scores=", "--scores= names no score; known are fid, is"),
    ("--reference=UNLABELLED --write_statistics=a.pkl", "--write_statistics=a.pkl must end in .npz"),
    ("--reference=UNLABELLED --write_statistics=a.npz --num=3", "--num has no effect here"),
    ("--checkpoint=COPY --truncation_kind=std", "--truncation_kind has no effect here"),
    ("--checkpoint=COPY --network=classifier --config=digits", "--config has no effect here"),
    ("--checkpoint=nowhere --network=classifier --all", "no checkpoints in nowhere/checkpoints"),
    ("--npz=UNLABELLED --reference=UNLABELLED", "inception-2015 needs its weights"),
    (
        "--npz=UNLABELLED --config=quickstart --network=classifier --scores=agreement",
        "does not know the classes or captions of these samples, or they have none",
    ),
    ("--npz=LARGER --config=quickstart --network=classifier", "is fitted at 16 pixels, but the samples have 20"),
    ("--npz=WIDE --config=quickstart --network=classifier", "is fitted at 16 pixels, but the samples have 16 x 24"),
    ("--npz=FOUR --reference=UNLABELLED", "arr_0 is uint8 [4, 16, 16, 4]; give uint8 [N, H, W, 3]"),
    (
        "--npz=UNLABELLED --reference=WIDE --config=quickstart --network=classifier",
        "wide.npz has 16 x 24 pixels, but the",
    ),
    (
        "--npz=UNLABELLED --reference=STATISTICS --scores=kid",
        "--scores=kid needs real images, but --reference=STATISTICS has statistics alone (mu, sigma), and no images; it",
    ),
    (
        "--npz=UNLABELLED --reference=STATISTICS --inception=unread.pth",
        "--reference=STATISTICS: mu has 64 values, but inception-2015 has 2048 features; use the network that they are of",
    ),
    ("--checkpoint=nowhere --network=classifier", "no checkpoint at"),
    ("--checkpoint=COPY", "inception-2015 needs its weights: --inception=PATH"),
    ("--checkpoint=COPY --network=classifier --scores=fdi", "did you mean fid"),
    ("--checkpoint=COPY --network=classifier --num=9", "the metric is needs 10 or more samples, not 9"),
    (
        "--checkpoint=COPY --network=classifier --reference_count=5",
        "the metric prdc needs 6 or more real images, not 5",
    ),
    ("--checkpoint=COPY --network=classifier --truncation_sweep=0:1:5", "is not LOW:HIGH:COUNT"),
    ("--checkpoint=COPY --network=classifier --reference=nowhere.npz", "nowhere.npz cannot be read: No such file"),
]


def test_a_mistake_is_one_sentence(copy, tmp_path):
    paths = {"COPY": copy}
    for name, *shape in (("UNLABELLED", 16, 16, 3), ("LARGER", 20, 20, 3), ("FOUR", 16, 16, 4), ("WIDE", 16, 24, 3)):
        paths[name] = tmp_path / f"{name.lower()}.npz"
        np.savez(paths[name], arr_0=np.full((4, *shape), 128, np.uint8))
    paths["STATISTICS"] = tmp_path / "statistics.npz"
    np.savez(paths["STATISTICS"], mu=np.zeros(64), sigma=np.eye(64))
    for text, sentence in MISTAKES:
        for name, path in paths.items():
            text, sentence = text.replace(name, str(path)), sentence.replace(name, str(path))
        refused(run("evaluate", *text.split()), sentence)


def test_statistics_alone_give_a_distance_and_the_protocol_says_so(classifier, tmp_path):
    samples, statistics = tmp_path / "samples.npz", tmp_path / "mu.npz"
    np.savez(samples, arr_0=np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8))
    np.savez(statistics, mu=np.zeros(64), sigma=np.eye(64))
    fitted = "--config=quickstart", "--network=classifier"
    result = run("evaluate", f"--npz={samples}", f"--reference={statistics}", *fitted)
    assert result.returncode == 0, result.stderr
    assert "the Frechet distance is to mu and sigma of the file" in result.stderr
    (record,) = records(tmp_path)
    of_real = {name for name in record["scores"] if name.startswith("real_")}
    assert record["scores"].keys() - of_real == {"frechet_distance", "inception_score", "inception_score_std"}
    assert of_real == {"real_class_agreement"}
    assert record["protocol"]["reference"] == "statistics mu, sigma of mu.npz"


def test_grey_images_are_evaluated_and_their_protocol_says_so(tmp_path):
    grey = tmp_path / "grey.npz"
    np.savez(grey, arr_0=np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), dtype=np.uint8))
    fitted = "--config=quickstart", "--network=classifier"
    result = run("evaluate", f"--npz={grey}", f"--reference={grey}", *fitted, "--scores=fid")
    assert result.returncode == 0, result.stderr
    (record,) = records(tmp_path)
    assert record["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert record["protocol"]["resizer"] == "none, grey repeated to three channels"


def test_the_size_of_images_that_are_not_square_is_compared(tmp_path):
    config, samples = tmp_path / "wide.py", tmp_path / "samples.npz"
    config.write_text("""
from biggan_jax.config import base, register

register("wide", lambda: {"image_shape": (4, 6, 3), "num_classes": 3})


def get_config():
    config = base("wide")
    config.data.name = "fake"
    return config
""")
    np.savez(samples, arr_0=np.zeros((20, 6, 4, 3), np.uint8))
    result = run("evaluate", f"--npz={samples}", f"--config={config}", "--network=classifier")
    refused(result, "--network=classifier is fitted at 4 x 6 pixels, but the samples have 6 x 4")
