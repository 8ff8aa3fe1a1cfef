"""Settings of the property tests: quick and deterministic; random and longer with HYPOTHESIS_PROFILE=deep.

Also the strategy `damaged`: bytes are flipped, removed, inserted or copied from elsewhere.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

slow_data = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=100, derandomize=True, database=None, **slow_data)
settings.register_profile("deep", max_examples=20_000, **slow_data)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@st.composite
def damaged(draw, wholes: list[bytes]) -> bytes:
    """Draw one of `wholes` with a few changes."""
    found = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 6))):
        how = draw(st.sampled_from(["flip", "flip", "cut", "insert", "splice", "repeat", "overwrite"]))
        at = draw(st.integers(0, len(found)))
        end = min(len(found), at + draw(st.integers(1, 64)))
        if how == "flip" and at < len(found):
            found[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del found[at:]
        elif how == "insert":
            found[at:at] = draw(st.binary(max_size=16))
        elif how == "splice":
            other = draw(st.sampled_from(wholes))
            found[at:end] = other[draw(st.integers(0, len(other))) :][:64]
        elif how == "repeat":
            found[at:at] = found[at:end] * draw(st.integers(1, 20))
        elif how == "overwrite":
            # Values that stress lengths and counts: all bits set, none, only the highest.
            found[at : at + 4] = draw(
                st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80"])
            )
    return bytes(found)
