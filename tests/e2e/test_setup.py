"""The commands of the README: make run from the checkout, and the Docker image by its own line."""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import client
from harness.client import wait_until
from harness.names import short_hash
from harness.service import KEY, TOP, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_make_run_serves_and_ends_with_control_c(engine, tmp_path, prefix):
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TERMINALS_", "MAKE"))}
    if "TERMINALS_TEST_CACHE" in os.environ:
        env["TERMINALS_TEST_CACHE"] = os.environ["TERMINALS_TEST_CACHE"]
    env.update(TERMINALS_PORT=str(port), TERMINALS_STATE_DIR=str(tmp_path / "data"), TERMINALS_IMAGE="open-terminal:local", TERMINALS_HOST="127.0.0.1")
    with open(tmp_path / "out", "wb") as out:
        process = subprocess.Popen(["make", "run"], cwd=TOP, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        def is_ready():
            assert process.poll() is None, (tmp_path / "out").read_text()
            try:
                return client.request(port, "GET", "/ready", timeout=5).status == 200
            except OSError:
                return False
        wait_until(is_ready, 300, 0.3)
        told = wait_until(lambda: (text := (tmp_path / "out").read_text()) and "curl" in text and text, 10)
        assert f":{port}" in told and str(tmp_path / "data") in told
        line = told[told.index("curl"):].replace("\\\n", " ").split("\n")[0].replace("alice", prefix + "alice")
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
        assert '"status":"done"' in done.stdout.replace(" ", ""), (line, done)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(40)
    with pytest.raises(OSError):
        client.request(port, "GET", "/health", timeout=2)


# --- the image -------------------------------------------------------------------------------------------------------

def base_image(engine, kind):
    """A base made from this distribution's packages, where no registry need be reachable."""
    script = TOP / "tests" / "guest" / "build-base"
    tag = f"terminals-test-base-{kind}:{hashlib.sha256(script.read_bytes()).hexdigest()[:12]}"
    if not engine.run("image", "inspect", "-f", "{{.Id}}", tag, check=False):
        subprocess.run([str(script), kind, tag], check=True, timeout=400)
    return tag


@pytest.fixture(scope="module")
def image(engine):
    """The image `terminals`, built as the README says, on bases that need nothing from outside."""
    arguments = ["--build-arg", f"BUILD_BASE={base_image(engine, 'build')}", "--build-arg", f"BASE={base_image(engine, 'runtime')}"]
    done = subprocess.run(["docker", "build", "-q", "-f", "deploy/docker/Dockerfile", "--network", "none", *arguments, "-t", "terminals", "."],
                          cwd=TOP, env=dict(os.environ, DOCKER_BUILDKIT="0"), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return "terminals"


@pytest.fixture
def container(engine, image, tmp_path):
    """The README's line, but for a free port and a key that the test knows."""
    port = free_port()
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    (tmp_path / "data").mkdir()
    name = engine.run("run", "-d", "-p", f"127.0.0.1:{port}:3000", "-v", f"{socket}:/var/run/docker.sock", "-v", f"{tmp_path}/data:/app/data",
                      "-e", f"TERMINALS_API_KEY={KEY}", "-e", "TERMINALS_IMAGE=open-terminal:local", image)
    try:
        def is_ready():
            try:
                return client.request(port, "GET", "/ready", timeout=5).status == 200
            except (OSError, client.http.client.HTTPException):
                return False
        try:
            wait_until(is_ready, 40, 0.2)
        except AssertionError as problem:
            raise AssertionError(engine.run("logs", name)) from problem
        yield port, name, tmp_path / "data"
    finally:
        logs = engine.run("logs", name, check=False)
        engine.run("rm", "-f", name, check=False)
        print(logs[-3000:])


def test_image_serves_a_user_from_the_readmes_line(container, engine, prefix):
    port, name, data = container
    headers = [("Authorization", f"Bearer {KEY}"), ("X-User-Id", prefix + "u")]
    answer = client.request(port, "POST", "/execute?wait=10", headers=headers, json={"command": "sleep 0.1; echo from the image"})
    assert answer.status == 200 and answer.json()["output"][0]["data"] == "from the image\r\n", answer
    assert (data / "terminals.db").exists()
    assert engine.containers(prefix)[0][0] == f"terminals-{short_hash(prefix + 'u')}"
    begin = time.monotonic()
    engine.run("stop", "-t", "30", name)
    assert time.monotonic() - begin < 15
    assert engine.run("inspect", "-f", "{{.State.ExitCode}}", name) == "0"


def test_readme_says_the_line_that_is_tested():
    line = "docker run -p 3000:3000 -v /var/run/docker.sock:/var/run/docker.sock -v $(pwd)/data:/app/data terminals"
    assert line in (TOP / "README.md").read_text()


def test_image_holds_only_what_runs(image, engine):
    details = engine.run("image", "inspect", "-f", "{{json .Config}}", image)
    assert '"3000/tcp"' in details and '"/app/data"' in details
    listed = engine.run("run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "ls /usr/bin/gcc /usr/bin/meson /src /build 2>/dev/null; terminals --version")
    assert re.fullmatch(r"terminals \d+\.\d+\.\d+", listed), listed


def test_unit_file_is_one_that_systemd_takes():
    text = (TOP / "deploy" / "systemd" / "terminals.service").read_text()
    for line in ("StateDirectory=", "ExecStart=", "KillSignal=SIGTERM", "ExecReload="):
        assert line in text, line
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(TOP / "deploy/systemd/terminals.service")], capture_output=True, text=True)
        problems = [line for line in done.stderr.splitlines() if "terminals.service" in line and "not executable" not in line
                    and "No such file" not in line]
        assert not problems, problems
    assert pathlib.Path(TOP / "deploy/systemd/terminals.env.example").exists()
