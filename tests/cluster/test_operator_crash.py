"""The operator killed before and after each of its steps: the next one finishes what was begun, nothing is doubled, no home is lost. Needs a program with
pause points (meson -Dpause_points=true)."""
import pytest

from kube import terminal, wait_for, wait_phase
from program import binary

CREATE = ["add_finalizer", "create_pvc", "create_secret", "create_pod", "create_service", "write_status"]
DELETE = ["delete_pod", "delete_service", "delete_secret", "release_pvc", "remove_finalizer"]


@pytest.fixture(autouse=True)
def has_pause_points():
    with open(binary(), "rb") as file:
        assert b"TERMINALS_PAUSE_AT" in file.read(), "the program was built without -Dpause_points=true"


def crash(make, point):
    """An operator that dies at the point."""
    program = make("operator", PAUSE_AT=f"{point}=kill").launch()
    return program


def wait_dead(kube, program):
    wait_for("the operator dies at its point", lambda: program.process.poll() is not None, 40)
    assert program.process.returncode == -9
    program.process = None
    program.log.close()
    kube.delete("lease", "terminals-operator")          # that a dead leader is replaced is another test's matter


def children(kube, name):
    return {kind: [row["metadata"]["name"] for row in kube.list(kind, f"openwebui.com/terminal={name}")
                   if "deletionTimestamp" not in row["metadata"]] for kind in ("pods", "services", "secrets", "pvc")}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", CREATE)
def test_killed_while_creating(kube, make, step, when):
    name = f"c-{step.replace('_', '-')}-{when}"
    dying = crash(make, f"operator.{step}.{when}")
    kube.apply(terminal(name))
    wait_dead(kube, dying)
    make("operator").start()
    wait_phase(kube, name, "Running")
    assert children(kube, name) == {"pods": [f"{name}-pod"], "services": [f"{name}-svc"], "secrets": [f"{name}-apikey"], "pvc": [f"{name}-pvc"]}
    kube.delete("terminal", name)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", DELETE)
def test_killed_while_deleting(kube, make, step, when):
    name = f"d-{step.replace('_', '-')}-{when}"
    healthy = make("operator").start()
    kube.apply(terminal(name))
    wait_phase(kube, name, "Running")
    healthy.stop()
    dying = crash(make, f"operator.{step}.{when}")
    kube.delete("terminal", name, wait=False)
    wait_dead(kube, dying)
    make("operator").start()
    wait_for("the resource goes", lambda: kube.get("terminal", name) is None, 60)
    wait_for("its objects go", lambda: children(kube, name) == {"pods": [], "services": [], "secrets": [], "pvc": [f"{name}-pvc"]}, 60)
    wait_for("the home is released", lambda: kube.get("pvc", f"{name}-pvc")["metadata"]["annotations"].get("openwebui.com/released-at"))


@pytest.mark.parametrize("point", ["write_status.before", "write_status.after", "delete_pod.before", "delete_pod.after"])
def test_killed_while_putting_to_sleep(kube, make, point):
    name = f"i-{point.replace('_', '-').replace('.', '-')}"
    healthy = make("operator").start()
    kube.apply(terminal(name))
    wait_phase(kube, name, "Running")
    kube.execute(f"{name}-pod", "echo kept > /home/user/file")
    healthy.stop()
    dying = crash(make, f"operator.{point}")
    kube.patch("terminal", name, {"status": {"phase": "Idle"}}, "status")
    wait_dead(kube, dying)
    make("operator").start()
    wait_for("the pod goes", lambda: kube.get("pod", f"{name}-pod") is None, 60)
    assert wait_phase(kube, name, "Idle")
    kube.patch("terminal", name, {"status": {"phase": "Pending"}}, "status")
    wait_phase(kube, name, "Running")
    assert kube.execute(f"{name}-pod", "cat /home/user/file") == "kept\n"
    kube.delete("terminal", name)


@pytest.mark.parametrize("point", ["create_reset_pod.before", "create_reset_pod.after", "delete_reset_pod.before", "delete_reset_pod.after"])
def test_killed_while_resetting(kube, make, point):
    name = f"r-{point.replace('_', '-').replace('.', '-')}"
    healthy = make("operator").start()
    kube.apply(terminal(name))
    wait_phase(kube, name, "Running")
    kube.execute(f"{name}-pod", "echo old > /home/user/file")
    healthy.stop()
    dying = crash(make, f"operator.{point}")
    kube.patch("terminal", name, {"metadata": {"annotations": {"openwebui.com/reset": "one"}}})
    wait_dead(kube, dying)
    make("operator").start()
    wait_for("the reset is told", lambda: kube.get("terminal", name)["status"].get("lastReset") == "one", 60)
    wait_phase(kube, name, "Running")
    assert kube.execute(f"{name}-pod", "ls /home/user/file 2>/dev/null || echo none") == "none\n"
    wait_for("the reset's pod goes", lambda: kube.get("pod", f"{name}-reset") is None)
    kube.delete("terminal", name)
