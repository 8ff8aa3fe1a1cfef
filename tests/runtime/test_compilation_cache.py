"""Where compiled programs are kept by default."""

import logging

import jax
import pytest

from biggan_jax.runtime import compilation_cache


@pytest.fixture
def settings(monkeypatch, tmp_path, caplog):
    """JAX's settings as in a process without variables, and an empty cache; changes are undone."""
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", "jax_enable_compilation_cache")}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path / "cache"))
    logging.getLogger("biggan_jax").propagate = True
    caplog.set_level(logging.INFO, "biggan_jax")
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_cache_and_it_is_said_once(settings, tmp_path, caplog):
    compilation_cache.enable()
    folder = jax.config.jax_compilation_cache_dir
    assert folder.startswith(str(tmp_path / "cache" / "compiled"))
    assert f"compiled programs are kept in {folder}" in caplog.text
    assert "JAX_ENABLE_COMPILATION_CACHE=false turns this off" in caplog.text
    jax.config.update("jax_compilation_cache_dir", None)
    caplog.clear()
    compilation_cache.enable()
    assert jax.config.jax_compilation_cache_dir == folder and not caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("jax_compilation_cache_dir", "elsewhere"), ("jax_enable_compilation_cache", False)]
)
def test_settings_of_jax_are_kept(settings, tmp_path, name, value):
    jax.config.update(name, value)
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.enable()
    assert jax.config.jax_compilation_cache_dir == before and not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_used_is_named_and_ends_nothing(settings, tmp_path, caplog):
    (tmp_path / "cache").write_text("")
    compilation_cache.enable()
    assert jax.config.jax_compilation_cache_dir is None and "compiled programs are not kept" in caplog.text


def test_a_cache_in_an_object_store_leaves_programs_on_this_machine(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", "gs://bucket/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compilation_cache.enable()
    assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / "biggan_jax" / "compiled"))
