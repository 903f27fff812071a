"""Ways to the engine other than its whole socket (orchestrator.md §4.1)."""
import pytest

from harness.engine_filter import EngineFilter
from harness.service import run_command


@pytest.fixture
def through_filter(engine):
    made = EngineFilter(engine)
    yield made
    made.close()


def test_a_proxy_that_lets_only_the_needed_api_through_is_enough(make_service, engine, through_filter, prefix, tmp_path):
    user, other = prefix + "u", prefix + "v"
    service = make_service(folder=tmp_path / "s", engine=through_filter.engine)
    assert service.run_in_guest(user, "echo kept > mark") == (0, "")
    assert service.post("/api/v1/terminals/stop", json={"user_id": user}).json()["stopped"] == 1
    assert service.run_in_guest(user, "cat mark") == (0, "kept\n")
    answer = service.post("/api/v1/terminals/refresh", json={"user_id": user, "only_idle": False, "reset": True})
    assert answer.json()["reset"] == 1, answer
    assert service.run_in_guest(user, "cat mark 2>/dev/null || echo empty") == (0, "empty\n")
    service.run_in_guest(other, "true")
    service.stop()
    service = make_service(folder=tmp_path / "s", engine=through_filter.engine)
    assert {row["status"] for row in service.terminals() if row["user_id"] in (user, other)} == {"running"}
    service.put_policy(prefix + "p", {"image": "127.0.0.1:1/none:1"})
    assert service.get(f"/p/{prefix}p/x", user=user).json()["reason"] == "image_not_found"
    assert {path.rpartition("/")[2] for path in through_filter.refused} <= {"version"}, through_filter.refused


def test_doctor_is_content_with_such_a_proxy(through_filter, tmp_path):
    status, out, err = run_command(tmp_path, "doctor", settings={"IMAGE": "open-terminal:local", "PORT": "0"},
                                   env={"DOCKER_HOST": through_filter.engine.env["DOCKER_HOST"]})
    assert status == 0, out + err
