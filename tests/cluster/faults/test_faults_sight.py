"""What a program sees is late, or lacks something, or is the past; at each step of a life it comes right all the same."""
import time

import pytest

pytestmark = pytest.mark.beside

DIRECT = ["pods", "secrets", "services"]
RESOURCE = ["terminals", "pods"]
OPERATOR = ["terminals", "pods", "services", "secrets", "persistentvolumeclaims"]
WATCHES = [("kubernetes", "front", kind) for kind in DIRECT] + [("kubernetes-operator", "front", kind) for kind in RESOURCE] + [
    ("kubernetes-operator", "back", kind) for kind in OPERATOR]
LATE = 2.5


def steps(stack):
    return [(stack.create, stack.is_awake), (stack.idle, stack.is_asleep), (stack.wake, stack.is_awake), (stack.delete, stack.is_gone)]


@pytest.mark.parametrize("backend,side,kind", WATCHES)
def test_news_come_late(stack, backend, side, kind):
    stack = stack(backend).begin()
    proxy = getattr(stack, side)
    for step, check in steps(stack):
        proxy.hold(kind)
        work = stack.meanwhile(step)
        time.sleep(LATE)
        proxy.release()
        work.result(120)
        check()


def lost():
    for backend, side, kind in WATCHES:
        for event in ("ADDED", "DELETED") if kind in ("secrets", "services", "persistentvolumeclaims") else ("ADDED", "MODIFIED", "DELETED"):
            yield backend, side, kind, event


@pytest.mark.parametrize("backend,side,kind,event", list(lost()))
def test_news_are_lost(stack, backend, side, kind, event):
    """Every event of the kind during the step."""
    stack = stack(backend).begin(KUBERNETES_RELIST_SECONDS=4)
    proxy = getattr(stack, side)
    for step, check in steps(stack):
        proxy.drop(kind, [event])
        step()
        check()
        proxy.clear()
    assert proxy.count(f"list {kind}") > 1


@pytest.mark.parametrize("backend,side", [("kubernetes", "front"), ("kubernetes-operator", "front"), ("kubernetes-operator", "back")])
def test_a_new_one_sees_the_past(stack, backend, side):
    """It starts against a server that lags behind: a terminal that was put to sleep and woken since still seems to be the one before."""
    stack = stack(backend).begin()
    proxy = getattr(stack, side)
    stack.create()
    kinds = DIRECT if backend == "kubernetes" else RESOURCE if side == "front" else OPERATOR
    for kind in kinds:
        proxy.freeze(stack.api, kind, "" if kind == "terminals" else "app.kubernetes.io/managed-by=terminals")
    stack.idle()
    stack.is_asleep()
    stack.wake()
    stack.is_awake()
    pod = stack.only("pods")["metadata"]["uid"]
    (stack.service if side == "front" else stack.operator).kill()
    proxy.hold(*kinds)
    if side == "front":
        stack.serve()
    else:
        stack.operate()
    work = stack.meanwhile(lambda: stack.call("GET", "/files/cwd"))
    time.sleep(LATE)
    proxy.release()
    work.result(120)
    stack.is_awake()
    assert stack.only("pods")["metadata"]["uid"] == pod, "the pod that runs was taken for the one before"
    proxy.clear()
    stack.live()


@pytest.mark.parametrize("backend,side", [("kubernetes", "front"), ("kubernetes-operator", "back")])
def test_a_slow_server(stack, backend, side):
    """Each answer takes half a second: what comes by the watch overtakes what is answered."""
    stack = stack(backend).begin()
    proxy = getattr(stack, side)
    proxy.delay(lambda call: call.verb in ("create", "delete", "patch"), 0.5, times=-1)
    for step, check in steps(stack):
        step()
        check()
