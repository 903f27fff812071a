"""Stands where docker-socket-proxy stands: between the service and the engine, and lets only some of its API through."""
import contextlib
import re
import socket
import threading

from .engine import Engine

ALLOWED = re.compile(r"^(/v[0-9.]+)?/(_ping|containers|images|networks|volumes|events|info)(/|\?|$)")
FORBIDDEN = b"<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n"


class EngineFilter:
    """`engine` is what a service is to use; `asked` the paths that were asked for, `refused` those in vain. With `tls` (an
    ssl.SSLContext) it speaks TLS to its clients."""

    def __init__(self, behind, tls=None):
        self.tls, self.asked = tls, []
        self.behind = behind.env.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.engine = Engine(f"tcp://127.0.0.1:{self.listener.getsockname()[1]}")
        self.refused = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(peer,), daemon=True).start()

    def take(self, peer):
        try:
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
        except OSError:
            return peer.close()
        data = b""
        while b"\r\n\r\n" not in data:
            piece = peer.recv(65536)
            if not piece:
                return peer.close()
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        self.asked.append(path)
        if not ALLOWED.match(path):
            self.refused.append(path)
            peer.sendall(b"HTTP/1.0 403 Forbidden\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + FORBIDDEN)
            return peer.close()
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(self.behind)
        engine.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
        forth = threading.Thread(target=pump, args=(peer, engine), daemon=True)
        forth.start()
        pump(engine, peer)
        # A socket that is closed under its reader hands its number, and so the reader, to the next one that is opened.
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
        forth.join()
        peer.close()
        engine.close()

    def close(self):
        self.listener.close()


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
