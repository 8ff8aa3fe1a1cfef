"""The pages as a site. Sphinx, of the extra `docs`, builds them."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.docs
def test_the_site_is_built_without_a_warning_and_links_to_code_lead_to_the_forge(tmp_path):
    pytest.importorskip("sphinx", reason="the site is built with the extra docs: make test-docs installs it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "doctrees"), "docs"]
    result = subprocess.run([*command, str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    design = (tmp_path / "site" / "design.html").read_text()
    assert 'href="https://github.com/OWNER/biggan_jax/blob/main/biggan_jax/train_step.py"' in design
    assert 'href="numerics.html"' in design and "../biggan_jax" not in design
