"""Run make targets one after another; print a line for each, and exit with 1 if any failed: `make test-all`.

A target whose tests were all skipped, for lack of a program for example, is "skipped", with the reason. Each target's
output is in .cache/test-all/TARGET.log. All targets take hours, so what passed is not run again at the same commit, unless
files differ from it: an interrupted call is continued by the same command, test by test. AGAIN=1 runs all. Two calls may
run side by side, each with targets and an environment of its own: `make test-all TARGETS=test-docs VENV=.venv-docs`.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

LOGS = pathlib.Path(".cache") / "test-all"
PROGRAMS = {"test-colab": os.environ.get("COLAB_PYTHON", "python3.13")}
"""Programs without which make itself stops."""


PASSED = LOGS / "passed.json"
"""{"commit": that of the working tree, "targets": {name: [seconds, explanation]}}."""


def main(targets: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    commit = clean_commit()
    passed = passed_at(commit)
    if commit and (passed is None or os.environ.get("AGAIN")):
        write(commit, passed := {})
        for path in LOGS.glob("*.tests"):
            path.unlink()
    # A shell's background job ignores SIGINT, and so would the scripts whose Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = []
    for target in targets:
        start, before = time.monotonic(), passed.get(target) if passed else None
        result, detail = ("passed", before[1] + ", in an earlier call") if before else skipped_or_run(target, commit)
        seconds = before[0] if before else time.monotonic() - start
        results.append(result)
        print(f"{target:16} {result:8} {seconds:6.0f} s  {detail}", flush=True)
        if commit != clean_commit():  # Files were edited meanwhile.
            tests_of(target).unlink(missing_ok=True)
        elif result == "passed" and not before and commit:
            # What another call, of other targets, has written since stays.
            write(commit, (passed_at(commit) or {}) | {target: [seconds, detail]})
    print(", ".join(f"{results.count(result)} {result}" for result in ("passed", "failed", "skipped")))
    return int("failed" in results)


def clean_commit() -> str:
    """Return the commit of the working tree; "" if files differ from it, or without git."""
    git = lambda *command: subprocess.run(["git", *command], capture_output=True, text=True)
    try:
        changed = git("status", "--porcelain")
        return "" if changed.returncode or changed.stdout else git("rev-parse", "HEAD").stdout.strip()
    except OSError:
        return ""


def passed_at(commit: str) -> dict[str, list] | None:
    """Return what passed in earlier calls at the commit, {target: [seconds, explanation]}; None if the record is not of it."""
    try:
        record = json.loads(PASSED.read_text())
        return record["targets"] if commit and record["commit"] == commit else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(commit: str, passed: dict[str, list]) -> None:
    PASSED.write_text(json.dumps({"commit": commit, "targets": passed}))


def tests_of(target: str) -> pathlib.Path:
    """Return the file with the ids of the target's tests that passed: continued.py."""
    return LOGS / f"{target}.tests"


def skipped_or_run(target: str, commit: str) -> tuple[str, str]:
    """Return (result, explanation) of the target."""
    program = PROGRAMS.get(target)
    if program and not runs(program):
        return "skipped", f"no {program} here"
    log, tests = LOGS / f"{target}.log", tests_of(target)
    earlier = len(tests.read_text().splitlines()) if commit and tests.exists() else 0
    with log.open("w") as output:
        # Several pytest runs may make up one target; -rs tells why each test is skipped.
        options = [os.environ.get("PYTEST_ADDOPTS", ""), "-rs", *(["-p tests.continued"] if commit else [])]
        environment = os.environ | {"PYTEST_ADDOPTS": " ".join(options), "PASSED_TESTS": str(tests.absolute())}
        command = ["make", target]
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    text = log.read_text(errors="replace")
    if status and not (status == 2 and nothing_ran(text)):
        return "failed", f"see {log}"
    counts = {kind: count(kind, text) for kind in ("passed", "skipped")}
    counts["passed"] += earlier
    if not counts["passed"]:
        reasons = re.findall(r"^SKIPPED \[\d+\] \S+: (.*)", text, re.M)
        return "skipped", reasons[0] if reasons else "no test ran"
    return "passed", ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)


def count(kind: str, text: str) -> int:
    """Return how many tests the last lines of all pytest runs report as `kind`."""
    summaries = re.findall(r"^[= ]*(.*\d (?:passed|skipped|deselected).*) in [\d.]+s", text, re.M)
    return sum(int(number) for line in summaries for number in re.findall(rf"(\d+) {kind}", line))


def nothing_ran(text: str) -> bool:
    """Whether pytest exited with 5, "no tests ran", as it does if a whole module is skipped."""
    return bool(re.search(r"^make.*Error 5$", text, re.M))


def runs(program: str) -> bool:
    """Whether the program runs; a pyenv shim may exist without a target."""
    if not shutil.which(program):
        return False
    return subprocess.run([program, "--version"], capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
