import dataclasses
import json
import logging
import pickle
import resource
import shutil
import subprocess
import sys

import fsspec
import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from biggan_jax import data
from biggan_jax.data import stats, tfds
from biggan_jax.types import UserError
from tests.conftest import ROOT, tiny_config
from tests.data import conftest
from tests.data.conftest import damage, encode, opened, prepared, read_all


def config_of(folder, **changes):
    c = tiny_config()
    c.data.update(name="tfds", dataset="", dir=str(folder))
    c.d_steps, c.model.num_classes = 2, 3
    c.update_from_flattened_dict(changes)
    return c


def batches(config, start=0, stop=3, host=0, hosts=1, attempt=0):
    """Return the host's part of each step's batch, read as in training."""
    make = data.host_batches(data.make_source(config), config, attempt, host, hosts)
    limit = config.data.unreadable_limit
    with data.read_ahead(make, lambda b: b, start, stop, workers=config.data.workers, limit=limit) as ahead:
        return list(ahead)


def assert_same(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("order", ["grain", "feistel"])
def test_hosts_share_one_order_wherever_the_run_starts(all_made, order):
    """72 pictures in steps of 2 x 16: an epoch ends in the middle of the third."""
    config = config_of(all_made, **{"data.order": order})
    whole = batches(config, stop=6)
    for hosts in (2, 4):
        parts = [batches(config, stop=6, host=host, hosts=hosts) for host in range(hosts)]
        together = [
            {name: np.concatenate([part[step][name] for part in parts], axis=1) for name in whole[0]}
            for step in range(6)
        ]
        assert_same(together, whole)
    for start in (1, 2, 3):
        assert_same(batches(config, start=start, stop=6), whole[start:])
    different = batches(config, stop=1, attempt=1)
    assert not np.array_equal(different[0]["image"], whole[0]["image"])


@pytest.mark.parametrize("order", ["grain", "feistel"])
def test_each_picture_is_seen_once_an_epoch_by_one_host(all_made, order):
    """Nine steps of eight are one epoch of 72."""
    config = config_of(all_made, d_steps=1, batch_size=8, **{"data.order": order})
    hosts = [np.concatenate([b["image"][0] for b in batches(config, stop=18, host=h, hosts=2)]) for h in range(2)]
    assert_every_epoch_is_split(all_made, hosts)


def assert_every_epoch_is_split(made, hosts):
    known = {image.tobytes(): i for i, image in enumerate(read_all(opened(made)).images)}
    assert len(known) == 72
    numbers = [[known[image.tobytes()] for image in host] for host in hosts]
    for epoch in range(2):
        seen = [set(host[36 * epoch : 36 * (epoch + 1)]) for host in numbers]
        assert not seen[0] & seen[1], "no host sees what is another's"
        assert len(seen[0] | seen[1]) == 72
    assert numbers[0][:36] != numbers[0][36:]


def test_worker_processes_read_the_same(all_made):
    drawn = {"data.flip": True, "data.crop": "random"}
    here = batches(config_of(all_made, **drawn), stop=5)
    assert_same(batches(config_of(all_made, **drawn, **{"data.workers": 2}), stop=5), here)


def test_a_random_crop_moves_along_the_longer_edge_alone(all_made):
    source = opened(all_made)
    central = read_all(source).images.astype(int)
    begin = source.read(np.arange(72), np.zeros(72)).images.astype(int)
    assert (np.abs(begin - central).max((1, 2, 3)) > 0).mean() > 0.9
    config = config_of(all_made, **{"data.crop": "random"})
    for batch in batches(config, stop=1):
        # The ramp increases to the right, so the left edge of a crop shows its offset.
        assert batch["image"].shape == (2, 16, 16, 16, 3)
    assert not np.array_equal(batches(config, stop=1)[0]["image"], batches(config_of(all_made), stop=1)[0]["image"])
    assert_same(batches(config, start=1, stop=2), batches(config, stop=2)[1:])


def test_an_unreadable_record_is_named_and_the_next_replaces_it(made, caplog):
    whole = batches(config_of(made), stop=5)
    damaged = damage(made)
    with caplog.at_level(logging.WARNING):
        after = batches(config_of(made), stop=5)
    said = {r.message for r in caplog.records}
    assert len(said) == 1
    assert f"of {damaged}" in said.pop()
    differs = [
        (step, index)
        for step in range(5)
        for index in np.ndindex(2, 16)
        if not np.array_equal(whole[step]["image"][index], after[step]["image"][index])
    ]
    # 160 positions are a little over two epochs of 72: the picture occurs two or three times, and the rest is unchanged.
    assert 2 <= len(differs) <= 3
    source = opened(made)
    number = next(i for i in range(72) if source.read(np.array([i]), np.array([0.5])).unreadable)
    replacement = source.read(np.array([number + 1]), np.array([0.5])).images[0]
    for step, index in differs:
        np.testing.assert_array_equal(after[step]["image"][index], replacement)
    parts = [batches(config_of(made), stop=5, host=host, hosts=2) for host in range(2)]
    assert_same([{n: np.concatenate([p[s][n] for p in parts], axis=1) for n in whole[0]} for s in range(5)], after)


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unreadable_records_stop_the_run(made, workers):
    damage(made)
    with pytest.raises(UserError, match=r"1 records cannot be read, more than data.unreadable_limit=0; one is record"):
        batches(config_of(made, **{"data.unreadable_limit": 0, "data.workers": workers}), stop=5)


def test_a_label_outside_the_classes_is_unreadable(all_made):
    _, labels, unreadable = read_all(dataclasses.replace(opened(all_made), num_classes=2))
    assert set(labels) == {0, 1}
    assert len(set(unreadable)) == 24 and "label [2] is not one of 0 to 1" in unreadable[0]


def test_a_shard_that_is_missing_is_named_at_once(made):
    gone = sorted(made.glob("*array_record*"))[2]
    gone.rename(made / "elsewhere")
    with pytest.raises(UserError, match=f"1 of 5 shards are missing, the first is {gone}"):
        opened(made)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_goes_missing_stops_the_run(made, workers):
    config = config_of(made, **{"data.workers": workers})
    make = data.host_batches(data.make_source(config), config, 0)
    gone = sorted(made.glob("*array_record*"))[2]
    gone.rename(made / "elsewhere")
    with (
        pytest.raises(UserError, match=f"the shard {gone} is missing"),
        data.read_ahead(make, lambda b: b, 0, 5, workers=workers, limit=100) as ahead,
    ):
        list(ahead)


def test_a_shard_that_is_not_arrayrecord_is_named(made):
    broken = sorted(made.glob("*array_record*"))[2]
    broken.write_bytes(b"no record")
    with pytest.raises(UserError, match=f"record 0 of {broken} cannot be read: ArrayRecord file should be at least"):
        read_all(opened(made))


def test_a_source_can_be_sent_to_another_process_while_it_is_open(all_made):
    source = opened(all_made)
    before = read_all(source)
    after = read_all(pickle.loads(pickle.dumps(source)))
    np.testing.assert_array_equal(before.images, after.images)


HOST = """
import sys
import numpy as np
import jax
host, port, folder, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
jax.distributed.initialize(f"localhost:{port}", 2, host)
from biggan_jax import data
from tests.data.test_records import batches, config_of
assert jax.process_count() == 2
config = config_of(folder, d_steps=1, batch_size=8)
seen = batches(config, start=int(sys.argv[5]), stop=int(sys.argv[6]), host=jax.process_index(), hosts=jax.process_count())
np.savez(out, image=[b["image"] for b in seen], label=[b["label"] for b in seen])
"""


@pytest.mark.slow
def test_two_real_processes_see_each_picture_once_an_epoch(made, tmp_path):
    """Nine steps of eight are one epoch of 72. Each process notes what it saw."""
    from tests.runtime.commands import free_port

    def run_two(start, stop, name):
        port = free_port()
        command = [sys.executable, "-c", HOST]
        outs = [tmp_path / f"{name}{host}.npz" for host in range(2)]
        processes = [
            subprocess.Popen(
                [*command, str(host), str(port), str(made), str(outs[host]), str(start), str(stop)], cwd=ROOT
            )
            for host in range(2)
        ]
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
        return [np.load(out)["image"] for out in outs]

    two = run_two(0, 18, "whole")
    assert_every_epoch_is_split(made, [host.reshape(-1, 16, 16, 3) for host in two])
    resumed = run_two(7, 18, "resumed")
    for whole, part in zip(two, resumed, strict=True):
        np.testing.assert_array_equal(whole[7:], part)


def test_training_logs_and_stores_what_its_data_are(all_made, tmp_path, caplog):
    config = config_of(all_made)
    logging.getLogger("biggan_jax").propagate = True
    with caplog.at_level(logging.INFO, logger="biggan_jax"):
        found = data.before_training(data.make_source(config), config)
    assert "data: 72 images in 3 classes of 24" in caplog.text
    assert "data: classes: 0 = blue, 1 = green, 2 = red" in caplog.text
    data.store_summary(tmp_path / "data.json", found)
    stored = json.loads((tmp_path / "data.json").read_text())
    assert stored["images"] == 72 and stored["class_names"] == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("size", "shape", "sentences"),
    [
        ((64, 64), (64, 64, 3), []),
        ((65, 64), (64, 64, 3), ["2 % of the height of one of 65 x 64"]),
        ((64, 128), (64, 64, 3), ["aspect of 64 x 64: 50 % of the width"]),
        ((128, 64), (32, 32, 1), ["aspect of 32 x 32: 50 % of the height"]),
        ((100, 200), (32, 64, 3), []),
        ((40, 80), (64, 64, 3), ["50 % of the width", "40 x 80 pixels are enlarged to 64 x 64"]),
        ((40, 40), (40, 80, 3), ["aspect of 40 x 80: 50 % of the height", "40 x 40 pixels are enlarged to 40 x 80"]),
        ((101, 67), (101, 67, 3), []),
    ],
)
def test_what_cropping_and_enlarging_do_is_said(size, shape, sentences):
    said = stats.framing(size, shape)
    assert len(said) == len(sentences) and all(part in line for part, line in zip(sentences, said, strict=True)), said


def test_pictures_of_another_aspect_are_noted_before_training(all_made, caplog):
    config = config_of(all_made)
    config.model.image_shape = (16, 32, 3)
    logging.getLogger("biggan_jax").propagate = True
    with caplog.at_level(logging.INFO, logger="biggan_jax"):
        data.before_training(data.make_source(config), config)
    assert "data: pictures are cropped to the aspect of 16 x 32: " in caplog.text


def test_a_set_without_a_summary_is_sampled(made):
    (made / stats.FILE).unlink()
    found = stats.summarize(data.make_source(config_of(made)), sample=10)
    assert found["images"] == 10 and found["share_seen"] == 10 / 72 and found["width"][0] >= 40
    assert "of a sample: 13.89% of the set" in stats.lines(found)[0]


def test_data_that_cannot_be_meant_are_refused():
    for found, sentence in (
        (
            {"labels": [0] * 50, "names": ["train"]},
            "has one class, so labels mean nothing: the folder may be a level too high",
        ),
        ({"labels": [0] * 50, "names": ["a", "b"]}, r"1 classes without images \(b\)"),
        (
            {"labels": [0, 1], "names": ["a", "b"]},
            "has 2 images, fewer than one batch of 16; lower batch_size to 2 or add",
        ),
        ({"labels": [1] * 50, "names": ["a", "b"], "of": 500}, "every label seen in pictures is 1"),
    ):
        found = stats.summary(**found)
        with pytest.raises(UserError, match=sentence):
            stats.refuse(found, conditional=True, batch_size=16, where="pictures")
        if found["images"] >= 16:
            stats.refuse(found, conditional=False, batch_size=16, where="pictures")


def test_a_set_that_is_not_prepared_is_refused(config, tmp_path):
    config.data.name, config.data.dataset, config.data.dir = "tfds", "cifar10", str(tmp_path)
    with pytest.raises(UserError, match="data.dataset 'cifar10' cannot be read from data.dir"):
        data.make_source(config)
    config.data.dataset = ""
    with pytest.raises(
        UserError, match="has no dataset_info.json, and no data.dataset in it is named; prepare it first"
    ):
        data.make_source(config)


def test_a_set_has_one_picture_and_one_label(made, tmp_path):
    features = made / "features.json"
    described = json.loads(features.read_text())
    described["featuresDict"]["features"].pop("label")
    features.write_text(json.dumps(described))
    with pytest.raises(UserError, match="has 0 features that are labels, and one is needed"):
        opened(made)


class Bucket(MemoryFileSystem):
    """An object store in memory, under gs://."""

    protocol = ("gs", "gcs")
    store, pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("gs://", "memory://").replace("gcs://", "memory://"))


def test_a_set_is_prepared_from_and_to_an_object_store(all_pictures, all_made):
    """gs:// through epath and fsspec, as with a real bucket: the same files are written there as on a disk."""
    fsspec.register_implementation("gcs", Bucket, clobber=True)
    bucket = epath.Path("gs://bucket")
    for path in all_pictures.rglob("*.*"):
        target = bucket / "pictures" / str(path.relative_to(all_pictures))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    out = prepared(bucket / "pictures", bucket / "made")
    there = {path.name: path.read_bytes() for path in out.iterdir()}
    here = {path.name: path.read_bytes() for path in all_made.iterdir()}
    assert there.keys() == here.keys()
    assert all(there[name] == here[name] for name in here if name != stats.FILE)  # That file contains the paths.


def test_many_unreadable_records_in_a_row_stop_the_run(tmp_path):
    root = tmp_path / "p"
    (root / "a").mkdir(parents=True)
    for i in range(4):
        (root / f"a/{i}.png").write_bytes(encode(conftest.picture(0, i)))
    made = prepared(root, tmp_path / "made")
    source = tfds.open_tfds(config_of(made), "train")
    for shard in made.glob("*array_record*"):
        data_ = shard.read_bytes().replace(b"\x89PNG", b"\x89NOT")
        shard.write_bytes(data_)
    with pytest.raises(UserError, match="100 records in a row cannot be read, the first is record"):
        read_all(source)


def test_cropped_sets_are_read_without_decoding(all_small, monkeypatch):
    source = opened(all_small)
    monkeypatch.setattr("biggan_jax.data.picture.decode", None)
    assert read_all(source).images.shape == (72, 16, 16, 3)


def test_an_error_that_may_pass_stops_the_run(all_made):
    """Too many open files, here: an error that may pass must not change which images are seen."""
    source = opened(all_made)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    source._records  # noqa: B018  This raises the limit; it is lowered again below.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(UserError, match="cannot be read: .*Too many open files"):
            read_all(source)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_for_the_shards(all_made):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        read_all(opened(all_made))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 5 + 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pixels_of_another_shape_are_unreadable(all_small):
    source = opened(all_small)
    other = dataclasses.replace(source, fields=dataclasses.replace(source.fields, shape=(8, 8, 3)))
    with pytest.raises(UserError, match="100 records in a row cannot be read"):
        read_all(other)


def test_a_sample_is_not_taken_for_the_whole():
    found = stats.summary([0, 1] * 20, ["a", "b", "c"], of=1000)
    stats.refuse(found, conditional=True, batch_size=500, where="x")
    with pytest.raises(UserError, match="x has 1,000 images, fewer than one batch of 2,048"):
        stats.refuse(found, conditional=True, batch_size=2048, where="x")
    with pytest.raises(UserError, match="none of 3 records of x can be read; for example r1: bad"):
        stats.refuse(
            stats.summary([], ["a"], unreadable=["r1: bad", "r2", "r3"]), conditional=True, batch_size=1, where="x"
        )


def test_the_held_out_split_is_the_one_with_labels(made):
    """ImageNet has a split test, whose labels are all -1, and validation."""
    info = made / "dataset_info.json"
    described = json.loads(info.read_text())
    described["splits"] += [described["splits"][0] | {"name": name} for name in ("test", "validation")]
    info.write_text(json.dumps(described))
    for shard in made.glob("pictures-train*"):
        for name in ("test", "validation"):
            shutil.copy(shard, made / shard.name.replace("train", name))
    assert opened(made, "test").split == "validation"


def test_pictures_are_cropped_to_the_models_shape_and_channels(all_made, all_small):
    for made in (all_made, all_small):
        square = opened(made)
        gray = read_all(dataclasses.replace(square, shape=(16, 16, 1))).images
        luma = read_all(square).images @ np.array([0.299, 0.587, 0.114])
        assert gray.shape == (72, 16, 16, 1) and np.abs(gray[..., 0] - luma).max() <= 1
        assert read_all(dataclasses.replace(square, shape=(8, 16, 3))).images.shape == (72, 8, 16, 3)


def test_a_set_of_gray_pixels_is_read_in_colour_or_gray(all_small):
    small = opened(all_small)
    fields = dataclasses.replace(small.fields, shape=(16, 48, 1))  # The same 768 bytes.
    for shape in ((16, 16, 3), (16, 16, 1), (8, 24, 1), (40, 40, 3)):
        images = read_all(dataclasses.replace(small, fields=fields, shape=shape)).images
        assert images.shape == (72, *shape) and (images == images[..., :1]).all() and images.std() > 0


def test_content_hashes_of_square_sets_keep_their_text(all_small):
    """Hashes of shards and this text name cached references and stored scores."""
    source = opened(all_small)
    fields = "Fields(image='image', label='label', name='file_name', shape=(16, 16, 3))"
    assert source.pixel_format == f"16 area False {fields}"
    assert dataclasses.replace(source, shape=(16, 8, 3)).pixel_format == f"(16, 8, 3) area False {fields}"
