"""Who may call, in the three modes (orchestrator.md §2.2)."""
import base64
import json
import os
import pty
import re
import select
import stat
import subprocess
import threading
import time

import pytest

from harness import client
from harness.service import KEY, binary, environment, free_port

DATA, ADMIN = "/files/cwd", "/api/v1/policies"
MISSING_USER = {"detail": [{"type": "missing", "loc": ["header", "X-User-Id"], "msg": "Field required", "input": None}]}


def ask(service, path, authorization=None, user=None):
    headers = [("Authorization", authorization)] if authorization is not None else []
    answer = service.get(path, key=None, user=user, headers=headers)
    return answer.status, answer.json() if answer.body else None


# --- API key mode ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path,authorization,detail", [
    (DATA, None, "Missing Authorization header"),
    (DATA, "", "Missing Authorization header"),
    (DATA, f"Basic {KEY}", "Invalid Authorization header"),
    (DATA, KEY, "Invalid Authorization header"),
    (DATA, "Bearer wrong", "Invalid API key"),
    (DATA, f"Bearer {KEY}x", "Invalid API key"),
    (DATA, f"Bearer {KEY[:-1]}", "Invalid API key"),
    (ADMIN, None, "Missing Authorization header"),
    (ADMIN, f"Basic {KEY}", "Invalid Authorization header"),
    (ADMIN, "Bearer wrong", "Invalid admin API key"),
    ("/metrics", None, "Missing Authorization header"),
    ("/metrics", "Bearer wrong", "Invalid admin API key"),
    ("/openapi.json", None, "Missing Authorization header"),
    ("/p/none/openapi.json", "Bearer wrong", "Invalid API key")])
def test_refused_with_the_reason(service, path, authorization, detail):
    assert ask(service, path, authorization, "nobody") == (401, {"detail": detail})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_compares_without_case(service, scheme):
    assert ask(service, ADMIN, f"{scheme} {KEY}")[0] == 200


def test_user_is_required_after_authentication(service):
    assert ask(service, DATA, f"Bearer {KEY}") == (422, MISSING_USER)
    assert ask(service, DATA)[0] == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/api/v1/health"])
def test_health_needs_no_key(service, path):
    assert service.get(path, key=None).status in ((200,) if path != "/api/v1/health" else (200, 404, 401))


def test_several_keys_for_rotation(make_service):
    service = make_service(API_KEY=" old-key , new-key ")
    for key, status in (("old-key", 200), ("new-key", 200), ("old-key , new-key", 401), ("", 401), (",", 401)):
        assert ask(service, ADMIN, f"Bearer {key}")[0] == status, key


def test_metrics_may_be_opened(make_service):
    service = make_service(METRICS_AUTH="false")
    assert service.get("/metrics", key=None).status == 200


def test_secrets_do_not_reach_the_log(make_service, prefix):
    service = make_service(API_KEY="a-very-secret-key", ACCESS_LOG="true")
    service.get(ADMIN)
    service.get(DATA, user=prefix + "u")
    guest_keys = [service.engine.guest_key(prefix + "u")]
    service.stop()
    assert "a-very-secret-key" not in service.log_text() and guest_keys[0] not in service.log_text()


# --- without a key ---------------------------------------------------------------------------------------------------

def test_generated_key_is_kept_and_not_logged(make_service, tmp_path):
    service = make_service(API_KEY=None, folder=tmp_path / "generated")
    file = tmp_path / "generated" / "data" / "api-key"
    key = file.read_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", key)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert service.get(ADMIN, key=key).status == 200 and service.get(ADMIN, key="x").status == 401
    service.stop()
    assert key not in service.log_text()
    again = make_service(API_KEY=None, folder=tmp_path / "generated")
    assert file.read_text().strip() == key and again.get(ADMIN, key=key).status == 200


def read_terminal(fd, text, seconds=20):
    """What is written to the terminal, up to `text`."""
    shown, deadline = b"", time.monotonic() + seconds
    while text not in shown:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, shown
        shown += os.read(fd, 65536)
    return shown.decode()


def test_generated_key_is_shown_to_a_person_at_a_terminal(engine, tmp_path):
    (tmp_path / "data").mkdir()
    port = free_port()
    settings = {"TERMINALS_HOST": "127.0.0.1", "TERMINALS_PORT": port, "TERMINALS_STATE_DIR": tmp_path / "data"}
    ours, theirs = pty.openpty()
    with subprocess.Popen([binary(), "serve"], env=environment(tmp_path, settings), stdout=theirs, stderr=subprocess.DEVNULL) as process:
        shown = read_terminal(ours, b"execute?wait=5")
        process.terminate()
    os.close(ours)
    os.close(theirs)
    assert (tmp_path / "data" / "api-key").read_text().strip() in shown
    assert f"http://127.0.0.1:{port}" in shown and str(tmp_path / "data" / "api-key") in shown


def listening_addresses(port):
    """The local addresses of listeners on the port, from the kernel's table."""
    found = set()
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        address, number = fields[1].split(":")
        if fields[3] == "0A" and int(number, 16) == port:
            found.add(".".join(str(byte) for byte in reversed(bytes.fromhex(address))))
    return found


@pytest.mark.parametrize("host,expected", [(None, {"127.0.0.1"}), ("0.0.0.0", {"0.0.0.0"})])
def test_open_mode_stays_on_loopback_unless_the_host_is_named(make_service, host, expected):
    service = make_service(API_KEY=None, HOST=host, options=["--open"])
    assert listening_addresses(service.port) == expected
    assert service.get(ADMIN, key=None).status == 200
    answer = service.get(DATA, key=None)
    assert (answer.status, answer.json()) == (422, MISSING_USER)


def test_key_mode_listens_everywhere_by_default(make_service):
    assert listening_addresses(make_service(HOST=None).port) == {"0.0.0.0"}


def test_open_mode_serves_users(make_service, prefix):
    service = make_service(API_KEY=None, OPEN="true")
    assert service.get(DATA, key=None, user=prefix + "u").json()["cwd"] == "/home/user"


# --- Open WebUI tokens -----------------------------------------------------------------------------------------------

@pytest.fixture
def jwt(make_service, open_webui, prefix):
    open_webui.add("alice", prefix + "alice")
    open_webui.add("bob", prefix + "bob", role="admin", email="bob@corp.example")
    open_webui.add("waiting", prefix + "waiting", role="pending")
    open_webui.tokens["noid"] = (200, {"name": "x"})
    open_webui.tokens["html"] = (200, b"<html>not json</html>")
    return make_service(OPEN_WEBUI_URL=open_webui.url + "/")


def test_token_owner_is_the_user(jwt, prefix):
    assert ask(jwt, DATA, "Bearer alice", prefix + "alice")[0] == 200
    assert ask(jwt, DATA, "Bearer alice", prefix + "bob") == (403, {"detail": "X-User-Id does not match authenticated identity"})
    assert ask(jwt, DATA, "Bearer alice") == (422, MISSING_USER)


@pytest.mark.parametrize("authorization,status,detail", [
    (None, 401, "Missing Authorization header"), ("Basic x", 401, "Invalid Authorization header"),
    ("Bearer rubbish", 401, "Invalid token"), ("Bearer noid", 401, "Token response missing user ID")])
def test_token_refused_with_the_reason(jwt, prefix, authorization, status, detail):
    assert ask(jwt, DATA, authorization, prefix + "alice") == (status, {"detail": detail})


def test_answer_that_is_not_json_refuses(jwt, prefix):
    assert ask(jwt, DATA, "Bearer html", prefix + "alice") == (401, {"detail": "Token response missing user ID"})


def test_only_users_and_admins_pass(jwt, prefix):
    assert ask(jwt, DATA, "Bearer waiting", prefix + "waiting")[0] == 403


def test_mismatch_comes_before_the_policy(jwt, prefix):
    assert ask(jwt, "/p/no-such-policy/x", "Bearer alice", prefix + "bob")[0] == 403
    assert ask(jwt, "/p/no-such-policy/x", "Bearer alice", prefix + "alice")[0] == 404


def test_api_key_passes_on_the_data_plane_in_token_mode(jwt, prefix):
    assert ask(jwt, DATA, f"Bearer {KEY}", prefix + "anyone")[0] == 200


def test_tokens_do_not_administer(jwt):
    assert ask(jwt, ADMIN, "Bearer bob") == (401, {"detail": "Invalid admin API key"})
    assert ask(jwt, ADMIN, f"Bearer {KEY}")[0] == 200


def test_without_a_key_nobody_administers_in_token_mode(make_service, open_webui):
    service = make_service(OPEN_WEBUI_URL=open_webui.url, API_KEY=None)
    status, body = ask(service, ADMIN, "Bearer x")
    assert (status, body) == (401, {"detail": "TERMINALS_API_KEY is required for admin APIs"})


def checks(open_webui, token):
    return sum(1 for path, seen in open_webui.asked if seen == token and path == "/api/v1/auths/")


@pytest.mark.parametrize("ttl,expected", [("60", 1), ("0", 3)])
def test_token_results_are_kept(make_service, open_webui, prefix, ttl, expected):
    open_webui.add("alice", prefix + "alice")
    service = make_service(OPEN_WEBUI_URL=open_webui.url, TOKEN_CACHE_TTL=ttl)
    for _ in range(3):
        assert ask(service, DATA, "Bearer alice", prefix + "alice")[0] == 200
    assert checks(open_webui, "alice") == expected


def test_concurrent_requests_share_one_check(jwt, open_webui, prefix):
    open_webui.delay = 0.3
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(jwt, DATA, "Bearer alice", prefix + "alice")[0]))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8 and checks(open_webui, "alice") == 1


def test_a_slow_open_webui_does_not_hold_up_the_control_plane(jwt, open_webui, prefix):
    open_webui.delay = 3
    threads = [threading.Thread(target=ask, args=(jwt, DATA, f"Bearer unknown-{number}", prefix + "alice")) for number in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert ask(jwt, ADMIN, f"Bearer {KEY}")[0] == 200 and jwt.get("/metrics").status == 200
    assert any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()


def test_automation_tokens_are_tried_at_the_second_address(jwt, open_webui, prefix):
    """/auths/ wants a human; a token that /terminals/ takes is genuine, and its own id claim may be believed."""
    claims = base64.urlsafe_b64encode(json.dumps({"id": prefix + "robot", "typ": "automation"}).encode()).decode().rstrip("=")
    token = f"eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln"
    open_webui.tokens[token] = (403, {"detail": "A human session is required."})
    assert ask(jwt, DATA, f"Bearer {token}", prefix + "robot") == (401, {"detail": "Invalid token"})
    open_webui.terminals[token + "2"] = 200
    open_webui.tokens[token + "2"] = (403, {"detail": "A human session is required."})
    assert ask(jwt, DATA, f"Bearer {token}2", prefix + "robot")[0] == 200
    assert ask(jwt, DATA, f"Bearer {token}2", prefix + "alice")[0] == 403


def test_open_webui_out_of_reach_is_a_502(make_service, prefix):
    service = make_service(OPEN_WEBUI_URL=f"http://127.0.0.1:{client.socket.create_server(('127.0.0.1', 0)).getsockname()[1]}")
    assert ask(service, DATA, "Bearer alice", prefix + "alice") == (502, {"detail": "Failed to reach Open WebUI"})


@pytest.mark.parametrize("access,alice,bob", [
    (None, 200, 200), ({"users": ["{alice}"]}, 200, 403), ({"users": ["bob@corp.example"]}, 403, 200),
    ({"roles": ["admin"]}, 403, 200), ({"users": ["{alice}"], "roles": ["admin"]}, 200, 200), ({"users": [], "roles": []}, 403, 403)],
    ids=["everyone", "by id", "by e-mail", "by role", "either", "nobody"])
def test_access_of_a_policy(jwt, prefix, access, alice, bob):
    policy = prefix + "p"
    data = json.loads(json.dumps({"access": access} if access is not None else {}).replace("{alice}", prefix + "alice"))
    jwt.put_policy(policy, data)
    assert ask(jwt, f"/p/{policy}{DATA}", "Bearer alice", prefix + "alice")[0] == alice
    assert ask(jwt, f"/p/{policy}{DATA}", "Bearer bob", prefix + "bob")[0] == bob
