"""Open the real images that samples are evaluated against."""

import numpy as np
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.data.dataset import Images, Source
from biggan_jax.runtime import files
from biggan_jax.types import UserError


def open_reference(name: str, config, size: int) -> tuple[Source, str]:
    """Open real images and describe them.

    Args:
        name: train or test, of the config's data; the folder of a prepared set; or an .npz.
        config: of the model's data, or None.
        size: pixels that a prepared set is resized to.
    """
    if name in ("train", "test"):
        if config is None:
            raise UserError(
                f"--npz needs --reference=FILE.npz or FOLDER, or --config with the data whose {name} split to use"
            )
        source = data.make_source(config, name)
        is_folder = config.data.name == "tfds" and not config.data.dataset
        title = epath.Path(config.data.dir).name if is_folder else config.data.dataset or config.data.name
        return source, f"{title} {name}, {config.model.resolution} px, resized by {config.data.resize}"
    path = epath.Path(name)
    if path.suffix == ".npz":
        return read_images(path, "--reference"), path.name
    config = configs.base() if config is None else config.copy_and_resolve_references()
    with config.unlocked():
        config.data.name, config.data.dataset, config.data.dir = "tfds", "", name
        config.model.resolution = size
    return data.open_tfds(config, "train"), f"{path.name} train, {size} px, resized by {config.data.resize}"


def read_images(path: epath.Path, flag: str) -> Images:
    """Read arr_0 of an .npz as a source, with labels if it has y or arr_1, else with 0 classes. Raises UserError."""
    arrays = files.read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{flag}={path} has the arrays {', '.join(arrays)}; arr_0 is needed")
    images, labels = arrays["arr_0"], arrays.get("y", arrays.get("arr_1", np.zeros(0, np.int32)))
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8 or not len(images):
        raise UserError(
            f"{flag}={path}: arr_0 is {images.dtype} {list(images.shape)}; give uint8 [N, H, W, 3], or [N, H, W, 1] if grey"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        return Images(images, np.zeros(len(images), np.int32), 0)
    return Images(images, labels.astype(np.int32), int(labels.max()) + 1)
