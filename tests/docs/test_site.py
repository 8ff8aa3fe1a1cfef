"""The pages as a site, built by Sphinx (extra `docs`)."""

import os
import runpy
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ADDRESS = "https://forge.example/us/biggan_jax"
CONF = str(ROOT / "docs" / "conf.py")


@pytest.mark.docs
def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("sphinx", reason="the site is built with the extra docs: make test-docs installs it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "doctrees"), "docs"]
    environment = os.environ | {"REPOSITORY": ADDRESS}
    result = subprocess.run(
        [*command, str(tmp_path / "site")], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    design = (tmp_path / "site" / "design.html").read_text()
    assert f'href="{ADDRESS}/blob/main/biggan_jax/train_step.py"' in design
    assert 'href="numerics.html"' in design and "../biggan_jax" not in design


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", "`a.py`, configs and [numerics](numerics.md#parameters)"),
        (
            ADDRESS,
            f"[`a.py`]({ADDRESS}/blob/main/biggan_jax/a.py), [configs]({ADDRESS}/tree/main/configs) and "
            "[numerics](numerics.md#parameters)",
        ),
    ],
)
def test_links_to_code_lead_to_the_repository_if_known(monkeypatch, address, expected):
    monkeypatch.setenv("REPOSITORY", address)
    source = ["[`a.py`](../biggan_jax/a.py), [configs](../configs) and [numerics](numerics.md#parameters)"]
    runpy.run_path(CONF)["link_source"](None, "page", source)
    assert source == [expected]
