"""What is not throughput: a new user's first request, start-up, memory, many new users at once."""
import concurrent.futures
import copy
import datetime
import hashlib
import http.client
import json
import os
import sqlite3
import statistics
import tempfile
import time

import proxies
from engine import Engine, LABEL, USER as USER_LABEL, address_of
from process import resident_kb

FIRST = "bench-first"
CROWD = "bench-crowd"
KNOWN = "bench-known"
PATH = "/files/cwd"
CROWD_SIZE = 20
KNOWN_CONTAINERS = 200
KNOWN_TERMINALS = 10000


def ask_guest(address, path, key, limit=60):
    """Asks the guest itself until it answers 200, as often as its connection refuses."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        connection = http.client.HTTPConnection(address, 8000, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.002)
    raise RuntimeError(f"guest {address} does not answer {path}")


# --- the floor: the same by calls to the engine alone -------------------------------------------------------------

def twin_of(details, number):
    """A body for `create` that makes what the service made, under other names."""
    host, config = details["HostConfig"], details["Config"]
    body = {name: config[name] for name in ("Image", "Env", "WorkingDir", "Labels", "ExposedPorts") if config.get(name)}
    body["Labels"] = dict(body["Labels"], **{USER_LABEL: f"{FIRST}-floor-{number}"})
    kept = ("NetworkMode", "Init", "PidsLimit", "Memory", "NanoCpus", "LogConfig", "SecurityOpt", "CapAdd")
    body["HostConfig"] = {name: host[name] for name in kept if host.get(name)}
    mounts = copy.deepcopy(host.get("Mounts") or [])
    for mount in mounts:
        if mount["Type"] == "volume":
            mount["Source"] = f"bench-floor-{number}"
            mount.setdefault("VolumeOptions", {})["Labels"] = {LABEL: "terminals", USER_LABEL: f"{FIRST}-floor-{number}"}
    body["HostConfig"]["Mounts"] = mounts
    return body


def floor_once(engine, details, number):
    """Seconds for create, start, the guest's boot and one request."""
    body = twin_of(details, number)
    key = next(entry.split("=", 1)[1] for entry in body["Env"] if entry.startswith("OPEN_TERMINAL_API_KEY="))
    begin = time.monotonic()
    container = engine.create(f"bench-floor-{number}", body)
    engine.start(container)
    address = address_of(engine.inspect(container))
    ask_guest(address, "/health", key)
    ask_guest(address, PATH, key)
    return time.monotonic() - begin, container


def first_request(port, user, process):
    begin = time.monotonic()
    status, body = proxies.get(port, PATH, user)
    if status != 200:
        raise RuntimeError(f"first request of {user}: {status} {body.decode(errors='replace')}\n{process.tail()}")
    return time.monotonic() - begin


def container_of(engine, user):
    return next(container for container, _, owner in engine.terminals() if owner == user)


# --- scenarios ------------------------------------------------------------------------------------------------------

def new_user(options, engine, directory, core):
    """A first request through the service, less the floor, by turns."""
    engine.clean(FIRST)
    process, port = proxies.start_service(options.binary, directory, core, options.guest)
    totals, floors = [], []
    with process:
        proxies.wait_for(port, "/ready", process)
        first_request(port, f"{FIRST}-warm", process)           # pulls caches in, makes the network
        template = engine.inspect(container_of(engine, f"{FIRST}-warm"))
        engine.remove(template["Id"])
        for number in range(options.repeat):
            user = f"{FIRST}-{number}"
            totals.append(first_request(port, user, process))
            engine.remove(container_of(engine, user))
            seconds, container = floor_once(engine, template, number)
            floors.append(seconds)
            engine.remove(container)
    engine.clean(FIRST)
    total, floor = statistics.median(totals), statistics.median(floors)
    return {"total_ms": total * 1e3, "floor_ms": floor * 1e3, "overhead_ms": (total - floor) * 1e3,
            "best_overhead_ms": (min(totals) - min(floors)) * 1e3, "totals_ms": [round(value * 1e3, 1) for value in totals], "floors_ms": [round(value * 1e3, 1) for value in floors]}


def timed_start(options, directory, core, image, state=None):
    process, port = proxies.start_service(options.binary, directory, core, image, state)
    with process:
        seconds = proxies.wait_for(port, "/ready", process)
        time.sleep(1)
        return seconds * 1e3, resident_kb(process.pid)


def labels_of(user):
    return {LABEL: "terminals", USER_LABEL: user, "openwebui.com/policy": "default", "openwebui.com/context-id": "default",
            "openwebui.com/context-type": "default", "openwebui.com/context-hash": hashlib.sha256(b"default").hexdigest()[:12]}


def create_known(image, numbers):
    engine = Engine()
    for number in numbers:
        user = f"{KNOWN}-{number}"
        name = "terminals-" + hashlib.sha256(user.encode()).hexdigest()[:12]
        engine.create(name, {"Image": image, "Labels": labels_of(user), "Env": [f"OPEN_TERMINAL_API_KEY={proxies.GUEST_KEY}"]})


def remove_known(containers):
    engine = Engine()
    for container in containers:
        engine.remove(container)


def in_parallel(function, items, *arguments, width=4):
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        for done in [pool.submit(function, *arguments, items[start::width]) for start in range(width)]:
            done.result()


def start_up(options, engine, directory, core, image):
    """Time to /ready, alone and with containers that exist."""
    alone = [timed_start(options, directory, core, image)[0] for _ in range(options.repeat)]
    try:
        in_parallel(create_known, range(KNOWN_CONTAINERS), image)
        many = [timed_start(options, directory, core, image)[0] for _ in range(3)]
    finally:
        known = [container for container, _, user in engine.terminals() if user.startswith(KNOWN)]
        in_parallel(remove_known, known)
    return {"ready_ms": statistics.median(alone), f"ready_ms_{KNOWN_CONTAINERS}_containers": statistics.median(many)}


def fill_database(state):
    """Rows of known terminals, as the program itself writes them."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, seen = now.strftime("%Y-%m-%d %H:%M:%S"), now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    data = json.dumps({"reset": {"schedule": "@weekly", "timezone": "UTC", "last_applied_at": None, "next_due_at": None},
                       "activity": {"last_seen_at": seen}})
    users = [f"{KNOWN}-{number:05}-4f7c2f4e-9d1b-4a52" for number in range(KNOWN_TERMINALS)]
    with sqlite3.connect(os.path.join(state, "terminals.db")) as database:
        database.executemany(
            "INSERT INTO policy_lifecycle_states (id, user_id, policy_id, context_id, data, created_at, updated_at) "
            "VALUES (?, ?, 'default', 'default', ?, ?, ?)",
            [(f"{user}:default:default", user, data, stamp, stamp) for user in users])


def memory(options, directory, core, image):
    """Resident memory, alone and with terminals that the database knows."""
    state = tempfile.mkdtemp(prefix="state-", dir=directory)
    alone, alone_own = timed_start(options, directory, core, image, state)[1]
    fill_database(state)
    known, known_own = timed_start(options, directory, core, image, state)[1]
    return {"rss_mb": alone / 1024, "own_mb": alone_own / 1024, f"rss_mb_{KNOWN_TERMINALS}_terminals": known / 1024,
            f"own_mb_{KNOWN_TERMINALS}_terminals": known_own / 1024}


def crowd_by_service(options, engine, directory, core):
    process, port = proxies.start_service(options.binary, directory, core, options.guest)
    with process:
        proxies.wait_for(port, "/ready", process)
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CROWD_SIZE) as pool:
            waits = list(pool.map(lambda number: first_request(port, f"{CROWD}-{number}", process), range(CROWD_SIZE)))
        seconds = time.monotonic() - begin
        template = engine.inspect(container_of(engine, f"{CROWD}-0"))
    engine.clean(CROWD)
    return seconds, waits, template


def crowd_by_engine(engine, template):
    """The same number straight from the engine, as many side by side as there are cores."""
    begin = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda number: floor_once(Engine(), template, f"crowd-{number}"), range(CROWD_SIZE)))
        return time.monotonic() - begin
    finally:
        engine.clean(FIRST)


def crowd(options, engine, directory, core):
    """Many new users at once: all are served, and the starts cost no more than the engine's own time."""
    engine.clean(CROWD)
    try:
        seconds, waits, template = crowd_by_service(options, engine, directory, core)
        floor = crowd_by_engine(engine, template)
    finally:
        engine.clean(CROWD)
    return {"users": CROWD_SIZE, "all_ms": seconds * 1e3, "floor_ms": floor * 1e3, "median_wait_ms": statistics.median(waits) * 1e3,
            "longest_wait_ms": max(waits) * 1e3}
