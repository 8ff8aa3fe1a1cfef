import http.server
import json
import threading
import urllib.error
import urllib.parse

import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import preemption
from biggan_jax.train import train
from tests.conftest import tiny_config
from tests.runtime import commands

TERMINATE = "TERMINATE_ON_HOST_MAINTENANCE"


def watch(key, *answers):
    """(notices, pauses, etags sent) of a watch that gets these answers, values or errors, then ends."""
    notices, pauses, etags = [], [], []

    def fetch(etag):
        etags.append(etag)
        answer = answers[len(etags) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer, f"etag of {answer}"

    def pause(seconds):
        if seconds:
            pauses.append(seconds)
        return len(etags) == len(answers) and seconds != 0

    preemption._watch(key, fetch, notices.append, pause)
    return notices, pauses, etags


def test_notice_is_passed_on_once():
    assert watch("preempted", "FALSE", "TRUE", "TRUE")[0] == ["notice of preemption"]
    assert watch("maintenance-event", "NONE", TERMINATE, TERMINATE)[0] == ["notice of maintenance"]
    assert watch("maintenance-event", "NONE", "MIGRATE_ON_HOST_MAINTENANCE")[0] == []


def test_preemption_that_was_announced_before_the_start_counts():
    assert watch("preempted", "TRUE")[0] == ["notice of preemption"]


def test_maintenance_announced_before_the_start_does_not_stop_a_run(caplog):
    with caplog.at_level("INFO"):
        assert watch("maintenance-event", TERMINATE)[0] == []
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == "this machine will be stopped for maintenance; training continues until then"
    assert watch("maintenance-event", TERMINATE, "NONE", TERMINATE)[0] == ["notice of maintenance"]


def test_values_that_the_server_hides_are_not_requested_again():
    """As GKE's server does."""
    _, pauses, etags = watch("preempted", urllib.error.HTTPError("", 404, "", None, None), "TRUE")
    assert len(etags) == 1 and not pauses


def test_failing_server_is_asked_again_after_a_pause(caplog):
    errors = urllib.error.HTTPError("", 503, "", None, None), OSError("unreachable"), http.client.HTTPException()
    notices, pauses, etags = watch("preempted", *errors, "TRUE")
    assert notices == ["notice of preemption"] and etags == [None] * 4
    assert pauses == [preemption.PAUSE_AFTER_ERROR] * 3 + [preemption.PAUSE]
    assert not caplog.records


def test_changes_are_awaited_by_etag_with_a_pause_between():
    _, pauses, etags = watch("preempted", "FALSE", "FALSE", "TRUE")
    assert etags == [None, "etag of FALSE", "etag of FALSE"] and pauses == [preemption.PAUSE] * 3


def test_run_that_has_ended_gets_no_notice():
    notices = []
    preemption._watch("preempted", lambda etag: ended.set() or ("TRUE", "1"), notices.append, (ended := Ended()).is_set)
    assert notices == []


class Ended:
    """`pause` of a watch that ends during a request."""

    def __init__(self):
        self.value = False

    def set(self):
        self.value = True

    def is_set(self, seconds):
        return self.value


@pytest.mark.parametrize(
    ("product", "server"), [("Google Compute Engine\n", "metadata.google.internal"), ("Laptop", None)]
)
def test_google_machines_are_recognised_by_their_product_name(monkeypatch, tmp_path, product, server):
    monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
    monkeypatch.setattr(preemption, "_PRODUCT_NAME", tmp_path / "product_name")
    assert preemption._server() is None
    (tmp_path / "product_name").write_text(product)
    assert preemption._server() == server


# A server that answers as Google's.


class Metadata(http.server.ThreadingHTTPServer):
    """Values under instance/, and requests that wait for their change."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.values = {"preempted": "FALSE", "maintenance-event": "NONE"}
        self.changed = threading.Condition()
        self.waiting = threading.Semaphore(0)
        self.address = f"127.0.0.1:{self.server_port}"

    def set(self, key, value):
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def handle_error(self, *_):
        pass  # Clients that are gone.


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        folder, _, key = url.path.rpartition("/")
        assert folder == "/computeMetadata/v1/instance" and self.headers["Metadata-Flavor"] == "Google"
        etag = lambda: f"etag-{self.server.values[key]}"
        with self.server.changed:
            if query.get("wait_for_change") == "true":
                self.server.waiting.release()
                self.server.changed.wait_for(lambda: etag() != query["last_etag"], float(query["timeout_sec"]))
            value = self.server.values[key]
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("ETag", etag())
        self.end_headers()
        self.wfile.write(value.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata(monkeypatch):
    server = Metadata()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("GCE_METADATA_HOST", server.address)
    monkeypatch.setattr(preemption, "PAUSE", 0.01)
    yield server
    server.shutdown()
    server.server_close()


def test_notice_of_a_server_arrives_through_http(metadata):
    notices, arrived = [], threading.Event()
    with preemption.watch_notices(lambda text: (notices.append(text), arrived.set())):
        for _ in range(2):
            assert metadata.waiting.acquire(timeout=30)
        assert not notices
        metadata.set("preempted", "TRUE")
        assert arrived.wait(30)
    assert notices == ["notice of preemption"]


def test_server_that_is_not_googles_is_an_error(metadata, monkeypatch):
    monkeypatch.setattr(Handler, "send_header", lambda *_: None)
    with pytest.raises(OSError, match="is not a metadata server"):
        preemption._fetch(metadata.address, "preempted", None)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_missing_server_is_ignored_silently(monkeypatch, caplog, host):
    asked, fetch = threading.Event(), preemption._fetch
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    monkeypatch.setattr(preemption, "_fetch", lambda *args: asked.set() or fetch(*args))
    notices = []
    with preemption.watch_notices(notices.append):
        assert asked.wait(30)
        with pytest.raises(OSError):
            fetch(host, "preempted", None)
    assert not notices and not caplog.records


@pytest.mark.slow
def test_notice_saves_and_exits_75_and_a_rerun_resumes_bit_exactly(metadata, tmp_path):
    unsaved = "--config.checkpoint_every=100000"
    process = commands.train(tmp_path, *commands.ENDLESS, unsaved)
    commands.wait_for_metrics(tmp_path, process)
    metadata.set("preempted", "TRUE")
    status, stderr = commands.end(process, 60)
    assert status == 75, stderr
    assert "notice of preemption: saving after this step" in stderr
    (stopped,) = checkpoint_steps(tmp_path)

    metadata.set("preempted", "FALSE")
    status, stderr = commands.end(commands.train(tmp_path, f"--config.num_steps={stopped + 1}", unsaved))
    assert status == 0, stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, stopped + 2))

    c = tiny_config()
    c.num_steps = stopped + 1
    train(c, tmp_path / "unbroken")
    assert checkpoint.compare(tmp_path, tmp_path / "unbroken") == []
