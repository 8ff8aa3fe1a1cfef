"""Owns finding a prepared set, by TFDS's name or by folder, and what its features are. Must not read images."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import stats
from biggan_jax.data.raw import Corpus, Examples
from biggan_jax.data.records import Fields, Records
from biggan_jax.types import UserError

INFO = "dataset_info.json"
"""The file that makes a folder a prepared set of TFDS."""


def open_tfds(config: ml_collections.ConfigDict, split: str) -> Records:
    """The set `data.dataset` prepared under `data.dir`, or the one in the folder `data.dir` itself.

    `split` is train, or test: whatever the set holds out (validation or test). Raises UserError if it is not there, not
    ArrayRecord, lacks a shard, or has no picture with one label.
    """
    builder = find(config.data.dataset, config.data.dir)
    where = builder.data_path
    info = builder.info
    if split == "test" and "validation" in info.splits:  # Where there are both, as in ImageNet, labels are there.
        split = "validation"
    if split not in info.splits:
        raise UserError(f"{where} has no split {split!r}; it has {', '.join(info.splits) or 'none'}")
    if (form := builder.info.file_format.value) != "array_record":
        raise UserError(
            f"{where} is prepared as {form}, which cannot be read by number; convert it once: "
            f"python -m biggan_jax.data.prepare --from=tfds --in={where} --out=NEW, then --config.data.dir=NEW"
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
        raise UserError(f"{where} names a shard that is not in it: {elsewhere[0]}")
    fields = fields_of(info.features, where)
    label = info.features[fields.label]
    checked = checked_of(where)
    form = checked.get("form", {})
    if fields.shape and form and form["resize"] != config.data.resize:
        raise UserError(
            f"{where} holds pictures resized by {form['resize']}, not by data.resize={config.data.resize}; "
            f"give --config.data.resize={form['resize']}, or prepare it again"
        )
    return Records(
        files,
        fields,
        label.num_classes,
        config.model.resolution,
        config.data.resize,
        config.data.draft,
        split=split,
        class_names=tuple(label.names),
        checked=checked.get(split),
        threads=config.data.threads or max(1, len(os.sched_getaffinity(0)) // max(1, config.data.workers)),
    )


def checked_of(where: epath.Path) -> dict[str, Any]:
    """What is known of all of a set: its form, if `prepare` made it, and by split what it holds."""
    try:
        return json.loads((where / stats.FILE).read_text()) if (where / stats.FILE).exists() else {}
    except ValueError as error:
        raise UserError(f"{where / stats.FILE} is damaged ({error}); delete it") from error


def corpus_of(folder: epath.Path) -> Corpus:
    """A set that TFDS prepared, in whatever format, as something to prepare again."""
    builder = find("", str(folder))
    features = builder.info.features
    fields = fields_of(features, folder)
    if fields.shape:
        raise UserError(f"{folder} holds pictures cropped and decoded already; prepare from what it was made of")
    splits = {
        split: [Examples(str(path), fields.image, fields.label, fields.name) for path in info.filepaths]
        for split, info in builder.info.splits.items()
    }
    return Corpus(tuple(features[fields.label].names), splits)


def find(name: str, folder: str) -> Any:
    """The TFDS builder of a prepared set. Neither its files nor its name can make TFDS import or fetch code. Raises UserError."""
    with quiet():
        import tensorflow_datasets as tfds
    try:
        with quiet(), _own_features_only(tfds.features.FeatureConnector):
            if folder and (epath.Path(folder) / INFO).exists():
                return tfds.builder_from_directory(folder)
            if not name:
                raise FileNotFoundError(f"it has no {INFO}, and data.dataset is empty")
            _refuse_code_from_elsewhere(name)
            builder = tfds.builder(name, data_dir=folder or None)
            if not builder.data_path.exists():
                raise FileNotFoundError("nothing is prepared there")
    except Exception as error:  # What goes wrong here has no common type: not known, not prepared, not readable.
        what = " ".join(str(error).split())[:200]
        raise UserError(
            f"data.dataset {name!r} cannot be read from data.dir {folder or '~/tensorflow_datasets'} ({what}); "
            "prepare it first: python -m biggan_jax.data.prepare --help"
        ) from error
    return builder


OWN_FEATURES = "tensorflow_datasets.core.features."


@contextlib.contextmanager
def _own_features_only(connector: Any) -> Iterator[None]:
    """To find a feature's class, TFDS imports whatever module a set's files name: only its own may be named."""
    looks_up = vars(connector)["cls_from_name"]

    def own(cls, name: str) -> type:
        if not name.startswith(OWN_FEATURES):
            raise ValueError(
                f"its files name the class {name[:80]!r}, which would be imported and so run; only TFDS's own are"
            )
        return looks_up.__func__(cls, name)

    connector.cls_from_name = classmethod(own)
    try:
        yield
    finally:
        connector.cls_from_name = looks_up


def _refuse_code_from_elsewhere(name: str) -> None:
    """NAMESPACE:NAME is a set whose code TFDS would fetch and run; other arguments than a config and a version, code's own."""
    from tensorflow_datasets.core import naming

    parsed, arguments = naming.parse_builder_name_kwargs(name)
    if parsed.namespace or arguments.keys() - {"config", "version"}:
        raise ValueError(
            "only NAME, NAME/CONFIG and NAME:VERSION are read, which run nothing that is not installed with TFDS"
        )


def fields_of(features: Any, where: epath.Path) -> Fields:
    """Which of a set's features are the picture, its label and its name. Raises UserError if that is not clear."""
    import tensorflow_datasets as tfds

    def only(what: str, chosen: list[str]) -> str:
        if len(chosen) != 1:
            raise UserError(f"{where} has {len(chosen)} features that are {what}, and one is needed: {list(features)}")
        return chosen[0]

    is_picture = lambda f: len(f.shape or ()) == 3 and f.shape[-1] == 3 and np.dtype(f.np_dtype) == np.uint8
    image = only("pictures", [n for n, f in features.items() if is_picture(f)])
    label = only("labels", [n for n, f in features.items() if isinstance(f, tfds.features.ClassLabel)])
    names = [n for n, f in features.items() if isinstance(f, tfds.features.Text) and "name" in n]
    if isinstance(features[image], tfds.features.Image):
        shape = None
    else:
        shape = tuple(features[image].shape)
        # TFDS has no public name for how a tensor is stored.
        if None in shape or getattr(features[image], "_encoding", None) != tfds.features.Encoding.BYTES:
            raise UserError(f"{where} keeps pixels in a form that is not read here: shape {shape}, and not plain bytes")
    return Fields(image, label, names[0] if names else None, shape)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what TFDS prints while it is imported and looks around."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
