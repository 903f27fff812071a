"""A proxy between one program of ours and the API server, which makes the faults that a healthy server does not make on demand.

Calls come in as plain HTTP by a kubeconfig of the proxy's own and go out over TLS with the tester's credentials. What is done to them follows from rules; a
watch passes event by event. Everything may be called from any thread while the proxy runs."""
import collections
import http.client
import json
import os
import re
import signal
import socket
import socketserver
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

PATH = re.compile(r"^/api(?:s/[^/]+)?/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$")
VERBS = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}


class Call:
    """verb: get list watch create replace patch delete; kind: plural, with "/status" for that sub-resource."""

    def __init__(self, method, target, body):
        parts = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qs(parts.query)
        match = PATH.match(parts.path)
        self.method, self.target, self.body, self.time = method, target, body, time.monotonic()
        self.name = match and match["name"]
        self.kind = (match["plural"] + (f"/{match['sub']}" if match["sub"] else "")) if match else parts.path
        self.verb = VERBS.get(method) or ("watch" if "watch" in query else "get" if self.name or not match else "list")

    def __str__(self):
        return f"{self.verb} {self.kind}"


class Rule:
    """Applies to calls that `what` ("create pods", "list *", "* leases", or a function) fits, `times` times, after `skip` that pass."""

    def __init__(self, what, times, skip=0):
        self.what, self.times, self.skip = what, times, skip
        self.applied = threading.Event()

    def fits(self, call):
        if callable(self.what):
            return self.what(call)
        verb, _, kind = self.what.partition(" ")
        return verb in ("*", call.verb) and kind in ("*", call.kind)

    def takes(self, call):
        if self.times == 0 or not self.fits(call):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        self.applied.set()
        return True


class Answer(Rule):
    def __init__(self, what, status, times, headers=None, reason="", **more):
        super().__init__(what, times, **more)
        self.status, self.headers, self.reason = status, headers or {}, reason


class Delay(Rule):
    def __init__(self, what, seconds, times):
        super().__init__(what, times)
        self.seconds = seconds


class Crash(Rule):
    """The call reaches the server, and its answer nobody: the program is killed in between."""

    def __init__(self, what, program, **more):
        super().__init__(what, 1, **more)
        self.program = program


class Cut(Rule):
    """The stream ends in the middle of the next event of this kind."""

    def takes_event(self, kind):
        if self.times == 0 or self.what != kind:
            return False
        self.times -= 1
        self.applied.set()
        return True


class Expire(Rule):
    def __init__(self, how):
        super().__init__(lambda call: call.verb == "watch", -1)
        self.how = how


class Proxy:
    def __init__(self, server, folder, name="proxy"):
        self.server, self.folder, self.name = server, folder, name
        self.lock = threading.Condition()
        self.rules, self.calls, self.held, self.drops, self.frozen = [], [], set(), [], {}
        self.connections, self.listener = set(), None
        self.user, self.token = {}, None        # of the kubeconfig; the only token that is taken
        self.port = 0
        self.accept()

    # --- for tests ---------------------------------------------------------------------------------------------------

    def kubeconfig(self):
        file = self.folder / f"{self.name}.conf"
        file.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}], "users": [{"name": "u", "user": self.user}]}))
        return str(file)

    def accept(self):
        """Listens (again), always on the same port."""
        self.listener = Listener(("127.0.0.1", self.port), self)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def refuse(self):
        """No connection is taken, and those that were taken end."""
        self.listener.shutdown()
        self.listener.server_close()
        self.listener = None
        self.end_connections()

    def end_connections(self):
        with self.lock:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.release()
        if self.listener:
            self.refuse()

    def add(self, rule):
        with self.lock:
            self.rules.append(rule)
        return rule

    def answer(self, what, status, times=1, **more):
        return self.add(Answer(what, status, times, **more))

    def crash(self, what, program, **more):
        return self.add(Crash(what, program, **more))

    def delay(self, what, seconds, times=1):
        return self.add(Delay(what, seconds, times))

    def cut(self, kind):
        return self.add(Cut(kind, 1))

    def expire(self, how):
        """Watches begin with 410: the version that they ask for is forgotten. It comes as an "answer" or as an "event"."""
        return self.add(Expire(how))

    def hold(self, *kinds):
        """Watches of these kinds bring nothing from now on; what comes waits, in order."""
        with self.lock:
            self.held.update(kinds)

    def release(self):
        with self.lock:
            self.held.clear()
            self.lock.notify_all()

    def drop(self, kind, types=("ADDED", "MODIFIED", "DELETED")):
        """Events of these types are lost until clear()."""
        with self.lock:
            self.drops.append((kind, tuple(types)))

    def freeze(self, api, kind, selector=""):
        """Listings of the kind show what is there now until clear(): the past, for a program that starts later."""
        query = "?labelSelector=" + urllib.parse.quote(selector) if selector else ""
        with self.lock:
            self.frozen[kind] = json.dumps(api.call("GET", api.path(kind) + query)).encode()

    def clear(self):
        with self.lock:
            self.rules.clear()
            self.drops.clear()
            self.frozen.clear()

    def count(self, *whats, since=0):
        """How many calls fit any of the descriptions."""
        with self.lock:
            calls = self.calls[since:]
        return sum(any(Rule(what, 1).fits(call) for what in whats) for call in calls)

    def tally(self, since=0):
        with self.lock:
            return collections.Counter(str(call) for call in self.calls[since:])

    # --- for handlers --------------------------------------------------------------------------------------------------

    def note(self, call):
        """Writes the call down; gives the rules that take it."""
        with self.lock:
            self.calls.append(call)
            return [rule for rule in self.rules if not isinstance(rule, Cut) and rule.takes(call)]

    def loses(self, kind, event):
        with self.lock:
            return any(kind == lost and event in types for lost, types in self.drops)

    def cuts(self, kind):
        with self.lock:
            return any(isinstance(rule, Cut) and rule.takes_event(kind) for rule in self.rules)

    def wait_while_held(self, kind, is_open):
        with self.lock:
            while kind in self.held and is_open():
                self.lock.wait(0.1)


class Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, address, proxy):
        self.proxy = proxy
        super().__init__(address, Handler)

    def handle_error(self, request, client_address):
        """The program, or we, went away in the middle: that is what this is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        super().setup()
        self.proxy, self.upstream = self.server.proxy, None
        with self.proxy.lock:
            self.proxy.connections.add(self.connection)

    def finish(self):
        with self.proxy.lock:
            self.proxy.connections.discard(self.connection)
        if self.upstream:
            self.upstream.close()
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = Call(self.command, self.path, body)
        rules = self.proxy.note(call)
        if self.proxy.token and self.headers.get("Authorization") != f"Bearer {self.proxy.token}":
            return self.refuse(401, "Unauthorized")
        for rule in rules:
            if isinstance(rule, Delay):
                time.sleep(rule.seconds)
            elif isinstance(rule, Answer):
                return self.refuse(rule.status, rule.reason, rule.headers)
            elif isinstance(rule, Expire):
                return self.expire(rule.how)
        if call.verb == "list" and call.kind in self.proxy.frozen:
            return self.send(200, self.proxy.frozen[call.kind])
        answer = self.forward(call)
        if call.verb == "watch" and answer.status == 200:
            return self.stream(call, answer)
        data = answer.read()
        for rule in rules:
            if isinstance(rule, Crash):
                os.kill(rule.program.process.pid, signal.SIGKILL)
                self.close_connection = True
                return None
        return self.send(answer.status, data, {name: answer.headers[name] for name in ("Retry-After",) if answer.headers[name]})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call

    def forward(self, call):
        headers = {"Authorization": self.proxy.server.authorization, "Accept": "application/json"}
        if self.headers.get("Content-Type"):
            headers["Content-Type"] = self.headers["Content-Type"]
        self.upstream = self.upstream or self.proxy.server.connect(600)
        try:
            self.upstream.request(call.method, call.target, call.body or None, headers)
            return self.upstream.getresponse()
        except (OSError, http.client.HTTPException):
            self.upstream.close()       # a connection that was idle for too long
            self.upstream.request(call.method, call.target, call.body or None, headers)
            return self.upstream.getresponse()

    def send(self, status, data, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def expire(self, how):
        if how == "answer":
            return self.refuse(410, "Expired")
        event = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
                                             "message": "too old resource version"}}
        return self.send(200, json.dumps(event).encode() + b"\n")

    def refuse(self, status, reason, headers=None):
        text = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason, "message": f"made by the test: {status} {reason}"}
        self.send(status, json.dumps(text).encode(), headers)

    # --- watches -----------------------------------------------------------------------------------------------------

    def is_open(self):
        return self.connection in self.proxy.connections and self.connection.fileno() >= 0 and not self.has_ended()

    def has_ended(self):
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch_client(self):
        """A watch that its program has left must not wait for the next event."""
        while upstream := self.upstream_socket:
            if self.has_ended():
                try:
                    upstream.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                return
            time.sleep(0.2)

    def stream(self, call, answer):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        self.upstream_socket = self.upstream.sock
        threading.Thread(target=self.watch_client, daemon=True).start()
        self.close_connection = True
        try:
            for line in answer:
                if not self.pass_event(call.kind, line):
                    return
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.upstream_socket = None

    def pass_event(self, kind, line):
        """False: the stream was cut."""
        self.proxy.wait_while_held(kind, self.is_open)
        kind_of_event = re.match(rb'\{"type":"([A-Z]+)"', line)
        event = kind_of_event[1].decode() if kind_of_event else ""
        if self.proxy.loses(kind, event):
            return True
        if event != "BOOKMARK" and self.proxy.cuts(kind):
            self.chunk(line[:len(line) // 2])
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        self.chunk(line)
        return True
