"""The program under test as a process: started with a temporary state directory on a free port, stopped with SIGTERM, and
looked over afterwards: exit status and sanitizer reports."""
import glob
import os
import pathlib
import signal
import socket
import subprocess
import time

from . import client

TOP = pathlib.Path(__file__).resolve().parents[3]
KEY = "adminkey"


def binary():
    return os.environ.get("TERMINALS_BINARY", str(TOP / "build" / "terminals"))


def is_sanitized():
    with open(binary(), "rb") as file:
        content = file.read()
    return b"__asan_init" in content or b"__tsan_init" in content


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(folder, settings):
    """What the program's environment is: nothing of the tester's own TERMINALS_ variables, and the sanitizers' reports in files."""
    env = {name: os.environ[name] for name in ("PATH", "LANG", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
           if name in os.environ}
    report = str(folder / "sanitizer")
    env.update(HOME=str(folder), TZ="UTC",
               ASAN_OPTIONS=f"log_path={report}:exitcode=66:detect_leaks=1:quarantine_size_mb=8:disable_coredump=1",
               UBSAN_OPTIONS=f"log_path={report}:print_stacktrace=1:halt_on_error=1:exitcode=66",
               TSAN_OPTIONS=f"log_path={report}:exitcode=66:second_deadlock_stack=1")
    env.update({name: str(value) for name, value in settings.items() if value is not None})
    return env


class Service:
    """One process. Settings are given as TERMINALS_ variables without the prefix; None leaves out a default."""

    def __init__(self, folder, engine, settings=None, options=(), clock=None, namespace=None, command=None):
        self.folder, self.engine, self.options = pathlib.Path(folder), engine, list(options)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"API_KEY": KEY, "HOST": "127.0.0.1", "IMAGE": "open-terminal:local",
                         "STATE_DIR": str(self.folder / "data"), "LOG_LEVEL": "DEBUG", **engine.settings()}
        self.settings.update(settings or {})
        self.settings.setdefault("PORT", free_port())
        self.port = int(self.settings["PORT"])
        self.key = self.settings["API_KEY"]
        self.clock, self.namespace, self.command = clock, namespace, command
        self.process = None
        (self.folder / "data").mkdir(exist_ok=True)

    # --- the process ---------------------------------------------------------------------------------------------

    def environment(self):
        env = environment(self.folder, {f"TERMINALS_{name}": value for name, value in self.settings.items()})
        if self.engine.env.get("DOCKER_HOST"):
            env["DOCKER_HOST"] = self.engine.env["DOCKER_HOST"]
        if self.clock:
            self.clock.apply(env)
        return env

    def launch(self):
        """Starts the process without waiting for anything."""
        self.terminated = False
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([*(self.command or [binary()]), "serve", *self.options], env=self.environment(),
                                        cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        return self

    def start(self, timeout=30.0):
        self.launch()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if client.request(self.port, "GET", "/ready", timeout=5).status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the service is not ready (exit status {self.process.poll()}):\n{self.log_text()[-4000:]}")

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def terminate(self):
        """SIGTERM, once: a second one would end it at once."""
        if not self.terminated and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.terminated = True

    def stop(self, timeout=35.0):
        """Ends it as an init system would, and fails where it does not end well."""
        if self.process is None:
            return
        self.terminate()
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM did not end the service in {timeout} s:\n{self.log_text()[-4000:]}") from None
        self.process = None
        self.log.close()
        reports = self.sanitizer_reports()
        assert not reports, reports
        assert status == 0, f"exit status {status}:\n{self.log_text()[-4000:]}"

    def kill(self):
        """As the power cut does."""
        self.process.kill()
        self.process.wait()
        self.process = None
        self.log.close()

    def sanitizer_reports(self):
        return "\n".join(pathlib.Path(name).read_text(errors="replace")[:8000]
                         for name in glob.glob(str(self.folder / "sanitizer.*")))

    def log_text(self):
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def memory_kb(self, field="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise AssertionError(field)

    # --- asking it -----------------------------------------------------------------------------------------------

    def headers(self, user=None, context=None, session=None, key=..., extra=None):
        pairs = client.as_pairs(extra)
        key = self.key if key is ... else key
        if key is not None:
            pairs.append(("Authorization", f"Bearer {key}"))
        for name, value in (("X-User-Id", user), ("X-Terminal-Context-Id", context), ("X-Session-Id", session)):
            if value is not None:
                pairs.append((name, value))
        return pairs

    def request(self, method, target, user=None, context=None, session=None, key=..., headers=None, **options):
        return client.request(self.port, method, target, headers=self.headers(user, context, session, key, headers), **options)

    def open(self, method, target, user=None, context=None, session=None, key=..., headers=None, **options):
        return client.open_request(self.port, method, target, headers=self.headers(user, context, session, key, headers),
                                   **options)

    def get(self, target, **options):
        return self.request("GET", target, **options)

    def post(self, target, **options):
        return self.request("POST", target, **options)

    def put_policy(self, policy, data):
        answer = self.request("PUT", f"/api/v1/policies/{policy}", json=data)
        assert answer.status == 200, answer
        return answer.json()

    def run_in_guest(self, user, command, policy=None, context=None, wait=20):
        """Runs a shell command in the user's terminal through the proxy and returns (exit code, output)."""
        prefix = f"/p/{policy}" if policy else ""
        answer = self.post(f"{prefix}/execute?wait={wait}", user=user, context=context,
                           json={"command": "sleep 0.1; " + command})
        assert answer.status == 200, answer
        told = answer.json()
        assert told["status"] == "done", told
        return told["exit_code"], "".join(piece["data"] for piece in told["output"]).replace("\r\n", "\n")

    def terminals(self, user=None):
        answer = self.get("/api/v1/terminals")
        assert answer.status == 200, answer
        return [row for row in answer.json() if user is None or row["user_id"] == user]

    def metrics(self):
        """Each sample's value by its name with labels."""
        samples = {}
        for line in self.get("/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples


def run_command(folder, *arguments, settings=None, env=None, timeout=30):
    """A subcommand other than serve, to its end: (exit status, stdout, stderr)."""
    folder = pathlib.Path(folder)
    (folder / "data").mkdir(exist_ok=True)
    variables = {"STATE_DIR": str(folder / "data"), **(settings or {})}
    variables = environment(folder, {f"TERMINALS_{name}": value for name, value in variables.items() if value is not None})
    variables.update(env or {})
    done = subprocess.run([binary(), *arguments], env=variables, cwd=folder, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL)
    for name in glob.glob(str(folder / "sanitizer.*")):
        raise AssertionError(pathlib.Path(name).read_text())
    return done.returncode, done.stdout, done.stderr
