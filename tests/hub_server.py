"""A stand-in for the Hugging Face hub: the requests of uploads and downloads."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_secret"


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    @property
    def repos(self):
        return self.server.repos

    def answer(self, value, code=200, headers=None, head=False):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):
        path, data = unquote(self.path.partition("?")[0]), self.body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "no"}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked.get('organization')}/{asked['name']}"
            self.server.created[name] = asked
            self.repos.setdefault(name, {})
            self.answer({"url": f"{self.server.address}/{name}", "id": name})
        elif path == "/api/validate-yaml":
            assert "library_name" in json.loads(data)["content"]
            self.answer({"errors": [], "warnings": []})
        elif "/branch/" in path:
            self.server.branches.append(path.partition("/branch/")[2])
            self.answer({})
        elif path.rpartition("/")[2] not in self.server.branches:
            headers = {"X-Error-Code": "RevisionNotFound"}
            self.answer({"error": "Invalid rev id"}, 404, headers)
        elif "/preupload/" in path:
            files = json.loads(data)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular"} for f in files]
            self.answer({"files": [m | {"shouldIgnore": False} for m in modes]})
        elif "/commit/" in path:
            _, _, _, owner, name, *_ = path.split("/")
            for line in map(json.loads, data.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    content = base64.b64decode(value["content"])
                    self.repos[f"{owner}/{name}"][value["path"]] = content
            commit = f"{self.server.address}/{owner}/{name}/commit/{SHA}"
            self.answer({"success": True, "commitOid": SHA, "commitUrl": commit})
        else:
            self.answer({"error": path}, 404)

    def do_GET(self, head=False):
        path = unquote(self.path.partition("?")[0]).strip("/")
        parts = path.split("/")
        if parts[0] == "api":
            name = "/".join(parts[2:4])
            revision = parts[5] if len(parts) > 5 else "main"
            if name not in self.repos or revision not in ("main", SHA, "v1"):
                headers = {"X-Error-Code": "RepoNotFound"}
                self.answer({"error": "not found"}, 404, headers, head)
                return
            files = sorted(self.repos[name])
            if len(parts) > 4 and parts[4] == "tree":
                entries = []
                for file in files:
                    size = len(self.repos[name][file])
                    entry = {"type": "file", "path": file, "size": size, "oid": SHA}
                    entries.append(entry)
                self.answer(entries, head=head)
                return
            siblings = [{"rfilename": file} for file in files]
            self.answer({"id": name, "sha": SHA, "siblings": siblings}, head=head)
            return
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        content = self.repos.get(name, {}).get(file)
        if content is None:
            headers = {"X-Error-Code": "EntryNotFound"}
            self.answer(b"", 404, headers, head)
            return
        if not head:
            self.server.served.append(file)
        tag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": SHA}
        self.answer(content, headers=headers, head=head)

    def do_HEAD(self):
        self.do_GET(head=True)


SHA = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repos, server.created, server.served = {}, {}, []
    server.branches = ["main"]
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
