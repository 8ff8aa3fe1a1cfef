"""The training command: `python -m biggan_jax.main --config=configs/quickstart.py --workdir=DIR [--config.batch_size=64]`.

Exits with 0 when num_steps are done, 75 when a signal or the end of another host stopped it before (run it again), 2 on a
mistake of its user.
"""

from absl import flags
from ml_collections import config_flags

from biggan_jax import cli, hosts
from biggan_jax.train import train
from biggan_jax.types import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, or the name of one in configs/.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, local or gs://.")
MULTIHOST = flags.DEFINE_bool(
    "multihost", False, "One of several processes, each started alike: TPU pods, Slurm, MPI and GKE are recognised."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "With --multihost, where nothing is recognised: HOST:PORT of process 0."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Likewise: how many processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Likewise: which of them this is, from 0.")
ARRIVE_WITHIN = flags.DEFINE_integer(
    "arrive_within", 300, "With --multihost: seconds to wait for the other processes.", lower_bound=1
)


def main() -> int:
    if CONFIG.value is None or not WORKDIR.value:
        raise UserError("--config and --workdir are needed, such as --config=quickstart --workdir=runs/quickstart")
    cluster = COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    if MULTIHOST.value:
        return hosts.together(training, cluster, ARRIVE_WITHIN.value)
    if any(value is not None for value in cluster):
        raise UserError("--coordinator, --num_processes and --process_id need --multihost")
    return training()


def training() -> int:
    return cli.SUCCESS if train(CONFIG.value, WORKDIR.value) else cli.RUN_AGAIN


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
