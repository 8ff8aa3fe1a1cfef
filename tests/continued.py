"""A pytest plugin for `make test-all`: continue a target after the tests that have passed before.

Two variables of the environment name files of test ids, one a line. Tests in EARLIER_TESTS are not run; that file does not
change meanwhile. Tests that pass are added to PASSED_TESTS, if the working tree is still that of the commit TESTED_COMMIT.
"""

import collections
import os
import pathlib
import time

import pytest

from tests.all_targets import clean_commit

ROOT = os.getcwd()
CHECK_EVERY = 20
"""Seconds between looks at the working tree. What passed since the last one is lost if the process is killed."""


def pytest_collection_modifyitems(config, items):
    # A pytest that a test starts must not load this plugin. Workers of this one have loaded it by now.
    os.environ["PYTEST_ADDOPTS"] = os.environ.get("PYTEST_ADDOPTS", "").replace("-p tests.continued", "")
    earlier = ids_in(os.environ["EARLIER_TESTS"])
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in earlier])
    items[:] = [item for item in items if item.nodeid not in earlier]


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # Of several processes, one hears of all tests.
        config.pluginmanager.register(Record())


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and ids_in(os.environ["EARLIER_TESTS"]):
        session.exitstatus = pytest.ExitCode.OK


def ids_in(path: str) -> set[str]:
    return set(pathlib.Path(path).read_text().splitlines())


class Record:
    """Adds tests to the file if all of their three phases have passed."""

    def __init__(self):
        self._phases = collections.defaultdict(set)
        self._passed: list[str] = []
        self._checked = time.monotonic()

    def pytest_runtest_logreport(self, report):
        self._phases[report.nodeid].add((report.when, report.outcome))
        if self._phases[report.nodeid] == {(when, "passed") for when in ("setup", "call", "teardown")}:
            self._passed.append(report.nodeid)
        if report.when == "teardown" and time.monotonic() - self._checked > CHECK_EVERY:
            self._write()

    def pytest_sessionfinish(self):
        self._write()

    def _write(self):
        if self._passed and clean_commit(ROOT) == os.environ["TESTED_COMMIT"]:
            with open(os.environ["PASSED_TESTS"], "a") as file:
                file.writelines(f"{name}\n" for name in self._passed)
        self._passed, self._checked = [], time.monotonic()
