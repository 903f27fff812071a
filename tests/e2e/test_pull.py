"""Images that are not on the engine: pulled once for all who wait, with the administrator's credentials, and never in the way of our
own end (orchestrator.md §4.1)."""
import base64
import json
import threading
import time

import pytest

from harness.client import wait_until
from harness.registry import Registry
from harness.service import KEY

pytestmark = pytest.mark.docker


@pytest.fixture
def make_registry(engine, tmp_path, prefix):
    made = []

    def make(**options):
        made.append(Registry(tmp_path, **options))
        return made[-1]

    yield make
    for registry in made:
        registry.close()
        engine.clean((prefix,))         # an image that a container runs cannot be removed
        found = engine.run("images", "-q", "--filter", f"reference={registry.address}/*/*").split()
        if found:
            engine.run("rmi", "-f", *set(found))


def ask_all(service, users, policy):
    answers = {}
    threads = [threading.Thread(target=lambda user=user: answers.update({user: service.get(f"/p/{policy}/x", user=user)})) for user in users]
    for thread in threads:
        thread.start()
    return threads, answers


def test_missing_image_is_pulled_once_for_all_who_wait(make_service, engine, make_registry, prefix):
    registry, service = make_registry(), make_service()
    registry.open.clear()
    service.put_policy(prefix + "p", {"image": registry.image()})
    users = [f"{prefix}u{number}" for number in range(6)]
    threads, answers = ask_all(service, users, prefix + "p")
    wait_until(lambda: registry.requests["blob"], 20, what="the pull")
    time.sleep(1)
    assert not answers and not engine.containers(prefix)
    registry.open.set()
    for thread in threads:
        thread.join(60)
    assert [answers[user].status for user in users] == [200] * 6
    assert registry.requests["manifest"] == 1
    assert service.log_text().count("pulling an image") == 1
    assert len(engine.containers(prefix)) == 6


def test_other_terminals_start_while_an_image_is_pulled(make_service, make_registry, prefix):
    registry, service = make_registry(), make_service()
    registry.open.clear()
    service.put_policy(prefix + "p", {"image": registry.image()})
    threads, answers = ask_all(service, [f"{prefix}u{number}" for number in range(4)], prefix + "p")
    wait_until(lambda: registry.requests["blob"], 20, what="the pull")
    begin = time.monotonic()
    assert service.get("/files/cwd", user=prefix + "other").status == 200
    assert time.monotonic() - begin < 15
    registry.open.set()
    for thread in threads:
        thread.join(60)
    assert all(answer.status == 200 for answer in answers.values())


def test_pull_that_outlasts_a_request_goes_on(make_service, make_registry, prefix):
    registry, service = make_registry(), make_service(START_TIMEOUT_SECONDS=2)
    registry.open.clear()
    service.put_policy(prefix + "p", {"image": registry.image()})
    answer = service.get(f"/p/{prefix}p/x", user=prefix + "u")
    assert answer.status == 503 and answer.json()["reason"] in ("starting", "start_timeout") and answer.header("Retry-After"), answer
    registry.open.set()
    assert wait_until(lambda: service.get(f"/p/{prefix}p/x", user=prefix + "u").status == 200, 30)
    assert registry.requests["manifest"] == 1


def test_image_that_the_registry_does_not_have_is_reported_with_its_words(make_service, engine, make_registry, prefix):
    registry, service = make_registry(), make_service()
    service.put_policy(prefix + "p", {"image": registry.image("none")})
    answer = service.get(f"/p/{prefix}p/x", user=prefix + "u")
    assert (answer.status, answer.json()["reason"]) == (503, "image_not_found"), answer
    assert "manifest unknown" in answer.json()["error"] and registry.image("none") in answer.json()["error"]
    assert not engine.containers(prefix) and not engine.volumes(prefix)


@pytest.mark.parametrize("password,status", [("someone:secret", 200), ("someone:wrong", 503)])
def test_credentials_of_the_docker_configuration_are_used(make_service, make_registry, prefix, password, status):
    registry, service = make_registry(password="someone:secret"), make_service(start=False)
    (service.folder / ".docker").mkdir()
    (service.folder / ".docker" / "config.json").write_text(json.dumps(
        {"auths": {registry.address: {"auth": base64.b64encode(password.encode()).decode()}}}))
    service.start()
    service.put_policy(prefix + "p", {"image": registry.image()})
    answer = service.get(f"/p/{prefix}p/x", user=prefix + "u")
    assert answer.status == status, answer
    assert "secret" not in service.log_text() and password not in answer.text


def test_end_does_not_wait_for_a_pull(make_service, engine, make_registry, prefix):
    registry, service = make_registry(), make_service()
    registry.open.clear()
    service.put_policy(prefix + "p", {"image": registry.image()})
    # Nobody waits for the answer, so there is nothing to finish.
    connection = ask_and_leave_unread(service, f"/p/{prefix}p/x", prefix + "u")
    wait_until(lambda: registry.requests["blob"], 20, what="the pull")
    connection.close()
    begin = time.monotonic()
    service.stop()
    assert time.monotonic() - begin < 10
    assert not engine.containers(prefix)


def test_end_during_a_pull_that_somebody_waits_for(make_service, engine, make_registry, prefix):
    registry, service = make_registry(), make_service()
    registry.open.clear()
    service.put_policy(prefix + "p", {"image": registry.image()})
    connection = ask_and_leave_unread(service, f"/p/{prefix}p/x", prefix + "u")
    wait_until(lambda: registry.requests["blob"], 20, what="the pull")
    begin = time.monotonic()
    service.stop(40)
    assert time.monotonic() - begin < 36
    connection.close()
    assert not engine.containers(prefix)


def ask_and_leave_unread(service, target, user):
    import socket
    peer = socket.create_connection(("127.0.0.1", service.port))
    peer.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: {user}\r\n\r\n".encode())
    return peer
