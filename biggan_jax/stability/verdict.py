"""Tell from a run's records whether it is healthy."""

from collections.abc import Sequence

from etils import epath

from biggan_jax import config
from biggan_jax.stability import rules
from biggan_jax.stability.history import Run


def verdict(run: Run, workdir: epath.PathLike) -> str:
    """Say whether the run in `workdir` is healthy at its last probe."""
    expected, own = settings(workdir)
    try:
        found = rules.evaluate(run.probes, expected, rules=own)
    except KeyError as error:
        return f"unknown: the probes of another version lack {error}"
    return f"not healthy: {found.sentence}" if found else "healthy, as far as the collapse monitor can tell"


def settings(workdir: epath.PathLike) -> tuple[Sequence[tuple[int, float]], tuple[rules.Rule, ...]]:
    """Return the scores that the run's config expects, and the rules for its data; without a config none, and those for images."""
    path = epath.Path(workdir) / "config.json"
    if not path.exists():
        return (), rules.RULES
    c = config.of_file(path)
    return config.expected_scores(c), rules.rules_of(c.model.get("image_shape", (0, 0, 3)))
