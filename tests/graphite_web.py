"""A real graphite-web on loopback, which reads what a real carbon has stored, and what that still holds in memory."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.carbon import HOST, REQUIREMENTS, VERSION, Carbon, clean_environment, connects, installed, launcher, reserve
from tests.waiting import Waits

SETTINGS = """\
SECRET_KEY = "for the tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
TIME_ZONE = "UTC"
STORAGE_DIR = LOG_DIR = CONF_DIR = STATIC_ROOT = {root!r}
WHISPER_DIR = {whisper!r}
STANDARD_DIRS = [WHISPER_DIR]
INDEX_FILE = {root!r} + "/index"
LOG_ROTATION = False
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {root!r} + "/graphite.db"}}}}
CARBONLINK_HOSTS = ["127.0.0.1:{query_port}"]
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}}}
MEMCACHE_HOSTS = []
FIND_CACHE_DURATION = DEFAULT_CACHE_DURATION = FIND_TOLERANCE = 0
USE_WORKER_POOL = False
"""

NO_PICTURES = '''\
"""Numbers are all that is asked for, and the library that draws pictures need not be there."""
'''


class GraphiteWeb(Waits):
    """
    One graphite-web, with a directory and a port on `HOST` of its own, before a carbon.

    Call `start` before use and `close` at the end, or use it as a context manager.
    """

    def __init__(self, carbon: Carbon) -> None:
        self._home = installed(f"graphite-web-{VERSION}", [*REQUIREMENTS, f"graphite-web=={VERSION}", "waitress"])
        self.root = Path(tempfile.mkdtemp(prefix="txmetrics-graphite-web-"))
        self._reserved = reserve()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        settings = SETTINGS.format(root=str(self.root), whisper=str(carbon.whisper), query_port=carbon.query_port)
        (self.root / "settings_of_the_tests.py").write_text(settings)
        (self.root / "cairocffi.py").write_text(NO_PICTURES)

    def __enter__(self) -> GraphiteWeb:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def start(self) -> GraphiteWeb:
        """Start it and return when it listens."""
        environment = {
            **clean_environment(),
            "GRAPHITE_SETTINGS_MODULE": "settings_of_the_tests",
            "DJANGO_SETTINGS_MODULE": "graphite.settings",
            "PYTHONPATH": str(self.root),
        }
        python = [*launcher(self._home / "bin" / "python"), "-W", "ignore", "-m"]
        # It looks for who asks in its database, so that there has to be one.
        migrate = [*python, "django", "migrate", "--run-syncdb", "--verbosity=0"]
        done = subprocess.run(migrate, cwd=self.root, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        with (self.root / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*python, "waitress", f"--listen={HOST}:{self.port}", "graphite.wsgi:application"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=environment,
            )
        self.wait_for(self._listens, 30)
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"graphite-web ended at once:\n{self.log()[-2000:]}"
        return connects(self.port)

    def close(self) -> None:
        """End it, free its port and remove its directory."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        self._reserved.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        """All that it has printed so far."""
        file = self.root / "output.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def render(self, target: str, seconds: int = 60) -> dict[str, dict[int, float]]:
        """What a target shows of so many last seconds: by the name of each line its points, {timestamp: value}."""
        answer = self._get("/render", target=target, format="json", **{"from": f"-{seconds}s"})
        return {each["target"]: {at: value for value, at in each["datapoints"] if value is not None} for each in answer}

    def find(self, pattern: str) -> list[str]:
        """The last parts of the names, as Grafana's variables ask for them."""
        return [each["text"] for each in self._get("/metrics/find", query=pattern)]

    def _get(self, path: str, **arguments: object) -> Any:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            connection.request("GET", f"{path}?{urlencode(arguments)}")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{answer.status} for {arguments}: {body[-500:]!r}\n{self.log()[-3000:]}"
        return json.loads(body)
