"""Run a notebook as a reader does: in its own kernel, in an empty folder, cell by cell.

This module does not import the package, because in Colab's environment the notebook installs it.
"""

import base64
import contextlib
import os
import pathlib
import sys

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parent.parent.parent

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # One device, as in Colab. Compiled programs run only a few times, so less optimisation saves time.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "BIGGAN_JAX_CACHE": str(ROOT / ".cache" / "biggan_jax"),
    # Commands in cells run with this Python. google.colab is a stand-in; so is TensorFlow, which nothing may import.
    "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(pathlib.Path(__file__).parent / "stand_in"),
}


class Running(NotebookClient):
    """A notebook with its kernel. updates: how often a displayed output was replaced."""

    updates = 0

    def process_message(self, msg, cell, cell_index):
        self.updates += msg["msg_type"] == "update_display_data"
        return super().process_message(msg, cell, cell_index)

    def run(self, until=None):
        """Run all cells in order, or those before the tag `until`. Raises the error of a cell."""
        for index, cell in enumerate(self.nb.cells):
            if until in cell.metadata.get("tags", ()):
                return
            self.execute_cell(cell, index)

    def cell(self, tag):
        """Return the cell with that tag and its index."""
        return next((c, i) for i, c in enumerate(self.nb.cells) if tag in c.metadata.get("tags", ()))

    def evaluate(self, code):
        """Run the code in an additional cell and return what it prints."""
        self.nb.cells.append(nbformat.v4.new_code_cell(code))
        self.execute_cell(self.nb.cells[-1], len(self.nb.cells) - 1)
        return said(self.nb.cells.pop())

    def move(self, widget, value):
        """Move a slider as the page does: by a message to the kernel. widget: the name of its variable."""
        model = self.evaluate(f"print({widget}.model_id)").strip()
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        self.kc.session.send(self.kc.shell_channel.socket, "comm_msg", {"comm_id": model, "data": data})


@contextlib.contextmanager
def opened(name, folder, **parameters):
    """Open a notebook to run in `folder`, with changed parameters; it installs this checkout's last commit."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    running = Running(notebook, timeout=500, resources={"metadata": {"path": str(folder)}})
    parameters |= {"SOURCE": f"git+file://{ROOT}"}
    cell, _ = running.cell("parameters")
    unknown = [name for name in parameters if f"\n{name} = " not in f"\n{cell.source}"]
    assert not unknown
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    folder.mkdir(exist_ok=True)
    with running.setup_kernel(env=os.environ | ENVIRONMENT):
        yield running


def said(cell):
    """Return all text that a cell printed or displayed."""
    shown = [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in cell.get("outputs", ())) + "\n".join(shown)


def pictures(cell):
    """Return the PNG images that a cell displays."""
    shown = (output.get("data", {}).get("image/png") for output in cell.get("outputs", ()))
    return [base64.b64decode(data) for data in shown if data]
