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
STANDARD_DIRS = {whispers!r}
WHISPER_DIR = STANDARD_DIRS[0]
INDEX_FILE = {root!r} + "/index"
LOG_ROTATION = False
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {root!r} + "/graphite.db"}}}}
CARBONLINK_HOSTS = {links!r}
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
    One graphite-web, with a directory and a port on `HOST` of its own, before a carbon, or several of a relay.

    Of one it shows also what that holds in memory, of several what is on their disks.

    Call `start` before use and `close` at the end, or use it as a context manager.
    """

    def __init__(self, *carbons: Carbon) -> None:
        self._home = installed(f"graphite-web-{VERSION}", [*REQUIREMENTS, f"graphite-web=={VERSION}", "waitress"])
        self.root = Path(tempfile.mkdtemp(prefix="txmetrics-graphite-web-"))
        self._reserved = reserve()
        self.port: int = self._reserved.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        whispers = [str(carbon.whisper) for carbon in carbons]
        # Of several it would have to know whom a relay has given a series to.
        links = [f"{HOST}:{carbon.query_port}" for carbon in carbons] if len(carbons) == 1 else []
        settings = SETTINGS.format(root=str(self.root), whispers=whispers, links=links)
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
        return _points(self._get("/render", target=target, format="json", **{"from": f"-{seconds}s"}))

    def between(self, target: str, first: int, last: int, **more: object) -> dict[str, dict[int, float]]:
        """The same of the points from the timestamp `first` to `last`; `more` are further arguments of /render."""
        return _points(self._get("/render", target=target, format="json", **_times(first, last), **more))

    def status(self, target: str, first: int, last: int) -> int:
        """How it answers when it is asked for that: 200, or another number of HTTP's."""
        return self._ask("GET", "/render", target=target, format="json", **_times(first, last))[0]

    def index(self, names: list[str]) -> None:
        """Tell it of series with tags, as a carbon with ENABLE_TAGS does."""
        status, body = self._ask("POST", "/tags/tagMultiSeries", path=names)
        assert (status, json.loads(body)) == (200, names)

    def find(self, pattern: str) -> list[str]:
        """The last parts of the names, as Grafana's variables ask for them."""
        return [each["text"] for each in self._get("/metrics/find", query=pattern)]

    def _get(self, path: str, **arguments: object) -> Any:
        status, body = self._ask("GET", path, **arguments)
        assert status == 200, f"{status} for {arguments}: {body[-500:]!r}\n{self.log()[-3000:]}"
        return json.loads(body)

    def _ask(self, method: str, path: str, /, **arguments: object) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        form = urlencode(arguments, doseq=True)
        try:
            if method == "GET":
                connection.request("GET", f"{path}?{form}")
            else:
                connection.request(method, path, form, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _times(first: int, last: int) -> dict[str, object]:
    """Graphite shows what is later than its ``from``."""
    return {"from": first - 1, "until": last}


def _points(answer: Any) -> dict[str, dict[int, float]]:
    return {each["target"]: {at: value for value, at in each["datapoints"] if value is not None} for each in answer}
