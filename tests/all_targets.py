"""Run make targets one after another; print a line for each, and exit with 1 if any failed: `make test-all`.

A target whose tests were all skipped, for lack of a program for example, is "skipped", with the reason. Each target's
output is in .cache/test-all/TARGET.log. All targets take hours, so what passed is not run again at the same commit, unless
files differ from it: an interrupted call is continued by the same command, test by test. AGAIN=1 runs all. Two calls may
run side by side, each with targets and an environment of its own: `make test-all TARGETS=test-docs VENV=.venv-docs`.
"""

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

WHOLE = ("test-colab",)
"""Targets that are not continued test by test: the notebook's tests install what the others need."""


def main(targets: list[str]) -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    # A shell's background job ignores SIGINT, and so would the scripts whose Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target in targets if os.environ.get("AGAIN") else ():
        for path in LOGS.glob(f"{target}.*.*"):
            path.unlink(missing_ok=True)
    results = []
    for target in targets:
        start, commit = time.monotonic(), clean_commit()
        passed = LOGS / f"{target}.{commit}.passed"
        before = passed.read_text() if commit and passed.exists() else ""
        result, detail = ("passed", f"{before}, in an earlier call") if before else skipped_or_run(target, commit)
        results.append(result)
        print(f"{target:16} {result:8} {time.monotonic() - start:6.0f} s  {detail}", flush=True)
        # A caller's options may select tests.
        whole = result == "passed" and not os.environ.get("PYTEST_ADDOPTS")
        if whole and not before and commit and commit == clean_commit():
            passed.write_text(detail)
    print(", ".join(f"{results.count(result)} {result}" for result in ("passed", "failed", "skipped")))
    return int("failed" in results)


def clean_commit(folder: str = ".") -> str:
    """Return the commit of the working tree in the folder; "" if files differ from it, or without git."""
    git = lambda *command: subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True)
    try:
        changed = git("status", "--porcelain")
        return "" if changed.returncode or changed.stdout else git("rev-parse", "HEAD").stdout.strip()
    except OSError:
        return ""


def skipped_or_run(target: str, commit: str) -> tuple[str, str]:
    """Return (result, explanation) of the target."""
    program = PROGRAMS.get(target)
    if program and not runs(program):
        return "skipped", f"no {program} here"
    log, environment = LOGS / f"{target}.log", dict(os.environ)
    # Several pytest runs may make up one target; -rs tells why each test is skipped.
    options, earlier = [os.environ.get("PYTEST_ADDOPTS", ""), "-rs"], 0
    if commit and target not in WHOLE:
        options.append("-p tests.continued")
        tests, snapshot = (LOGS.absolute() / f"{target}.{commit}.{kind}" for kind in ("tests", "earlier"))
        snapshot.write_text(tests.read_text() if tests.exists() else "")
        earlier = len(set(snapshot.read_text().splitlines()))
        environment |= {"TESTED_COMMIT": commit, "PASSED_TESTS": str(tests), "EARLIER_TESTS": str(snapshot)}
    with log.open("w") as output:
        environment["PYTEST_ADDOPTS"] = " ".join(options)
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
