"""A hub on loopback: as much of the model hub's HTTP interface as its own client asks for to
download a snapshot."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """`files`: by name of the repository and path. `spoilt`: what is sent for a path instead of
    what was told of it."""

    def __init__(self, files, commit="a" * 40):
        self.files, self.commit, self.spoilt, self.asked = files, commit, {}, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path):
        """(status, headers, body)."""
        self.asked.append(path)
        if found := re.fullmatch(
            r"/api/(?:datasets|models)/([^/]+/[^/]+)/revision/([^/?]+)(?:\?.*)?", path
        ):
            return self._about(*found.groups())
        if re.fullmatch(r"/api/datasets/[^/]+/[^/]+/commits/[^/?]+(?:\?.*)?", path):
            return 200, {}, json.dumps([_commit(self.commit), _commit("c" * 40)]).encode()
        if found := re.fullmatch(
            r"/api/(?:datasets|models)/([^/]+/[^/]+)/tree/([^/?]+)(?:\?.*)?", path
        ):
            return self._tree(*found.groups())
        if found := re.fullmatch(
            r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)(?:\?.*)?", path
        ):
            return self._file(*found.groups())
        return 404, {}, b"{}"

    def _known(self, name, revision):
        return name in self.files and revision in {"main", self.commit}

    def _about(self, name, revision):
        if not self._known(name, revision):
            code = "RepoNotFound" if name not in self.files else "RevisionNotFound"
            return 404, {"X-Error-Code": code}, b"{}"
        siblings = [
            {
                "rfilename": path,
                "size": len(body),
                "blobId": "b",
                "lfs": {"sha256": _sha256(body), "size": len(body), "pointerSize": 1},
            }
            for path, body in self.files[name].items()
        ]
        about = {
            "id": name,
            "sha": self.commit,
            "siblings": siblings,
            "private": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
        }
        return 200, {}, json.dumps(about).encode()

    def _tree(self, name, revision):
        entries = [
            {
                "type": "file",
                "path": path,
                "size": len(body),
                "oid": hashlib.sha1(body).hexdigest(),
                "lfs": {"oid": _sha256(body), "size": len(body), "pointerSize": 1},
            }
            for path, body in self.files[name].items()
        ]
        return 200, {}, json.dumps(entries).encode()

    def _file(self, name, commit, path):
        if path not in self.files.get(name, {}):
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{_sha256(self.files[name][path])}"'}
        return 200, headers, self.spoilt.get(path, self.files[name][path])

    def _handler(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = hub.answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                """Quiet."""

        return Handler


def _commit(commit):
    about = {"authors": [], "date": "2025-01-01T00:00:00.000Z", "title": "", "message": ""}
    return {"id": commit, **about}


def _sha256(body):
    return hashlib.sha256(body).hexdigest()
