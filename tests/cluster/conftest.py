"""Tests against a real cluster, which KUBECONFIG names (tests/cluster/cluster starts one). Each test file has a namespace of its own."""
import secrets

import pytest

from kube import TOP, Kube, Refused, wait_for
from program import Program


@pytest.fixture(scope="session", autouse=True)
def definition():
    """The Terminal resource, as it is in the repository now."""
    kube = Kube()
    for attempt in range(5):        # several workers may be at it
        try:
            kube.run("apply", "-f", str(TOP / "deploy" / "kubernetes" / "crd.yaml"))
            break
        except Refused:
            if attempt == 4:
                raise
    wait_for("the definition is served", lambda: "terminals" in kube.run("api-resources", "--api-group=openwebui.com", check=False))
    kube.run("get", "terminals", "--all-namespaces")       # the first to ask is told to come again, and kubectl does


@pytest.fixture(scope="module")
def kube(definition):
    name = f"op-{secrets.token_hex(3)}"
    Kube().run("create", "namespace", name)
    kube = Kube(name)
    yield kube
    # Without an operator, finalizers would keep the namespace.
    for found in kube.list("terminals"):
        kube.run("patch", "terminal", found["metadata"]["name"], "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)
    Kube().run("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the ends of its programs' logs."""
    report = (yield).get_result()
    if report.when == "call" and report.failed and "tmp_path" in item.funcargs:
        for file in sorted(item.funcargs["tmp_path"].rglob("*.log")):
            report.sections.append((str(file.relative_to(item.funcargs["tmp_path"])), file.read_text(errors="replace")[-5000:]))


@pytest.fixture
def make(tmp_path, kube):
    """make("operator", SETTING=…) gives a program that is stopped and checked afterwards."""
    made = []

    def make_program(command, **settings):
        program = Program(command, tmp_path / f"{command}-{len(made)}", kube.namespace, **settings)
        made.append(program)
        return program

    yield make_program
    for program in reversed(made):
        program.stop()


@pytest.fixture
def operator(make):
    return make("operator").start()


@pytest.fixture
def service(make, operator):
    return make("serve").start()
