"""Settings that a fine-tuned run does not inherit: those that belong to the earlier run's data set."""

from collections.abc import Collection

import ml_collections

from biggan_jax.config.defaults import table
from biggan_jax.config.keys import flatten
from biggan_jax.config.loading import of_run

OF_A_SET = (
    *("data.image_key", "data.label_key", "data.condition_key"),
    *("data.flip", "data.balance", "data.unreadable_limit"),
)
"""Keys whose values fit one data set: names of its features, whether mirrored pictures are real, counts and damage."""

WHERE = "data.dataset", "data.dir"
"""Keys that name a set within data.name."""


def drop_data_settings(config: ml_collections.ConfigDict, given: Collection[str]) -> str:
    """Reset the inherited settings of the data set of config.init_from, in place, where the new run has another data set.

    given: dotted keys that the user has set, which stay. Returns a sentence about what changed, "" if nothing did.
    """
    before, now = (flatten(c.to_dict()) for c in (of_run(config.init_from), config))
    differs = [key for key in ("data.name", *WHERE) if before[key] != now[key]]
    if not differs:
        return ""
    keys = table(config.model.family)
    inherited = [*OF_A_SET, *WHERE] if "data.name" in differs else OF_A_SET
    reset = {key: keys[key].default for key in inherited if key not in given and now[key] != keys[key].default}
    config.update_from_flattened_dict(reset)
    values = ", ".join(f"{key}={now[key]}" for key in reset)
    what = (
        f"{values}: not inherited from {config.init_from}, since {differs[0]} differs; give what holds for the new data"
    )
    return what if reset else ""
