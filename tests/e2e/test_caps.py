"""Caps are hard, and hold in the container's cgroup (orchestrator.md §3.3)."""
import pytest

from harness import images


def limits_in_guest(engine, name):
    """What the kernel enforces: (cores or None, memory bytes or None, processes or None), from cgroup v2 or v1."""
    def read(*paths):
        for path in paths:
            text = engine.in_guest(name, "cat", "/sys/fs/cgroup/" + path, check=False)
            if text:
                return text
        return ""
    quota = read("cpu.max") or f'{read("cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us")} {read("cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us")}'
    amount, period = quota.split()
    memory = read("memory.max", "memory/memory.limit_in_bytes")
    processes = read("pids.max", "pids/pids.max")
    return (None if amount in ("max", "-1") else int(amount) / int(period),
            None if memory == "max" or int(memory) > 1 << 60 else int(memory),
            None if processes == "max" else int(processes))


def limits_of(service, user, policy=None):
    prefix = f"/p/{policy}" if policy else ""
    answer = service.get(prefix + "/files/cwd", user=user)
    assert answer.status == 200, answer
    return limits_in_guest(service.engine, service.engine.containers(user)[0][0])


GIB = 1 << 30


@pytest.mark.parametrize("caps,policy,cores,memory", [
    ({}, {}, None, None),
    ({}, {"cpu_limit": "500m", "memory_limit": "256Mi"}, 0.5, 256 << 20),
    ({"MAX_CPU": "2", "MAX_MEMORY": "2Gi"}, {"cpu_limit": "4000m", "memory_limit": "4G"}, 2.0, 2 * GIB),
    ({"MAX_CPU": "1", "MAX_MEMORY": "512Mi"}, {}, 1.0, 512 << 20),
    ({"MAX_CPU": "2", "MAX_MEMORY": "2Gi"}, {"cpu_limit": "0.25", "memory_limit": "1e8"}, 0.25, 100_000_000)],
    ids=["no limit", "policy only", "compared as quantities", "a cap is also the default", "below the cap"])
def test_limits_hold_in_the_cgroup(make_service, prefix, caps, policy, cores, memory):
    service = make_service(**caps)
    service.put_policy(prefix + "p", policy)
    found = limits_of(service, prefix + "u", prefix + "p")
    page = 4096
    assert found[0] == (cores or service.engine.default_limits[0])
    assert found[1] == (memory // page * page if memory else service.engine.default_limits[1])
    assert found[2] == 4096 or service.engine.backend != "docker"


def test_caps_hold_for_the_default_policy_too(make_service, prefix):
    service = make_service(MAX_CPU="1", MAX_MEMORY="512Mi")
    assert limits_of(service, prefix + "u")[:2] == (1.0, 512 << 20)


def test_caps_hold_for_policies_stored_before_them(make_service, prefix, tmp_path):
    service = make_service(folder=tmp_path / "s")
    service.put_policy(prefix + "p", {"cpu_limit": "2", "memory_limit": "4Gi"})
    service.stop()
    service = make_service(folder=tmp_path / "s", MAX_CPU="1", MAX_MEMORY="1Gi")
    assert service.get(f"/api/v1/policies/{prefix}p").json()["data"] == {"cpu_limit": "2", "memory_limit": "4Gi"}
    assert limits_of(service, prefix + "u", prefix + "p")[:2] == (1.0, GIB)


def test_written_policies_are_lowered_without_an_error(make_service, prefix):
    service = make_service(MAX_CPU="2", MAX_MEMORY="2Gi", MAX_STORAGE="5Gi")
    stored = service.put_policy(prefix + "p", {"cpu_limit": "1e1", "memory_limit": "4G", "storage": "1Ti"})["data"]
    assert stored == {"cpu_limit": "2", "memory_limit": "2Gi", "storage": "5Gi"}


@pytest.mark.docker         # a kubelet's own setting
def test_process_limit_of_a_policy(make_service, prefix):
    service = make_service()
    service.put_policy(prefix + "p", {"pids_limit": 300})
    assert limits_of(service, prefix + "u", prefix + "p")[2] == 300


def test_image_list_holds_when_a_terminal_is_made(make_service, engine, prefix, tmp_path):
    image = images.wire(engine)
    service = make_service(folder=tmp_path / "s")
    service.put_policy(prefix + "p", {"image": image})
    service.stop()
    service = make_service(folder=tmp_path / "s", ALLOWED_IMAGES="open-terminal:*")
    answer = service.get(f"/p/{prefix}p/x", user=prefix + "u")
    assert answer.status == 422 and answer.json()["reason"] == "image_not_allowed", answer
    assert not engine.containers(prefix)


@pytest.mark.parametrize("allowed,image,status", [
    ("open-terminal:*", "open-terminal:local", 200), ("ghcr.io/*", "ghcr.io/a/b/c:1", 200), ("open-terminal:?.?", "open-terminal:1.2", 200),
    ("open-terminal:*", "evil/open-terminal:local", 400), ("a:1, b:2", "b:2", 200), ("a:[12]", "a:3", 400)])
def test_image_globs(make_service, prefix, allowed, image, status):
    service = make_service(ALLOWED_IMAGES=allowed)
    answer = service.request("PUT", f"/api/v1/policies/{prefix}p", json={"image": image})
    assert answer.status == status
    if status == 400:
        assert answer.json() == {"detail": f"Image '{image}' not in allowed list"}


@pytest.mark.docker
def test_guest_cannot_gain_privileges_without_sudo(make_service, prefix):
    service = make_service()
    service.put_policy(prefix + "p", {"allow_sudo": False})
    service.get(f"/p/{prefix}p/files/cwd", user=prefix + "strict")
    service.get("/files/cwd", user=prefix + "stock")
    options = {user: service.engine.container_of(prefix + user)["HostConfig"]["SecurityOpt"] or [] for user in ("strict", "stock")}
    assert any("no-new-privileges" in option for option in options["strict"]) and options["stock"] == []


@pytest.mark.docker
def test_how_a_container_is_made(service, prefix):
    service.get("/files/cwd", user=prefix + "u")
    details = service.engine.container_of(prefix + "u")
    host = details["HostConfig"]
    assert details["Config"]["WorkingDir"] == "/home/user" and host["Init"] is True
    assert host["LogConfig"]["Config"].get("max-size")
    assert not host["PortBindings"] and not host["PublishAllPorts"] and not host["Privileged"] and not host["Binds"]
    home = next(mount for mount in details["Mounts"] if mount["Destination"] == "/home/user")
    assert home["Name"] == details["Name"].lstrip("/") + "-home"
    labels = service.engine.run("volume", "inspect", "-f", '{{index .Labels "openwebui.com/user-id"}}', home["Name"])
    assert labels == prefix + "u"


@pytest.mark.docker         # on Kubernetes a NetworkPolicy says so, and the test cluster's network does not enforce it
def test_guests_do_not_reach_each_other(service, prefix):
    service.get("/files/cwd", user=prefix + "a")
    service.get("/files/cwd", user=prefix + "b")
    address = next(row["host"] for row in service.terminals(prefix + "b"))
    code, output = service.run_in_guest(prefix + "a", "python3 -c 'import socket; socket.create_connection((\"%s\", 8000), 2)'" % address)
    assert code != 0 and ("timed out" in output or "No route" in output or "refused" in output or "unreachable" in output)
