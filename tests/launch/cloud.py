"""A simulated `gcloud compute tpus`: it checks each command against the real one's flags, and executes it.

Each worker of a slice is a folder, in which `ssh --command` runs for real. The life of a slice is a list of states; each
`list` advances it by one. $CLOUD is the folder of the cloud: cloud.json is its state, calls.jsonl the commands so far.

SURFACE lists the flags of the Google Cloud CLI, release 528: required, optional, and flags without a value.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

SSH = "--worker= --internal-ip --dry-run --force-key-file-overwrite --plain --strict-host-key-checking= --ssh-key-file="
SURFACE = {  # (positionals, required, optional); a flag that takes a value ends in =.
    "queued-resources create": (
        1,
        "--zone= --runtime-version=",
        "--accelerator-type= --topology= --type= --node-id= --node-count= --node-prefix= --async --data-disk= --description="
        " --guaranteed --internal-ips --labels= --metadata= --metadata-from-file= --network= --range= --reserved --scopes="
        " --service-account= --shielded-secure-boot --spot --subnetwork= --tags= --valid-after-duration= --valid-after-time="
        " --valid-until-duration= --valid-until-time= --reservation-host-project=",
    ),
    "queued-resources list": (0, "--zone=", "--filter= --limit= --page-size= --sort-by= --uri"),
    "queued-resources delete": (1, "--zone=", "--async --force"),
    "tpu-vm list": (0, "--zone=", "--filter= --limit= --page-size= --sort-by= --uri"),
    "tpu-vm ssh": (1, "--zone=", f"{SSH} --command= --output-directory= --ssh-flag="),
    "tpu-vm scp": (2, "--zone=", f"{SSH} --recurse --compress --scp-flag="),
}
EVERYWHERE = "--project= --quiet --format= --verbosity= --account= --configuration="
TYPE = re.compile(r"(v4|v5p)-\d+|v5litepod-\d+|v6e-\d+")


def main(words: list[str]) -> int:
    folder = pathlib.Path(os.environ["CLOUD"])
    with open(folder / "calls.jsonl", "a") as calls:
        calls.write(json.dumps(words) + "\n")
    if words[:2] != ["compute", "tpus"]:
        return refuse(f"gcloud {' '.join(words[:2])} is not simulated", 2)
    command, positionals, flags, problem = parsed(words[2:])
    if problem:
        return refuse(problem, 2)
    with Cloud(folder) as cloud:
        what, verb = command.split()
        if verb == "list":
            return cloud.show(what, flags)
        return getattr(cloud, verb)(positionals, flags)


def parsed(words: list[str]) -> tuple[str, list[str], dict[str, str], str]:
    """Return (command, positionals, flags, the error that gcloud would print)."""
    command, rest = " ".join(words[:2]), words[2:]
    if command not in SURFACE:
        return command, [], {}, f"Invalid choice: '{command}'"
    count, required, optional = SURFACE[command]
    known = f"{required} {optional} {EVERYWHERE}".split()
    positionals, flags = [], {}
    for word in rest:
        if not word.startswith("-"):
            positionals.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag + equals not in known:
            return command, [], {}, f"unrecognized arguments: {word}"
        flags[flag] = value
    missing = [flag for flag in required.split() if not flags.get(flag.rstrip("="))]
    if missing:
        return command, [], {}, f"argument {missing[0].rstrip('=')}: Must be specified."
    if len(positionals) < count or (len(positionals) > count and not command.endswith("scp")):
        return command, [], {}, f"{command} takes {count} positional arguments, not {positionals}"
    if command.endswith("create") and ("--node-id" in flags) == ("--node-count" in flags):
        return command, [], {}, "Exactly one of (--node-id | --node-count [--node-prefix]) must be specified."
    if command.endswith("create") and not TYPE.fullmatch(flags.get("--accelerator-type", "")):
        return command, [], {}, "Exactly one of (--accelerator-type | --topology --type) must be specified."
    return command, positionals, flags, ""


def refuse(why: str, status: int = 1) -> int:
    print(f"ERROR: (gcloud) {why}", file=sys.stderr)
    return status


class Cloud:
    """The state of the cloud, in cloud.json.

    lives: for each future slice, a list of states, or the error with which its creation is refused.
    workers: how many workers a slice has.
    slice: the current slice, with its remaining states.
    active_until: slices stay active until this file exists in the cloud's folder.
    silent: worker numbers; each entry makes that worker unreachable once, after `silent_after` calls of ssh.
    preempted_at: the number of the ssh call at which the slice is preempted.
    undeletable: how many deletions are refused.
    blind: the numbers of the `list` calls that fail, as without a network.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def __enter__(self) -> "Cloud":
        self.held = open(self.folder / "lock", "w")
        fcntl.flock(self.held, fcntl.LOCK_EX)
        self.state = json.loads((self.folder / "cloud.json").read_text())
        return self

    def __exit__(self, *_) -> None:
        (self.folder / "cloud.json").write_text(json.dumps(self.state))
        self.held.close()

    @property
    def slice(self) -> dict | None:
        return self.state.get("slice")

    def create(self, positionals, flags) -> int:
        if self.slice:
            return refuse("ALREADY_EXISTS: Resource already exists")
        life = self.state["lives"].pop(0)
        if isinstance(life, str):
            return refuse(life)
        workers = [self.folder / "workers" / str(i) for i in range(self.state["workers"])]
        self.state["slice"] = {
            "name": positionals[0],
            "node": flags["--node-id"],
            "type": flags["--accelerator-type"],
            "life": life,
            "workers": [str(worker) for worker in workers],
        }
        for worker in workers:
            worker.mkdir(parents=True)
        return 0

    def show(self, what, flags) -> int:
        """Print one field. For queued resources, advance the slice to its next state; the last state stays."""
        if (self.folder / "calls.jsonl").read_text().count('"list"') in self.state.get("blind", []):
            return refuse("there was a problem refreshing your current auth tokens: no network")
        found = self.slice
        if not found or not re.search(
            re.fullmatch(r'name~"(.*)"', flags["--filter"])[1], f"projects/p/x/{found['name']}"
        ):
            return 0
        awaited = self.folder / self.state.get("active_until", "")
        stays = found["life"][0] == "ACTIVE" and not awaited.exists()
        if what == "queued-resources" and len(found["life"]) > 1 and not stays:
            found["life"].pop(0)
            if found["life"][0] in ("SUSPENDING", "PREEMPTED"):
                end(found)
        state = found["life"][0]
        if what == "queued-resources":
            # A preempted node may belong to a queued resource that is still active.
            state = "ACTIVE" if state in ("PREEMPTED", "REPAIRING", "UNKNOWN") else state
            fields = {"state.state": state, "state.failedData.error.message": "the zone has no such TPUs"}
            fields["tpu.nodeSpec[0].node.acceleratorType.basename()"] = found["type"]
        elif state in ("ACTIVE", "PREEMPTED", "REPAIRING", "UNKNOWN"):
            fields = {"state": state.replace("ACTIVE", "READY")}
        else:
            return 0
        print(fields[re.fullmatch(r"value\((.*)\)", flags["--format"])[1]])
        return 0

    def delete(self, positionals, flags) -> int:
        if not self.slice or self.slice["name"] != positionals[0]:
            return refuse("NOT_FOUND: Resource was not found")
        if "--force" not in flags and "--quiet" not in flags:
            return refuse("FAILED_PRECONDITION: it has nodes, or the question whether to continue has no answer")
        if self.state.get("undeletable", 0) > 0:
            self.state["undeletable"] -= 1
            return refuse("INTERNAL: it could not be deleted")
        end(self.slice)
        shutil.rmtree(self.folder / "workers")
        self.state["slice"] = None
        return 0

    def reached(self, name: str, flags) -> list[int] | None:
        """Return the numbers of the selected workers; None if the slice cannot be reached."""
        if not self.slice or self.slice["node"] != name or self.slice["life"][0] != "ACTIVE":
            return None
        which = flags.get("--worker", "0")
        return list(range(len(self.slice["workers"]))) if which == "all" else [int(which)]

    def silent(self, worker: int) -> bool:
        if self.state.get("silent_after", 0) >= 0:
            return False
        left = self.state.get("silent", [])
        if worker in left:
            left.remove(worker)
            return True
        return False

    def ssh(self, positionals, flags) -> int:
        numbers = self.reached(positionals[0], flags)
        if numbers is None:
            return refuse(f"the TPU {positionals[0]} is in no state to be reached")
        if len(numbers) > 1 and "--command" not in flags:
            return refuse("--worker: cannot target multiple workers without the `--command` flag.")
        output = flags.get("--output-directory")
        if output and not pathlib.Path(output).is_dir():
            return refuse(f"--output_directory: Failed to find directory {output}")
        if self.state.get("preempted_at") == (self.folder / "calls.jsonl").read_text().count('"ssh"'):
            end(self.slice)
            self.slice["life"] = ["SUSPENDING", "SUSPENDED"]
            return refuse(f"the TPU {positionals[0]} has gone")
        self.state["silent_after"] = self.state.get("silent_after", 0) - 1
        running, statuses = {}, {}
        for number in numbers:
            log = open(pathlib.Path(output) / f"{number}.log", "w") if output else None  # noqa: SIM115
            if self.silent(number):
                print(f"Failed to connect to worker {number}", file=sys.stderr)
                statuses[number] = 255 if len(numbers) > 1 else 1
                continue
            home = self.slice["workers"][number]
            environment = os.environ | {"HOME": home, "WORKER": str(number), "WORKERS": str(len(self.slice["workers"]))}
            environment["PATH"] = f"{self.folder}/worker_bin:{os.environ['PATH']}"
            command = ["bash", "-c", flags["--command"]]
            # Like ssh, wait for the command, not for its background processes.
            running[number] = subprocess.Popen(
                command, cwd=home, env=environment, stdin=-3, stdout=log, stderr=log and -2
            )
        statuses |= {number: process.wait() for number, process in running.items()}
        return next((status for status in statuses.values() if status), 0)

    def scp(self, positionals, flags) -> int:
        *sources, destination = positionals
        name, _, folder = destination.partition(":")
        numbers = self.reached(name, flags)
        if numbers is None:
            return refuse(f"the TPU {name} is in no state to be reached")
        if any(self.silent(number) for number in numbers):
            return 255 if len(numbers) > 1 else 1
        for number in numbers:
            for source in sources:
                shutil.copy(source, pathlib.Path(self.slice["workers"][number]) / folder)
        return 0


def end(slice_: dict) -> None:
    """Kill everything that runs on the slice."""
    for worker in slice_["workers"]:
        with contextlib.suppress(OSError, ValueError):
            group = os.getpgid(int((pathlib.Path(worker) / "biggan_jax" / "pid").read_text()))
            os.killpg(group, signal.SIGKILL)
    time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
