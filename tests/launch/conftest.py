import pytest

from tests.launch.rig import Rig


@pytest.fixture
def rig(tmp_path):
    """rig(**options) makes a Rig; its slice is deleted at the end of the test."""
    rigs = []
    yield lambda **options: rigs.append(Rig(tmp_path, **options)) or rigs[0]
    for left in rigs:
        left.run("delete")
