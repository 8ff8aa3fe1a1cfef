"""Find a prepared set, by its TFDS name or its folder, and open it; prepare ImageNet with TFDS."""

import contextlib
import importlib.util
import io
import json
import os
from collections.abc import Iterator
from typing import Any

import ml_collections
from etils import epath

from biggan_jax.data import captions, domains, features, stats
from biggan_jax.data.dataset import has_clips, image_shape
from biggan_jax.data.raw import Corpus, Examples
from biggan_jax.data.records import Fields, Records
from biggan_jax.types import UserError

INFO = "dataset_info.json"  # The file that marks a folder as a set prepared by TFDS.
MOST_CAPTIONS = 8  # Captions of a picture that are read of a set without check.json.
IMAGENET_TARS = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def open_tfds(config: ml_collections.ConfigDict, split: str) -> Records:
    """Open the set `data.dataset` prepared under `data.dir`, or the set in the folder `data.dir` itself.

    split: train, or test for the split that the set holds out (validation or test). Raises UserError if the set is missing,
    not in ArrayRecord, incomplete, does not have one picture (or vector) and, for a model with classes, one label an example, or is
    of another kind than the model's data: vectors or another number of channels.
    """
    builder = find(config.data.dataset, config.data.dir)
    where, info = builder.data_path, builder.info
    if split == "test" and "validation" in info.splits:  # ImageNet has both; only validation has labels.
        split = "validation"
    if split not in info.splits:
        raise UserError(f"{where} has no split {split!r}; it has {', '.join(info.splits) or 'none'}")
    if (file_format := info.file_format.value) != "array_record":
        raise UserError(
            f"{where} is in the format {file_format}, which has no access by number; convert it once: "
            f"biggan-prepare --from=tfds --in={where} --out=NEW, then --config.data.dir=NEW"
        )
    files = tuple(file for file in info.splits[split].file_instructions if file.take)
    if not files:
        raise UserError(f"the split {split!r} of {where} has no images")
    there = {path.name for path in where.iterdir()}
    missing = [file.filename for file in files if epath.Path(file.filename).name not in there]
    if missing:
        raise UserError(f"{len(missing)} of {len(files)} shards are missing, the first is {missing[0]}")
    elsewhere = [file.filename for file in files if epath.Path(file.filename).parent != where]
    if elsewhere:
        raise UserError(f"{where} names a shard outside its folder: {elsewhere[0]}")
    keys = features.keys_of(config)
    fields = features.fields_of(info.features, where, keys, labelled=config.model.num_classes > 0)
    checked = checked_of(where)
    resize, first, frames = (checked.get("form", {}).get(key) for key in ("resize", "first", "frames"))
    first = int(first or 0)
    shape = domains.source_shape(config, first, where) if domains.has_two(config) else image_shape(config)
    if first and domains.has_two(config):
        shape = *shape[:2], fields.channels  # domains.of compares the channels of each picture.
    if first and shape[2:] != (fields.channels,):  # A family of single pictures may take both as one.
        domains.check_takes_pairs(config, where)
    _check_shape(fields, shape, where)
    _check_frames(fields, int(frames or 0), config, where)
    names = features.class_names(info.features, fields.label)
    if fields.shape and fields.channels and resize and resize != config.data.resize:
        by = f"{resize}, not by data.resize={config.data.resize}"
        raise UserError(f"{where} has pictures resized by {by}; give {resize}, or prepare it again")
    threads = config.data.threads or max(1, len(os.sched_getaffinity(0)) // max(1, config.data.workers))
    more: dict[str, Any] = {"resize": config.data.resize, "draft": config.data.draft, "threads": threads}
    more |= {"split": split, "class_names": names, "checked": checked.get(split), "first": first}
    if fields.captions and (length := captions.length_of(config)):
        most = (checked.get(split) or {}).get("captions", {}).get("each", [MOST_CAPTIONS])[-1]
        more |= {"caption_length": length, "most_captions": most}
    if fields.several and not captions.takes_conditions_of_images(config):
        what = f"{fields.several} conditions of each picture"
        raise UserError(f"{where} has {what}, and model.family {config.model.family} takes one; use text_to_image")
    return Records(files, fields, len(names), shape, **more)


def _check_shape(fields: Fields, shape: tuple[int, ...], where: epath.Path) -> None:
    """Raise UserError if a set cannot be read in the shape of the model's data."""
    if not fields.channels:
        if shape != fields.shape:
            raise UserError(f"{where} has vectors {fields.shape}, but this model's data have the shape {shape}")
    elif len(shape) != 3 or (fields.channels != shape[2] and not {fields.channels, shape[2]} <= {1, 3}):
        what = f"pictures of {fields.channels} channels"
        raise UserError(f"{where} has {what}, but this model's data have the shape {shape}; see model.image_shape")


def _check_frames(fields: Fields, frames: int, config: ml_collections.ConfigDict, where: epath.Path) -> None:
    """Raise UserError for clips that are not the model's, and for clips in place of pictures or the reverse."""
    model = config.model
    if not has_clips(config):
        if frames:
            what = f"clips of {frames} frames, and model.family {model.family} learns from single pictures"
            raise UserError(f"{where} has {what}; use model.family=vgan")
        return
    if not frames or not fields.shape:
        what = f"single pictures, and model.family {model.family} learns from clips"
        raise UserError(f"{where} has {what}; prepare some with biggan-prepare --from=clips")
    have = (frames, fields.shape[0] // frames, fields.shape[1])
    if have != (model.frames, *model.image_shape[:2]):
        sizes = [
            f"{count} frames of {height} x {width} pixels"
            for count, height, width in (have, (model.frames, *model.image_shape[:2]))
        ]
        raise UserError(
            f"{where} has clips of {sizes[0]}, but the model takes {sizes[1]}; set model.frames={frames} and "
            f"model.image_shape=({have[1]},{have[2]},{model.image_shape[2]}), or prepare others"
        )


def checked_of(where: epath.Path) -> dict[str, Any]:
    """Read a set's check.json: its form, if `prepare` made it, and a summary by split; {} if the file is missing."""
    path = where / stats.FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        way = "delete it, and a sample of the pictures is looked at in its place"
        raise UserError(f"{path} is damaged ({error}); {way}") from None
    return found


def corpus_of(folder: epath.Path, keys: features.Keys = features.Keys()) -> tuple[Corpus, int]:  # noqa: B008
    """Open a set that TFDS prepared, in any format, to prepare it again; return it and the length of its condition."""
    info = find("", str(folder)).info
    fields = features.fields_of(info.features, folder, keys, labelled=False)
    if fields.shape:
        raise UserError(f"{folder} has pictures that are already cropped and decoded; prepare from its original")
    of = lambda path: Examples(str(path), fields.image, fields.label, fields.name, condition=fields.condition_keys)
    splits = {name: [of(path) for path in split.filepaths] for name, split in info.splits.items()}
    return Corpus(features.class_names(info.features, fields.label), splits), fields.condition


_HOW = "; prepare it first: biggan-prepare --help"


def find(name: str, folder: str) -> Any:
    """Return the TFDS builder of a prepared set. Neither its files nor its name can make TFDS import or fetch code."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), _own_features_only():  # TFDS prints.
            import tensorflow_datasets as tfds
            from tensorflow_datasets.core import naming

            if folder and (epath.Path(folder) / INFO).exists():
                return tfds.builder_from_directory(folder)
            if not name:
                raise UserError(f"{folder or 'data.dir'} has no {INFO}, and no data.dataset in it is named{_HOW}")
            # TFDS would fetch and run the code of NAMESPACE:NAME, and other arguments could name other files.
            parsed, arguments = naming.parse_builder_name_kwargs(name)
            if parsed.namespace or arguments.keys() - {"config", "version"}:
                raise ValueError("only NAME, NAME/CONFIG and NAME:VERSION are allowed: they run TFDS's code alone")
            builder = tfds.builder(name, data_dir=folder or None)
            if not builder.data_path.exists():
                raise FileNotFoundError("nothing is prepared there")
            return builder
    except UserError:
        raise
    except Exception as error:  # TFDS raises many types: unknown, not prepared, not readable.
        what = " ".join(str(error).split())[:200]
        where = f"data.dir {folder or '~/tensorflow_datasets'}"
        raise UserError(f"data.dataset {name!r} cannot be read from {where} ({what}){_HOW}") from error


@contextlib.contextmanager
def _own_features_only() -> Iterator[None]:
    """Restrict the feature classes that a set's files may name to TFDS's own: TFDS imports whatever module they name."""
    import tensorflow_datasets as tfds

    connector = tfds.features.FeatureConnector
    original = vars(connector)["cls_from_name"]

    def own(cls, name: str) -> type:
        if not name.startswith("tensorflow_datasets.core.features."):
            raise ValueError(f"its files name the class {name[:80]!r}; only TFDS's own may be imported")
        return original.__func__(cls, name)

    connector.cls_from_name = classmethod(own)
    try:
        yield
    finally:
        connector.cls_from_name = original


def prepare_imagenet(tars: epath.Path, out: epath.Path) -> epath.Path:
    """Prepare imagenet2012 from its official tars as ArrayRecord under `out`; return the folder made there.

    One tar alone makes one split. Raises UserError if both are missing, or if TensorFlow is.
    """
    if not any((tars / name).exists() for name in IMAGENET_TARS):
        raise UserError(f"--in={tars} has neither {' nor '.join(IMAGENET_TARS)}; sign up at image-net.org to get them")
    missing = [name for name in ("tensorflow", "importlib_resources") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"TFDS needs {' and '.join(missing)} to prepare ImageNet: pip install -e '.[tf]'")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import tensorflow_datasets as tfds
        builder = tfds.builder("imagenet2012", data_dir=out, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tars))
    except Exception as error:  # A damaged tar, a full disk, ...: TFDS has no exception type of its own.
        raise UserError(f"TFDS could not prepare {tars}: {' '.join(str(error).split())[:200]}") from error
    return epath.Path(builder.data_path)
