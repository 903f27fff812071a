"""The real Open WebUI as the client, in front of a real service. Its package and all that it needs are large (7 GB), so this
suite is a target of its own: `make test-open-webui`."""
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness.engine import Engine                                # noqa: E402
from harness.service import Service, free_port                   # noqa: E402

from web import Web                                              # noqa: E402

CACHE = pathlib.Path(os.environ.get("TERMINALS_TEST_CACHE", pathlib.Path.home() / ".cache/terminals-test"))
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "OFFLINE_MODE": "true", "RAG_EMBEDDING_ENGINE": "openai", "RAG_OPENAI_API_KEY": "none",
    "RAG_OPENAI_API_BASE_URL": "http://127.0.0.1:9/v1", "ENABLE_OLLAMA_API": "false", "ENABLE_OPENAI_API": "false",
    "ANONYMIZED_TELEMETRY": "false", "DO_NOT_TRACK": "true", "ENABLE_VERSION_UPDATE_CHECK": "false",
    "WEBUI_SECRET_KEY": "secret-for-tests-0123456789abcdef", "WEBUI_ADMIN_EMAIL": "admin@example.com",
    "WEBUI_ADMIN_PASSWORD": "adminpass", "WEBUI_ADMIN_NAME": "Admin", "ENABLE_SIGNUP": "true",
    "DEFAULT_USER_ROLE": "user",
}


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open-webui")
    port = free_port()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([CACHE / "open-webui/bin/open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)],
                                   env={**os.environ, **ENVIRONMENT, "DATA_DIR": str(folder)}, cwd=folder,
                                   stdout=log, stderr=subprocess.STDOUT)
    web = Web(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 300
    while not web.is_up():
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(1)
    web.sign_in("admin@example.com", "adminpass")
    yield web
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def engine():
    return Engine()


@pytest.fixture
def service(engine, tmp_path, web):
    service = Service(tmp_path / "service", engine).start()
    yield service
    service.stop()
    engine.clean((web.user_id,))


@pytest.fixture
def make_token_service(engine, tmp_path, web):
    """A service that knows its callers by Open WebUI's tokens."""
    made = []

    def make(url):
        made.append(Service(tmp_path / "token-service", engine, {"OPEN_WEBUI_URL": url}).start())
        return made[-1]

    yield make
    for service in made:
        service.stop()
