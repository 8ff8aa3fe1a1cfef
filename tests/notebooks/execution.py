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
    # One device, as in Colab; what is compiled here runs a few times only.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "BIGGAN_JAX_CACHE": str(ROOT / ".cache" / "biggan_jax"),
    # The commands that cells give are this Python's; google.colab is a stand-in, and so is a TensorFlow that nobody should import.
    "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(pathlib.Path(__file__).parent / "stand_in"),
}


class Running(NotebookClient):
    """A notebook with its kernel. updates: how often what some cell had shown was replaced."""

    updates = 0

    def process_message(self, msg, cell, cell_index):
        self.updates += msg["msg_type"] == "update_display_data"
        return super().process_message(msg, cell, cell_index)

    def run(self, until=None):
        """All cells in turn, or those before the one with the tag `until`. Raises what a cell raises."""
        for index, cell in enumerate(self.nb.cells):
            if until in cell.metadata.get("tags", ()):
                return
            self.execute_cell(cell, index)

    def cell(self, tag):
        """The cell with that tag, and its place."""
        return next((c, i) for i, c in enumerate(self.nb.cells) if tag in c.metadata.get("tags", ()))

    def evaluate(self, code):
        """What the code prints, in one more cell."""
        self.nb.cells.append(nbformat.v4.new_code_cell(code))
        self.execute_cell(self.nb.cells[-1], len(self.nb.cells) - 1)
        return said(self.nb.cells.pop())

    def move(self, widget, value):
        """Moves a slider as the page does: by a message to the kernel. widget: its variable."""
        model = self.evaluate(f"print({widget}.model_id)").strip()
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        self.kc.session.send(self.kc.shell_channel.socket, "comm_msg", {"comm_id": model, "data": data})


@contextlib.contextmanager
def opened(name, folder, **parameters):
    """The notebook of that name, ready to run in `folder`, its parameters changed; it installs this checkout's last commit."""
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
    """All that a cell printed or showed as text."""
    shown = [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in cell.get("outputs", ())) + "\n".join(shown)


def pictures(cell):
    """The PNG files that a cell shows."""
    shown = (output.get("data", {}).get("image/png") for output in cell.get("outputs", ()))
    return [base64.b64decode(data) for data in shown if data]
