#!/usr/bin/python3
"""A guest that shows exactly what reached it and answers exactly what it is told to.

The real guest hides both: its framework decodes the path, joins headers and never misbehaves. This one is a measuring
instrument for rules about bytes. By path (the query may carry `token`, under which requests are counted):

  /health, /api/config, /system, /openapi.json    what a guest must answer
  /bytes?n=N[&chunked=1]                           N bytes
  /raw?data=BASE64[&then=close|hang|keep]          these bytes, as they are, as the response
  /drop                                            reads the request and closes without a word
  /drop-once?token=T                               the same the first time only
  /slow?seconds=S                                  answers after a while
  /stream?count=N&pause=S                          N chunks with pauses between them
  /counts                                          how often each token was seen
  /seen?token=T                                    the last request with that token, as /anything answers it
  /upgrade…  with an Upgrade header                switches protocols and echoes bytes in upper case
  anything with a WebSocket handshake              echoes: first a text frame about the handshake and the auth frame
  anything else                                    {"head": base64, "length", "sha256", "connection", "number"}
"""
import base64
import hashlib
import json
import socket
import struct
import threading
import time
from urllib.parse import parse_qs

counts, seen, lock = {}, {}, threading.Lock()
connections = 0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Reader:
    def __init__(self, peer):
        self.peer, self.buffer = peer, b""

    def fill(self):
        piece = self.peer.recv(262144)
        if not piece:
            raise EOFError
        self.buffer += piece

    def until(self, mark):
        while mark not in self.buffer:
            self.fill()
        data, self.buffer = self.buffer[:self.buffer.index(mark) + len(mark)], self.buffer[self.buffer.index(mark) + len(mark):]
        return data

    def exactly(self, size):
        """Yields `size` bytes in pieces."""
        while size > 0:
            if not self.buffer:
                self.fill()
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(piece)
            yield piece

    def take(self, size):
        return b"".join(self.exactly(size))


def read_body(reader, headers):
    if "chunked" in headers.get("transfer-encoding", "").lower():
        while True:
            size = int(reader.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while reader.until(b"\r\n") != b"\r\n":
                    pass
                return
            yield from reader.exactly(size)
            reader.take(2)
    else:
        yield from reader.exactly(int(headers.get("content-length", "0")))


def answer(body, status="200 OK", kind="application/json", extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def parse(head):
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    return method, target, headers


def frame(opcode, data):
    size = len(data)
    if size < 126:
        head = bytes([0x80 | opcode, size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 126]) + struct.pack("!H", size)
    else:
        head = bytes([0x80 | opcode, 127]) + struct.pack("!Q", size)
    return head + data


def read_frame(reader):
    first, second = reader.take(2)
    size = second & 127
    if size == 126:
        size, = struct.unpack("!H", reader.take(2))
    elif size == 127:
        size, = struct.unpack("!Q", reader.take(8))
    mask = reader.take(4) if second & 128 else b"\0\0\0\0"
    data = reader.take(size)
    stretched = (mask * (size // 4 + 1))[:size]
    data = (int.from_bytes(data, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big") if size else b""
    return first & 0x80, first & 15, data


def websocket(peer, reader, head, headers, query):
    key = headers["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                 + accept + b"\r\n\r\n")
    _, _, auth = read_frame(reader)
    about = {"head": base64.b64encode(head).decode(), "auth": json.loads(auth)}
    peer.sendall(frame(1, json.dumps(about).encode()))
    while True:
        final, opcode, data = read_frame(reader)
        if opcode == 8:
            with lock:
                seen["close"] = {"code": struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None,
                                 "reason": data[2:].decode("utf-8", "replace")}
            peer.sendall(frame(8, data))
            return
        if data.startswith(b"close "):
            code, _, reason = data[6:].partition(b" ")
            peer.sendall(frame(8, struct.pack("!H", int(code)) + reason))
            return
        if data == b"vanish":
            return
        if opcode == 9:
            peer.sendall(frame(10, data))
        elif data != b"quiet":
            echoed = frame(opcode, data)
            peer.sendall(echoed if final else bytes([echoed[0] & 0x7f]) + echoed[1:])


def switch_protocols(peer, reader):
    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
    while True:
        if not reader.buffer:
            reader.fill()
        data, reader.buffer = reader.buffer, b""
        peer.sendall(data.upper())
        if b"bye" in data:
            return


def send_bytes(peer, size, chunked):
    block = bytes(range(256)) * 256
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    peer.sendall((head + ("Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}") + "\r\n\r\n").encode())
    while size > 0:
        piece = block[:size]
        size -= len(piece)
        peer.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        peer.sendall(b"0\r\n\r\n")


def send_stream(peer, count, pause):
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        piece = b"data: %d\n\n" % number
        peer.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(pause)
    peer.sendall(b"0\r\n\r\n")


def describe(head, body_length, digest, connection, number):
    return {"head": base64.b64encode(head).decode(), "length": body_length, "sha256": digest, "connection": connection,
            "number": number}


class Close(Exception):
    pass


def respond(peer, path, query, shown, count):
    fixed = {"/health": {"status": "ok"}, "/system": {"prompt": "wire"}, "/api/config": {"features": {"terminal": True}},
             "/openapi.json": {"openapi": "3.1.0", "info": {"title": "wire", "version": "1"},
                               "paths": {"/x": {"get": {"operationId": "x", "security": [{"HTTPBearer": []}]}}},
                               "security": [{"HTTPBearer": []}], "components": {"securitySchemes": {"HTTPBearer": {}}}}}
    if path in fixed:
        peer.sendall(answer(fixed[path]))
    elif path == "/bytes":
        send_bytes(peer, int(query["n"]), "chunked" in query)
    elif path == "/raw":
        peer.sendall(base64.b64decode(query["data"].replace(" ", "+")))
        if query.get("then", "close") == "close":
            raise Close
        if query["then"] == "hang":
            time.sleep(600)
    elif path == "/drop" or (path == "/drop-once" and count == 1):
        raise Close
    elif path == "/slow":
        time.sleep(float(query["seconds"]))
        peer.sendall(answer({"slept": query["seconds"]}))
    elif path == "/stream":
        send_stream(peer, int(query["count"]), float(query["pause"]))
    elif path == "/counts":
        peer.sendall(answer(counts))
    elif path == "/seen":
        peer.sendall(answer(seen.get(query["token"])))
    else:
        peer.sendall(answer(shown))


def serve(peer, connection):
    reader, number = Reader(peer), 0
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            peer.settimeout(5 if number else 600)
            head = reader.until(b"\r\n\r\n")
            peer.settimeout(600)
            number += 1
            method, target, headers = parse(head)
            path, _, query = target.partition("?")
            query = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
            if headers.get("upgrade", "").lower() == "websocket":
                return websocket(peer, reader, head, headers, query)
            if "upgrade" in headers:
                return switch_protocols(peer, reader)
            token = query.get("token", "")
            if path not in ("/counts", "/seen"):
                with lock:
                    counts[token] = counts.get(token, 0) + 1
            if headers.get("expect", "").lower() == "100-continue":
                peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            digest, length = hashlib.sha256(), 0
            for piece in read_body(reader, headers):
                digest.update(piece)
                length += len(piece)
            shown = describe(head, length, digest.hexdigest(), connection, number)
            if path != "/seen":
                seen[token] = shown
            respond(peer, path, query, shown, counts.get(token))
    except (EOFError, OSError, Close, KeyError):
        pass
    finally:
        try:
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        peer.close()


def main():
    global connections
    with socket.create_server(("0.0.0.0", 8000), backlog=256) as listener:
        while True:
            peer, _ = listener.accept()
            connections += 1
            threading.Thread(target=serve, args=(peer, connections), daemon=True).start()


main()
