"""Processes under measurement: started on one core, watched through /proc, ended with their children."""
import os
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cores():
    """(the core of the proxy, the core of load and upstream); the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin(pid, core):
    """Every thread of the process."""
    subprocess.run(["taskset", "-acp", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)


def _parents():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    return parents


def family(pid):
    """The process and all that descend from it."""
    parents, members = _parents(), {pid}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in members} - members
        members |= more
        grown = bool(more)
    return members


def cpu_seconds(pid):
    """User and system time of the process and its children, the ended ones included."""
    total = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])     # utime stime cutime cstime
    return total / TICKS


def resident_kb(pid):
    """(all of it, the part that is the process's own: the rest are pages of libraries that every process shares)"""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        sizes = dict(line.split(":", 1) for line in file if line.startswith(("VmRSS:", "RssAnon:")))
    return int(sizes["VmRSS"].split()[0]), int(sizes["RssAnon"].split()[0])


class Process:
    """A command on one core; a context manager that ends it."""

    def __init__(self, arguments, core, log, env=None):
        self.log = log
        with open(log, "wb") as file:
            self.child = subprocess.Popen(["taskset", "-c", str(core), *arguments], env=env, stdin=subprocess.DEVNULL,
                                          stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        self.pid = self.child.pid
        self.started = time.monotonic()

    def failed(self):
        return self.child.poll() is not None

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-8:]).strip()

    def stop(self, grace=10):
        if not self.failed():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(grace)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
