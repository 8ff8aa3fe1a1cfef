"""Serve a local page that draws from a checkpoint, by biggan-explore or python -m biggan_jax.tools.app:

biggan-explore --checkpoint=DIR [--port=N] [--open]

The page is reachable from this machine only. From another one: `ssh -L 8000:localhost:8000 HOST`, then the same address.
"""

from absl import flags

from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, paths
from biggan_jax.runtime import cli

PORT = flags.DEFINE_integer("port", 8000, "Port of the page; 0: any free one.", 0, 65535)
OPEN = flags.DEFINE_bool("open", False, "Open the page in this machine's browser.")
NAMES = cli.define_path(
    "class_names", None, "Text file with one class name per line. Default: the training data's names."
)
flags.set_default(drawing.PASSES, 4)


def check() -> None:
    if not drawing.CHECKPOINT.value:
        raise UserError("--checkpoint is needed, such as --checkpoint=runs/demo")
    drawing.check()
    paths.check_inputs(NAMES)


parse = cli.flags_parser(__name__, check)
