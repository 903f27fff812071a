"""From the first request to the end of a terminal, and what goes wrong on the way (orchestrator.md §2.6, §4.1)."""
import random
import threading
import time

import pytest

from harness import images
from harness.client import wait_until
from harness.service import KEY


def reason(answer):
    return answer.status, answer.json().get("reason")


def in_parallel(count, call):
    """Runs call(0) … call(count - 1) at once and returns the results in order."""
    results = [None] * count

    def run(number):
        results[number] = call(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- starts ----------------------------------------------------------------------------------------------------------

def test_first_request_of_a_user_gets_an_answer(service, engine, prefix):
    begin = time.monotonic()
    answer = service.post("/execute?wait=5", user=prefix + "u", json={"command": "sleep 0.1; echo hello"})
    assert answer.json()["output"][0]["data"] == "hello\r\n"
    assert time.monotonic() - begin < 15
    assert len(engine.containers(prefix)) == 1 and len(engine.volumes(prefix)) == 1


def test_concurrent_first_requests_share_one_start(service, engine, prefix):
    answers = in_parallel(12, lambda number: service.get("/files/cwd", user=prefix + "u").status)
    assert answers == [200] * 12
    assert len(engine.containers(prefix)) == 1


def test_20_users_at_once(service, engine, prefix):
    begin = time.monotonic()
    crowd = engine.crowd
    outputs = in_parallel(crowd, lambda number: service.run_in_guest(f"{prefix}u{number}", f"echo {number} > n; cat n"))
    assert outputs == [(0, f"{number}\n") for number in range(crowd)]
    assert len(engine.containers(prefix)) == crowd
    assert time.monotonic() - begin < 60


def test_body_waits_for_the_start_and_arrives_once(service, engine, prefix):
    policy = prefix + "wire"
    service.put_policy(policy, {"image": images.wire(engine)})
    answer = service.post(f"/p/{policy}/first?token=first", user=prefix + "u", body=b"x" * 3_000_000)
    assert answer.json()["length"] == 3_000_000
    assert service.get(f"/p/{policy}/counts", user=prefix + "u").json()["first"] == 1


def test_client_that_leaves_during_the_start_harms_nobody(service, engine, prefix):
    import socket
    head = f"GET /files/cwd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: {prefix}u\r\n\r\n".encode()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", service.port)) as peer:
            peer.sendall(head)
            time.sleep(0.05)
    assert service.get("/files/cwd", user=prefix + "u").status == 200
    assert len(engine.containers(prefix)) == 1


# --- starts that fail ------------------------------------------------------------------------------------------------

def test_guest_that_exits_is_reported_with_its_last_lines(service, engine, prefix):
    service.put_policy(prefix + "p", {"image": images.crashing(engine)})
    begin = time.monotonic()
    answer = service.get(f"/p/{prefix}p/files/cwd", user=prefix + "u")
    assert reason(answer) == (503, "guest_crashed"), answer
    assert "the disk of this guest is on fire" in answer.json()["error"] and answer.header("Retry-After")
    assert time.monotonic() - begin < 10


def test_guest_that_never_listens_is_a_start_timeout(make_service, engine, prefix):
    service = make_service(START_TIMEOUT_SECONDS=3)
    service.put_policy(prefix + "p", {"image": images.never_ready(engine)})
    begin = time.monotonic()
    answer = service.get(f"/p/{prefix}p/files/cwd", user=prefix + "u")
    assert reason(answer) in ((503, "start_timeout"), (503, "starting")), answer
    assert 2 < time.monotonic() - begin < 30
    rows = service.get(f"/api/v1/terminals?user_id={prefix}u").json()
    assert all(row["phase"] != "ready" for row in rows)


def test_missing_image_that_cannot_be_pulled(service, engine, prefix):
    service.put_policy(prefix + "p", {"image": "localhost:1/no-such-image:1"})
    answers = in_parallel(4, lambda number: service.get(f"/p/{prefix}p/files/cwd", user=f"{prefix}u{number}"))
    for answer in answers:
        assert reason(answer)[0] == 503 and reason(answer)[1] in ("image_not_found", "backend_unavailable"), answer
        assert "no-such-image" in answer.json()["error"]
    wait_until(lambda: not engine.containers(prefix), 15, what="the end of what could not start")


def test_failed_start_is_tried_again_after_the_cause_is_gone(service, engine, prefix):
    policy, user = prefix + "p", prefix + "u"
    service.put_policy(policy, {"image": images.crashing(engine)})
    assert service.get(f"/p/{policy}/files/cwd", user=user).status == 503
    service.put_policy(policy, {})
    assert wait_until(lambda: service.get(f"/p/{policy}/files/cwd", user=user).status == 200, 30)


@pytest.mark.docker
def test_storage_limit_that_the_driver_cannot_is_dropped_with_a_warning(service, engine, prefix):
    service.put_policy(prefix + "p", {"storage": "5Gi"})
    assert service.get(f"/p/{prefix}p/files/cwd", user=prefix + "u").status == 200
    dropped = not (engine.container_of(prefix + "u")["HostConfig"].get("StorageOpt") or {})
    assert not dropped or "storage" in service.log_text().lower()


def test_limit_of_terminals(make_service, prefix):
    service = make_service(MAX_TERMINALS_PER_USER=1)
    assert service.get("/files/cwd", user=prefix + "u").status == 200
    assert reason(service.get("/files/cwd", user=prefix + "u", context="chat:2")) == (503, "limit_reached")
    assert service.get("/files/cwd", user=prefix + "v").status == 200


# --- what happens to running terminals -------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["remove", "kill", "stop"])
def test_container_that_goes_away_is_made_anew(service, engine, prefix, how):
    user = prefix + "u"
    service.run_in_guest(user, "echo kept > mark")
    getattr(engine, how)(engine.containers(user)[0][0])
    code, output = 1, ""
    for _ in range(3):
        answer = service.post("/execute?wait=20", user=user, json={"command": "sleep 0.1; cat mark"})
        if answer.status == 200:
            output = answer.json()["output"][0]["data"]
            break
        time.sleep(engine.notices_within / 3)
    assert output == "kept\r\n", answer
    assert len(engine.containers(user)) == 1


def test_events_keep_the_list_true(service, engine, prefix):
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    engine.remove(engine.containers(user)[0][0])
    wait_until(lambda: all(row["status"] != "running" for row in service.terminals(user)), 5, what="the event")


def test_restarted_container_is_found_at_its_new_address(service, engine, prefix):
    user = prefix + "u"
    service.run_in_guest(user, "echo kept > mark")
    engine.restart(engine.containers(user)[0][0])
    assert wait_until(lambda: service.get("/files/cwd", user=user).status == 200, 20)
    assert len(engine.containers(user)) == 1


@pytest.mark.docker
def test_container_that_is_restarted_by_hand_is_not_replaced(service, engine, prefix):
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    container = engine.id_of(user)
    for _ in range(3):
        engine.restart(engine.containers(user)[0][0])
        assert wait_until(lambda: service.get("/files/cwd", user=user).status == 200, 20)
        assert engine.id_of(user) == container


@pytest.mark.docker
def test_container_that_is_renamed_by_hand_stays_its_users_terminal(service, engine, prefix):
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    container, name = engine.id_of(user), engine.containers(user)[0][0]
    for was, becomes in ((name, prefix + "renamed"), (prefix + "renamed", name)):
        engine.run("rename", was, becomes)
        wait_until(lambda: service.terminals(user)[0]["instance_name"] == becomes, 5, what="the new name")
        assert service.get("/files/cwd", user=user).status == 200
        assert engine.id_of(user) == container


@pytest.mark.docker
def test_guest_that_left_its_network_gets_none_of_anothers_requests(service, engine, prefix):
    """The next guest takes the address; the first comes back to the network with another one."""
    first, second = prefix + "a", prefix + "b"
    service.run_in_guest(first, "echo first > mark")
    container, name = engine.id_of(first), engine.containers(first)[0][0]
    network = next(iter(engine.inspect(name)["NetworkSettings"]["Networks"]))
    engine.run("network", "disconnect", network, name)
    wait_until(lambda: all(row["status"] != "running" for row in service.terminals(first)), 5, what="the event")
    service.run_in_guest(second, "echo second > mark")
    engine.run("network", "connect", network, name)
    wait_until(lambda: any(row["status"] == "running" for row in service.terminals(first)), 5, what="the event")
    assert service.run_in_guest(first, "cat mark") == (0, "first\n")
    assert engine.id_of(first) == container


def test_server_inside_that_dies_is_noticed(service, engine, prefix):
    """The user can end the server on port 8000; its container goes with it, and the next request gets a new one."""
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    engine.in_guest(engine.containers(user)[0][0], "pkill", "-9", "-f", "open-terminal", check=False)
    assert wait_until(lambda: service.get("/files/cwd", user=user).status == 200, 20)


# --- our own end -----------------------------------------------------------------------------------------------------

def test_sigterm_lets_running_requests_end(make_service, engine, prefix):
    service = make_service()
    service.put_policy(prefix + "wire", {"image": images.wire(engine)})
    service.get(f"/p/{prefix}wire/x", user=prefix + "u")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(service.get(f"/p/{prefix}wire/slow?seconds=2", user=prefix + "u")))
    thread.start()
    time.sleep(0.5)
    service.terminate()
    thread.join()
    assert answers[0].status == 200 and answers[0].json() == {"slept": "2"}
    service.stop()
    assert engine.containers(prefix) and engine.is_running(prefix + "u")


def test_ready_says_no_while_draining(make_service, engine, prefix):
    service = make_service()
    service.put_policy(prefix + "wire", {"image": images.wire(engine)})
    service.get(f"/p/{prefix}wire/x", user=prefix + "u")
    thread = threading.Thread(target=lambda: service.get(f"/p/{prefix}wire/slow?seconds=2", user=prefix + "u"))
    thread.start()
    time.sleep(0.5)
    service.terminate()
    time.sleep(0.1)
    answer = service.get("/ready", key=None)
    assert (answer.status, answer.json()) == (503, {"status": False, "detail": "The service is stopping"})
    assert service.get("/health", key=None).status == 200
    answer = service.get("/files/cwd", user=prefix + "v")
    assert (answer.status, answer.json()["reason"]) == (503, "backend_unavailable") and answer.header("Retry-After")
    thread.join()


def test_open_panels_do_not_hold_up_the_end(make_service, prefix):
    from harness.terminal import Terminal, make_session
    service = make_service()
    user = prefix + "u"
    with Terminal(service.port, f"/api/terminals/{make_session(service, user)}?user_id={user}") as panel:
        panel.auth(KEY)
        panel.type("echo he''re\n")
        panel.read_until(b"here")
        begin = time.monotonic()
        service.terminate()
        assert panel.wait_closed(10)[0] in (1001, 1006)
        service.stop()
        assert time.monotonic() - begin < 15


def test_sighup_that_would_lock_everybody_out_changes_nothing(make_service):
    import signal
    service = make_service(start=False, API_KEY=None)
    (service.folder / ".env").write_text("TERMINALS_API_KEY=old,new\n")
    service.start()
    (service.folder / ".env").write_text("TERMINALS_API_KEY=new\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.get("/api/v1/policies", key="old").status == 401, 5)
    assert service.get("/api/v1/policies", key="new").status == 200
    (service.folder / ".env").write_text("TERMINALS_API_KEY=\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "nobody could get in" in service.log_text(), 5)
    assert service.get("/api/v1/policies", key="new").status == 200


@pytest.mark.parametrize("start, later", [
    ("TERMINALS_API_KEY=old\n", "TERMINALS_OPEN=true\n"),
    ("TERMINALS_API_KEY=old\nTERMINALS_OPEN=true\n", "TERMINALS_OPEN=true\n"),
    ("TERMINALS_OPEN_WEBUI_URL=http://127.0.0.1:1\nTERMINALS_OPEN=true\n", "TERMINALS_OPEN=true\n"),
])
def test_sighup_does_not_open_the_service(make_service, start, later):
    import signal
    service = make_service(start=False, API_KEY=None)
    (service.folder / ".env").write_text(start)
    service.start()
    (service.folder / ".env").write_text(later)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "TERMINALS_OPEN needs a restart" in service.log_text(), 5)
    assert "the old ones stay in force" in service.log_text()
    assert service.get("/api/v1/policies", key=None).status == 401
    assert service.get("/files/cwd", key=None, user="nobody").status == 401
    if "API_KEY" in start:
        assert service.get("/api/v1/policies", key="old").status == 200


def test_sighup_reads_the_env_file_again(make_service, prefix):
    import signal
    service = make_service(start=False, IDLE_TIMEOUT_MINUTES=None)
    (service.folder / ".env").write_text("TERMINALS_IDLE_TIMEOUT_MINUTES=11\n")
    service.start()
    assert service.get("/api/v1/status").json()["idle_timeout_minutes"] == 11
    (service.folder / ".env").write_text("TERMINALS_IDLE_TIMEOUT_MINUTES=22\nTERMINALS_MAX_CPU=3\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.get("/api/v1/status").json()["idle_timeout_minutes"] == 22, 5)
    assert service.get("/api/v1/status").json()["max_cpu"] == "3"
    (service.folder / ".env").write_text("TERMINALS_IDLE_TIMEOUT_MINUTES=soon\n")
    service.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert service.get("/api/v1/status").json()["idle_timeout_minutes"] == 22


def test_crashes_of_ours_leave_nothing_orphaned_or_doubled(make_service, engine, prefix, tmp_path):
    """Killed at random moments of starts and stops; afterwards every user has one container and his files."""
    chance = random.Random(7)
    users = [f"{prefix}u{number}" for number in range(4)]
    service = make_service(folder=tmp_path / "s")

    def work(number):
        try:
            service.get("/files/cwd", user=users[number % 4], timeout=10)
            if number >= 4:
                service.post("/api/v1/terminals/stop", json={"user_id": users[number % 4]}, timeout=10)
        except (OSError, AssertionError):
            pass
        except Exception as problem:
            assert "Remote" in type(problem).__name__ or "Incomplete" in type(problem).__name__, problem

    for _ in range(6):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.05, 1.5))
        service.kill()
        for thread in threads:
            thread.join()
        service = make_service(folder=tmp_path / "s")
    for user in users:
        assert service.run_in_guest(user, "echo alive")[1] == "alive\n"
    assert sorted(row[1] for row in engine.containers(prefix)) == users
    assert {row[1] for row in engine.volumes(prefix)} <= set(users) and len(engine.volumes(prefix)) == 4


# --- figures ---------------------------------------------------------------------------------------------------------

def test_metrics_tell_what_happened(make_service, prefix):
    service = make_service()
    service.get("/files/cwd", user=prefix + "u")
    service.get("/api/v1/policies")
    service.get("/no/such", user=prefix + "u")
    samples = service.metrics()
    told = {"terminals_http_requests_total" + labels: value for labels, value in (
        ('{route="proxy",status="200"}', 1), ('{route="proxy",status="404"}', 1), ('{route="control",status="200"}', 1))}
    told.update({'terminals_http_request_duration_seconds_count{route="proxy"}': 2,
                 'terminals_http_request_duration_seconds_bucket{route="proxy",le="+Inf"}': 2,
                 'terminals_starts_total{outcome="ready"}': 1, 'terminals_starts_total{outcome="guest_crashed"}': 0,
                 "terminals_start_seconds_count": 1, "terminals_websockets": 0, "terminals_reconcile_queue_depth": 0,
                 "terminals_waiting_starts": 0, 'terminals_queue_depth{queue="api"}': 0, 'terminals_queue_depth{queue="tokens"}': 0,
                 'terminals_queue_depth{queue="documents"}': 0})
    create = '{operation="%s"}' % ("container_create" if service.engine.backend == "docker" else "create")
    told["terminals_engine_errors_total" + create] = 0
    assert {name: samples.get(name) for name in told} == told
    assert samples["terminals_engine_calls_total" + create] == samples["terminals_engine_call_seconds_count" + create] >= 1
    assert samples['terminals_terminals{phase="ready"}'] >= 1 and samples["terminals_start_seconds_sum"] > 0.1
    assert any(name.startswith('terminals_build_info{version="') and value == 1 for name, value in samples.items())
    text = service.get("/metrics").text
    for line in text.splitlines():
        assert line.startswith("#") or line.rpartition(" ")[2].replace(".", "").replace("e", "").replace("+", "").replace("-", "") \
            .replace("Inf", "0").isdigit(), line
    assert prefix not in text


@pytest.mark.parametrize("format", ["text", "json"])
def test_access_log(make_service, prefix, format):
    import json
    service = make_service(ACCESS_LOG="true", LOG_FORMAT=format)
    service.get("/files/cwd", user=prefix + "u", headers=[("X-Request-Id", "find-me")])
    wait_until(lambda: "find-me" in service.log_text(), 5)
    if format == "json":
        lines = [json.loads(line) for line in service.log_text().splitlines() if line]
        entry = next(line for line in lines if "find-me" in line.values())
        assert 200 in entry.values() or "200" in entry.values()
