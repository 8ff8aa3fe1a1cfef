import pytest

from tests.launch.rig import Rig


@pytest.fixture
def rig(tmp_path):
    """rig(**how) is a Rig; what its cloud is still left with is ended afterwards."""
    rigs = []
    yield lambda **how: rigs.append(Rig(tmp_path, **how)) or rigs[0]
    for left in rigs:
        left.run("delete")
