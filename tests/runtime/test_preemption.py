"""Notices of a metadata server that stands in for Google's."""

import http.server
import json
import threading
import time
import urllib.parse

import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import preemption
from biggan_jax.train import train
from tests.conftest import tiny_config
from tests.test_train import start, wait_for_metrics


class Metadata(http.server.ThreadingHTTPServer):
    """Values under instance/, and waiting for their change, as the real one has them. None: it knows no such value."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.values = {"preempted": "FALSE", "maintenance-event": "NONE"}
        self.changed, self.asked, self.broken = threading.Condition(), [], False
        self.host = f"127.0.0.1:{self.server_port}"

    def set(self, key, value):
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def handle_error(self, *_):
        pass  # Clients that are gone.


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        folder, _, key = url.path.rpartition("/")
        assert folder == "/computeMetadata/v1/instance" and self.headers["Metadata-Flavor"] == "Google"
        self.server.asked.append((key, query))
        tag = lambda: f"tag-{self.server.values[key]}"
        with self.server.changed:
            if query.get("wait_for_change") == "true":
                self.server.changed.wait_for(lambda: tag() != query["last_etag"], timeout=float(query["timeout_sec"]))
            value = self.server.values[key]
        if self.server.broken or value is None:
            return self.send_error(503 if self.server.broken else 404)
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("ETag", tag())
        self.end_headers()
        self.wfile.write(value.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata(monkeypatch):
    server = Metadata()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("GCE_METADATA_HOST", server.host)
    monkeypatch.setattr(preemption, "PAUSE", 0.05)
    monkeypatch.setattr(preemption, "PAUSE_AFTER_ERROR", 0.1)
    yield server
    server.shutdown()
    server.server_close()


def asked_of_both(server):
    while {key for key, query in server.asked if query} != {"preempted", "maintenance-event"}:
        time.sleep(0.01)


def heard(notices, seconds=2.0):
    stop = time.monotonic() + seconds
    while not notices and time.monotonic() < stop:
        time.sleep(0.01)
    return notices


@pytest.mark.parametrize(
    ("key", "value", "notices"),
    [
        ("preempted", "TRUE", ["notice of preemption"]),
        ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE", ["notice of maintenance"]),
        ("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE", []),
    ],
)
def test_a_notice_of_this_machines_end_is_passed_on_once(metadata, key, value, notices):
    told = []
    with preemption.watched(told.append):
        asked_of_both(metadata)
        assert not told
        metadata.set(key, value)
        heard(told, 0.5)
        metadata.set("maintenance-event" if key == "preempted" else "preempted", "NONE")
        time.sleep(0.2)
    assert told == notices


def test_a_notice_of_preemption_that_is_there_already_counts(metadata):
    metadata.values["preempted"] = "TRUE"
    told = []
    with preemption.watched(told.append):
        assert heard(told) == ["notice of preemption"]


def test_maintenance_that_was_announced_before_does_not_stop_a_run_that_is_started_all_the_same(metadata, caplog):
    metadata.values["maintenance-event"] = "TERMINATE_ON_HOST_MAINTENANCE"
    told = []
    with caplog.at_level("INFO"), preemption.watched(told.append):
        asked_of_both(metadata)
        assert [r.getMessage() for r in caplog.records] == [
            "this machine will be stopped for maintenance; training goes on until it is"
        ]
        metadata.set("maintenance-event", "NONE")
        time.sleep(0.3)
        assert not told
        metadata.set("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
        assert heard(told) == ["notice of maintenance"]


def test_values_that_the_server_hides_are_not_asked_for_again(metadata):
    """As GKE's does."""
    metadata.values.update({"preempted": None, "maintenance-event": None})
    with preemption.watched(None):
        time.sleep(0.5)
    assert len(metadata.asked) == 2


def test_a_server_that_fails_for_a_while_is_asked_again(metadata):
    metadata.broken = True
    told = []
    with preemption.watched(told.append):
        time.sleep(0.3)
        metadata.broken = False
        metadata.set("preempted", "TRUE")
        assert heard(told) == ["notice of preemption"]


def test_a_run_that_is_over_is_told_nothing(metadata):
    told = []
    with preemption.watched(told.append):
        asked_of_both(metadata)
    metadata.set("preempted", "TRUE")
    assert not heard(told, 0.3)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_where_no_such_server_answers_nothing_is_said_and_nothing_waits(monkeypatch, caplog, host):
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    began, told = time.monotonic(), []
    with preemption.watched(told.append):
        assert time.monotonic() - began < 0.5
        time.sleep(0.3)
    assert not told and not caplog.records


@pytest.mark.parametrize(
    ("product", "server"), [("Google Compute Engine\n", "metadata.google.internal"), ("Laptop", None)]
)
def test_googles_machines_are_known_by_their_product_name(monkeypatch, tmp_path, product, server):
    monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
    monkeypatch.setattr(preemption, "_PRODUCT", tmp_path / "product_name")
    assert preemption._server() is None
    (tmp_path / "product_name").write_text(product)
    assert preemption._server() == server


@pytest.mark.slow
def test_a_notice_saves_and_exits_75_and_the_same_command_goes_on_bit_for_bit(metadata, tmp_path):
    endless = "--config.num_steps=100000", "--config.checkpoint_every=100000"
    process = start(tmp_path, *endless)
    wait_for_metrics(tmp_path, process)
    metadata.set("preempted", "TRUE")
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 75, stderr
    assert "notice of preemption: saving after this step" in stderr
    (stopped,) = checkpoint_steps(tmp_path)

    metadata.set("preempted", "FALSE")
    process = start(tmp_path, f"--config.num_steps={stopped + 1}", endless[1])
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 0, stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, stopped + 2))

    c = tiny_config()
    c.num_steps = stopped + 1
    train(c, tmp_path / "unbroken")
    assert checkpoint.compare(tmp_path, tmp_path / "unbroken") == []
