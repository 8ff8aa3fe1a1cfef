"""A launching machine with a simulated cloud, planner, package installation and training."""

import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
SCRIPT = ROOT / "launch" / "tpu_pod.sh"
LINE = "v5e:2x4: 8 chips x 2.0 h = 16 chip-hours"
CLOUD_PY = pathlib.Path(__file__).with_name("cloud.py")

# Python of the launching machine: its planner is fast and can report that nothing fits; its wheel is empty.
PYTHON = f"""#!/bin/bash
case "$*" in
  "-m biggan_jax.plan.slices "*) cd {ROOT} && exec {sys.executable} "$@" ;;
  "-c "*) exec {sys.executable} "$@" ;;
  "-m biggan_jax.plan "*) printf '%s\\n' "${{@:3}}" >>"$CLOUD/planned"; echo "{LINE}"; exit "$(cat "$CLOUD/plan_status")" ;;
  "-m pip wheel "*) mkdir -p "$BIGGAN_WHEELS" && echo wheel >"$BIGGAN_WHEELS/$(cd {ROOT} && {sys.executable} -c \
'import biggan_jax; print(f"biggan_jax-{{biggan_jax.__version__}}-py3-none-any.whl")')" ;;
  *) echo "not simulated: $*" >&2; exit 1 ;;
esac
"""
# Python of a worker: it installs nothing, and exits as the next line of endings/WORKER says.
WORKERS_PYTHON = """#!/bin/bash
echo "$WORKER: $*" >>"$CLOUD/installed"
case "$*" in
  "-m pip install --quiet --user uv") ;;
  "-m uv venv --quiet --python 3.12 venv") mkdir -p venv/bin && cp "$CLOUD/trainer" venv/bin/python ;;
  "-m uv pip install --quiet --python venv/bin/python --reinstall-package biggan-jax "*) exit "$(cat "$CLOUD/install_status")" ;;
  *) echo "not simulated: $*" >&2; exit 1 ;;
esac
"""
TRAINER = """#!/bin/bash
printf '%s\\n' "$@" >"$CLOUD/arguments.$WORKER"
ending=$(head -1 "$CLOUD/endings/$WORKER")
sed -i 1d "$CLOUD/endings/$WORKER"
echo "training, to end with $ending"
trap 'exit 75' TERM
while [[ $ending == never ]]; do sleep 0.05; done
sleep 0.1
exit "$ending"
"""
ACTIVE = ["PROVISIONING", "ACTIVE"]
PREEMPTED = ["PROVISIONING", "ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDING", "SUSPENDED"]


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Rig:
    """A launching machine and a cloud.

    lives: the states of each future slice. endings: the exit statuses of training, for all workers or by worker.
    """

    def __init__(self, folder, lives=(ACTIVE,), endings=("0",), workers=2, **state):
        self.folder, self.cloud = folder, folder / "cloud"
        self.cloud.mkdir()
        self.say(
            lives=[["CREATING", *life] if isinstance(life, list) else life for life in lives], workers=workers, **state
        )
        executable(folder / "bin" / "gcloud", f'#!/bin/sh\nexec {sys.executable} -S -E {CLOUD_PY} "$@"\n')
        executable(folder / "bin" / "python", PYTHON)
        executable(self.cloud / "worker_bin" / "python3", WORKERS_PYTHON)
        executable(self.cloud / "trainer", TRAINER)
        (self.cloud / "plan_status").write_text("0")
        (self.cloud / "install_status").write_text("0")
        (self.cloud / "endings").mkdir()
        for worker in range(workers):
            mine = endings[worker] if isinstance(endings, dict) else endings
            (self.cloud / "endings" / str(worker)).write_text("\n".join(mine) + "\n")
        self.environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "CLOUD": str(self.cloud),
            "BIGGAN_WHEELS": str(folder / "wheels"),
            "PYTHON": str(folder / "bin" / "python"),
        }

    def say(self, **state):
        (self.cloud / "cloud.json").write_text(json.dumps(state))

    def command(self, verb, *words, training=("--config=quickstart", "--workdir=gs://bucket/run"), type_="v5litepod-8"):
        command = [SCRIPT, verb, "my-run", "--zone=us-west4-a", "--poll=0", *words]
        if verb in ("create", "train"):
            command += [f"--type={type_}", "--yes"]
        return [*command, *(["--", *training] if verb in ("create", "train", "run") else [])]

    def run(self, *words, **options):
        return self.execute(self.command(*words, **options))

    def execute(self, command, **options):
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=-3,
            **options,
        )

    def calls(self, *what):
        path = self.cloud / "calls.jsonl"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in calls if all(word in " ".join(call) for word in what)]

    @property
    def slice(self):
        return json.loads((self.cloud / "cloud.json").read_text()).get("slice")

    def looks_at(self, what, field):
        return [
            "gcloud",
            "compute",
            "tpus",
            what,
            "list",
            "--zone=z",
            '--filter=name~"my-run"',
            f"--format=value({field})",
        ]

    def all_have_ended(self):
        return all((pathlib.Path(worker) / "biggan_jax" / "status").exists() for worker in self.slice["workers"])

    def logs(self):
        return {path.name: path.read_text() for path in (self.folder / "logs" / "my-run").glob("*.log")}


def wait_until(true):
    for _ in range(2400):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")
