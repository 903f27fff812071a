"""Requests per second, CPU per request and latency of each proxy in front of the same terminal, in turn on the same core."""
import json
import os
import statistics
import subprocess

import proxies
from engine import address_of
from process import cpu_seconds, pin

USER = "bench-throughput"
PATH = "/files/list?directory=%2Fhome%2Fuser"


def run_wrk(port, connections, seconds, core, host="127.0.0.1"):
    """One burst of load; what wrk counted."""
    done = subprocess.run(
        ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s",
         "-s", os.path.join(proxies.HERE, "configs", "report.lua"),
         "-H", f"Authorization: Bearer {proxies.API_KEY}", "-H", f"X-User-Id: {USER}", "-H", "X-Session-Id: bench",
         "-H", "Accept: application/json", "-H", "Accept-Encoding: gzip, deflate, br", "-H", "User-Agent: bench",
         f"http://{host}:{port}{PATH}"],
        capture_output=True, text=True, check=True, timeout=seconds + 30)
    line = next(line for line in done.stdout.splitlines() if line.startswith("@json "))
    return json.loads(line[len("@json "):])


def measure(pid, port, connections, seconds, core):
    before = cpu_seconds(pid)
    result = run_wrk(port, connections, seconds, core)
    used = cpu_seconds(pid) - before
    result["rps"] = result["requests"] / result["seconds"]
    result["cpu_us"] = used * 1e6 / max(result["requests"], 1)
    return result


def start_own_terminal(engine, image):
    """A container beside the service, where the service is not among those compared."""
    container = engine.create(f"terminals-{USER}", {"Image": image, "Labels": {"app.kubernetes.io/managed-by": "terminals",
                                                                              "openwebui.com/user-id": USER}})
    engine.start(container)
    return container


def terminal_of(engine, user):
    found = [container for container, _, owner in engine.terminals() if owner == user]
    if len(found) != 1:
        raise RuntimeError(f"{user} has {len(found)} containers")
    return found[0]


class Contest:
    """The proxies, all up, measured one after the other."""

    def __init__(self, options, engine, directory, image, proxy_core, load_core):
        self.options, self.engine, self.directory, self.image = options, engine, directory, image
        self.proxy_core, self.load_core = proxy_core, load_core
        self.running = {}               # name → (process, port)

    def start_all(self):
        """The service first: it makes the terminal that the others then share."""
        if "ours" in self.options.targets:
            process, port = proxies.start_service(self.options.binary, self.directory, self.proxy_core, self.image)
            self.running["ours"] = process, port
            proxies.wait_for(port, "/ready", process)
            status, body = proxies.get(port, PATH, USER)
            if status != 200:
                raise RuntimeError(f"the service answers {status}: {body.decode(errors='replace')}\n{process.tail()}")
            container = terminal_of(self.engine, USER)
        else:
            container = start_own_terminal(self.engine, self.image)
        details = self.engine.inspect(container)
        pin(details["State"]["Pid"], self.load_core)
        for child in self._children_of(details["State"]["Pid"]):
            pin(child, self.load_core)
        self.upstream = f"{address_of(details)}:8000"
        for name, start in (("nginx", proxies.start_nginx), ("haproxy", proxies.start_haproxy)):
            if name in self.options.targets:
                self.running[name] = start(self.directory, self.proxy_core, self.upstream)
                proxies.wait_for(self.running[name][1], PATH, self.running[name][0])

    @staticmethod
    def _children_of(pid):
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        return [int(line) for line in done.stdout.split()]

    def run(self):
        """For each number of connections and proxy the median of all rounds; the order alternates."""
        results = {}
        names = list(self.running)
        for connections in self.options.connections:
            rounds = {name: [] for name in names}
            for name in names:
                run_wrk(self.running[name][1], connections, 1, self.load_core)      # warm-up
            for number in range(self.options.rounds):
                for name in names if number % 2 == 0 else reversed(names):
                    process, port = self.running[name]
                    rounds[name].append(measure(process.pid, port, connections, self.options.seconds, self.load_core))
            results[connections] = {name: summarize(measured) for name, measured in rounds.items()}
            add_ratios(results[connections])
        return results

    def stop_all(self):
        for process, _ in self.running.values():
            process.stop()


def summarize(measured):
    result = {field: statistics.median(row[field] for row in measured) for field in ("rps", "cpu_us", "p50_us", "p99_us")}
    result["rps_all"] = [round(row["rps"]) for row in measured]
    result["failed"] = sum(row["refused"] + row["errors"] for row in measured)
    return result


def add_ratios(by_name):
    """Ours against each other one: throughput (more is better), CPU per request (less is better)."""
    ours = by_name.get("ours")
    for name in ("haproxy", "nginx"):
        if ours and name in by_name:
            ours[f"rps_vs_{name}"] = ours["rps"] / by_name[name]["rps"]
            ours[f"cpu_vs_{name}"] = ours["cpu_us"] / max(by_name[name]["cpu_us"], 1e-9)


def run(options, engine, directory, image, proxy_core, load_core):
    engine.clean(USER)
    contest = Contest(options, engine, directory, image, proxy_core, load_core)
    try:
        contest.start_all()
        results = contest.run()
        return {"connections": results, "upstream": contest.upstream}
    finally:
        contest.stop_all()
        engine.clean(USER)
