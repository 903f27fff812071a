"""A headless Chromium, driven over its own debugging protocol: enough to use a page as a person does."""
import json
import re
import shutil
import subprocess
import time

from websockets.sync.client import connect


def program():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One tab. `problems` gathers what the page did wrong: script errors, refused resources, console errors."""

    def __init__(self, folder):
        self.log = open(f"{folder}/chromium.log", "w+")
        self.process = subprocess.Popen(
            [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--disable-component-update", "--no-proxy-server", f"--user-data-dir={folder}/profile",
             "--remote-debugging-port=0", "about:blank"], stdout=subprocess.DEVNULL, stderr=self.log, stdin=subprocess.DEVNULL)
        self.problems, self.number = [], 0
        try:
            self.connection = connect(self._address(), max_size=None, compression=None, proxy=None, ping_interval=None).__enter__()
            target = self._call("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
            self.session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, None)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._call(f"{domain}.enable")
        except BaseException:
            self.process.kill()
            raise

    def _address(self, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process.poll() is None, open(self.log.name).read()
            if found := re.search(r"DevTools listening on (ws://\S+)", open(self.log.name).read()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError("Chromium does not start")

    def _call(self, method, parameters=None, session=..., timeout=30):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters or {}}
        session = self.session if session is ... else session
        if session:
            message["sessionId"] = session
        self.connection.send(json.dumps(message))
        deadline = time.monotonic() + timeout
        while True:
            answer = json.loads(self.connection.recv(timeout=max(0.01, deadline - time.monotonic())))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event):
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(told["exceptionDetails"].get("exception", {}).get("description", told["exceptionDetails"]["text"]))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error" and told["entry"]["source"] != "network":
            self.problems.append(told["entry"]["text"])

    def run(self, script):
        """The value of an expression in the page; a promise is waited for."""
        answer = self._call("Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True})
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url):
        self._call("Page.navigate", {"url": url})
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, script, timeout=20):
        deadline = time.monotonic() + timeout
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script}; the page shows: {self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def fill(self, selector, text):
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.value = {json.dumps(text)};"
                 " e.dispatchEvent(new Event('input', {bubbles: true})); })()")

    def click(self, selector):
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def close(self):
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
