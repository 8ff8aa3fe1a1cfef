"""A pytest plugin for `make test-all`: tests that passed in an earlier call at the same commit are not run again.

The variable PASSED_TESTS of the environment names the file of their ids, one a line. Each test that passes is added at once.
"""

import os
import pathlib

import pytest

FILE = pathlib.Path(os.environ["PASSED_TESTS"])
EARLIER = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    # Not for a pytest that a test starts; workers have started.
    os.environ["PYTEST_ADDOPTS"] = os.environ.get("PYTEST_ADDOPTS", "").replace("-p tests.continued", "")
    passed = set(FILE.read_text().splitlines()) if FILE.exists() else set()
    left = [item for item in items if item.nodeid not in passed]
    config.stash[EARLIER] = len(items) - len(left)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = left


class Record:
    """Adds tests to the file after their last phase, if none of the three has failed or skipped."""

    def __init__(self):
        self._phases: dict[str, int] = {}

    def pytest_runtest_logreport(self, report):
        if report.passed:
            self._phases[report.nodeid] = self._phases.get(report.nodeid, 0) + 1
            if self._phases[report.nodeid] == 3:
                with FILE.open("a") as file:
                    file.write(f"{report.nodeid}\n")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # Of several processes, one hears of all tests.
        config.pluginmanager.register(Record())


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(EARLIER, 0):
        session.exitstatus = pytest.ExitCode.OK
