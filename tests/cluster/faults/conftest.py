"""Faults between our programs and the API server. Each test has a namespace, programs and proxies of its own; tests marked `beside` run side by side, because
most of their time is waiting: the first one that is called begins them all."""
import concurrent.futures
import pathlib
import subprocess

import pytest

from api import Server
from stack import GUEST, Stack

SIDE_BY_SIDE = 12
DEADLINE = 330
HERE = pathlib.Path(__file__).parent


def pytest_configure(config):
    config.addinivalue_line("markers", "beside: runs side by side with others; its only fixture is `stack`")
    config.addinivalue_line("markers", "long: waits for minutes, and is begun before the others")


def pytest_collection_modifyitems(items):
    """What must be alone comes before what runs side by side."""
    places = [index for index, item in enumerate(items) if HERE in item.path.parents]
    ours = sorted((items[index] for index in places), key=lambda item: item.get_closest_marker("beside") is not None)
    for index, item in zip(places, ours):
        items[index] = item


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    """The small guest is in the node, and we know the way to the API server."""
    subprocess.run([str(HERE / "guest" / "make-image"), GUEST], check=True)
    return Server(), tmp_path_factory.mktemp("faults")


@pytest.fixture
def stack(ground, request):
    """stack(backend) gives a Stack; with `beside`, the function's own call gets one, and this fixture only makes sure of the ground."""
    if request.node.get_closest_marker("beside"):
        yield ground
        return
    stacks = Stacks(ground, request.node.name)
    yield stacks
    stacks.close()


class Stacks:
    def __init__(self, ground, name):
        self.ground, self.name, self.made = ground, "".join(letter if letter.isalnum() else "-" for letter in name), []

    def __call__(self, backend):
        server, folder = self.ground
        self.made.append(Stack(server, folder / f"{self.name}-{len(self.made)}", backend))
        return self.made[-1]

    def close(self):
        for stack in self.made:
            stack.close()


def run_alone(item, ground):
    stacks = Stacks(ground, item.name)
    arguments = item.callspec.params if hasattr(item, "callspec") else {}
    try:
        item.obj(stack=stacks, **arguments)
    finally:
        stacks.close()


def pytest_pyfunc_call(pyfuncitem):
    if not pyfuncitem.get_closest_marker("beside"):
        return None
    config, ground = pyfuncitem.config, pyfuncitem.funcargs["stack"]
    if not hasattr(config, "beside_runs"):
        pool = concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE)
        items = sorted((item for item in pyfuncitem.session.items if item.get_closest_marker("beside")),
                       key=lambda item: not item.get_closest_marker("long"))
        config.beside_runs = {item.nodeid: pool.submit(run_alone, item, ground) for item in items}
        config.add_cleanup(lambda: pool.shutdown(wait=True, cancel_futures=True))
    config.beside_runs[pyfuncitem.nodeid].result(DEADLINE)
    return True
