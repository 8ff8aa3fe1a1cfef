"""Clips: how sequences are cut and stored, how training reads them, moving digits, and what is refused."""

import cv2
import numpy as np
import pytest
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data, settling
from biggan_jax.config.loading import load
from biggan_jax.data import builtin, clips, forms, raw, shards
from biggan_jax.data.dataset import Images
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.data.conftest import encode

CUT = clips.Cut(4, 1, 4)
FORM = forms.Form(8, channels=1, frames=4)
parallel = map


def frame(number, side=8):
    """A picture whose grey level is 10 times its number, with a white corner."""
    pixels = np.full((side, side, 3), 10 * number, np.uint8)
    pixels[0, 0] = 255
    return pixels


def write_frames(folder, count, first=0):
    """Write frames whose numbers have no zeros in front."""
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"f{first + i}.png").write_bytes(encode(frame(i)))


def write_video(path, count):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (16, 16))
    for i in range(count):
        video.write(np.full((16, 16, 3), 10 * i, np.uint8))
    video.release()


def corpus(path, cut=CUT, rules=raw.Rules(), **options):  # noqa: B008  Frozen.
    return clips.corpus(epath.Path(path), cut, rules, parallel, **options)


def levels(part, form=FORM):
    """The grey level of each frame of each clip of a part, divided by 10."""
    items = list(part)
    assert not [item for item in items if isinstance(item, str)]
    stored = [np.frombuffer(form(item.encoded).data, np.uint8).reshape(form.frames, 8, 8, -1) for item in items]
    return [np.rint(clip[:, 4, 4, 0] / 10).astype(int).tolist() for clip in stored]


def config_of(folder="", **changes):
    c = load("classic/vgan_digits")
    own = {"model.image_shape": (8, 8, 1), "model.frames": 4, "batch_size": 2}
    own |= {"data.name": "tfds", "data.dir": str(folder)} if folder else {}
    c.update_from_flattened_dict(own | changes)
    configs.validate(c)
    return c


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(folder of frames, a prepared set of its three clips)."""
    root = tmp_path_factory.mktemp("clips")
    write_frames(root / "in" / "a", 12, first=5)
    shards.prepare(corpus(root / "in"), epath.Path(root / "out"), "clips", FORM, map)
    return root / "in", root / "out"


def test_frames_are_in_the_order_of_their_numbers(prepared):
    found = corpus(prepared[0])
    assert levels(found.splits["train"][0]) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert found.notes == ("1 sequences; clips of 4 frames",)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (clips.Cut(2, 5, 10), [[0, 5]]),
        (clips.Cut(4, 3, 1), [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]),
        (clips.Cut(12, 1, 12), [list(range(12))]),
    ],
)
def test_clips_may_skip_frames_and_overlap(prepared, cut, expected, tmp_path):
    form = forms.Form(8, channels=1, frames=cut.frames)
    assert levels(corpus(prepared[0], cut).splits["train"][0], form) == expected
    write_video(tmp_path / "v.avi", 12)
    assert levels(corpus(tmp_path / "v.avi", cut).splits["train"][0], form) == expected


def test_splits_are_folders_or_clips_that_are_held_out(prepared, tmp_path):
    write_frames(tmp_path / "train" / "a", 8)
    write_frames(tmp_path / "test" / "b", 4)
    assert {split: len(parts[0].clips) for split, parts in corpus(tmp_path).splits.items()} == {"train": 2, "test": 1}
    held = corpus(prepared[0], rules=raw.Rules(held_out=1)).splits
    assert sorted(levels(held["train"][0]) + levels(held["test"][0])) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert len(held["test"][0].clips) == 1
    with pytest.raises(UserError, match="already have the split test"):
        corpus(tmp_path, rules=raw.Rules(held_out=1))
    with pytest.raises(UserError, match="would hold out frames of clips that are trained on; give --clip_step=4"):
        corpus(prepared[0], clips.Cut(4, 1, 2), raw.Rules(held_out=1))


def test_training_reads_clips_and_their_first_frames(prepared):
    c = config_of(prepared[1])
    source = data.make_source(c)
    assert len(source) == 3 and data.image_shape(c) == (32, 8, 1)
    batch = data.host_batches(source, c, 0)(0)[0]["image"]
    assert batch.shape == (1, 2, 32, 8, 1)
    first = batch.reshape(2, 4, 8, 8)[:, :, 4, 4]
    assert (np.diff(first.astype(int), axis=1) == 10).all() and set(first[:, 0]) <= {0, 40, 80}
    c = config_of(prepared[1], **{"model.first_frame": True})
    two = data.host_batches(source, c, 0)(0)[0]
    np.testing.assert_array_equal(two["other"], batch)
    np.testing.assert_array_equal(two["image"], batch[:, :, :8])


def test_clips_of_other_sizes_and_single_pictures_are_refused(prepared):
    with pytest.raises(UserError, match=r"4 frames of 8 x 8 pixels, but the model takes 2 frames.*set model.frames=4"):
        data.make_source(config_of(prepared[1], **{"model.frames": 2}))
    with pytest.raises(UserError, match="mnist5k has single images, and model.family vgan learns from clips"):
        data.make_source(config_of(**{"data.name": "mnist5k"}))
    c = load("classic/dcgan64")
    c.data.name, c.data.dir = "tfds", str(prepared[1])
    with pytest.raises(UserError, match="clips of 4 frames, and model.family dcgan learns from single pictures"):
        data.make_source(c)
    c.data.name = "moving_digits"
    with pytest.raises(UserError, match="moving_digits has clips, and model.family dcgan"):
        data.make_source(c)
    c = load("auto")
    c.data.dir = str(prepared[1])
    with pytest.raises(UserError, match="has clips, and auto is for single pictures"):
        data.facts_of(c)


def test_scores_in_training_refuse_networks_of_single_pictures(prepared):
    c = config_of(prepared[1], **{"score.every": 500, "score.network": "inception-2015"})
    with pytest.raises(UserError, match="score.network=inception-2015 takes single pictures.*use classifier"):
        settling.check_data(c, data.image_shape(c), data.make_source(c))


def test_short_and_damaged_sequences_are_named(tmp_path):
    write_frames(tmp_path / "a", 3)
    with pytest.raises(UserError, match=r"1 of 1 sequences have fewer than the 4 frames of a clip.*a \(3 frames\)"):
        corpus(tmp_path)
    write_frames(tmp_path / "b", 5)
    with pytest.raises(UserError, match=r"1 of 2 sequences.*leave them out with --skip_others"):
        corpus(tmp_path)
    found = corpus(tmp_path, skip_others=True)
    (tmp_path / "b" / "f2.png").write_bytes(b"no picture")
    (said,) = found.splits["train"][0]
    assert said.startswith("b/f2.png: ")
    (tmp_path / "b" / "f2.png").write_bytes(encode(frame(0, side=9)))
    assert (
        next(iter(found.splits["train"][0]))
        == "b, from frame 0: b/f2.png has 9 x 9 pixels, unlike the frames before it"
    )


def test_a_video_that_shrank_or_is_a_playlist_is_no_clip(tmp_path, monkeypatch):
    write_video(tmp_path / "v.avi", 8)
    found = corpus(tmp_path / "v.avi")
    write_video(tmp_path / "v.avi", 5)
    clip, said = found.splits["train"][0]
    assert clip.name == "v.avi, from frame 0" and said.startswith("v.avi, from frame 4: the video ends before the clip")
    monkeypatch.setattr(cv2, "VideoCapture", None)  # A playlist is not even opened.
    (tmp_path / "v.avi").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    with pytest.raises(UserError, match="cannot be read: v.avi"):
        corpus(tmp_path / "v.avi")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no videos .* it is empty"):
        corpus(tmp_path / "empty")


def test_prepare_says_how_to_train_and_refuses(prepared, tmp_path):
    flags = f"--in={prepared[0]}", "--workers=1", "--frames=4"
    made = run("data.prepare", "--from=clips", *flags, f"--out={tmp_path / 'out'}", "--size=8", "--channels=1")
    assert made.returncode == 0, made.stderr
    said = "'--config.model.image_shape=(8,8,1)' --config.model.frames=4"
    assert "--config=classic/vgan_digits" in made.stdout and said in made.stdout
    checked = run("data.validate", f"--in={tmp_path / 'out'}")
    assert checked.returncode == 0 and "3 images in 1 class" in checked.stdout, checked.stderr
    refused(run("data.prepare", "--from=clips", *flags, f"--out={tmp_path / 'b'}"), "--from=clips needs --size")
    other = run("data.prepare", "--from=folder", *flags, f"--out={tmp_path / 'b'}")
    refused(other, "--frames has no effect with --from=folder")


def test_moving_digits_move_steadily_within_the_frame():
    one, again = (builtin.moving_digits((16, 16, 3), 8, "train") for _ in range(2))
    assert len(one) == 10_000 and len(builtin.moving_digits((16, 16, 3), 8, "test")) == 1_000
    numbers = np.array([0, 5, 9_999])
    found = one.read(numbers)
    np.testing.assert_array_equal(found.images, again.read(numbers).images)
    np.testing.assert_array_equal(found.labels, one.all_labels[numbers])
    clip = found.images.reshape(3, 8, 16, 16, 3).astype(int)
    assert found.images.shape == (3, 128, 16, 3) and (np.abs(np.diff(clip, axis=1)).sum((2, 3, 4)) > 0).any(1).all()
    assert np.ptp(clip.sum((2, 3, 4)), axis=1).max() == 0  # Nothing leaves the frame.
    with pytest.raises(UserError, match="frames of 16 pixels or more, not 8 x 8"):
        builtin.moving_digits((8, 8, 1), 8, "train")


def test_sets_made_of_digits_are_summarized_and_known():
    digits = Images(np.zeros((20, 7, 7, 1), np.uint8), np.arange(20, dtype=np.int32) % 10, 10)
    source = builtin.MovingDigits(digits, 4, (16, 16, 1), 50)
    assert data.stats.summarize(source)["images"] == 50
    assert data.digest_of(source).startswith("50 clips of 4 x (16, 16, 1) of 20 images")
    stacked = builtin.Stacked(digits, 30)
    assert data.stats.summarize(stacked)["images"] == 30 and stacked.content != builtin.Stacked(digits, 31).content
