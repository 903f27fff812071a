"""Somebody or something else changes what is ours: pods end in every way that they can end, Secrets and Services disappear, resources are edited."""
import subprocess
import time

import pytest
from kube import is_ready, kubectl_path, wait_for
from program import KEY

pytestmark = pytest.mark.beside

BACKENDS = ["kubernetes", "kubernetes-operator"]


def delete(stack, pod):
    stack.api.delete("pods", pod)


def delete_at_once(stack, pod):
    stack.api.delete("pods", pod, grace=0)


def evict(stack, pod):
    stack.api.evict(pod)


def fail(stack, pod):
    """As the kubelet does when its node is short of memory: the pod stays, and is over."""
    stack.api.patch("pods", pod, {"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}}, "status")


@pytest.mark.parametrize("end", [delete, delete_at_once, evict, fail], ids=lambda end: end.__name__)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_ends(stack, backend, end):
    stack = stack(backend).begin()
    stack.create()
    pod = stack.only("pods")["metadata"]
    end(stack, pod["name"])
    wait_for("that pod is gone", lambda: (stack.api.get("pods", pod["name"]) or {"metadata": {"uid": None}})["metadata"]["uid"] != pod["uid"])
    stack.live()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_guest_uses_up_its_memory(stack, backend):
    """The kernel kills it, the kubelet starts its container again: the terminal is the same one."""
    stack = stack(backend)
    stack.settings = {"MAX_MEMORY": "64Mi"}
    stack.begin()
    stack.create()
    pod = stack.only("pods")["metadata"]
    wait_for("the kubelet has seen it ready", lambda: is_ready(stack.only("pods")))
    subprocess.run([kubectl_path(), "-n", stack.namespace, "exec", pod["name"], "-c", "open-terminal", "--", "kill", "-USR1", "1"], check=True)

    def killed():
        found = stack.api.get("pods", pod["name"])
        return found and [row for row in found["status"]["containerStatuses"]
                          if row["lastState"].get("terminated", {}).get("reason") == "OOMKilled" and row["ready"]]
    wait_for("it was killed, and runs again", killed)
    stack.is_awake()
    assert stack.only("pods")["metadata"]["uid"] == pod["uid"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_secret_and_service_are_deleted_by_hand(stack, backend):
    stack = stack(backend).begin()
    stack.create()
    service = stack.only("services")["metadata"]
    stack.api.delete("services", service["name"])
    wait_for("a new Service", lambda: [found for found in stack.there("services") if found["metadata"]["uid"] != service["uid"]])
    secret = stack.only("secrets")["metadata"]
    stack.api.delete("secrets", secret["name"])
    wait_for("a new Secret", lambda: [found for found in stack.there("secrets") if found["metadata"]["uid"] != secret["uid"]])
    stack.live()


def test_a_resource_is_edited_while_it_is_reconciled(stack):
    """Four times a second, spec and status, by somebody who knows nothing of us: it comes to what was written last."""
    stack = stack("kubernetes-operator").begin()
    work = stack.meanwhile(stack.create)
    name = wait_for("the resource", lambda: stack.api.list("terminals"))[0]["metadata"]["name"]
    for number in range(24):
        stack.api.patch("terminals", name, {"spec": {"env": {"NUMBER": str(number)}}, "metadata": {"annotations": {"other": str(number)}}})
        if number % 4 == 0:
            stack.api.patch("terminals", name, {"status": {"message": f"noise {number}", "conditions": [
                {"type": "Other", "status": "True", "reason": "Noise", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}, "status")
        time.sleep(0.25)
    work.result(120)
    stack.use()

    def settled():
        pods = stack.there("pods")
        env = pods and pods[0]["spec"]["containers"][0]["env"]
        return len(pods) == 1 and {"name": "NUMBER", "value": "23"} in env
    wait_for("the pod is the one of the last edit", settled, 90)
    stack.is_awake()
    wait_for("it is ready, and what others wrote is there too", lambda: {"Ready": "True", "Other": "True"} == {
        row["type"]: row["status"] for row in stack.only("terminals")["status"]["conditions"]})
    stack.idle()
    stack.is_asleep()


def test_a_resource_is_deleted_and_made_anew_at_once(stack):
    stack = stack("kubernetes-operator").begin()
    stack.create()
    for _ in range(3):
        stack.delete()
        stack.use()
    stack.is_awake()
    assert len(stack.api.list("terminals")) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_are_few_and_none_is_made_for_a_request(stack, backend):
    """A start takes at most six calls of the orchestrator, sixteen with an operator for both; what runs is used without any."""
    stack = stack(backend).begin()
    time.sleep(1)

    def engine_calls(program):
        text = program.get("/metrics", {"Authorization": f"Bearer {KEY}"})[1]
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("terminals_engine_calls_total") and "watch" not in line)
    programs = [stack.service] + ([stack.operator] if stack.operated else [])
    before = [engine_calls(program) for program in programs]
    stack.use()
    stack.use()
    time.sleep(1)
    first = [engine_calls(program) - count for program, count in zip(programs, before)]
    print("calls", first)
    assert first[0] <= 6, stack.front.tally()
    if stack.operated:
        # Renewals of the lease are among them.
        assert sum(first) <= 16, stack.back.tally()
    before, proxied = engine_calls(stack.service), len(stack.front.calls)
    for _ in range(100):
        assert stack.ask()[0] == 200
    assert engine_calls(stack.service) == before
    assert all(call.verb == "watch" or call.kind.endswith("/status") for call in stack.front.calls[proxied:]), stack.front.tally(proxied)
