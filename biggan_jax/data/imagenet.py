"""Prepare ImageNet from its two official tars with TFDS's builder, which needs TensorFlow."""

import importlib.util

from etils import epath

from biggan_jax.data.tfds import quiet
from biggan_jax.types import UserError

TARS = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def build(tars: epath.Path, out: epath.Path) -> epath.Path:
    """Prepare imagenet2012 as ArrayRecord under `out`; return the folder made there.

    One tar alone makes one split. Raises UserError if both are missing, or if TensorFlow is.
    """
    if not any((tars / name).exists() for name in TARS):
        raise UserError(f"--in={tars} has neither {' nor '.join(TARS)}; sign up at image-net.org to download them")
    missing = [name for name in ("tensorflow", "importlib_resources") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"TFDS needs {' and '.join(missing)} to prepare ImageNet, which is not installed: pip install -e '.[tf]'"
        )
    with quiet():
        import tensorflow_datasets as tfds
    try:
        builder = tfds.builder("imagenet2012", data_dir=out, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tars))
    except Exception as error:  # A damaged tar, a full disk, ...: TFDS has no exception type of its own.
        raise UserError(f"TFDS could not prepare {tars}: {' '.join(str(error).split())[:200]}") from error
    return epath.Path(builder.data_path)
