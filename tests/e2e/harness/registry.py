"""An image registry on loopback, which engines trust without TLS: one image, whose guest answers everything. Blobs can be held back, so
that a pull lasts as long as a test wants, and callers can be asked for a password."""
import base64
import gzip
import hashlib
import http.server
import io
import json
import secrets
import subprocess
import tarfile
import threading

from . import images

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def tiny_layer(folder):
    program = folder / "tiny"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, images.GUESTS / "tiny.c"], check=True)
    content = program.read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("tiny")
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))
        # An engine that knows the layer already would not ask for it.
        archive.addfile(tarfile.TarInfo("unique-" + secrets.token_hex(16)))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """`image(tag)` is a name to pull; every tag is the same image. `requests` counts what was asked for, by kind."""

    def __init__(self, folder, password=None):
        layer = tiny_layer(folder)
        packed = gzip.compress(layer, mtime=0)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/tiny"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}, "history": [{"created_by": "test"}]}).encode()
        self.blobs = {digest(packed): packed, digest(config): config}
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(packed), "digest": digest(packed)}],
        }).encode()
        # An engine may have kept the image of an earlier registry that had the same port.
        self.repository = "guests/" + secrets.token_hex(8)
        self.password, self.open = password, threading.Event()
        self.open.set()
        self.requests = {"manifest": 0, "blob": 0, "refused": 0}
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server.server_address[1]}"

    def image(self, tag="1"):
        return f"{self.address}/{self.repository}:{tag}"

    def answer(self, request):
        if self.password and request.headers.get("Authorization") != "Basic " + base64.b64encode(self.password.encode()).decode():
            self.requests["refused"] += 1
            return self.send(request, 401, b"{}", "application/json", ("WWW-Authenticate", 'Basic realm="test"'))
        if request.path == "/v2/":
            return self.send(request, 200, b"{}", "application/json")
        kind, _, name = request.path.rpartition("/")
        if kind == f"/v2/{self.repository}/manifests" and name != "none":
            self.requests["manifest"] += request.command == "GET"
            return self.send(request, 200, self.manifest, MANIFEST, ("Docker-Content-Digest", digest(self.manifest)))
        if kind == f"/v2/{self.repository}/blobs" and name in self.blobs:
            self.requests["blob"] += 1
            self.open.wait(120)
            return self.send(request, 200, self.blobs[name], "application/octet-stream")
        return self.send(request, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', "application/json")

    @staticmethod
    def send(request, status, body, kind, *headers):
        request.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
