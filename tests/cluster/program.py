"""The program under test as a process beside the cluster: `terminals operator`, `terminals serve`."""
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from kube import GUEST, TOP

KEY = "adminkey"


def binary():
    return os.environ.get("TERMINALS_BINARY", str(TOP / "build" / "terminals"))


def is_sanitized():
    return b"__asan_init" in pathlib.Path(binary()).read_bytes()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Program:
    """One process. Settings are TERMINALS_ variables without the prefix."""

    def __init__(self, command, folder, namespace, **settings):
        self.command, self.folder = command, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"KUBERNETES_NAMESPACE": namespace, "IMAGE": GUEST, "HOST": "127.0.0.1", "LOG_LEVEL": "DEBUG", "API_KEY": KEY,
                         "STATE_DIR": str(self.folder), "BACKEND": "kubernetes-operator", "PORT": free_port(), "OPERATOR_PORT": free_port(),
                         **settings}
        self.port = self.settings["OPERATOR_PORT" if command == "operator" else "PORT"]
        self.process = None

    def environment(self):
        env = {name: os.environ[name] for name in ("PATH", "HOME", "KUBECONFIG", "LANG") if name in os.environ}
        report = str(self.folder / "sanitizer")
        env.update(ASAN_OPTIONS=f"log_path={report}:exitcode=66", UBSAN_OPTIONS=f"log_path={report}:halt_on_error=1:exitcode=66",
                   TSAN_OPTIONS=f"log_path={report}:exitcode=66")
        env.update({f"TERMINALS_{name}": str(value) for name, value in self.settings.items() if value is not None})
        return env

    def launch(self):
        self.log = open(self.folder / f"{self.command}.log", "ab")
        self.process = subprocess.Popen([binary(), self.command], env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        return self

    def start(self, timeout=30.0):
        self.launch()
        path = "/readyz" if self.command == "operator" else "/ready"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.get(path)[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.command} is not ready:\n{self.log_text()[-3000:]}")

    def get(self, path, headers=None, data=None, timeout=130):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        lines = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def stop(self, timeout=35.0):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        self.process = None
        self.log.close()
        reports = "\n".join(file.read_text(errors="replace")[:8000] for file in self.folder.glob("sanitizer.*"))
        assert not reports, reports
        assert status == 0, f"exit status {status}:\n{self.log_text()[-3000:]}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None
        self.log.close()

    def log_text(self):
        file = self.folder / f"{self.command}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def memory_kb(self, field="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise AssertionError(field)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
