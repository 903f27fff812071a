"""HTTP as the tests need it: the target goes out byte for byte, no header is added that was not asked for but Host and
the body's length, and headers come back in order with their duplicates."""
import http.client
import json as jsonlib
import socket
import time


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self):
        return jsonlib.loads(self.body)

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def as_pairs(headers):
    if headers is None:
        return []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


def open_request(port, method, target, headers=None, body=None, json=None, timeout=60, host="127.0.0.1"):
    """Sends a request and returns the connection and its response with the body still to be read. An iterable body goes
    out in chunks."""
    pairs = as_pairs(headers)
    if json is not None:
        body = jsonlib.dumps(json)
        if not any(name.lower() == "content-type" for name, _ in pairs):
            pairs.append(("Content-Type", "application/json"))
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    given = {name.lower() for name, _ in pairs}
    connection.putrequest(method, target, skip_host="host" in given, skip_accept_encoding=True)
    for name, value in pairs:
        connection.putheader(name, value.encode() if isinstance(value, str) else value)
    chunked = body is not None and not isinstance(body, bytes) and "content-length" not in given
    if isinstance(body, bytes) and "content-length" not in given:
        connection.putheader("Content-Length", str(len(body)))
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    try:
        send_body(connection, body, chunked)
    except (BrokenPipeError, ConnectionResetError):
        pass  # Refused before its end; the answer says why.
    return connection, connection.getresponse()


def send_body(connection, body, chunked):
    if isinstance(body, bytes):
        connection.send(body)
    elif body is not None:
        for piece in body:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.send(b"0\r\n\r\n")


def request(port, method, target, **options):
    connection, response = open_request(port, method, target, **options)
    try:
        return Response(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def raw(port, data, timeout=5.0, until_close=False):
    """Sends bytes as they are and returns what comes back: the first response in full, or all until the peer closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        received = b""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                piece = connection.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not piece:
                break
            received += piece
            if not until_close and is_whole(received):
                break
        return received


def is_whole(data):
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(body) >= int(value)
    return False


def status_of(data):
    """The status of a raw response, or None where there is none."""
    parts = data.split(b" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/1.") else None


def wait_until(condition, timeout=20.0, interval=0.05, what="the condition"):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s; last: {found!r}")
        time.sleep(interval)
