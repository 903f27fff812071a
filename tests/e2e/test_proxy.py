"""HTTP through the proxy: bytes, headers, streams, repeats, hostile peers (orchestrator.md §2.3, §2.6)."""
import base64
import gzip
import hashlib
import json
import re
import socket
import threading
import time

import pytest

from harness import client, images
from harness.client import raw, status_of, wait_until
from harness.service import KEY

pytestmark = pytest.mark.keep_terminals

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MEGABYTE = 1 << 20


class Wire:
    """One user's terminal whose guest shows what reached it."""

    def __init__(self, service, policy, user):
        self.service, self.policy, self.user = service, policy, user

    def request(self, method, target, **options):
        return self.service.request(method, f"/p/{self.policy}{target}", user=self.user, **options)

    def get(self, target, **options):
        return self.request("GET", target, **options)

    def post(self, target, **options):
        return self.request("POST", target, **options)

    def respond(self, data, then="close", method="GET", token="raw"):
        """Has the guest answer with these very bytes."""
        encoded = base64.urlsafe_b64encode(data).decode().replace("-", "%2B").replace("_", "%2F")
        return self.request(method, f"/raw?token={token}&then={then}&data={encoded}")

    def count(self, token):
        return self.get("/counts").json().get(token, 0)

    def head_bytes(self, method, target, *lines):
        """A request head as bytes, for raw sockets."""
        return (f"{method} /p/{self.policy}{target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: {self.user}\r\n"
                + "".join(line + "\r\n" for line in lines) + "\r\n").encode()


@pytest.fixture(scope="module")
def wire(service, engine):
    from conftest import SESSION
    policy = SESSION + "wire"
    service.put_policy(policy, {"image": images.wire(engine)})
    wire = Wire(service, policy, SESSION + "wire-user")
    assert wire.get("/first").status == 200
    return wire


def request_head(answer):
    """(request line, header pairs) as the guest received them."""
    lines = base64.b64decode(answer.json()["head"]).decode("latin-1").rstrip("\r\n").split("\r\n")
    return lines[0], [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]


def header_values(pairs, name):
    return [value for key, value in pairs if key.lower() == name.lower()]


# --- the request -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_passes(wire, method):
    line, _ = request_head(wire.request(method, "/some/path?a=b"))
    assert line == f"{method} /some/path?a=b HTTP/1.1"


def test_head_passes_and_has_no_body(wire):
    answer = wire.request("HEAD", "/some/path?token=head")
    assert answer.status == 200 and answer.body == b""
    assert request_head(wire.get("/seen?token=head"))[0] == "HEAD /some/path?token=head HTTP/1.1"


@pytest.mark.parametrize("target", [
    "/a%2Fb", "/a%23b", "/a%3Fb", "/a%25b", "/a%2525b", "/a%00b", "/%2e%2e/%2E%2E/x", "/a//b//", "/a;v=1,2/b@c:d!$&'()*+=",
    "/q?", "/q?a=%20b+c&a=2&&=&c", "/q?a?b/c", "/%F0%9F%8C%8D?%FF=%fe", "/~a_b-c.d", "/q?x=%2F%23%3F%25%00", "/api/v1/policies",
    "/health/../x"])
def test_target_passes_byte_for_byte(wire, target):
    line, _ = request_head(wire.get(target))
    assert line == f"GET {target} HTTP/1.1"


def test_policy_prefix_is_cut_also_when_encoded(service, engine, prefix):
    policy = prefix + "with space"
    encoded = policy.replace(" ", "%20")
    service.put_policy(encoded, {"image": images.wire(engine)})
    answer = service.get(f"/p/{encoded}/x%20y?z", user=prefix + "u")
    assert request_head(answer)[0] == "GET /x%20y?z HTTP/1.1"


def test_request_headers_in_order_with_duplicates(wire):
    _, pairs = request_head(wire.get("/x", headers=[("X-Dup", "one"), ("Cookie", "a=b; c=d"), ("X-Dup", "two"), ("Range", "bytes=0-3"),
                                                   ("Accept-Encoding", "br, gzip"), ("X-Session-Id", "s1"), ("X-Empty", "")]))
    assert header_values(pairs, "X-Dup") == ["one", "two"]
    for name, value in (("Cookie", "a=b; c=d"), ("Range", "bytes=0-3"), ("Accept-Encoding", "br, gzip"), ("X-Session-Id", "s1"),
                        ("X-Empty", "")):
        assert header_values(pairs, name) == [value], name


def test_identity_headers_never_reach_the_guest(wire):
    answer = wire.get("/x", context="chat:headers", headers=[("Forwarded", "for=1.2.3.4")])
    _, pairs = request_head(answer)
    names = {name.lower() for name, _ in pairs}
    assert "x-user-id" not in names and "x-terminal-context-id" not in names
    assert wire.user not in base64.b64decode(answer.json()["head"]).decode()


def test_authorization_becomes_the_guests_own_key(wire, engine):
    _, pairs = request_head(wire.get("/x"))
    keys = [engine.guest_key(wire.user, "default")]
    assert header_values(pairs, "Authorization") == [f"Bearer {keys[0]}"]
    assert KEY not in keys[0] and len(keys[0]) >= 24


def test_hop_by_hop_request_headers_stay_here(wire):
    _, pairs = request_head(wire.get("/x", headers=[("Connection", "keep-alive, X-Named"), ("X-Named", "1"), ("Keep-Alive", "timeout=5"),
                                                   ("TE", "gzip"), ("Proxy-Authorization", "Basic x"),
                                                   ("Proxy-Connection", "close"), ("X-Kept", "1")]))
    names = {name.lower() for name, _ in pairs}
    assert not names & {"x-named", "keep-alive", "te", "proxy-authorization", "proxy-connection"}
    assert "x-kept" in names


def test_host_is_the_guests(wire):
    _, pairs = request_head(wire.get("/x", headers=[("Host", "attacker.example")]))
    assert len(header_values(pairs, "Host")) == 1 and "attacker" not in header_values(pairs, "Host")[0]


@pytest.mark.parametrize("given,kept", [("abc-123", True), ("x" * 128, True), ("x" * 129, False), (None, False)])
def test_request_id_is_the_callers_or_new(wire, given, kept):
    answer = wire.get("/x", headers=[("X-Request-Id", given)] if given else None)
    told = answer.header("X-Request-Id")
    assert told == given if kept else re.fullmatch(UUID4, told)
    assert header_values(request_head(answer)[1], "X-Request-Id") == [told]
    assert len(answer.all("X-Request-Id")) == 1


def test_unprintable_request_id_is_replaced(wire):
    answer = raw(wire.service.port, wire.head_bytes("GET", "/x", "X-Request-Id: a\xe4\xff"))
    assert status_of(answer) == 200
    assert re.search(rb"(?i)x-request-id: " + UUID4.encode(), answer)


# --- bodies ----------------------------------------------------------------------------------------------------------

def blocks(total):
    block = bytes(range(256)) * 1024
    for _ in range(total // len(block)):
        yield block


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_upload_of_100_megabytes_is_not_gathered(wire, chunked):
    total = 100 * MEGABYTE
    digest = hashlib.sha256()
    for block in blocks(total):
        digest.update(block)
    before = wire.service.memory_kb()
    connection, response = wire.service.open("POST", f"/p/{wire.policy}/upload", user=wire.user, body=blocks(total),
                                             headers=None if chunked else [("Content-Length", str(total))])
    told = json.loads(response.read())
    connection.close()
    assert (told["length"], told["sha256"]) == (total, digest.hexdigest())
    assert wire.service.memory_kb("VmHWM") - before < 48 * 1024


@pytest.mark.parametrize("extra", ["", "&chunked=1"], ids=["with a length", "chunked"])
def test_download_of_100_megabytes_is_not_gathered(wire, extra):
    total = 100 * MEGABYTE
    before = wire.service.memory_kb()
    connection, response = wire.service.open("GET", f"/p/{wire.policy}/bytes?n={total}{extra}", user=wire.user)
    assert (response.getheader("Content-Length") == str(total)) == (extra == "")
    digest, expected, length = hashlib.sha256(), hashlib.sha256(), 0
    while piece := response.read(MEGABYTE):
        digest.update(piece)
        length += len(piece)
    connection.close()
    for block in blocks(total):
        expected.update(block)
    assert length == total and digest.digest() == expected.digest()
    assert wire.service.memory_kb("VmHWM") - before < 48 * 1024


def test_a_client_that_does_not_read_holds_the_guest_back(wire):
    before = wire.service.memory_kb()
    connection, _ = wire.service.open("GET", f"/p/{wire.policy}/bytes?n={400 * MEGABYTE}", user=wire.user)
    time.sleep(1.5)
    assert wire.service.memory_kb() - before < 48 * 1024
    connection.close()
    assert wire.get("/after").status == 200


def test_response_streams_as_it_comes(wire):
    begin = time.monotonic()
    connection, response = wire.service.open("GET", f"/p/{wire.policy}/stream?count=4&pause=1", user=wire.user)
    assert response.readline() == b"data: 0\n"
    assert time.monotonic() - begin < 2.5
    assert response.read().endswith(b"data: 3\n\n")
    assert time.monotonic() - begin > 2.8
    connection.close()


def test_request_streams_as_it_comes(wire):
    """The guest has the first half before the second is sent: it can be seen in its sockets' bytes only by its answer's timing,
    so the body is sent in pieces with pauses longer than any buffer would wait."""
    with socket.create_connection(("127.0.0.1", wire.service.port), timeout=10) as peer:
        peer.sendall(wire.head_bytes("POST", "/slowly?token=slowly", "Transfer-Encoding: chunked"))
        peer.sendall(b"3\r\nabc\r\n")
        wait_until(lambda: wire.count("slowly") == 1, 5, what="the head at the guest before the body's end")
        peer.sendall(b"4\r\ndefg\r\n0\r\n\r\n")
        answer = b""
        while not client.is_whole(answer):
            answer += peer.recv(65536)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["length"] == 7


def test_expect_100_continue_is_answered(wire):
    with socket.create_connection(("127.0.0.1", wire.service.port), timeout=5) as peer:
        peer.sendall(wire.head_bytes("POST", "/x", "Content-Length: 5", "Expect: 100-continue"))
        assert peer.recv(65536).startswith(b"HTTP/1.1 100 ")
        peer.sendall(b"hello")
        assert status_of(peer.recv(65536)) == 200


def test_real_guest_takes_and_gives_a_large_file(service, engine, prefix):
    user, body = prefix + "u", bytes(range(256)) * 4096 * 20
    form = (b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big.bin\"\r\n\r\n" + body + b"\r\n--XX--\r\n")
    answer = service.post("/files/upload?directory=/home/user/in", user=user, body=form,
                          headers=[("Content-Type", "multipart/form-data; boundary=XX")])
    assert answer.json() == {"path": "/home/user/in/big.bin", "size": len(body)}
    assert service.get("/files/view?path=/home/user/in/big.bin", user=user).body == body


# --- the response ----------------------------------------------------------------------------------------------------

def test_response_duplicates_stay_apart(wire):
    answer = wire.respond(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n", then="keep")
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]


def test_content_encoding_and_length_are_untouched(wire):
    packed = gzip.compress(b"hello " * 100)
    answer = wire.respond(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed), "keep")
    assert answer.header("Content-Encoding") == "gzip" and answer.header("Content-Length") == str(len(packed))
    assert answer.body == packed


def test_hop_by_hop_response_headers_stay_here(wire):
    answer = wire.respond(b"HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\n"
                          b"X-Kept: 1\r\nContent-Length: 2\r\n\r\nok", "keep")
    assert answer.body == b"ok" and answer.header("X-Kept") == "1"
    assert not {name.lower() for name, _ in answer.headers} & {"x-named", "keep-alive", "proxy-authenticate"}


@pytest.mark.parametrize("status", [201, 204, 301, 304, 401, 404, 418, 500, 503])
def test_status_passes(wire, status):
    body = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    answer = wire.respond(b"HTTP/1.1 %d Whatever\r\nX-Mark: 1\r\n%s\r\n" % (status, body), "keep")
    assert answer.status == status and answer.header("X-Mark") == "1" and answer.body == b""


def test_body_that_ends_with_the_connection(wire):
    assert wire.respond(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").body == b"until the end"


def test_interim_responses_do_not_disturb(wire):
    """103 may be passed on or dropped; the final response must follow whole."""
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    encoded = base64.b64encode(data).decode().replace("+", "%2B")
    answer = raw(wire.service.port, wire.head_bytes("GET", f"/raw?then=keep&data={encoded}", "Connection: close"), until_close=True)
    assert answer.count(b"HTTP/1.1 200 ") == 1 and answer.endswith(b"\r\n\r\nok")


def test_head_answer_with_a_length_does_not_wait_for_a_body(wire):
    answer = wire.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "keep", method="HEAD")
    assert answer.status == 200 and answer.header("Content-Length") == "1000"


@pytest.mark.parametrize("name,data", {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "space in name": b"HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 0\r\n\r\n",
    "NUL in value": b"HTTP/1.1 200 OK\r\nX-Y: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bad status": b"HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 30000,
    "protocol switch nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "closed in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
}.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_response_is_a_502(wire, name, data):
    answer = wire.respond(data)
    assert answer.status == 502 and "error" in answer.json(), name
    assert wire.get("/after").status == 200


def test_truncated_body_is_not_passed_off_as_whole(wire):
    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with pytest.raises(Exception, match="(?i)incomplete|reset|closed"):
            wire.respond(data)


# --- repeats and connections -----------------------------------------------------------------------------------------

def test_post_that_may_have_arrived_is_never_sent_twice(wire):
    answer = wire.post("/drop?token=post", body=b"x")
    assert (answer.status, answer.json()) == (502, {"error": "Upstream connection failed"})
    assert wire.count("post") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_method_is_sent_again_when_no_byte_came(wire, method):
    assert wire.request(method, f"/drop-once?token=once-{method}").status == 200
    assert wire.count(f"once-{method}") == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_sent_again(wire, method):
    assert wire.request(method, f"/drop-once?token=once-{method}", body=b"{}").status == 502
    assert wire.count(f"once-{method}") == 1


def test_nothing_is_sent_again_after_a_byte_came(wire):
    with pytest.raises(Exception, match="(?i)incomplete|reset|closed"):
        wire.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", token="partial")
    assert wire.count("partial") == 1


def test_connections_are_reused_but_not_when_the_guest_may_drop_them(wire):
    """Guests drop idle connections after 5 s: 4 s is the limit, 2 s where a repeat is not allowed."""
    first, second = wire.get("/x").json(), wire.get("/x").json()
    if wire.service.settings.get("WORKERS") == "1":
        assert second["connection"] == first["connection"]
    for pause, method in ((4.4, "GET"), (2.5, "POST")):
        time.sleep(pause)
        assert wire.request(method, "/x").json()["number"] == 1


def test_pipelined_requests_are_answered_in_order(wire):
    data = wire.head_bytes("GET", "/one") + wire.head_bytes("GET", "/two", "Connection: close")
    answer = raw(wire.service.port, data, until_close=True)
    bodies = re.findall(rb'"head": "([^"]+)"', answer)
    assert [base64.b64decode(body).split(b" ")[1] for body in bodies] == [b"/one", b"/two"]


def test_client_connection_serves_many_requests(wire):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", wire.service.port, timeout=10)
    for number in range(20):
        connection.request("GET", f"/p/{wire.policy}/n{number}", headers=dict(wire.service.headers(wire.user)))
        response = connection.getresponse()
        assert response.status == 200 and response.read()
    connection.close()


def test_client_that_leaves_frees_the_guest(wire):
    """A caller who hangs up while the guest works: the service forgets him and serves on."""
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", wire.service.port))
        connection.sendall(wire.head_bytes("GET", "/slow?seconds=1"))
        time.sleep(0.05)
        connection.close()
    assert wire.get("/after").status == 200


def test_slow_guest_is_a_504(make_service, engine, prefix):
    service = make_service(PROXY_READ_TIMEOUT_SECONDS=1)
    service.put_policy(prefix + "wire", {"image": images.wire(engine)})
    answer = service.post(f"/p/{prefix}wire/slow?seconds=8", user=prefix + "u")
    assert (answer.status, answer.json()) == (504, {"error": "Upstream response timed out"})


# --- upgrades --------------------------------------------------------------------------------------------------------

def test_other_upgrade_is_authenticated_and_tunnelled(wire):
    head = wire.head_bytes("GET", "/shout", "Connection: Upgrade", "Upgrade: shout")
    with socket.create_connection(("127.0.0.1", wire.service.port), timeout=5) as peer:
        peer.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += peer.recv(65536)
        assert status_of(answer) == 101 and b"shout" in answer
        peer.sendall(b"hello")
        assert peer.recv(65536) == b"HELLO"
        peer.sendall(b"bye")
        assert peer.recv(65536) == b"BYE"
        assert peer.recv(65536) == b""
    refused = head.replace(KEY.encode(), b"wrong")
    assert status_of(raw(wire.service.port, refused)) == 401


# --- hostile clients -------------------------------------------------------------------------------------------------

BAD_REQUESTS = {
    "length and chunked": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length list": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabcd",
    "signed length": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
    "huge length": b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "unknown coding": b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked twice": b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /x HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded line": b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "bare LF": b"GET /x HTTP/1.1\nHost: x\n\n",
    "NUL in value": b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no colon": b"GET /x HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "bad method": b"G{T /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad version": b"GET /x HTTP/3.0\r\nHost: x\r\n\r\n",
    "space in target": b"GET /x y HTTP/1.1\r\nHost: x\r\n\r\n",
    "control in target": b"GET /x\x01y HTTP/1.1\r\nHost: x\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_malformed_request_is_refused_and_closed(service, data):
    head, _, rest = data.partition(b"\r\n")
    secret = f"\r\nAuthorization: Bearer {KEY}\r\nX-User-Id: nobody-starts-this\r\n".encode()
    answer = raw(service.port, head + secret + rest if rest else data, until_close=True)
    assert status_of(answer) in (400, 501, 505), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert service.get("/health").status == 200


@pytest.mark.parametrize("data", [b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70000 + b"\r\n\r\n",
                                  b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 150 + b"\r\n",
                                  b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
                         ids=["64 KiB", "100 fields", "target"])
def test_head_limits(service, data):
    assert status_of(raw(service.port, data)) in (400, 414, 431)


@pytest.mark.parametrize("body", [b"zz\r\nabc\r\n", b"3\r\nabcX", b"-3\r\nabc\r\n", b"ffffffffffffffffff\r\n"])
def test_malformed_chunks_are_refused(wire, body):
    answer = raw(wire.service.port, wire.head_bytes("POST", "/chunks", "Transfer-Encoding: chunked") + body, until_close=True)
    assert status_of(answer) in (400, 502, None), answer
    assert wire.get("/after").status == 200


def test_smuggled_request_is_not_served(wire):
    """What follows a body is a request of its own and needs its own authorization."""
    hidden = f"GET /p/{wire.policy}/hidden?token=hidden HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = raw(wire.service.port, wire.head_bytes("POST", "/x", f"Content-Length: {len(hidden)}", "Connection: close") + hidden,
                 until_close=True)
    assert answer.count(b"HTTP/1.1 ") == 1 and wire.count("hidden") == 0


# --- many at once ----------------------------------------------------------------------------------------------------

def test_many_callers_at_once_get_their_own_answers(wire):
    failures = []

    def call(number):
        for turn in range(10):
            line, _ = request_head(wire.post(f"/n{number}-{turn}", body=b"x" * number))
            if line != f"POST /n{number}-{turn} HTTP/1.1":
                failures.append(line)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- CORS ------------------------------------------------------------------------------------------------------------

def test_no_cors_headers_unless_origins_are_named(service, make_service):
    origin = [("Origin", "https://one.example")]
    names = {name.lower() for name, _ in service.get("/health", headers=origin).headers}
    assert not any(name.startswith("access-control-") for name in names)


def test_named_origins_get_cors_headers(make_service):
    service = make_service(CORS_ALLOWED_ORIGINS="https://one.example,https://two.example")
    answer = service.get("/health", headers=[("Origin", "https://two.example")])
    assert answer.header("Access-Control-Allow-Origin") == "https://two.example"
    other = service.get("/health", headers=[("Origin", "https://three.example")])
    assert other.header("Access-Control-Allow-Origin") is None


def test_every_origin_may_read_but_not_with_credentials(make_service):
    service = make_service(CORS_ALLOWED_ORIGINS="*,https://one.example")
    everybody = service.get("/health", headers=[("Origin", "https://two.example")])
    assert everybody.header("Access-Control-Allow-Origin") == "*" and not everybody.header("Access-Control-Allow-Credentials")
    named = service.get("/health", headers=[("Origin", "https://one.example")])
    assert named.header("Access-Control-Allow-Origin") == "https://one.example"
    assert named.header("Access-Control-Allow-Credentials") == "true"
