from tests.edit.conftest import sampler

__all__ = ["sampler"]
