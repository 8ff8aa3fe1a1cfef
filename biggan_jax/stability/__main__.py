"""Plot a run's probes and tell whether it is healthy: the work of biggan-stability."""

import jax
from etils import epath

from biggan_jax.checkpoint import find, load_state
from biggan_jax.flags.stability import CHECKPOINT, OUT, ROWS, WORKDIR
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.stability import history, plot, verdict
from biggan_jax.stability.signals import SINGULAR_NAMES
from biggan_jax.stability.spectra import top_singular_values


def main() -> None:
    show_run() if WORKDIR.value else show_checkpoint()


def show_run() -> None:
    run = history.read(WORKDIR.value)
    out = epath.Path(OUT.value or epath.Path(WORKDIR.value) / "stability")
    with writing(f"--out={out}"):
        paths = plot.draw(run, out, verdict.settings(WORKDIR.value)[1])
    first, last = run.probes[0]["step"], run.probes[-1]["step"]
    print(f"{len(run.probes)} probes, steps {first} to {last}; at the last: {verdict.verdict(run, WORKDIR.value)}")
    for network, name in history.networks(run.probes).items():
        if history.layers(run.probes, network):
            print(f"\n{name}\n{history.summary(run.probes, network, ROWS.value)}")
    print()
    for event in run.events:
        what = event.get("sentence") or event.get("signal", "event")
        print(f"step {event['step']}: {what}; {event.get('action', '')}")
    print(f"pictures: {', '.join(str(path) for path in paths)}")


def show_checkpoint() -> None:
    state, *_ = load_state(CHECKPOINT.value)
    print(f"step {int(state.step)} of {find(CHECKPOINT.value)}")
    first = [name for name in history.NETWORKS.values() if name in state.networks]
    networks = {name: state.networks[name] for name in [*first, *sorted(state.networks.keys() - {*first})]}
    measure = lambda networks: {n: top_singular_values(p.params, p.spectral) for n, p in networks.items()}
    measured = jax.device_get(jax.jit(measure)(networks))
    for name in networks:
        recorded_as = SINGULAR_NAMES.get(name, name)
        table = history.checkpoint_table(measured[name], recorded_as) if measured[name] else "no weight is normalised"
        print(f"\n{name}\n{table}")


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
