"""Stands in for Open WebUI's token check, and only for that: two routes, a table of tokens."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OpenWebUI:
    """`tokens` maps a token to (status, body of /api/v1/auths/), `terminals` to the status of the second try."""

    def __init__(self):
        self.tokens, self.terminals, self.asked, self.delay = {}, {}, [], 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                outer.asked.append((self.path, token))
                if outer.delay:
                    threading.Event().wait(outer.delay)
                status, body = outer.answer(self.path, token)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, token):
        if path == "/api/v1/auths/":
            return self.tokens.get(token, (401, {"detail": "Invalid token"}))
        if path == "/api/v1/terminals/":
            return self.terminals.get(token, 401), []
        return 404, {"detail": "Not Found"}

    def add(self, token, user, role="user", email=None):
        self.tokens[token] = (200, {"id": user, "role": role, "email": email or f"{user}@example.org", "name": user})

    def close(self):
        self.server.shutdown()
        self.server.server_close()
