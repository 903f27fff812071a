"""Whatever ends without warning, and whenever: ours or the engine, while terminals start, stop and are reset. Afterwards nothing
is orphaned, doubled or lost (orchestrator.md §4.1, architecture.md ideas 2 and 3).

The moments are random and differ from run to run; the seed is printed. CRASH_ROUNDS makes it many."""
import contextlib
import http.client
import os
import random
import shutil
import threading
import time

import pytest

from harness import images
from harness.client import wait_until
from harness.private_engine import PrivateEngine
from harness.service import Service, binary

pytestmark = pytest.mark.docker

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))


class World:
    """Users whose homes hold a mark, users whose homes are reset now and then, and what must be true of all of them."""

    def __init__(self, prefix, seed=None):
        self.prefix, self.seed = prefix, seed or random.randrange(1 << 30)
        self.chance = random.Random(self.seed)
        self.keepers = [f"{prefix}keep{number}" for number in range(3)]
        self.resetters = [f"{prefix}reset{number}" for number in range(2)]
        self.asked_for_reset = set()
        print("seed", self.seed)

    @property
    def users(self):
        return self.keepers + self.resetters

    def furnish(self, service):
        for user in self.users:
            assert service.run_in_guest(user, f"echo {user} > mark") == (0, "")

    def act(self, service, user, action):
        with contextlib.suppress(OSError, http.client.HTTPException):
            if action == "use":
                service.get("/files/cwd", user=user, timeout=15)
            elif action == "stop":
                service.post("/api/v1/terminals/stop", json={"user_id": user}, timeout=15)
            elif action == "refresh":
                service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False}, timeout=15)
            elif action == "reset":
                self.asked_for_reset.add(user)
                service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True}, timeout=15)

    def begin(self, service):
        """Two actions for each user, side by side; returns the threads."""
        plans = []
        for user in self.users:
            last = "reset" if user in self.resetters else "refresh"
            plans += [(user, self.chance.choice(["use", "use", "stop"])), (user, self.chance.choice(["use", "stop", last]))]
        self.chance.shuffle(plans)
        threads = [threading.Thread(target=self.act, args=(service, *plan)) for plan in plans]
        for thread in threads:
            thread.start()
        return threads

    def check_containers(self, engine):
        """At most one for each key, whenever one looks."""
        keys = [row[1:] for row in engine.containers(self.prefix)]
        assert len(keys) == len(set(keys)), f"doubled: {sorted(keys)}"

    def check_rest(self, service, engine):
        """When all is quiet, what is there runs, and all homes are labelled."""
        wait_until(lambda: len(engine.containers(self.prefix)) == len(engine.containers(self.prefix, running=True)), 45, 0.5,
                   "that every container left runs or is cleared away")
        self.check_containers(engine)
        owners = [row[1] for row in engine.volumes(self.prefix)]
        assert len(owners) == len(set(owners)) and set(self.keepers) <= set(owners), owners
        for name in engine.run("volume", "ls", "-q", "--filter", "name=terminals-").split():
            assert engine.run("volume", "inspect", "-f", '{{index .Labels "app.kubernetes.io/managed-by"}}', name, check=False) in ("terminals", ""), name
        for user in self.users:
            code, output = self.eventually(service, user)
            if user in self.asked_for_reset:
                assert output.strip() in ("", user), (user, output)
            else:
                assert output.strip() == user, (user, output, "the home is lost")
        self.check_containers(engine)
        for found in (engine.containers(self.prefix), engine.volumes(self.prefix)):
            assert sorted(row[1] for row in found) == sorted(self.users)

    @staticmethod
    def eventually(service, user):
        """A running guest may be found dead at the first request after a crash; the next one gets a new guest."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return service.run_in_guest(user, "cat mark 2>/dev/null || true")
            except (AssertionError, OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def join_all(threads):
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_killed_at_random_moments_nothing_is_orphaned_doubled_or_lost(make_service, engine, prefix, tmp_path):
    world = World(prefix)
    service = make_service(folder=tmp_path / "s")
    world.furnish(service)
    for _ in range(ROUNDS):
        threads = world.begin(service)
        time.sleep(world.chance.uniform(0.02, 2.0))
        service.kill()
        join_all(threads)
        world.check_containers(engine)
        service = make_service(folder=tmp_path / "s")
    world.check_rest(service, engine)


# --- the engine ------------------------------------------------------------------------------------------------------

class Inside(Service):
    """The service in the private engine's namespace, asked from there."""

    def request(self, *arguments, **options):
        with self.engine.join():
            return super().request(*arguments, **options)

    def start(self, timeout=60.0):
        with self.engine.join():
            return super().start(timeout)


@pytest.fixture(scope="module")
def private_engine(engine):
    private = PrivateEngine()
    try:
        private.start()
        private.load(images.REAL)
        yield private
    finally:
        private.remove()


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("dockerd"), reason="needs root and dockerd")
@pytest.mark.timeout(120 + 90 * ROUNDS)
def test_engine_killed_at_random_moments_nothing_is_orphaned_doubled_or_lost(private_engine, prefix, tmp_path):
    """The daemon alone dies in half of the rounds (guests run on), all of its processes in the others (as by a power cut)."""
    world = World(prefix)
    service = Inside(tmp_path / "inside", private_engine, command=private_engine.command(binary())).start()
    try:
        world.furnish(service)
        for number in range(max(2, ROUNDS // 3)):
            threads = world.begin(service)
            time.sleep(world.chance.uniform(0.02, 2.0))
            if number % 2:
                private_engine.kill()
            else:
                private_engine.kill_daemon()
            time.sleep(world.chance.uniform(0.0, 2.0))
            private_engine.signal_all(9)
            private_engine.start()
            join_all(threads)
            wait_until(lambda: service.get("/files/cwd", user=world.users[0]).status == 200, 60, 0.5, "service after the engine's return")
            world.check_containers(private_engine)
        world.check_rest(service, private_engine)
    finally:
        service.stop()
        private_engine.clean((prefix,))
