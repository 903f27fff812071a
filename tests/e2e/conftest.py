"""Fixtures of the end-to-end tests. They run one after the other: two services on one engine see each other's terminals.

With `--backend kubernetes` or `kubernetes-operator` (or TERMINALS_TEST_BACKEND) the same tests run on the cluster that KUBECONFIG names; those about
Docker itself (mark `docker`) are left out."""
import os
import re
import secrets

import pytest

from harness import images
from harness.clock import Clock
from harness.cluster import Cluster, OperatedCluster
from harness.engine import Engine
from harness.open_webui import OpenWebUI
from harness.service import Service

SESSION = f"e2e-{secrets.token_hex(2)}-"
# Users of the recorded exchanges have fixed names.
OURS = (SESSION, "golden-", "alice-jwt")


def pytest_addoption(parser):
    parser.addoption("--backend", choices=("docker", "kubernetes", "kubernetes-operator"), default=os.environ.get("TERMINALS_TEST_BACKEND", "docker"))
    parser.addoption("--lifecycle", action="store_true", help="only the files about terminals themselves, which no other engine's run stands for")


LIFECYCLE = ("test_life", "test_idle_reset", "test_caps", "test_adoption", "test_kubernetes")


def pytest_collection_modifyitems(config, items):
    foreign = "kubernetes" if config.getoption("--backend") == "docker" else "docker"
    only = LIFECYCLE if config.getoption("--lifecycle") else ""
    left_out = [item for item in items if item.get_closest_marker(foreign) or only and not item.path.name.startswith(only)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def open_engine(backend):
    if backend == "docker":
        engine = Engine()
        engine.run("version")
        engine.run("image", "inspect", "-f", "{{.Id}}", images.REAL)
        return engine
    return (OperatedCluster if backend == "kubernetes-operator" else Cluster)(SESSION.strip("-")).open(images.REAL)


@pytest.fixture(scope="session")
def engine(pytestconfig):
    """What terminals run on: the Docker engine that DOCKER_HOST or the default socket names (`make e2e` has seen to it that it runs), or the cluster."""
    engine = open_engine(pytestconfig.getoption("--backend"))
    yield engine
    engine.clean(OURS)
    engine.close()


@pytest.fixture
def prefix(request):
    """Begins every user and policy id of one test, and of no other test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:24].strip("-")
    return f"{SESSION}{secrets.token_hex(2)}-{name}-"


@pytest.fixture(autouse=True)
def clean_up(request, engine):
    """Removes what the test left, unless the file shares terminals among its tests (mark `keep_terminals`)."""
    yield
    if not request.node.get_closest_marker("keep_terminals"):
        engine.clean(OURS)


@pytest.fixture(scope="module", autouse=True)
def clean_up_file(engine):
    yield
    engine.clean(OURS)


@pytest.fixture
def make_service(engine, tmp_path):
    """Makes services: make_service(IDLE_TIMEOUT_MINUTES=1, …) gives a started one. All are stopped and checked afterwards."""
    made = []

    def make(*, start=True, folder=None, options=(), clock=None, engine=engine, namespace=None, command=None, **settings):
        service = Service(folder or tmp_path / f"service-{len(made)}", engine, settings, options, clock, namespace, command)
        made.append(service)
        return service.start() if start else service

    make.made = made
    yield make
    problems = []
    for service in made:
        try:
            service.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def service(engine, tmp_path_factory):
    """A service with the default settings, shared by the tests of one file."""
    service = Service(tmp_path_factory.mktemp("shared"), engine).start()
    yield service
    service.stop()


@pytest.fixture
def wire(service, engine, prefix):
    """A policy whose guests are the measuring instrument, on the shared service."""
    policy = prefix + "wire"
    service.put_policy(policy, {"image": images.wire(engine)})
    yield policy
    service.request("DELETE", f"/api/v1/policies/{policy}")


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.fixture
def open_webui():
    fake = OpenWebUI()
    yield fake
    fake.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows the end of the service's log."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        services = [value for value in item.funcargs.values() if isinstance(value, Service)]
        services += getattr(item.funcargs.get("make_service"), "made", [])
        for service in services:
            report.sections.append(("service log", service.log_text()[-6000:]))
