"""Several replicas: one leads; a dead one is replaced within 20 s, one that ends in order at once."""
import time

from kube import terminal, wait_for, wait_phase


def leads(program):
    return program.metrics().get("terminals_operator_leading") == 1


def test_one_of_two_leads_and_is_replaced(kube, make):
    first = make("operator").start()
    wait_for("the first leads", lambda: leads(first), 25)
    second = make("operator").start()
    time.sleep(3)
    assert leads(first) and not leads(second)
    assert "another replica leads" in second.get("/readyz")[1]
    kube.apply(terminal("led"))
    wait_phase(kube, "led", "Running")

    first.kill()
    killed = time.monotonic()
    kube.apply(terminal("orphaned"))
    wait_for("the second leads", lambda: leads(second), 25)
    assert time.monotonic() - killed < 20
    wait_phase(kube, "orphaned", "Running")

    third = make("operator").start()
    second.process.terminate()
    ended = time.monotonic()
    wait_for("the third leads", lambda: leads(third), 10)
    assert time.monotonic() - ended < 5


def test_a_leader_that_was_frozen_does_not_act_when_it_wakes(kube, make):
    import signal
    first = make("operator").start()
    wait_for("the first leads", lambda: leads(first), 25)
    second = make("operator").start()
    first.process.send_signal(signal.SIGSTOP)
    wait_for("the second leads", lambda: leads(second), 25)
    first.process.send_signal(signal.SIGCONT)
    wait_for("the first sees it", lambda: not leads(first), 10)
    kube.apply(terminal("once"))
    wait_phase(kube, "once", "Running")
    assert sum(value for name, value in first.metrics().items() if name.startswith("terminals_operator_steps_total")) == 0
