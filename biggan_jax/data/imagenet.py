"""Owns making ImageNet of its two official tars, by TFDS's own builder, which needs TensorFlow. Must not read images."""

import importlib.util

from etils import epath

from biggan_jax.data.tfds import quiet
from biggan_jax.types import UserError

TARS = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def build(tars: epath.Path, out: epath.Path) -> epath.Path:
    """Prepares imagenet2012 as ArrayRecord under `out`, and returns its own folder there.

    Either tar alone makes its own split. Raises UserError if both are missing, or TensorFlow.
    """
    there = [name for name in TARS if (tars / name).exists()]
    if not there:
        raise UserError(
            f"--in={tars} has neither {' nor '.join(TARS)}: they come from image-net.org, for those who sign up"
        )
    missing = [name for name in ("tensorflow", "importlib_resources") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"TFDS prepares ImageNet with {' and '.join(missing)}, which is not installed: pip install -e '.[tf]'"
        )
    with quiet():
        import tensorflow_datasets as tfds
    try:
        builder = tfds.builder("imagenet2012", data_dir=out, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tars))
    except Exception as error:  # A damaged tar, a full disk, ...: TFDS has no type of its own.
        raise UserError(f"TFDS could not prepare {tars}: {' '.join(str(error).split())[:200]}") from error
    return epath.Path(builder.data_path)
