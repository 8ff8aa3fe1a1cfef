"""Find the model that a path or a name means: a run's, an exported one, one in the package or on the Hugging Face hub."""

import re

from etils import epath

from biggan_jax.checkpoint.exported import FILES, is_exported
from biggan_jax.checkpoint.layout import find
from biggan_jax.runtime import pretrained
from biggan_jax.runtime.files import expand_home, is_remote
from biggan_jax.types import UserError

HUB = "hf://"
HUB_NAME = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+?)/?(?:@(?P<revision>[\w./-]+))?")


def locate(path: epath.PathLike) -> epath.Path:
    """Return the folder of a checkpoint's step, as `find` does, or of an exported model.

    path: a workdir, a checkpoints folder, a step or an exported model; the name of a model in the package, such as digits, if
    no file has this name; or hf://OWNER/NAME[@REVISION], which is downloaded. Raises UserError.
    """
    name = str(path)
    if name.startswith(HUB):
        return download(name)
    folder = epath.Path(expand_home(name)).absolute()
    if is_exported(folder):
        return folder
    if is_remote(folder) or "/" in name or folder.exists():
        return find(path)
    models = pretrained.packaged()
    if name not in models:
        raise pretrained.missing(folder, name)
    return models[name]


def download(name: str) -> epath.Path:
    """Download the exported model hf://OWNER/NAME[@REVISION] into the hub's cache; return its folder. Raises UserError."""
    match = HUB_NAME.fullmatch(name)
    if not match:
        raise UserError(
            f"{name} is not the name of a model on the hub, which is hf://OWNER/NAME or hf://OWNER/NAME@TAG"
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(f"{name} needs huggingface_hub: pip install 'biggan-jax[hub]'") from error
    try:
        found = huggingface_hub.snapshot_download(match["repo"], revision=match["revision"], allow_patterns=list(FILES))
    except Exception as error:  # Of any type: those of the hub, of its HTTP library, OSError.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        how = "check the name and the network, or copy the model's folder here and give that"
        raise UserError(f"{name} cannot be downloaded: {reason:.300}; {how}") from error
    folder = epath.Path(found)
    if not is_exported(folder):
        raise UserError(f"{name} has no model that `biggan-export model` wrote: it lacks {' and '.join(FILES)}")
    return folder
