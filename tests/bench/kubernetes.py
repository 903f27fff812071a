#!/usr/bin/env python3
"""Benchmarks on Kubernetes, against the cluster that KUBECONFIG names: `make bench-kubernetes`, or

    tools/with-cluster tools/in-venv python tests/bench/kubernetes.py [--binary build/terminals] [--only first,crowd,many]

first   a new user's first request, on both backends, less what the same pod takes from its creation to Ready by plain calls in the same run
crowd   fifty new users at once, beside fifty plain pods at once; with a small guest, so that guests that start do not hide what we do
many    an operator with a thousand sleeping Terminal resources: memory, work, and how soon they are known again after a restart

Prints a table and writes build/bench-kubernetes.json. Numbers with "less" are ours; all others are also the machine's."""
import argparse
import concurrent.futures
import copy
import json
import os
import pathlib
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "cluster"), str(TOP / "tests" / "cluster" / "faults")]

from api import Api, Server                                                        # noqa: E402
from kube import GUEST, Kube, is_ready, terminal, wait_for                         # noqa: E402
from program import KEY, Program                                                   # noqa: E402
from stack import GUEST as SMALL_GUEST                                             # noqa: E402

SCENARIOS = ("first", "crowd", "many")
BACKENDS = ("kubernetes", "kubernetes-operator")
CROWD, MANY = 50, 1000
IDLE_SECONDS = 20


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(TOP / "build" / "terminals"), help="the program (build/terminals)")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, comma-separated")
    parser.add_argument("--repeat", type=int, default=5, help="first requests on each backend (5)")
    parser.add_argument("--limit", type=int, default=330, help="seconds for everything; what is then not begun is left out (330)")
    parser.add_argument("--output", default=str(TOP / "build" / "bench-kubernetes.json"))
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(SCENARIOS):
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(SCENARIOS)}")
    return options


class Ground:
    """A namespace, and what runs in it."""

    def __init__(self, server, backend, image, **settings):
        self.namespace = f"bench-{secrets.token_hex(3)}"
        self.api, self.backend, self.programs = Api(server, self.namespace), backend, []
        self.folder = tempfile.TemporaryDirectory(prefix="terminals-bench-")
        self.api.create("namespaces", {"metadata": {"name": self.namespace}})
        wait_for("the namespace's account", lambda: self.api.get("serviceaccounts", "default"))
        self.settings = {"BACKEND": backend, "IMAGE": image, "LOG_LEVEL": "INFO", **settings}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.stop()
        for found in self.api.list("terminals"):
            if found["metadata"].get("finalizers"):
                self.api.patch("terminals", found["metadata"]["name"], {"metadata": {"finalizers": None}})
        self.api.delete("namespaces", self.namespace)
        self.folder.cleanup()

    def program(self, command):
        made = Program(command, pathlib.Path(self.folder.name) / command, self.namespace, **self.settings)
        self.programs.append(made)
        return made.start()

    def begin(self):
        if self.backend == "kubernetes-operator":
            self.operator = self.program("operator")
            wait_for("it leads", lambda: self.operator.metrics().get("terminals_operator_leading") == 1, 25)
        self.service = self.program("serve")
        return self

    def ask(self, user):
        """Seconds until a new user's first request is answered."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.service.port}/files/cwd",
                                         headers={"Authorization": f"Bearer {KEY}", "X-User-Id": user})
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=130) as answer:
            assert answer.status == 200
            answer.read()
        return time.monotonic() - began

    def engine_calls(self, program):
        text = program.get("/metrics", {"Authorization": f"Bearer {KEY}"})[1]
        return sum(float(line.split()[-1]) for line in text.splitlines()
                   if line.startswith("terminals_engine_calls_total") and '"watch"' not in line)

    def end_all(self):
        for kind in ("terminals", "pods", "services", "secrets"):
            for found in self.api.list(kind):
                self.api.delete(kind, found["metadata"]["name"], grace=0 if kind == "pods" else None)
        wait_for("nothing is left", lambda: not self.api.list("pods") and not self.api.list("terminals"), 90, every=0.5)


# --- the floor: the same objects by plain calls --------------------------------------------------------------------

def guest_of(pod):
    return next(each for each in pod["spec"]["containers"] if each["name"] == "open-terminal")


def twin_of(pod, name):
    """A pod like the one that was made, which is nobody's; its home is a claim of its own, its key a Secret of its own."""
    spec = {key: value for key, value in pod["spec"].items() if key not in ("nodeName", "serviceAccount", "serviceAccountName")}
    spec = copy.deepcopy(spec)
    for volume in spec.get("volumes", []):
        if "persistentVolumeClaim" in volume:
            volume["persistentVolumeClaim"]["claimName"] = name
    for entry in guest_of({"spec": spec})["env"]:
        if "secretKeyRef" in entry.get("valueFrom", {}):
            entry["valueFrom"]["secretKeyRef"]["name"] = name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "floor"}}, "spec": spec}


def wait_answer(address):
    """Until the guest itself answers: polled, as nothing tells it."""
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}:8000/health", timeout=5):
                return time.monotonic()
        except OSError:
            time.sleep(0.002)


def wait_ready(api, name):
    """When its guest answered and when it was Ready."""
    connection = api.server.connect(120)
    connection.request("GET", api.path("pods") + f"?watch=1&fieldSelector=metadata.name%3D{name}",
                       headers={"Authorization": api.server.authorization, "Accept": "application/json"})
    answered = None
    for line in connection.getresponse():
        pod = json.loads(line)["object"]
        if answered is None and pod["status"].get("podIP"):
            answered = wait_answer(pod["status"]["podIP"])
        if is_ready(pod):
            break
    connection.close()
    return answered, time.monotonic()


def make_plain(api, pod, claim, name):
    """Seconds: from the first call until the pod is Ready; from the pod's creation until its guest answers, and until it is Ready."""
    began = time.monotonic()
    api.create("secrets", {"metadata": {"name": name}, "stringData": {"api-key": "x" * 40}})
    api.create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": {key: claim["spec"][key] for key in ("accessModes", "resources")}})
    body = twin_of(pod, name)
    created = time.monotonic()
    api.create("pods", body)
    answered, ready = wait_ready(api, name)
    return ready - began, answered - created, ready - created


# --- scenarios -------------------------------------------------------------------------------------------------------

def spread(numbers):
    ordered = sorted(numbers)
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1], "count": len(ordered)}


def first_on(server, backend, options):
    with Ground(server, backend, GUEST).begin() as ground:
        ground.ask("warm-up")
        pod, claim = ground.api.list("pods")[0], ground.api.list("persistentvolumeclaims")[0]
        make_plain(ground.api, pod, claim, "plain-warm-up")
        ours, plain, answers, bare, calls = [], [], [], [], []
        for number in range(options.repeat):
            programs = [ground.service] + ([ground.operator] if backend == "kubernetes-operator" else [])
            before = [ground.engine_calls(program) for program in programs]
            ours.append(ground.ask(f"user-{number}"))
            time.sleep(0.5)
            calls.append([ground.engine_calls(program) - count for program, count in zip(programs, before)])
            for numbers, taken in zip((plain, answers, bare), make_plain(ground.api, pod, claim, f"plain-{number}")):
                numbers.append(taken)
        # Requests of users whose terminals run cost the API server nothing.
        time.sleep(1)
        before = ground.engine_calls(ground.service)
        warm = [ground.ask("user-0") for _ in range(200)]
        asked = ground.engine_calls(ground.service) - before
        ground.end_all()
    less = [mine - theirs for mine, theirs in zip(ours, bare)]
    return {"request_s": spread(ours), "bare_pod_s": spread(bare), "plain_objects_s": spread(plain), "bare_guest_answers_s": spread(answers), "request_less_bare_pod_s": spread(less),
            "request_less_bare_answer_s": statistics.median(ours) - statistics.median(answers),
            "calls_of_orchestrator": statistics.median(row[0] for row in calls),
            "calls_of_operator": statistics.median(row[1] for row in calls) if len(calls[0]) > 1 else None,
            "calls_during_200_requests": asked, "warm_request_s": spread(warm)}


def first(server, options):
    return {backend: first_on(server, backend, options) for backend in BACKENDS}


def crowd_of(work):
    """Everybody at once: how long each waits."""
    with concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(work, range(CROWD)))


def crowd_on(server, backend):
    # So small that a node of two cores takes them all.
    with Ground(server, backend, SMALL_GUEST, MAX_CPU="25m", MAX_MEMORY="64Mi").begin() as ground:
        ground.ask("warm-up")
        pod, claim = ground.api.list("pods")[0], ground.api.list("persistentvolumeclaims")[0]
        plain = crowd_of(lambda number: make_plain(ground.api, pod, claim, f"plain-{number}")[0])
        for found in ground.api.list("pods", "bench=floor"):
            ground.api.delete("pods", found["metadata"]["name"], grace=0)
        wait_for("the plain ones are gone", lambda: not ground.api.list("pods", "bench=floor"), 60, every=0.5)
        ours = crowd_of(lambda number: ground.ask(f"user-{number}"))
        memory = ground.service.memory_kb() / 1024
        ground.end_all()
    return {"users": CROWD, "request_s": spread(ours), "plain_s": spread(plain), "last_less_last_plain_s": max(ours) - max(plain),
            "orchestrator_mib": memory}


def crowd(server, _):
    subprocess.run([str(TOP / "tests" / "cluster" / "faults" / "guest" / "make-image"), SMALL_GUEST], check=True)
    return {backend: crowd_on(server, backend) for backend in BACKENDS}


def sleeper(number):
    """A resource that only asks for a reset goes to sleep at once."""
    made = terminal(f"many-{number}", f"user-{number}@example.org", policyId="default", env={"SOME": "x" * 200})
    made["metadata"].update(finalizers=["terminals.openwebui.com/finalizer"], annotations={"openwebui.com/reset": "none"})
    return made


def asleep(program):
    return program.metrics().get('terminals_operator_terminals{phase="Idle"}')


def many(server, _):
    with Ground(server, "kubernetes-operator", GUEST) as ground:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: ground.api.create("terminals", sleeper(number)), range(MANY)))
        began = time.monotonic()
        operator = ground.program("operator")
        wait_for("all sleep", lambda: asleep(operator) == MANY, 200, every=0.2)
        put_to_sleep = time.monotonic() - began
        worked = operator.memory_kb() / 1024
        operator.stop()
        began = time.monotonic()
        operator = ground.program("operator")
        wait_for("all are known", lambda: asleep(operator) == MANY, 60, every=0.02)
        known = time.monotonic() - began
        wait_for("it leads", lambda: operator.metrics().get("terminals_operator_leading") == 1, 25)
        # Something that changed while nobody looked is put right.
        began = time.monotonic()
        ground.api.patch("terminals", "many-7", {"metadata": {"annotations": {"openwebui.com/reset": "again"}}})
        wait_for("a change is carried out", lambda: ground.api.get("terminals", "many-7")["status"].get("lastReset") == "again", 30, every=0.01)
        reacted = time.monotonic() - began
        time.sleep(3)
        cpu = operator.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        cpu = operator.cpu_seconds() - cpu
        return {"terminals": MANY, "put_to_sleep_s": put_to_sleep, "mib_after_that": worked, "known_after_restart_s": known,
                "reacts_after_s": reacted, "mib": operator.memory_kb() / 1024, "idle_cpu_percent": 100 * cpu / IDLE_SECONDS}


# --- the table -------------------------------------------------------------------------------------------------------

def ms(numbers):
    return f"{1000 * numbers['median']:7.0f} ms   ({1000 * numbers['least']:.0f} … {1000 * numbers['most']:.0f}, {numbers['count']} times)"


def first_lines(found):
    for backend, row in found.items():
        yield f"first request of a new user, {backend}"
        yield f"  until it is answered                       {ms(row['request_s'])}"
        yield f"  a bare pod of the same kind until Ready    {ms(row['bare_pod_s'])}"
        yield f"  the first less the second (aim ≤ 50 ms)    {ms(row['request_less_bare_pod_s'])}"
        yield f"  a bare pod until its guest answers         {ms(row['bare_guest_answers_s'])}"
        yield f"  the median of the first less that one      {1000 * row['request_less_bare_answer_s']:7.0f} ms"
        yield f"  the same objects by plain calls            {ms(row['plain_objects_s'])}"
        operator = "" if row["calls_of_operator"] is None else f", of the operator {row['calls_of_operator']:.0f}"
        yield f"  calls of the orchestrator (aim ≤ 6)        {row['calls_of_orchestrator']:7.0f}{operator}"
        yield f"  calls during 200 requests (aim 0)          {row['calls_during_200_requests']:7.0f}"
        yield f"  a request to a terminal that runs          {1000 * row['warm_request_s']['median']:7.1f} ms"


def crowd_lines(found):
    for backend, row in found.items():
        yield f"{row['users']} new users at once, small guest, {backend}"
        yield f"  until each is answered                     {ms(row['request_s'])}"
        yield f"  as many plain pods until Ready             {ms(row['plain_s'])}"
        yield f"  the last less the last plain one           {1000 * row['last_less_last_plain_s']:7.0f} ms"


def many_lines(row):
    yield f"an operator with {row['terminals']} sleeping terminals"
    yield f"  resident memory (aim ≤ 30 MiB)             {row['mib']:7.1f} MiB  ({row['mib_after_that']:.1f} after putting all to sleep)"
    yield f"  CPU while nothing happens (aim ≈ 0)        {row['idle_cpu_percent']:7.2f} % of a core"
    yield f"  all known after a restart                  {row['known_after_restart_s']:7.2f} s"
    yield f"  a change is carried out                    {1000 * row['reacts_after_s']:7.0f} ms"
    yield f"  putting all to sleep, the first time       {row['put_to_sleep_s']:7.1f} s"


LINES = {"first": first_lines, "crowd": crowd_lines, "many": many_lines}


def main(arguments):
    options = parse_options(arguments)
    os.environ["TERMINALS_BINARY"] = options.binary
    Kube().run("apply", "-f", str(TOP / "deploy" / "kubernetes" / "crd.yaml"))
    server, results, end = Server(), {}, time.monotonic() + options.limit
    for name in options.only:
        if time.monotonic() > end:
            print(f"bench: no time is left for {name}", file=sys.stderr)
            continue
        print(f"bench: {name} …", end=" ", flush=True, file=sys.stderr)
        began = time.monotonic()
        results[name] = {"first": first, "crowd": crowd, "many": many}[name](server, options)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    pathlib.Path(options.output).parent.mkdir(exist_ok=True)
    pathlib.Path(options.output).write_text(json.dumps({"load": os.getloadavg()[0], "cores": os.cpu_count(), **results}, indent=1))
    print("\n".join(line for name, found in results.items() for line in LINES[name](found)))


if __name__ == "__main__":
    main(sys.argv[1:])
