"""moto's S3 server whose objects outlive it: each is in a folder before its client is answered.

    python -m tests.durable_s3 PORT FOLDER

moto keeps all in memory, and an S3 that is killed and started again still has what it answered for.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.test import Client

from aarlab.core.files import write_whole

Environ = dict
Start = Callable[..., object]
# moto looks whether a request is signed, and not by whom
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}


class DurableS3:
    """A WSGI application: moto's, and a file for each bucket and object that was put."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._inside = Client(self._moto)
        # a bucket's path is shorter than those of its objects
        for name in sorted((path.name for path in folder.iterdir()), key=len):
            self._said(self._inside.put, unquote(name), data=(folder / name).read_bytes())

    def _said(self, ask: Callable, path: str, **more: bytes) -> bytes:
        answer = ask(path, headers=SIGNED, **more)
        assert answer.status_code == 200, answer.text
        return answer.data

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        said: list[str] = []

        def started(status: str, *more: object) -> object:
            said.append(status)
            return start(status, *more)

        answer = self._moto(environ, started)
        if environ["REQUEST_METHOD"] == "PUT" and said[0].startswith("200"):
            path = environ["PATH_INFO"]
            is_object = path.strip("/").count("/") > 0
            data = self._said(self._inside.get, path) if is_object else b""
            write_whole(self._folder / quote(path, safe=""), data)
        return answer


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), DurableS3(Path(sys.argv[2])), threaded=True)
