"""Idle stops and resets, with a clock that the test sets; polls are not activity (orchestrator.md §3.5, §3.6; open-webui.md 1, 2)."""
import json
import sqlite3
import threading
import time

import pytest

from harness import images
from harness.client import wait_until
from harness.clock import Clock
from harness.service import KEY
from harness.terminal import Terminal, make_session

PASSIVE = ["/execute", "/ports", "/api/config", "/system", "/openapi.json", "/health", "/execute/none/status", "/execute/none/status?wait=0",
           "/execute/none/status?wait=0&offset=0&tail=1000"]


# --- polls -----------------------------------------------------------------------------------------------------------

def test_polls_do_not_start_a_terminal(service, engine, prefix):
    user = prefix + "u"
    for path, status, body in (("/execute", 200, []), ("/ports", 200, {"ports": []}),
                               ("/execute/x/status", 404, {"detail": "Process not found"}),
                               ("/execute/x/status?wait=0&offset=5", 404, {"detail": "Process not found"})):
        answer = service.get(path, user=user)
        assert (answer.status, answer.json()) == (status, body)
    assert not engine.containers(user)


@pytest.mark.parametrize("method,path", [("POST", "/execute"), ("GET", "/execute/x/status?wait=5"), ("GET", "/files/list"),
                                         ("GET", "/executed"), ("DELETE", "/execute/x")])
def test_other_requests_do_start_one(service, engine, prefix, method, path):
    service.request(method, path, user=prefix + "u", json={"command": "true"} if method == "POST" else None)
    assert len(engine.containers(prefix + "u")) == 1


def test_polls_of_a_running_terminal_reach_it(service, prefix):
    user = prefix + "u"
    told = service.post("/execute", user=user, json={"command": "sleep 30"}).json()
    listed = service.get("/execute", user=user).json()
    assert [row["id"] for row in listed] == [told["id"]]
    assert service.get(f"/execute/{told['id']}/status?wait=0", user=user).json()["status"] == "running"


def test_skills_waits_at_most_5_seconds_for_a_start(make_service, engine, prefix):
    service = make_service()
    service.put_policy(prefix + "slow", {"image": images.never_ready(engine)})
    begin = time.monotonic()
    answer = service.get(f"/p/{prefix}slow/skills", user=prefix + "u")
    assert 4 < time.monotonic() - begin < 30
    assert answer.status == 503 and answer.json()["reason"] == "starting" and answer.header("Retry-After")
    assert len(engine.containers(prefix)) == 1
    assert service.get("/skills", user=prefix + "fast").status == 200


# --- idle stops ------------------------------------------------------------------------------------------------------

class Ticker:
    """Sets the service's clock forward, minute by minute, as often as told."""

    def __init__(self, clock):
        self.clock, self.seconds = clock, 0

    def forward(self, minutes):
        self.seconds += int(minutes * 60)
        self.clock.set(f"+{self.seconds}")


@pytest.fixture
def timed(make_service, tmp_path):
    """A service whose clocks can be set forward while it runs: (service, ticker)."""
    clock = Clock(tmp_path)

    def make(**settings):
        return make_service(clock=clock, **settings), Ticker(clock)

    return make


def is_gone(service, user):
    return not service.engine.containers(user)


def test_idle_terminal_stops_although_polls_go_on(timed, prefix):
    service, ticker = timed(IDLE_TIMEOUT_MINUTES=10)
    user = prefix + "u"
    service.run_in_guest(user, "echo kept > mark")
    running = True

    def poll():
        while running:
            for path in PASSIVE:
                try:
                    service.get(path, user=user)
                except OSError:
                    pass
            time.sleep(0.2)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        ticker.forward(8)
        time.sleep(3)
        assert not is_gone(service, user)
        for _ in range(3):
            ticker.forward(3)
            time.sleep(1)
        wait_until(lambda: is_gone(service, user), 75, what="the idle stop")
        time.sleep(1.5)
        assert is_gone(service, user), "a poll brought it back"
    finally:
        running = False
        thread.join()
    assert service.run_in_guest(user, "cat mark") == (0, "kept\n")


def test_use_keeps_a_terminal(timed, prefix):
    service, ticker = timed(IDLE_TIMEOUT_MINUTES=10)
    user = prefix + "u"
    for _ in range(4):
        assert service.get("/files/cwd", user=user).status == 200
        ticker.forward(6)
        time.sleep(1)
    assert not is_gone(service, user)
    assert len({row["instance_id"] for row in service.terminals(user)}) == 1


def test_policy_timeout_stands_above_the_services(timed, prefix):
    service, ticker = timed(IDLE_TIMEOUT_MINUTES=10)
    service.put_policy(prefix + "long", {"idle_timeout_minutes": 600})
    service.put_policy(prefix + "never", {"idle_timeout_minutes": 0})
    for policy in ("long", "never"):
        assert service.get(f"/p/{prefix}{policy}/files/cwd", user=prefix + policy).status == 200
    service.get("/files/cwd", user=prefix + "plain")
    ticker.forward(60)
    wait_until(lambda: is_gone(service, prefix + "plain"), 75)
    assert not is_gone(service, prefix + "long") and not is_gone(service, prefix + "never")


@pytest.mark.parametrize("act,kept", [("ping", False), ("keystroke", True), ("output", True)])
def test_what_keeps_a_panels_terminal(timed, prefix, act, kept):
    service, ticker = timed(IDLE_TIMEOUT_MINUTES=10)
    user = prefix + "u"
    with Terminal(service.port, f"/api/terminals/{make_session(service, user)}?user_id={user}") as panel:
        panel.auth(KEY)
        panel.type("stty -echo; echo rea''dy\n")
        panel.read_until(b"ready")
        time.sleep(0.5)
        if act == "output":
            panel.type("while sleep 0.3; do echo tick; done\n")
        for _ in range(4):
            ticker.forward(6)
            for _ in range(4):
                time.sleep(0.25)
                try:
                    if act == "ping":
                        panel.send_json({"type": "ping"})
                    elif act == "keystroke":
                        panel.type(" ")
                except Exception:
                    assert not kept
                    break
        if kept:
            time.sleep(2)
            assert not is_gone(service, user)
        else:
            wait_until(lambda: is_gone(service, user), 75)


def test_activity_survives_a_restart(timed, make_service, prefix, tmp_path):
    service, ticker = timed(IDLE_TIMEOUT_MINUTES=10, STATUS_CACHE_TTL=1)
    user = prefix + "u"
    service.get("/files/cwd", user=user)
    before = service.terminals(user)[0]["last_active_at"]
    ticker.forward(5)
    time.sleep(2)
    service.stop()
    service = make_service(folder=service.folder, clock=service.clock, IDLE_TIMEOUT_MINUTES=10)
    row = wait_until(lambda: next((row for row in service.terminals(user) if row["last_active_at"]), None), 10)
    assert row["last_active_at"][:19] == before[:19] and 280 < row["idle_seconds"] < 420
    ticker.forward(11)
    wait_until(lambda: is_gone(service, user), 75)


# --- resets ----------------------------------------------------------------------------------------------------------

def state_of(service, user):
    """The terminal's row in the database, as the original keeps it."""
    with sqlite3.connect(f"file:{service.folder}/data/terminals.db?mode=ro", uri=True) as database:
        row = database.execute("SELECT data FROM policy_lifecycle_states WHERE user_id = ?", (user,)).fetchone()
    return json.loads(row[0]) if row else {}


def put_schedule(service, policy, **reset):
    service.put_policy(policy, {})
    answer = service.request("PUT", f"/api/v1/policies/{policy}/lifecycle", json={"reset": reset})
    assert answer.status == 200, answer


def wait_for_due_time(service, user):
    return wait_until(lambda: state_of(service, user).get("reset", {}).get("next_due_at"), 75, what="the reckoned time")


def test_reset_by_cron(timed, prefix):
    """While the terminal runs, the sweep does it: stop, wipe, mark."""
    service, ticker = timed()
    user, policy = prefix + "u", prefix + "p"
    put_schedule(service, policy, schedule="30 4 1 * *", timezone="Europe/Berlin")
    assert service.run_in_guest(user, "echo mine > mark; mkdir -p d/e; echo x > .hidden", policy=policy)[0] == 0
    due = wait_for_due_time(service, user)
    assert due.endswith("Z") and due[11:16] in ("02:30", "03:30")
    ticker.forward(32 * 24 * 60)
    wait_until(lambda: state_of(service, user)["reset"].get("last_applied_at"), 90, what="the sweep's reset")
    assert service.run_in_guest(user, "ls -A | grep -v '^.local$'", policy=policy) == (1, "")
    state = state_of(service, user)["reset"]
    assert state["last_applied_at"] >= due and state["next_due_at"] > state["last_applied_at"]


def test_reset_that_fell_due_while_stopped_comes_before_the_next_start(timed, prefix):
    service, ticker = timed()
    user, policy = prefix + "u", prefix + "p"
    put_schedule(service, policy, schedule="@weekly")
    service.run_in_guest(user, "echo mine > mark", policy=policy)
    wait_for_due_time(service, user)
    service.post("/api/v1/terminals/stop", json={"user_id": user, "policy_id": policy})
    ticker.forward(8 * 24 * 60)
    assert service.run_in_guest(user, "cat mark", policy=policy)[0] == 1


def test_reset_of_a_running_terminal_by_the_sweep(timed, prefix):
    service, ticker = timed()
    user, policy = prefix + "u", prefix + "p"
    put_schedule(service, policy, schedule="0 3 * * *")
    service.run_in_guest(user, "echo mine > mark", policy=policy)
    wait_for_due_time(service, user)
    ticker.forward(25 * 60)
    wait_until(lambda: state_of(service, user)["reset"].get("last_applied_at"), 90, what="the sweep's reset")
    assert service.run_in_guest(user, "cat mark", policy=policy)[0] == 1


def test_reset_once(timed, prefix):
    service, ticker = timed()
    user, policy = prefix + "u", prefix + "p"
    service.put_policy(policy, {})
    at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 3600))
    service.request("PUT", f"/api/v1/policies/{policy}/lifecycle", json={"reset": {"schedule": at}})
    service.run_in_guest(user, "echo mine > mark", policy=policy)
    wait_for_due_time(service, user)
    ticker.forward(90)
    wait_until(lambda: state_of(service, user)["reset"].get("last_applied_at"), 90)
    assert state_of(service, user)["reset"].get("next_due_at") is None
    assert service.run_in_guest(user, "cat mark; echo again > mark", policy=policy)[0] == 0
    ticker.forward(90)
    assert service.run_in_guest(user, "cat mark", policy=policy) == (0, "again\n")


def test_reset_on_demand_empties_only_the_home(service, engine, prefix):
    user, other = prefix + "u", prefix + "other"
    for name in (user, other):
        service.run_in_guest(name, "echo mine > mark; mkdir -p a/b; touch a/b/c .hidden; ln -s /etc/passwd link; ln -s / root")
    service.run_in_guest(user, "echo chat > mark", context="chat:1")
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "context_id": "default", "only_idle": False, "reset": True})
    assert answer.json() == {"matched": 1, "refreshed": 1, "reset": 1, "skipped_active": 0}
    assert service.run_in_guest(user, "ls -A | grep -v '^.local$'")[1] == ""
    assert service.run_in_guest(user, "cat mark", context="chat:1") == (0, "chat\n")
    assert service.run_in_guest(other, "cat mark; ls -A | grep -c .") [1].startswith("mine\n")


def test_reset_of_a_terminal_that_does_not_run(service, prefix):
    user = prefix + "u"
    service.run_in_guest(user, "echo mine > mark")
    service.post("/api/v1/terminals/stop", json={"user_id": user})
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True})
    assert answer.json()["reset"] == 1
    assert service.run_in_guest(user, "cat mark")[0] == 1


@pytest.mark.docker
def test_home_in_a_directory_is_wiped_without_following_links(make_service, prefix, tmp_path):
    homes, outside = tmp_path / "homes", tmp_path / "outside"
    homes.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("kept")
    service = make_service(DOCKER_DATA_DIR=str(homes))
    user = prefix + "u"
    service.run_in_guest(user, "mkdir -p d; echo mine > d/mark")
    home = next(homes.iterdir())
    (home / "trap").symlink_to(outside)
    (home / "d" / "up").symlink_to("/")
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True})
    assert answer.json()["reset"] == 1, answer
    assert list(home.iterdir()) == [] and (outside / "precious").read_text() == "kept"
    assert service.run_in_guest(user, "cat d/mark")[0] == 1


@pytest.mark.docker
@pytest.mark.parametrize("user", ["a/b", "%2e%2e", "a b", "-x", "alice@example.org"])
def test_directory_of_a_home_never_leaves_the_data_directory(make_service, engine, prefix, tmp_path, user):
    homes = tmp_path / "homes"
    homes.mkdir()
    service = make_service(DOCKER_DATA_DIR=str(homes))
    service.put_policy(prefix + "p", {})
    assert service.get(f"/p/{prefix}p/files/cwd", user=user).status == 200
    container = engine.inspect(next(row[0] for row in engine.containers() if row[2] == prefix + "p"))
    source = next(mount["Source"] for mount in container["Mounts"] if mount["Destination"] == "/home/user")
    assert source == f"{homes}/{container['Name'].lstrip('/')}"


def test_home_that_is_nested_without_end_is_emptied(make_service, prefix, tmp_path):
    """A user cannot escape a reset by a tree that is too deep, nor by directories that he may not enter himself."""
    service = make_service(DOCKER_DATA_DIR=tmp_path / "homes")
    user = prefix + "u"
    service.run_in_guest(user, "python3 -c \"import os\nfor i in range(700):\n os.mkdir('d'); os.chdir('d')\"; mkdir -p closed/x; chmod 0 closed; touch mark", wait=60)
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True})
    assert answer.json()["reset"] == 1, answer
    assert service.run_in_guest(user, "ls -A | grep -v local") in ((1, ""), (0, ""))
