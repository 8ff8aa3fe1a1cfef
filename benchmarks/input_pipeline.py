"""Measure how fast images reach the device: `python benchmarks/input_pipeline.py [--images=2000] [--seconds=8] [--json=PATH]`.

Makes 500 x 375 JPEGs from two photographs, prepares them as a data set, and reads batches of 256 at 128 x 128 pixels: with
and without worker processes, cropped in advance, and, if TensorFlow is installed, by tf.data with TFDS. Each variant runs in
a process of its own. benchmarks/README.md explains the figures.
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from absl import app, flags
from PIL import Image

from biggan_jax.config import base
from biggan_jax.data import forms, loader, picture, prepare, raw, shards, tfds

IMAGES = flags.DEFINE_integer("images", 2000, "Images in the data set.", lower_bound=512)
SECONDS = flags.DEFINE_float("seconds", 8.0, "Seconds to time each variant for.", lower_bound=0.5)
JSON = flags.DEFINE_string("json", None, "Also write all figures to this file.")
ONE = flags.DEFINE_string("one", None, "Internal: the variant to time in this process.")
FOLDER = flags.DEFINE_string("folder", None, "Internal: the folder of the data sets.")

RESOLUTION, BATCH = 128, 256

VARIANTS = {
    "ours": {},
    "ours, 1 worker": {"workers": 1},
    "ours, 2 workers": {"workers": 2},
    "ours, draft": {"draft": True},
    "ours, cropped beforehand": {"set": "cropped"},
    "ours, cropped beforehand, 2 workers": {"set": "cropped", "workers": 2},
    "tf.data, antialiased": {"tensorflow": "bilinear"},
    "tf.data, area": {"tensorflow": "area"},
}

POD_IMAGES, POD_STEPS = 4096 / 16, (5.0, 7.5)
"""Images per step and host of a v4-128 (two D updates of 2048 images over 16 hosts), and steps per second."""


def main(_) -> None:
    if ONE.value:
        print(json.dumps(time_one(VARIANTS[ONE.value])))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_sets(pathlib.Path(folder))
        report = {"images": IMAGES.value, "bytes_per_image": bytes_per_image(pathlib.Path(folder)), "ways": {}}
        for name, variant in VARIANTS.items():
            if "tensorflow" in variant and not has_tensorflow():
                print(f"{name}: TensorFlow is not installed")
                continue
            command = [sys.executable, __file__, f"--one={name}", f"--folder={folder}", f"--seconds={SECONDS.value}"]
            out = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ).stdout
            report["ways"][name] = row = json.loads(out.splitlines()[-1])
            print(
                f"{name:36} {row['images_per_second']:8.0f} images/s {row['images_per_cpu_second']:8.0f} per CPU second, "
                f"{row['from_lanczos']:.2f} grey levels from Pillow's Lanczos",
                flush=True,
            )
        report["cores_per_host"] = cores_per_host(report["ways"])
        report["overlap"] = overlap(pathlib.Path(folder))
    print(json.dumps({key: report[key] for key in ("bytes_per_image", "cores_per_host", "overlap")}, indent=1))
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(report, indent=1) + "\n")


def make_sets(folder: pathlib.Path) -> None:
    """Write crops of two photographs as data sets of two classes: complete, cropped in advance, and TFRecord for tf.data."""
    rng = np.random.default_rng(0)
    for name in ("china", "flower"):
        photo = Image.open(photograph(f"{name}.jpg"))
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(IMAGES.value // 2):
            width = int(rng.integers(380, 560))
            height = width * 3 // 4
            x, y = rng.integers(photo.width - width + 1), rng.integers(photo.height - height + 1)
            part = photo.resize((500, 375), Image.Resampling.BICUBIC, (x, y, x + width, y + height))
            part.save(folder / "pictures" / name / f"{i:05}.jpg", quality=95)
    with prepare.workers(len(os.sched_getaffinity(0))) as parallel:
        found = raw.folder(folder / "pictures", held_out=0, per_part=500)
        shards.prepare(found, folder / "photos", "photos", forms.Form(), parallel)
        shards.prepare(found, folder / "cropped", "photos", forms.Form(RESOLUTION), parallel)
    if has_tensorflow():
        as_tfrecord(folder / "photos", folder / "tfrecord")


def bytes_per_image(folder: pathlib.Path) -> int:
    files = list((folder / "pictures").rglob("*.jpg"))
    return sum(file.stat().st_size for file in files) // len(files)


def photograph(name: str) -> pathlib.Path:
    import sklearn

    return pathlib.Path(sklearn.__file__).parent / "datasets" / "images" / name


def as_tfrecord(made: pathlib.Path, out: pathlib.Path) -> None:
    import tensorflow as tf

    out.mkdir()
    for path in made.iterdir():
        target = out / path.name.replace("array_record", "tfrecord")
        if "array_record" not in path.name:
            target.write_text(path.read_text().replace("array_record", "tfrecord"))
            continue
        with tf.io.TFRecordWriter(str(target)) as writer:
            for record in raw.read_records(str(path)):
                writer.write(record)


def time_one(variant: dict) -> dict[str, float]:
    folder = pathlib.Path(FOLDER.value)
    batches = by_tensorflow(folder, variant["tensorflow"]) if "tensorflow" in variant else by_ours(folder, **variant)
    with batches as stream:
        for _ in range(4):  # Until the prefetch buffer is full and all workers run.
            images = next(stream)
        began, cpu, count = time.perf_counter(), cpu_seconds(), 0
        while time.perf_counter() - began < SECONDS.value:
            images = next(stream)
            count += len(images)
        wall, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    return {
        "images_per_second": count / wall,
        "images_per_cpu_second": count / cpu,
        "from_lanczos": from_lanczos(folder, variant),
    }


@contextlib.contextmanager
def by_ours(folder: pathlib.Path, *, set: str = "photos", workers: int = 0, draft: bool = False) -> Iterator:
    make = loader.HostBatches(source(folder, set, workers, draft), 0, 0, 1, BATCH, flip=True, crop="center")
    with loader.read_ahead(make, lambda batch: batch["image"][0], 0, 10**6, workers=workers, limit=0) as stream:
        yield stream


def source(folder: pathlib.Path, set: str, workers: int = 0, draft: bool = False):
    config = base()
    config.model.resolution = RESOLUTION
    config.data.dir, config.data.workers, config.data.draft = str(folder / set), workers, draft
    return tfds.open_tfds(config, "train")


@contextlib.contextmanager
def by_tensorflow(folder: pathlib.Path, how: str) -> Iterator:
    import tensorflow as tf
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(folder / "tfrecord")
    stream = builder.as_dataset(
        "train", shuffle_files=True, decoders={"image": tensorflow_datasets.decode.SkipDecoding()}
    )

    def image(example):
        small = crop_and_resize(tf, example["image"], how)
        return tf.image.random_flip_left_right(small)

    stream = stream.repeat().shuffle(512).map(image, num_parallel_calls=tf.data.AUTOTUNE)
    yield stream.batch(BATCH).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def crop_and_resize(tf, encoded, how: str):
    height, width = tf.unstack(tf.io.extract_jpeg_shape(encoded)[:2])
    size = tf.minimum(height, width)
    window = tf.stack([(height - size) // 2, (width - size) // 2, size, size])
    square = tf.image.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")
    shape = (RESOLUTION, RESOLUTION)
    small = tf.image.resize(square, shape, how, antialias=how != "area")
    return tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8)


def from_lanczos(folder: pathlib.Path, variant: dict) -> float:
    """Return the mean absolute difference from Pillow's full decoding and Lanczos, in grey levels, over 64 images."""
    photos = source(folder, "photos")
    read = source(folder, variant.get("set", "photos"), draft=variant.get("draft", False))
    differences = []
    for number in range(64):
        encoded = photos.example(number).features.feature["image"].bytes_list.value[0]
        whole = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        expected = picture.resize(picture.crop(whole), (RESOLUTION, RESOLUTION), "lanczos").astype(int)
        if "tensorflow" in variant:
            import tensorflow as tf

            got = crop_and_resize(tf, encoded, variant["tensorflow"]).numpy()
        else:
            got = read.read(np.array([number]), np.array([0.5])).images[0]
        differences.append(np.abs(got - expected).mean())
    return float(np.mean(differences))


def cpu_seconds() -> float:
    """Return the CPU time of this process and its running descendants."""
    children, used = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            children.setdefault(int(fields[1]), []).append(pid)
            used[pid] = int(fields[11]) + int(fields[12])
    total, left = 0, [os.getpid()]
    while left:
        pid = left.pop()
        total += used.get(pid, 0)
        left += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


def cores_per_host(ways: dict) -> dict[str, list[float]]:
    """Return the cores that a host of a v4-128 needs at 5 and at 7.5 steps per second, by variant."""
    return {
        name: [round(POD_IMAGES * steps / row["images_per_cpu_second"], 2) for steps in POD_STEPS]
        for name, row in ways.items()
    }


def overlap(folder: pathlib.Path) -> dict[str, float]:
    """Return the step time with real data relative to that with a ready batch; a step sleeps as long as a device would compute."""
    with by_ours(folder, set="cropped") as stream:
        for _ in range(4):
            next(stream)
        began = time.perf_counter()
        for _ in range(20):
            next(stream)
        alone = (time.perf_counter() - began) / 20
    step = 2 * alone  # Half the pipeline's rate.

    def steps(fetch) -> float:
        began = time.perf_counter()
        for _ in range(40):
            fetch()
            time.sleep(step)
        return (time.perf_counter() - began) / 40

    fake = steps(lambda: None)
    with by_ours(folder, set="cropped") as stream:
        for _ in range(4):
            next(stream)
        real = steps(lambda: next(stream))
    return {"batch_seconds": alone, "step_seconds_fake": fake, "step_seconds_real": real, "ratio": real / fake}


def has_tensorflow() -> bool:
    import importlib.util

    return importlib.util.find_spec("tensorflow") is not None


if __name__ == "__main__":
    app.run(main)
