"""The stability command: what a run's looks say of it, as pictures and tables.

python -m biggan_jax.stability --workdir=runs/demo [--out=DIR]     # spectra, signals and events of a run
python -m biggan_jax.stability --checkpoint=runs/demo              # the singular values of one checkpoint
"""

import jax
from absl import flags
from etils import epath

from biggan_jax import config
from biggan_jax.checkpoint import find, load_state
from biggan_jax.runtime import cli
from biggan_jax.stability import history, plot, rules, tables
from biggan_jax.stability.spectra import top_singular_values
from biggan_jax.types import UserError

WORKDIR = flags.DEFINE_string("workdir", None, "A run's folder, with the record of its looks.")
OUT = flags.DEFINE_string("out", None, "The folder for the pictures. Default: stability/ in the run's folder.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Instead: a checkpoint, whose singular values are worked out and printed."
)
ROWS = flags.DEFINE_integer("rows", 10, "Weights of each player in the table, those that grew most.", lower_bound=1)


def main() -> None:
    if bool(WORKDIR.value) == bool(CHECKPOINT.value):
        raise UserError("--workdir or --checkpoint is needed, not both, such as --workdir=runs/demo")
    if WORKDIR.value:
        of_run()
        return
    for flag in (OUT, ROWS):
        if flags.FLAGS[flag.name].present:
            raise UserError(
                f"--{flag.name} has no meaning with --checkpoint, of which a table of all weights is printed"
            )
    of_checkpoint()


def of_run() -> None:
    run = history.read(WORKDIR.value)
    out = epath.Path(OUT.value or epath.Path(WORKDIR.value) / "stability")
    try:
        paths = plot.draw(run, out)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error}") from error
    first, last = run.looks[0]["step"], run.looks[-1]["step"]
    print(f"{len(run.looks)} looks, steps {first} to {last}; at the last: {verdict(run)}")
    for player, letter in history.PLAYERS.items():
        if history.layers(run.looks, player):
            print(f"\n{letter}\n{tables.summary(run.looks, player, ROWS.value)}")
    print()
    for event in run.events:
        print(
            f"step {event['step']}: {event.get('sentence') or event.get('signal', 'event')}; {event.get('action', '')}"
        )
    print(f"pictures: {', '.join(str(path) for path in paths)}")


def verdict(run: history.Run) -> str:
    """What the guard makes of the last look, in words."""
    path = epath.Path(WORKDIR.value) / "config.json"
    expected = config.expected_scores(config.of_file(path)) if path.exists() else ()
    try:
        found = rules.judge(run.looks, expected)
    except KeyError as error:
        return f"the guard's rules miss {error}, which another version did not look at"
    return f"not well: {found.sentence}" if found else "well, as far as the guard's rules can tell"


def of_checkpoint() -> None:
    state, *_ = load_state(CHECKPOINT.value)
    print(f"step {int(state.step)} of {find(CHECKPOINT.value)}")
    players = {"generator": state.generator, "discriminator": state.discriminator}
    measured = jax.jit(
        lambda players: {name: top_singular_values(p.params, p.stats["spectral"]) for name, p in players.items()}
    )(players)
    for player, letter in history.PLAYERS.items():
        singular = jax.device_get(measured[player])
        print(f"\n{letter}\n{tables.checkpoint_table(singular, player) if singular else 'no weight is normalised'}")


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
