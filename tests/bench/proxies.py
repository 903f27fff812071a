"""What is compared: the service itself, nginx and HAProxy, each started in front of the same terminal."""
import http.client
import os
import socket
import subprocess
import tempfile
import time

from process import Process

HERE = os.path.dirname(os.path.abspath(__file__))
API_KEY = "bench-key-of-the-service"
GUEST_KEY = "bench-key-of-the-guest"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path, user=None, timeout=120, key=API_KEY):
    """Status and body of one GET on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Authorization": f"Bearer {key}"}
    if user:
        headers["X-User-Id"] = user
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(port, path, process, limit=30, step=0.001):
    """Seconds from the start of the process until `path` answers 200."""
    while time.monotonic() - process.started < limit:
        if process.failed():
            raise RuntimeError(f"{process.log}:\n{process.tail()}")
        try:
            if get(port, path, timeout=5)[0] == 200:
                return time.monotonic() - process.started
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(step)
    raise RuntimeError(f"{path} did not answer 200 in {limit} s; {process.log}:\n{process.tail()}")


def fill_config(name, directory, **values):
    with open(os.path.join(HERE, "configs", name), encoding="utf-8") as file:
        text = file.read()
    for word, value in values.items():
        text = text.replace(f"@{word}@", str(value))
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def start_nginx(directory, core, upstream):
    port = free_port()
    path = fill_config("nginx.conf", directory, DIR=directory, PORT=port, UPSTREAM=upstream, KEY=GUEST_KEY)
    # Its own error log from the first moment on, also before the configuration is read.
    return Process(["nginx", "-p", directory, "-e", "stderr", "-c", path], core, f"{directory}/nginx.log"), port


def start_haproxy(directory, core, upstream):
    port = free_port()
    path = fill_config("haproxy.cfg", directory, PORT=port, UPSTREAM=upstream, KEY=GUEST_KEY)
    return Process(["haproxy", "-db", "-f", path], core, f"{directory}/haproxy.log"), port


def start_service(binary, directory, core, image, state=None, workers=1, **settings):
    """Our own program on a fresh state directory, unless `state` names one."""
    port = free_port()
    state = state or tempfile.mkdtemp(prefix="state-", dir=directory)
    env = {name: value for name, value in os.environ.items() if not name.startswith("TERMINALS_")}
    env |= {"TERMINALS_API_KEY": API_KEY, "TERMINALS_HOST": "127.0.0.1", "TERMINALS_PORT": str(port),
            "TERMINALS_STATE_DIR": state, "TERMINALS_IMAGE": image, "TERMINALS_WORKERS": str(workers), **settings}
    process = Process([binary, "serve"], core, f"{directory}/service-{port}.log", env)
    return process, port


def versions(binary):
    """What was compared, for the report."""
    commands = {"ours": [binary, "--version"], "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"]}
    found = {}
    for name, command in commands.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found[name] = (done.stdout + done.stderr).strip().splitlines()[0]
        except (OSError, IndexError):
            found[name] = "missing"
    return found
