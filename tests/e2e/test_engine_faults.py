"""The engine is gone, comes back, or is killed: nothing is lost, and callers are told (architecture.md, idea 3).

With an engine of its own, in its own network namespace."""
import os
import shutil

import pytest

from harness import images
from harness.client import wait_until
from harness.private_engine import PrivateEngine
from harness.service import Service, binary

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0 or not shutil.which("dockerd"), reason="needs root and dockerd"),
              pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def private_engine(engine):
    private = PrivateEngine()
    try:
        private.start()
        private.load(images.REAL)
        yield private
    finally:
        private.remove()


class Inside(Service):
    """The service in the engine's namespace, asked from there."""

    def request(self, *arguments, **options):
        with self.engine.join():
            return super().request(*arguments, **options)

    def start(self, timeout=30.0):
        with self.engine.join():
            return super().start(timeout)


@pytest.fixture
def inside(private_engine, tmp_path):
    service = Inside(tmp_path / "inside", private_engine, command=private_engine.command(binary())).start()
    yield service
    service.stop()
    private_engine.clean(("e2e-",))


def test_private_engine_serves(inside, private_engine, prefix):
    assert inside.run_in_guest(prefix + "u", "echo hello") == (0, "hello\n")
    assert len(private_engine.containers(prefix)) == 1


def test_terminals_outlive_a_dead_engine_and_are_found_again(inside, private_engine, prefix):
    """Guests keep running without their engine; what runs already is still served."""
    user = prefix + "u"
    inside.run_in_guest(user, "echo kept > mark")
    for process in private_engine.processes():
        if open(f"/proc/{process}/comm").read().strip() == "dockerd":
            os.kill(process, 9)
    private_engine.daemon.wait()
    answer = inside.get("/files/cwd", user=prefix + "new")
    assert (answer.status, answer.json()["reason"]) == (503, "backend_unavailable"), answer
    assert answer.header("Retry-After") and "docker" in answer.json()["error"].lower()
    assert inside.get("/api/v1/terminals").status == 200
    private_engine.signal_all(9)
    private_engine.start()
    assert wait_until(lambda: inside.get("/files/cwd", user=prefix + "new").status == 200, 60, 0.5)
    assert inside.run_in_guest(user, "cat mark") == (0, "kept\n")
    assert sorted(row[1] for row in private_engine.containers(prefix)) == sorted([user, prefix + "new"])


def test_engine_that_restarts_in_order(inside, private_engine, prefix):
    user = prefix + "u"
    inside.run_in_guest(user, "echo kept > mark")
    private_engine.terminate()
    private_engine.start()
    assert wait_until(lambda: inside.get("/files/cwd", user=user).status == 200, 60, 0.5)
    assert inside.run_in_guest(user, "cat mark") == (0, "kept\n")
    assert len(private_engine.containers(user)) == 1


def test_service_without_an_engine_is_alive_and_not_ready(private_engine, tmp_path, prefix):
    private_engine.terminate()
    service = Inside(tmp_path / "early", private_engine, command=private_engine.command(binary()))
    service.launch()
    try:
        with private_engine.join():
            from harness import client
            wait_until(lambda: asks(client, service, "/health") == 200, 20)
            assert asks(client, service, "/ready") == 503
        private_engine.start()
        with private_engine.join():
            wait_until(lambda: asks(client, service, "/ready") == 200, 60, 0.3)
    finally:
        service.stop()
        if private_engine.daemon.poll() is not None:
            private_engine.start()


def asks(client, service, path):
    try:
        return client.request(service.port, "GET", path, timeout=5).status
    except OSError:
        return None


def test_image_that_vanishes_is_reported(inside, private_engine, prefix):
    private_engine.run("tag", images.REAL, "will-vanish:1")
    inside.put_policy(prefix + "p", {"image": "will-vanish:1"})
    private_engine.run("rmi", "will-vanish:1")
    answer = inside.get(f"/p/{prefix}p/files/cwd", user=prefix + "u")
    assert answer.status == 503 and answer.json()["reason"] in ("image_not_found", "backend_unavailable")
    assert "will-vanish" in answer.json()["error"]
