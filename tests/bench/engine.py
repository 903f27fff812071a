"""The Docker Engine's API over its Unix socket: the few calls that the benchmark makes, with nothing in between that
would take time of its own."""
import http.client
import json
import os
import socket

LABEL = "app.kubernetes.io/managed-by"
USER = "openwebui.com/user-id"
API = "/v1.40"


class EngineError(Exception):
    """The engine refused a call."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def socket_path():
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        raise SystemExit(f"bench: needs an engine on a Unix socket; DOCKER_HOST is {host}")
    return host[len("unix://"):]


class Engine:
    """One connection; not for several threads."""

    def __init__(self):
        self.connection = _UnixConnection(socket_path())

    def call(self, method, path, body=None, raw=None, ok=()):
        headers = {"Content-Type": "application/x-tar" if raw is not None else "application/json"}
        payload = raw if raw is not None else json.dumps(body) if body is not None else None
        self.connection.request(method, API + path, payload, headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status >= 300 and response.status not in ok:
            raise EngineError(f"{method} {path}: {response.status} {text.decode(errors='replace').strip()}")
        return json.loads(text) if text.startswith((b"{", b"[")) and b"\r\n{" not in text else text

    def import_image(self, tag, tar, changes=()):
        repository, version = tag.split(":")
        query = "".join("&changes=" + change.replace(" ", "%20").replace('"', "%22") for change in changes)
        self.call("POST", f"/images/create?fromSrc=-&repo={repository}&tag={version}{query}", raw=tar)

    def has_image(self, tag):
        try:
            self.call("GET", f"/images/{tag}/json")
            return True
        except EngineError:
            return False

    def create(self, name, body):
        return self.call("POST", f"/containers/create?name={name}", body)["Id"]

    def start(self, container):
        self.call("POST", f"/containers/{container}/start")

    def inspect(self, container):
        return self.call("GET", f"/containers/{container}/json")

    def remove(self, container):
        self.call("DELETE", f"/containers/{container}?force=1&v=1", ok=(404, 409))

    def remove_volume(self, name):
        self.call("DELETE", f"/volumes/{name}?force=1", ok=(404, 409))

    def _labelled(self, kind, **more):
        filters = json.dumps({"label": [f"{LABEL}=terminals"]}).replace(" ", "").replace('"', "%22")
        query = "".join(f"&{name}={value}" for name, value in more.items())
        return self.call("GET", f"/{kind}?filters={filters}{query}")

    def terminals(self):
        """(id, name, user) of every container that carries the service's label."""
        return [(row["Id"], row["Names"][0].lstrip("/"), row["Labels"].get(USER, ""))
                for row in self._labelled("containers/json", all=1)]

    def homes(self):
        """(name, user) of every volume that carries the service's label."""
        return [(row["Name"], row["Labels"].get(USER, "")) for row in self._labelled("volumes")["Volumes"] or []]

    def networks(self):
        return {row["Name"] for row in self.call("GET", "/networks")}

    def clean(self, prefix):
        """Removes the containers and homes of users whose ids begin with `prefix`."""
        for container, _, user in self.terminals():
            if user.startswith(prefix):
                self.remove(container)
        for name, user in self.homes():
            if user.startswith(prefix):
                self.remove_volume(name)


def address_of(details):
    """The first address of a container on any of its networks."""
    for network in details["NetworkSettings"]["Networks"].values():
        if network["IPAddress"]:
            return network["IPAddress"]
    raise EngineError(f"{details['Name']} has no address")
