import numpy as np
import pytest

from biggan_jax.losses import LOSSES


def test_hinge_asks_for_a_margin_of_one_and_no_more():
    real, fake = np.array([2.0, 0.5, -1.0]), np.array([-3.0, 0.0, 1.0])
    real_loss, fake_loss = LOSSES["hinge"].discriminator(real, fake)
    assert float(real_loss) == pytest.approx((0 + 0.5 + 2) / 3)
    assert float(fake_loss) == pytest.approx((0 + 1 + 2) / 3)
    assert float(LOSSES["hinge"].generator(fake)) == pytest.approx(2 / 3)
