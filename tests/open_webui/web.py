"""What the browser does with Open WebUI, over HTTP and WebSocket."""
import contextlib
import json
import time
import urllib.error
import urllib.request

from websockets.sync.client import connect


def address(service):
    return f"http://127.0.0.1:{service.port}"


class Web:
    def __init__(self, url):
        self.url, self.token, self.user_id = url, None, None

    def request(self, method, path, body=None, headers=None):
        """(status, body); the body is parsed when it is JSON."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content

    def is_up(self):
        try:
            return self.request("GET", "/health")[0] == 200
        except OSError:
            return False

    def sign_in(self, email, password):
        status, user = self.request("POST", "/api/v1/auths/signin", {"email": email, "password": password})
        assert status == 200, user
        self.token, self.user_id = user["token"], user["id"]

    def connect_terminals(self, service, policy=None, per_chat=False, auth_type="bearer"):
        """Saves one terminal connection, as the administrator's settings page does."""
        chat = {"context_id": "chat_id"} if per_chat else {}
        connection = {
            "id": "t1", "name": "Terminals", "url": address(service), "key": service.key if auth_type == "bearer" else "",
            "auth_type": auth_type, "server_type": "orchestrator", "policy_id": policy,
            "config": {"access_grants": [{"principal_type": "user", "principal_id": "*", "permission": "read"}],
                       "contexts": {"chat": chat}},
        }
        status, answer = self.request("POST", "/api/v1/configs/terminal_servers", {"TERMINAL_SERVER_CONNECTIONS": [connection]})
        assert status == 200, answer

    def terminal(self, method, path, body=None, chat=None):
        return self.request(method, f"/api/v1/terminals/t1{path}", body, {"X-Session-Id": chat} if chat else {})

    def new_chat(self):
        chat = {"title": "test", "models": [], "history": {"messages": {}, "currentId": None}, "messages": []}
        status, answer = self.request("POST", "/api/v1/chats/new", {"chat": chat})
        assert status == 200, answer
        return answer["id"]

    @contextlib.contextmanager
    def open_panel(self, chat=None):
        """A terminal session and its socket, as the panel opens them."""
        status, session = self.terminal("POST", "/api/terminals", chat=chat)
        assert status == 200, session
        url = f"{self.url.replace('http', 'ws')}/api/v1/terminals/t1/api/terminals/{session['id']}"
        with connect(url, open_timeout=30) as socket:
            socket.send(json.dumps({"type": "auth", "token": self.token, "chat_id": chat or ""}))
            socket.send(json.dumps({"type": "resize", "cols": 101, "rows": 43}))
            yield socket


def read_until(socket, text, seconds=20):
    """What the panel shows, up to `text`."""
    shown, deadline = b"", time.monotonic() + seconds
    while text not in shown:
        message = socket.recv(timeout=max(0.1, deadline - time.monotonic()))
        shown += message if isinstance(message, bytes) else message.encode()
    return shown
