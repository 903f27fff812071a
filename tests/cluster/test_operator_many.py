"""A thousand resources: little memory, no work when nothing changes, quickly known again after a restart."""
import json
import time

from kube import GUEST, wait_for
from program import is_sanitized

COUNT = 1000


def asleep(number):
    return {"apiVersion": "openwebui.com/v1alpha1", "kind": "Terminal",
            "metadata": {"name": f"many-{number}", "finalizers": ["terminals.openwebui.com/finalizer"],
                         "annotations": {"openwebui.com/reset": "none"}},
            "spec": {"userId": f"user-{number}@example.org", "policyId": "default", "image": GUEST, "env": {"SOME": "x" * 200}}}


def phases(program):
    return {name: value for name, value in program.metrics().items() if name.startswith("terminals_operator_terminals")}


def test_a_thousand_that_sleep(kube, make):
    # A resource that only asks for a reset goes to sleep at once.
    document = {"apiVersion": "v1", "kind": "List", "items": [asleep(number) for number in range(COUNT)]}
    kube.run("create", "-f", "-", stdin=json.dumps(document), timeout=300)
    first = make("operator", LOG_LEVEL="INFO").start()
    idle = 'terminals_operator_terminals{phase="Idle"}'
    wait_for("all sleep", lambda: phases(first).get(idle) == COUNT, 180, every=1)
    first.stop()

    began = time.monotonic()
    second = make("operator", LOG_LEVEL="INFO").start()
    wait_for("it leads", lambda: second.metrics().get("terminals_operator_leading") == 1, 25)
    wait_for("all are known", lambda: phases(second).get(idle) == COUNT, 30)
    print(f"known after {time.monotonic() - began:.2f} s")
    time.sleep(5)
    memory = second.memory_kb() / 1024
    steps = sum(value for name, value in second.metrics().items() if name.startswith("terminals_operator_steps_total"))
    # A sanitizer's own bookkeeping is several times what the program keeps.
    assert memory <= (300 if is_sanitized() else 30) and steps == 0
    second.stop()
