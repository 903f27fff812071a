"""A second dockerd with its own storage and its own network namespace, so that a test may kill it.

Its bridges live in that namespace: the service and the test's own connections have to be there too. `join()` moves the
calling thread over for a while."""
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from .engine import Engine

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def set_namespace(file):
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class PrivateEngine(Engine):
    def __init__(self):
        # Below /var/lib, because the overlay file system does not stack on another overlay, as /tmp may be.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="terminals-test-", dir="/var/lib"))
        super().__init__(f"unix://{self.folder}/docker.sock")
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; exec sleep infinity"])
        self.namespace = f"/proc/{self.holder.pid}/ns/net"
        self.daemon = None
        self._wait(lambda: os.readlink(self.namespace) != os.readlink("/proc/self/ns/net"))

    def start(self, timeout=120):
        # The test killed it: whatever its containerd left is in the way.
        for name in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)
        self.daemon = subprocess.Popen(
            ["nsenter", f"--net={self.namespace}", "dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
             "--pidfile", f"{self.folder}/docker.pid", "-H", f"unix://{self.folder}/docker.sock", "--ip-forward=true"],
            stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self._wait(lambda: self.daemon.poll() is not None or self.run("version", "--format", "{{.Server.Version}}", check=False), timeout)
        assert self.daemon.poll() is None, (self.folder / "log").read_text()[-2000:]
        return self

    @staticmethod
    def _wait(condition, timeout=10):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the private engine does not come up"
            time.sleep(0.05)

    def load(self, image):
        """Copies an image over from the main engine."""
        subprocess.run(f"docker save {image} | docker -H {self.env['DOCKER_HOST']} load -q", shell=True, check=True, capture_output=True)

    def kill(self):
        """dockerd and its containerd end at once; the containers' processes go with a machine that loses power."""
        self.signal_all(signal.SIGKILL)
        self.daemon.wait()

    def kill_daemon(self):
        """dockerd alone ends at once; its containerd and the guests run on."""
        self.daemon.kill()
        self.daemon.wait()

    def terminate(self):
        self.daemon.terminate()
        self.daemon.wait(60)

    def signal_all(self, number):
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def processes(self):
        """Everything whose command line names our folder: the daemon, its containerd and its shims."""
        found, mark = [], str(self.folder).encode()
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "cmdline").read_bytes() and (entry / "comm").read_text().startswith(("dockerd", "containerd")):
                        found.append(int(entry.name))
        return found

    @contextlib.contextmanager
    def join(self):
        """Sockets that this thread makes inside the block are in the engine's namespace."""
        with open("/proc/self/ns/net") as home, open(self.namespace) as there:
            set_namespace(there)
            try:
                yield
            finally:
                set_namespace(home)

    def command(self, program):
        return ["nsenter", f"--net={self.namespace}", program]

    def remove(self):
        if self.daemon and self.daemon.poll() is None:
            names = self.run("ps", "-aq", check=False).split()
            if names:
                self.run("rm", "-f", *names, check=False)
            self.terminate()
        self.signal_all(signal.SIGKILL)
        self.holder.kill()
        self.holder.wait()
        time.sleep(0.3)
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            mount = line.split()[1]
            if mount.startswith(str(self.folder)):
                subprocess.run(["umount", "-l", mount], check=False)
        subprocess.run(["rm", "-rf", str(self.folder)], check=False)
