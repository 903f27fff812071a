"""A client of the terminal WebSocket, as Open WebUI's panel is one."""
import json
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Terminal:
    def __init__(self, port, path, headers=None, **options):
        options.setdefault("max_size", None)
        self.manager = connect(f"ws://127.0.0.1:{port}{path}", compression=options.pop("compression", None), proxy=None,
                              additional_headers=headers or [], ping_interval=None, open_timeout=10, close_timeout=5,
                              user_agent_header=None, **options)
        self.socket = self.manager.__enter__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def auth(self, token, **fields):
        self.send_json({"type": "auth", "token": token, **fields})
        return self

    def send_json(self, message):
        self.socket.send(json.dumps(message))

    def type(self, text):
        self.socket.send(text.encode() if isinstance(text, str) else text)

    def read_until(self, marker, timeout=20.0):
        """All output up to and with `marker`; only binary frames may come."""
        seen, deadline = b"", time.monotonic() + timeout
        while marker not in seen:
            try:
                frame = self.socket.recv(timeout=max(0.01, deadline - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"{marker!r} did not come; so far {seen[-2000:]!r}") from None
            assert isinstance(frame, bytes), frame
            seen += frame
        return seen

    def wait_closed(self, timeout=15.0):
        """Reads on to the end and returns (code, reason)."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.socket.recv(timeout=max(0.01, deadline - time.monotonic()))
        except ConnectionClosed:
            return self.socket.close_code, self.socket.close_reason
        except TimeoutError:
            raise AssertionError(f"not closed within {timeout} s") from None

    def close(self, code=1000, reason=""):
        self.socket.close(code, reason)


def make_session(service, user, policy=None, context=None, session=None):
    """Makes a terminal session in the guest by HTTP, as the panel does, and returns its id."""
    answer = service.post((f"/p/{policy}" if policy else "") + "/api/terminals", user=user, context=context, session=session)
    assert answer.status == 200, answer
    return answer.json()["id"]


def sessions(service, user, policy=None, context=None, session=None):
    """The sessions that the guest itself knows for that pair of user and chat."""
    answer = service.get((f"/p/{policy}" if policy else "") + "/api/terminals", user=user, context=context, session=session)
    assert answer.status == 200, answer
    return [row["id"] for row in answer.json()]
