"""Ways to the engine other than its whole socket, and how often it is asked (orchestrator.md §4.1)."""
import ssl
import subprocess

import pytest

from harness.engine_filter import EngineFilter
from harness.service import run_command

pytestmark = pytest.mark.docker


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


def test_requests_to_a_running_terminal_never_ask_the_engine(make_service, through_filter, prefix):
    service = make_service(engine=through_filter.engine)
    assert service.get("/files/cwd", user=prefix + "u").status == 200
    service.get("/api/v1/terminals")
    through_filter.asked.clear()
    for _ in range(30):
        assert service.get("/files/cwd", user=prefix + "u").status == 200
        assert len(service.terminals(prefix + "u")) == 1
    assert not through_filter.asked


def make_certificates(folder):
    """A CA, and in `server` and `client` what each shows, named as docker clients name the files."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test ca", "-keyout", "ca-key.pem", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client", "stranger"):
        (folder / name).mkdir()
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}/key.pem", "-out", "request.pem")
        signer = ["-signkey", f"{name}/key.pem"] if name == "stranger" else ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"]
        openssl("x509", "-req", "-in", "request.pem", "-days", "2", "-extfile", "names", *signer, "-out", f"{name}/cert.pem")
        (folder / name / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())


@pytest.fixture
def through_tls(engine, tmp_path):
    """An engine that wants certificates of its CA; `folder` has the clients'."""
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server" / "cert.pem", tmp_path / "server" / "key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    made = EngineFilter(engine, context)
    made.folder = tmp_path
    yield made
    made.close()


def test_engine_over_tls_with_client_certificates(make_service, through_tls, prefix, monkeypatch):
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(through_tls.folder / "client"))
    service = make_service(engine=through_tls.engine)
    assert service.run_in_guest(prefix + "u", "echo hello") == (0, "hello\n")


@pytest.mark.parametrize("case", ["an unknown certificate", "an engine of another CA", "no TLS at all"])
def test_engine_over_tls_that_does_not_trust_us_or_we_it(through_tls, tmp_path, case):
    folder = through_tls.folder / ("stranger" if case == "an unknown certificate" else "client")
    if case == "an engine of another CA":
        (folder / "ca.pem").write_bytes((through_tls.folder / "stranger" / "cert.pem").read_bytes())
    env = {"DOCKER_HOST": through_tls.engine.env["DOCKER_HOST"], "DOCKER_CERT_PATH": str(folder)}
    if case != "no TLS at all":
        env["DOCKER_TLS_VERIFY"] = "1"
    status, out, _ = run_command(tmp_path, "doctor", settings={"IMAGE": "open-terminal:local", "PORT": "0"}, env=env)
    assert status == 1 and "FAIL  Docker Engine" in out and "to do" in out, out
    assert not through_tls.asked
