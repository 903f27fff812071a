"""Terminals over WebSocket, as the panel uses them (orchestrator.md §2.7; open-webui.md, WebSocket)."""
import base64
import json
import re
import socket
import struct
import subprocess
import time

import pytest
from websockets.exceptions import ConnectionClosed

from harness import images
from harness.client import raw, status_of, wait_until
from harness.service import KEY
from harness.terminal import Terminal, make_session, sessions


def open_panel(service, user, session_id, policy=None, context=None, chat=None, token=KEY, extra=(), **fields):
    """Dials as Open WebUI does: user in header and query, X-Session-Id always present, context as a header."""
    headers = [("X-User-Id", user), ("X-Session-Id", chat or ""), *extra]
    if context:
        headers.append(("X-Terminal-Context-Id", context))
    path = (f"/p/{policy}" if policy else "") + f"/api/terminals/{session_id}?user_id={user}"
    return Terminal(service.port, path, headers).auth(token, **fields)


# --- a panel's life --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("chat,context", [(None, None), ("chat-1", None), ("chat-1", "chat:chat-1"), ("temporary:x", None)],
                         ids=["without a chat", "in a chat", "a terminal per chat", "in a temporary chat"])
def test_type_and_see_output_then_exit(service, prefix, chat, context):
    user = prefix + "u"
    session = make_session(service, user, context=context, session=chat or "")
    assert sessions(service, user, context=context, session=chat or "") == [session]
    with open_panel(service, user, session, context=context, chat=chat) as panel:
        panel.send_json({"type": "resize", "cols": 132, "rows": 43})
        panel.type("stty size; echo sum=$((40+2))\n")
        assert b"43 132" in panel.read_until(b"sum=42")
        panel.type("exit\n")
        code, _ = panel.wait_closed(10)
        assert code == 1000
    assert sessions(service, user, context=context, session=chat or "") == []


def test_user_shell_tools_see_the_panels_shell(service, prefix):
    """`read_user_terminal` and `send_user_terminal_input` go by the same pair of user and chat."""
    user = prefix + "u"
    with open_panel(service, user, make_session(service, user, session="c1"), chat="c1") as panel:
        panel.type("echo see''n\n")
        panel.read_until(b"seen")
        assert "seen" in service.get("/api/terminals/user/output", user=user, session="c1").json()["output"]
        assert service.post("/api/terminals/user/input", user=user, session="c1", json={"input": "echo ty''ped\n"}).status == 200
        panel.read_until(b"typed")
    assert service.get("/api/terminals/user/output", user=user, session="other").status == 404


@pytest.mark.parametrize("how", ["header", "auth frame", "what the POST carried"])
def test_session_id_reaches_the_dial(service, prefix, how):
    user = prefix + "u"
    session = make_session(service, user, session="c1")
    headers = [("X-Session-Id", "c1")] if how == "header" else []
    with Terminal(service.port, f"/api/terminals/{session}?user_id={user}", headers) as panel:
        panel.auth(KEY, **({"chat_id": "c1"} if how == "auth frame" else {}))
        panel.type("echo o''k\n")
        panel.read_until(b"ok")


def test_foreign_chat_does_not_get_the_session(service, prefix):
    user = prefix + "u"
    session = make_session(service, user, session="c1")
    with open_panel(service, user, session, chat="c2") as panel:
        assert panel.wait_closed() == (4004, "Session not found")
    with Terminal(service.port, f"/api/terminals/{session}?user_id={prefix}other") as panel:
        assert panel.auth(KEY, chat_id="c1").wait_closed() == (4004, "Session not found")
    assert sessions(service, user, session="c1") == [session]


def test_unknown_session_is_4004_at_once(service, prefix):
    service.get("/files/cwd", user=prefix + "u")
    begin = time.monotonic()
    with open_panel(service, prefix + "u", "00000000") as panel:
        assert panel.wait_closed() == (4004, "Session not found")
    assert time.monotonic() - begin < 3


def test_second_panel_on_a_session_is_4009(service, prefix):
    user = prefix + "u"
    session = make_session(service, user)
    with open_panel(service, user, session) as first:
        first.type("echo fir''st\n")
        first.read_until(b"first")
        with open_panel(service, user, session) as second:
            assert second.wait_closed()[0] == 4009
        first.type("echo sti''ll\n")
        first.read_until(b"still")


@pytest.mark.parametrize("end", ["closes", "vanishes"])
def test_client_that_goes_leaves_no_session(service, prefix, end):
    user = prefix + "u"
    panel = open_panel(service, user, make_session(service, user))
    panel.type("echo he''re\n")
    panel.read_until(b"here")
    if end == "closes":
        panel.close()
    else:
        panel.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: sessions(service, user) == [], 10, what="the end of the guest's session")
    assert service.get("/api/terminals/user/output", user=user).status == 404
    panel.close()


def test_client_that_goes_during_the_dial_leaves_no_session(service, prefix):
    user = prefix + "u"
    for _ in range(5):
        session = make_session(service, user)
        panel = Terminal(service.port, f"/api/terminals/{session}?user_id={user}").auth(KEY)
        panel.socket.socket.close()
        wait_until(lambda: service.get("/api/terminals/user/output", user=user).status == 404, 10)
        assert service.request("DELETE", f"/api/terminals/{session}", user=user).status in (200, 404)


def test_stopped_terminal_ends_the_panel(service, prefix):
    user = prefix + "u"
    with open_panel(service, user, make_session(service, user)) as panel:
        panel.type("echo he''re\n")
        panel.read_until(b"here")
        answer = service.post("/api/v1/terminals/refresh", json={"user_id": user})
        assert answer.json()["skipped_active"] == 1
        assert service.post("/api/v1/terminals/stop", json={"user_id": user}).json()["matched"] == 1
        service.engine.clean((user,))
        assert panel.wait_closed()


def test_a_lot_of_output_arrives_whole(service, prefix):
    user = prefix + "u"
    with open_panel(service, user, make_session(service, user)) as panel:
        panel.type("stty -echo; echo begin; python3 -c 'print(\"x\" * 3000000)' | tr -d '\\n'; echo; echo e''nd\n")
        output = panel.read_until(b"end\r\n", 60)
        assert output.count(b"x") >= 3000000


def test_open_panels_are_counted(service, prefix):
    user = prefix + "u"
    with open_panel(service, user, make_session(service, user)) as panel:
        panel.type("echo he''re\n")
        panel.read_until(b"here")
        assert service.get("/api/v1/status").json()["active_websocket_connections"] == 1
    wait_until(lambda: service.get("/api/v1/status").json()["active_websocket_connections"] == 0)


# --- who may ---------------------------------------------------------------------------------------------------------

def close_after(service, first_frame, path="/api/terminals/none?user_id=nobody-here", headers=None):
    with Terminal(service.port, path, headers) as panel:
        panel.socket.send(first_frame)
        return panel.wait_closed()


@pytest.mark.parametrize("frame,expected", [
    ('{"type":"x"}', (4001, "Expected auth message")), ("{}", (4001, "Expected auth message")),
    ("hello", (4001, "Auth timeout or invalid payload")), ("", (4001, "Auth timeout or invalid payload")),
    ("[]", (4001, "Auth failed")), ('"x"', (4001, "Auth failed")), ("null", (4001, "Auth failed")),
    (b'{"type":"auth","token":"adminkey"}', (4001, "Auth failed")), ('{"type":"auth"}', (4001, "Invalid API key")),
    ('{"type":"auth","token":5}', (4001, "Auth failed")), ('{"type":"auth","token":""}', (4001, "Invalid API key")),
    ('{"type":"auth","token":"wrong"}', (4001, "Invalid API key")),
    ("x" * 2_000_000, (4001, "Auth failed"))], ids=lambda value: str(value)[:40])
def test_first_frame_that_is_refused(service, frame, expected):
    assert close_after(service, frame) == expected


@pytest.mark.parametrize("path,expected", [
    ("/api/terminals/none", (4002, "Missing user_id")), ("/api/terminals/none?user_id=", (4002, "Missing user_id")),
    ("/api/terminals/none?user_id=a&context_id=foo", (4004, "only chat and automation contexts are supported")),
    ("/api/terminals/none?user_id=a&context_id=chat:" + "x" * 300, (4004, "context_id is too long")),
    ("/p/nope/api/terminals/none?user_id=a", (4004, "Policy 'nope' not found"))], ids=lambda value: str(value)[:60])
def test_close_after_authentication(service, path, expected):
    assert close_after(service, json.dumps({"type": "auth", "token": KEY}), path) == expected


def test_context_header_wins_over_the_query(service):
    answer = close_after(service, json.dumps({"type": "auth", "token": KEY}), "/p/nope/api/terminals/none?user_id=a&context_id=foo",
                         [("X-Terminal-Context-Id", "chat:ok")])
    assert answer == (4004, "Policy 'nope' not found")


def test_header_and_query_must_name_the_same_user(service):
    code, _ = close_after(service, json.dumps({"type": "auth", "token": KEY}), headers=[("X-User-Id", "another")])
    assert code in (4002, 4003)


def test_silence_is_closed_after_10_seconds(service):
    begin = time.monotonic()
    with Terminal(service.port, "/api/terminals/none?user_id=a") as panel:
        assert panel.wait_closed(15) == (4001, "Auth timeout or invalid payload")
    assert 9 < time.monotonic() - begin


def test_token_mode(make_service, open_webui, prefix):
    open_webui.add("alice", prefix + "alice")
    service = make_service(OPEN_WEBUI_URL=open_webui.url)
    path = f"/api/terminals/none?user_id={prefix}alice"
    assert close_after(service, '{"type":"auth","token":"rubbish"}', path) == (4001, "Invalid token")
    assert close_after(service, '{"type":"auth","token":"alice"}', f"/api/terminals/none?user_id={prefix}bob") == \
        (4003, "user_id does not match authenticated identity")
    session = make_session(service, prefix + "alice", session="")
    for token in ("alice", KEY):
        if token == KEY:
            session = make_session(service, prefix + "alice", session="")
        with open_panel(service, prefix + "alice", session, token=token) as panel:
            panel.type("echo o''k\n")
            panel.read_until(b"ok")


def test_open_mode_takes_an_empty_token(make_service, prefix):
    service = make_service(API_KEY=None, options=["--open"])
    service.key = None
    with open_panel(service, prefix + "u", make_session(service, prefix + "u"), token="") as panel:
        panel.type("echo o''k\n")
        panel.read_until(b"ok")


def test_terminal_that_cannot_start_is_4003(make_service, engine, prefix):
    service = make_service(START_TIMEOUT_SECONDS=5)
    service.put_policy(prefix + "p", {"image": images.crashing(engine)})
    assert close_after(service, json.dumps({"type": "auth", "token": KEY}), f"/p/{prefix}p/api/terminals/x?user_id={prefix}u") == \
        (4003, "Failed to resolve terminal instance")


def test_unauthenticated_sockets_are_limited(make_service, prefix):
    service = make_service(MAX_UNAUTHENTICATED_WEBSOCKETS=3, MAX_UNAUTHENTICATED_WEBSOCKETS_PER_ADDRESS=2)
    held = []

    def dial(address):
        """The status of a handshake from that address; an accepted socket stays open and says nothing."""
        connection = socket.create_connection(("127.0.0.1", service.port), 5, (address, 0))
        connection.sendall(b"GET /api/terminals/none?user_id=a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        held.append(connection)
        return status_of(connection.recv(4096))

    assert [dial("127.0.0.1") for _ in range(3)] == [101, 101, 503], "per address"
    assert [dial("127.0.0.2") for _ in range(2)] == [101, 503], "in all"
    held.pop(0).close()
    wait_until(lambda: dial("127.0.0.2") == 101, 5, what="room for another")
    for connection in held:
        connection.close()
    session = make_session(service, prefix + "u")
    with open_panel(service, prefix + "u", session) as panel:
        panel.type("echo he''re\n")
        panel.read_until(b"here")
        assert [dial("127.0.0.1") for _ in range(3)] == [101, 101, 503], "one that has authenticated does not count"
    for connection in held:
        connection.close()


def test_handshake_that_is_none(service):
    head = b"GET /api/terminals/x?user_id=a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    for extra in (b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"):
        assert status_of(raw(service.port, head + extra + b"\r\n")) in (400, 426)


def keep_alive_timers(*filters):
    """Seconds until the next probe of each established connection that fits."""
    text = subprocess.run(["ss", "-tnoH", "state", "established", *filters], capture_output=True, text=True, check=True).stdout
    return [float(seconds) for seconds in re.findall(r"timer:\(keepalive,(\d+)sec,0\)", text)], text


def test_keep_alive_looks_for_dead_peers(service, prefix):
    user = prefix + "u"
    with Terminal(service.port, f"/api/terminals/{make_session(service, user)}?user_id={user}") as panel:
        panel.auth(KEY)
        panel.type("echo he''re\n")
        panel.read_until(b"here")
        guest = service.terminals(user)[0]["host"]
        for leg in (["sport", "=", f":{service.port}"], ["dst", f"{guest}:8000"]):
            seconds, text = wait_until(lambda: (found := keep_alive_timers(*leg))[0] and found, 5, what="a keep-alive timer")
            assert all(20 < value <= 30 for value in seconds), text


# --- bytes on the way, with a guest that shows them ------------------------------------------------------------------

@pytest.fixture
def panel(service, wire, prefix):
    panel = Terminal(service.port, f"/p/{wire}/api/terminals/s%2F1?user_id={prefix}u", [("X-User-Id", prefix + "u"), ("X-Session-Id", "c1")])
    panel.auth(KEY)
    panel.about = json.loads(panel.socket.recv(timeout=20))
    panel.head = base64.b64decode(panel.about["head"]).decode()
    yield panel
    panel.close()


def test_the_dial_to_the_guest(panel, engine, prefix):
    key = engine.guest_key(prefix + "u")
    assert panel.about["auth"] == {"type": "auth", "token": key, "chat_id": "c1"}
    lines = panel.head.split("\r\n")
    assert lines[0].startswith("GET /api/terminals/s%2F1")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:] if line}
    assert headers["x-session-id"] == "c1" and "x-user-id" not in headers
    assert prefix + "u" not in panel.head and "sec-websocket-extensions" not in headers and KEY not in panel.head


def test_compression_is_never_negotiated(service, wire, prefix):
    with Terminal(service.port, f"/p/{wire}/api/terminals/x?user_id={prefix}u", compression="deflate") as panel:
        assert "Sec-WebSocket-Extensions" not in panel.socket.response.headers
        panel.auth(KEY)
        assert "permessage-deflate" not in base64.b64decode(json.loads(panel.socket.recv(timeout=20))["head"]).decode()


@pytest.mark.parametrize("message", ["text", "", "ünï", b"binary", b"", b"\x00\xff" * 50, "x" * 125, "x" * 126, "x" * 65535, b"y" * 65536,
                                     b"z" * 8_000_000], ids=lambda value: f"{type(value).__name__} {len(value)}")
def test_frames_keep_kind_and_bytes(panel, message):
    panel.socket.send(message)
    assert panel.socket.recv(timeout=30) == message


def test_fragments_arrive_whole(panel):
    panel.socket.send(["ab", "cd", "ef"])
    assert panel.socket.recv(timeout=10) == "abcdef"


def test_many_frames_keep_their_order(panel):
    for number in range(500):
        panel.socket.send(f"{number}")
    assert [panel.socket.recv(timeout=10) for _ in range(500)] == [str(number) for number in range(500)]


def test_ping_is_answered(panel):
    assert panel.socket.ping().wait(5)


@pytest.mark.parametrize("code,reason", [(1000, ""), (1001, "going"), (3000, "own"), (4999, "ünï")])
def test_guests_close_reaches_the_client(panel, code, reason):
    panel.socket.send(f"close {code} {reason}".encode())
    assert panel.wait_closed() == (code, reason)


@pytest.mark.parametrize("code,reason", [(1000, "bye"), (4321, "own reason")])
def test_clients_close_reaches_the_guest(panel, service, wire, prefix, code, reason):
    panel.close(code, reason)
    seen = wait_until(lambda: service.get(f"/p/{wire}/seen?token=close", user=prefix + "u").json(), 5)
    assert seen == {"code": code, "reason": reason}


def test_guest_that_vanishes_ends_the_client(panel):
    panel.socket.send(b"vanish")
    assert panel.wait_closed(5)[0] in (1001, 1006, 1011, 1012, 1014)


@pytest.mark.parametrize("bad", [bytes([0x82, 5]) + b"plain", bytes([0xf2, 0x80, 1, 2, 3, 4]), bytes([0x8b, 0x80, 1, 2, 3, 4]),
                                 bytes([0x89, 0xfe, 0, 200, 1, 2, 3, 4]) + b"x" * 200,
                                 bytes([0x82, 0xff]) + struct.pack("!Q", 1 << 63) + b"1234"],
                         ids=["unmasked", "reserved bits", "unknown opcode", "long ping", "endless"])
def test_malformed_frame_ends_the_connection(panel, service, bad):
    panel.socket.socket.sendall(bad)
    assert panel.wait_closed(5)[0] in (1002, 1006, 1009)
    assert service.get("/health").status == 200
