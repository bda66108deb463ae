"""Labels by a language model: protocol, scores, faults, what is paid for, the key."""

import inspect
import json
import logging
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis import chat as chat_module
from nanosae.analysis import prompts
from nanosae.analysis.answers import agreement, parse_label, parse_matches
from nanosae.analysis.chat import Chat, ChatSession
from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.llm import llm_label
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.cli import main
from nanosae.codes import Codes, write_codes
from planted import planted_corpus

SECRET = "sk-never-write-this-down"


class Server:
    """Speaks chat-completions; knows the planted words; does what `fault` says first."""

    def __init__(self, planted):
        self.topics = {word: j for j, words in enumerate(planted.words) for word in words}
        self.names = {name: j for j, name in enumerate(planted.names)}
        self.requests, self.headers, self.lock = [], [], threading.Lock()
        self.under_way = self.most_at_once = 0
        self.fault = lambda number: None  # a status, a body (str), a pause (float) or None
        self.pause, self.judge = 0.0, None
        self.usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answer(self, json.loads(body))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def prompts(self):
        return [request["messages"][0]["content"] for request in self.requests]

    def answer(self, handler, request):
        with self.lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers.append(handler.headers)
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        time.sleep(self.pause)
        fault, status = self.fault(number), 200
        if isinstance(fault, float):
            time.sleep(fault)
        said = self.say(request["messages"][0]["content"])
        body = json.dumps(
            {
                "id": str(number),
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": said},
                    }
                ],
                "usage": self.usage,
            }
        )
        if isinstance(fault, int):
            status, body = fault, json.dumps({"error": {"message": f"your key {SECRET} is bad"}})
        elif isinstance(fault, str):
            body = fault
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body.encode())))
            handler.send_header("retry-after-ms", "1")
            handler.end_headers()
            handler.wfile.write(body.encode())
        except OSError:  # the client has given up
            pass
        with self.lock:
            self.under_way -= 1

    def say(self, prompt):
        """Name the commonest topic of the active texts; judge by the planted words."""
        if prompt.startswith(prompts.INTERPRET[:30]):
            active, silent = prompt.split("ACTIVE:")[-1].split("SILENT:")
            votes = np.zeros(len(self.names))
            for part, sign in ((active, 1), (silent, -0.5)):
                for text in re.findall("<text>(.*?)</text>", part, re.DOTALL):
                    votes[list({self.topics[w] for w in text.split() if w in self.topics})] += sign
            return f"They share it.\nFINAL: {[*self.names][int(votes.argmax())]}"
        if self.judge is not None:
            return self.judge(prompt)
        about = prompt.splitlines()[0].rpartition(": ")[2]
        topic = self.names.get(about, -1)
        texts = re.findall("<text>(.*?)</text>", prompt, re.DOTALL)
        fits = [any(self.topics.get(w) == topic for w in text.split()) for text in texts]
        if "PREDICTION:" in prompt:
            return f"Clear.\nPREDICTION: {0.9 if fits[0] else -0.8}"
        numbers = [str(i) for i, fit in enumerate(fits, 1) if fit]
        return f"MATCHES: {', '.join(numbers) or 'none'}"


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(n_rows=900)


@pytest.fixture(scope="module")
def written(planted, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("llm") / "codes" / "default",
        planted.activations,
        texts=planted.texts.tolist(),
        metadata={"source": planted.columns["source"]},
        vectors=planted.embeddings,
    )


@pytest.fixture
def codes(written, tmp_path):
    shutil.copytree(written.run, tmp_path / "run")
    return Codes.open(tmp_path / "run")


@pytest.fixture
def server(planted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    made = Server(planted)
    yield made
    made.close()


FEATURES = [16, 21, 44]  # frequent ones without parent
BIG = {"features": FEATURES, "scoring": "detect"}


# ── the protocol ──


def test_names_and_scores_of_an_able_model(codes, server, planted):
    frame = llm_label(codes, Chat("able", server.url), FEATURES)
    assert frame.llm_label.tolist() == [planted.names[j] for j in FEATURES]
    assert (frame.llm_f1 > 0.9).all()
    assert (frame.llm_pearson > 0.85).all()
    assert (frame.llm_n >= 40).all()  # 20 active and 20 silent texts
    assert (frame.llm_unparsed == 0).all()
    assert frame.llm_negatives.unique().tolist() == ["random"]
    assert len(server.requests) == 3 * (1 + 40)
    assert frame.attrs["usage"][0]["calls"] == 123
    assert frame.attrs["usage"][0]["prompt_tokens"] == 7 * 123


def test_detection_costs_a_tenth_and_says_the_same(codes, server):
    frame = llm_label(codes, Chat("able", server.url), **BIG)
    assert (frame.llm_f1 > 0.9).all()
    assert len(server.requests) == 3 * (1 + 4)
    assert frame.llm_scoring.unique().tolist() == ["detect"]


@pytest.mark.parametrize(
    ("judge", "pearson"),
    [
        (lambda prompt: f"PREDICTION: {np.random.default_rng(len(prompt)).uniform(-1, 1)}", 0.35),
        (lambda prompt: "PREDICTION: 1", None),
    ],
)
def test_a_model_that_guesses_is_found_out(codes, server, judge, pearson):
    server.judge = judge
    frame = llm_label(codes, Chat("blind", server.url), FEATURES)
    if pearson is None:  # it always says yes
        assert frame.llm_pearson.isna().all()
        assert frame.llm_f1.tolist() == pytest.approx([2 / 3] * 3, abs=0.02)
    else:
        assert abs(frame.llm_pearson.mean()) < pearson
        assert frame.llm_f1.mean() < 0.75


def seen(server):
    """Active and silent texts shown, and texts judged, for each feature's turn."""
    shown = [p for p in server.prompts if p.startswith(prompts.INTERPRET[:30])]
    pick = lambda part: re.findall("<text>(.*?)</text>", part, re.DOTALL)  # noqa: E731
    sides = [p.split("ACTIVE:")[-1].split("SILENT:") for p in shown]
    judged = [t for p in server.prompts if p not in shown for t in pick(p)]
    return [pick(a) for a, _ in sides], [pick(s) for _, s in sides], judged


def test_shown_texts_are_the_strongest_and_judged_ones_are_unseen(codes, server, planted):
    llm_label(codes, Chat("able", server.url, concurrency=1), [16], words=1000)
    (active,), (silent,), judged = seen(server)
    held, texts = held_out(duplicate_groups(codes), 0.5, 0), planted.texts.tolist()
    acts = planted.activations.toarray()[:, 16]
    assert [texts.index(t) for t in active] == sorted(
        (texts.index(t) for t in active), key=lambda i: -acts[i]
    )
    weakest = min(acts[texts.index(t)] for t in active)
    assert np.sum(acts[~held] > weakest) <= 2 * len(active)  # near-copies are shown once
    assert not any(acts[texts.index(t)] for t in silent)
    assert len(judged) == 40
    assert all(held[texts.index(t)] for t in judged)
    assert not held[[texts.index(t) for t in active + silent]].any()
    strengths = [acts[texts.index(t)] for t in judged if acts[texts.index(t)]]
    assert min(strengths) < np.median(acts[acts > 0]) < max(strengths)  # of any strength


def test_each_feature_gets_other_silent_texts(codes, server):
    llm_label(codes, Chat("able", server.url), FEATURES)
    _, silent, _ = seen(server)
    assert len({frozenset(texts) for texts in silent}) == 3
    shared = set(silent[0]) & set(silent[1]) & set(silent[2])
    assert len(shared) <= 1  # with the first rows for all it would be all of them


def test_the_activations_printed_are_those_of_their_texts(codes, server, planted):
    llm_label(codes, Chat("able", server.url), [16], words=1000)
    question = next(p for p in server.prompts if p.startswith(prompts.INTERPRET[:30]))
    lines = re.findall(r"\[(\d\.\d\d)\] <text>(.*?)</text>", question, re.DOTALL)
    acts, texts = planted.activations.toarray()[:, 16], planted.texts.tolist()
    own = np.array([acts[texts.index(text)] for _, text in lines])
    assert len(lines) == 10
    assert [float(printed) for printed, _ in lines] == pytest.approx(own / own[0], abs=0.01)


def test_hard_negatives_are_the_nearest_and_stated(codes, server, planted):
    frame = llm_label(codes, Chat("able", server.url), [16], negatives="hard", words=1000)
    _, (silent,), _ = seen(server)
    texts = planted.texts.tolist()
    held = held_out(duplicate_groups(codes), 0.5, 0)
    near = hard_inactive(codes, np.array([16]), np.flatnonzero(~held), 20)[0]
    assert {texts.index(t) for t in silent} <= set(near.tolist())
    assert frame.llm_negatives[0] == "hard"


def test_groups_stay_on_one_side(codes, server, planted):
    llm_label(codes, Chat("able", server.url), [16], groups="source", words=1000)
    (active,), (silent,), judged = seen(server)
    texts, source = planted.texts.tolist(), planted.columns["source"]
    sides = [{source[texts.index(t)] for t in part} for part in (active + silent, judged)]
    assert not sides[0] & sides[1]


# ── answers that are none ──


@pytest.mark.parametrize("fault", [429, 500, 503, "{not json", 408])
def test_what_may_pass_is_tried_again_or_left_out(codes, server, fault):

    def third_and_eighth(number):  # of the judge's prompts, when they are asked first
        asked = [
            p for p in server.prompts[: number + 1] if not p.startswith(prompts.INTERPRET[:30])
        ]
        new = server.prompts[number] not in server.prompts[:number]
        new = new and asked[-1:] == [server.prompts[number]]
        return fault if new and len(set(asked)) in (3, 8) else None

    server.fault = third_and_eighth
    frame = llm_label(codes, Chat("able", server.url), **BIG)
    bill = frame.attrs["usage"][0]
    assert bill["calls"] == 15
    if isinstance(fault, int):
        assert bill["failed"] == 0
        assert (frame.llm_f1 > 0.9).all()
        assert len(server.requests) > 15
    else:
        assert bill["failed"] == 2
        assert (frame.llm_n < 40).any()


def test_slow_answers_are_given_up_and_the_rest_is_kept(codes, server):
    server.fault = lambda number: 1.5 if number == 3 else None
    chat = Chat("able", server.url, timeout=0.5, retries=0, concurrency=2)
    frame = llm_label(codes, chat, **BIG)
    assert frame.attrs["usage"][0]["failed"] == 1
    assert frame.attrs["usage"][0]["error"] == "APITimeoutError"
    assert len(frame) + len(frame.attrs["unlabelled"]) == 3
    assert frame.llm_n.sum() in (80, 110)  # a name or ten judgements are missing


@pytest.mark.parametrize("content", ["", None])
def test_empty_answers_make_no_name_and_no_score(codes, server, content):
    server.say = lambda prompt: content
    frame = llm_label(codes, Chat("mute", server.url), FEATURES)
    assert len(frame) == 0
    assert frame.attrs["unlabelled"] == FEATURES
    assert frame.attrs["usage"][0]["failed"] == 3
    assert frame.attrs["usage"][0]["error"] == "empty answer"
    assert len(server.requests) == 3  # nothing is asked about no name
    with sqlite3.connect(codes.run / "llm.sqlite") as db:
        assert db.execute("SELECT COUNT(*) FROM answers").fetchone() == (0,)


def test_answers_of_no_use_are_counted_and_no_guesses(codes, server):
    server.judge = lambda prompt: "I cannot say."
    frame = llm_label(codes, Chat("coy", server.url), FEATURES)
    assert (frame.llm_unparsed == frame.llm_n).all()
    assert (frame.llm_f1 == 0).all()


def test_a_wrong_number_of_matches_does_no_harm(codes, server):
    server.judge = lambda prompt: "MATCHES: 1, 2, 77, 0"
    frame = llm_label(codes, Chat("odd", server.url), **BIG)
    assert (frame.llm_n >= 40).all()
    assert frame.llm_f1.between(0, 0.6).all()
    assert parse_matches("MATCHES: 77", 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (
            "FINAL: one two three four five six seven eight nine",
            "one two three four five six seven eight",
        ),
        ("<think>FINAL: no</think>\nFinal: **yes**", "yes"),
        ("thinking FINAL: no</think>\nFINAL: yes", "yes"),
        ("<think>never ends FINAL: no", ""),
        ("FINAL:", ""),
        (None, ""),
    ],
)
def test_names_are_what_follows_the_last_mark(answer, name):
    assert parse_label(answer) == name


def test_agreement_by_hand():
    truth, guess = np.array([1, 1, 0, 0.0]), np.array([0.5, -0.5, 0.5, -0.5])
    found = agreement(guess, truth)
    assert (found["llm_f1"], found["llm_pearson"]) == (0.5, 0.0)
    assert agreement(np.array([np.nan, 1, -1, -1]), truth)["llm_unparsed"] == 1
    assert np.isnan(agreement(guess[:2], truth[:2])["llm_f1"])  # all active: not a test


# ── what is paid for ──


def test_nothing_is_paid_for_twice(codes, server):
    chat = Chat("able", server.url)
    first = llm_label(codes, chat, **BIG)
    paid = len(server.requests)
    again = llm_label(codes, chat, **BIG)
    assert len(server.requests) == paid
    assert again.equals(first)
    assert again.attrs["usage"][0]["calls"] == 0
    assert again.attrs["usage"][0]["cached"] == paid


def test_whatever_changes_the_answer_is_asked_anew(codes, server, planted):
    chat = {"model": "able", "base_url": server.url}
    llm_label(codes, Chat(**chat), **BIG)
    paid = len(server.requests)
    for change in (
        {"model": "other"},
        {"params": {"temperature": 0.5, "max_tokens": 400}},
        {"base_url": server.url.replace("127.0.0.1", "localhost")},
    ):
        llm_label(codes, Chat(**chat | change), **BIG)
        paid += 15
        assert len(server.requests) == paid, change
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_module, "PROMPT_VERSION", prompts.PROMPT_VERSION + 1)
        llm_label(codes, Chat(**chat), **BIG)
    assert len(server.requests) == paid + 15


def test_texts_that_differ_in_the_middle_are_different_questions(server, tmp_path):
    long = "x " * 60
    session = ChatSession(Chat("able", server.url), tmp_path / "cache.sqlite", dry_run=False)
    session.ask(f"PREDICTION: {long} <text>one</text> {long}")
    session.ask(f"PREDICTION: {long} <text>two</text> {long}")
    session.close()
    assert len(server.requests) == 2


def test_a_server_that_dies_leaves_what_was_answered(codes, server):
    server.fault = lambda number: 401 if number >= 8 else None
    chat = Chat("able", server.url, concurrency=1)
    with pytest.raises(ConnectionError, match="answers so far are kept"):
        llm_label(codes, chat, **BIG)
    before = len(server.requests)
    server.fault = lambda number: None
    frame = llm_label(codes, chat, **BIG)
    assert (frame.llm_f1 > 0.9).all()
    assert len(server.requests) - before == 15 - 8


@pytest.mark.slow
def test_after_a_kill_no_paid_call_is_repeated(codes, server, tmp_path):
    server.pause = 0.05
    code = (
        "import sys\nfrom nanosae.codes import Codes\nfrom nanosae import Chat, llm_label\n"
        f"llm_label(Codes(sys.argv[1]), Chat('able', {server.url!r}, concurrency=2), {FEATURES})"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(codes.path)])
    while len(server.requests) < 40:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.2)
    assert 40 <= len(server.requests) < 123
    before = server.prompts
    frame = llm_label(codes, Chat("able", server.url, concurrency=2), FEATURES)
    repeated = [p for p in server.prompts[len(before) :] if p in before]
    assert len(repeated) <= 2  # those that were under way
    assert len(server.requests) - len(repeated) == 123
    assert (frame.llm_f1 > 0.9).all()


def test_a_dry_run_counts_what_a_run_then_needs(codes, server):
    chat = Chat("able", server.url, price=(1.0, 2.0))
    bill = llm_label(codes, chat, FEATURES, dry_run=True)
    assert server.requests == []
    assert bill.calls[0] == 123
    longest = sum(len(prompts.prediction_prompt("x" * 60, t)) for t in ("y" * 1200,) * 120) / 4
    assert 0 < bill.prompt_tokens[0] < 3 * longest
    assert bill.completion_tokens[0] == 123 * 400
    price = bill.prompt_tokens[0] / 1e6 + 2 * bill.completion_tokens[0] / 1e6
    assert bill.cost[0] == pytest.approx(price)
    frame = llm_label(codes, chat, FEATURES)
    real = frame.attrs["usage"][0]
    assert real["calls"] == len(server.requests) == bill.calls[0]
    bytes_sent = sum(len(prompt.encode()) for prompt in server.prompts)
    assert bytes_sent / 4 <= bill.prompt_tokens[0] + 123  # bytes / 4 of every prompt, at most
    assert real["cost"] < bill.cost[0]
    assert llm_label(codes, chat, FEATURES, dry_run=True).calls[0] == 0  # all is known now


def test_limits_stop_cleanly_and_a_later_run_goes_on(codes, server):
    with pytest.warns(UserWarning, match="Stopped at max_calls=6 after 6 calls"):
        frame = llm_label(codes, Chat("able", server.url, max_calls=6), **BIG)
    assert len(server.requests) == 6
    assert frame.attrs["usage"][0]["stopped"] == "max_calls=6"
    assert len(frame) + len(frame.attrs["unlabelled"]) == 3
    assert len(frame) < 3
    server.usage = None  # a server that counts no tokens: what a call could cost is what it costs
    limited = Chat("able", server.url, price=(1e6, 1e6), max_cost=8000.0, concurrency=1)
    with pytest.warns(UserWarning, match=r"Stopped at max_cost=8000.0 after \d calls"):
        frame = llm_label(codes, limited, **BIG, shown=11)
    assert 4000 < frame.attrs["usage"][0]["cost"] <= 8000
    paid = len(server.requests)
    assert 6 < paid < 21
    llm_label(codes, Chat("able", server.url), **BIG)
    assert len(server.requests) <= paid + 15 - 6  # what the first had, it does not pay again
    with pytest.raises(ValueError, match="max_cost=5 needs price"):
        Chat("able", max_cost=5)


def test_no_more_calls_at_once_than_allowed(codes, server):
    server.pause = 0.01
    llm_label(codes, Chat("able", server.url, concurrency=3), FEATURES, tests=10)
    assert server.most_at_once <= 3
    assert server.most_at_once > 1


def test_another_model_may_judge(codes, server):
    frame = llm_label(codes, Chat("namer", server.url), predictor=Chat("judge", server.url), **BIG)
    assert [bill["model"] for bill in frame.attrs["usage"]] == ["namer", "judge"]
    models = [request["model"] for request in server.requests]
    assert (models.count("namer"), models.count("judge")) == (3, 12)


# ── the key and what is missing ──


def test_the_key_goes_to_the_server_and_nowhere_else(codes, server, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    llm_label(codes, Chat("able", server.url), **BIG)
    assert all(h["Authorization"] == f"Bearer {SECRET}" for h in server.headers)
    server.fault = lambda number: 401  # whose message repeats the key
    with pytest.raises(ConnectionError) as error:
        llm_label(codes, Chat("other", server.url), **BIG)
    assert SECRET not in str(error.value) + str(error.value.__cause__)
    assert error.value.__suppress_context__
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
    for path in codes.run.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    with sqlite3.connect(codes.run / "llm.sqlite") as db:
        assert db.execute("SELECT COUNT(*) FROM answers").fetchone() == (15,)
    assert SECRET not in repr(Chat("able", server.url))


def test_without_key_server_or_package_the_error_says_what_to_do(codes, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        llm_label(codes, Chat("able"), [16])
    assert llm_label(codes, Chat("able"), [16], dry_run=True).calls[0] == 41
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9.*base_url, model and OPENAI_API_KEY"):
        llm_label(codes, Chat("able", "http://127.0.0.1:9/v1", retries=0), [16])
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[llm\]"'):
        llm_label(codes, Chat("able"), [16])


def test_a_corpus_without_texts_is_refused(tmp_path, server):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(8, dtype=np.float32)))
    with pytest.raises(ValueError, match="no column 'text'"):
        llm_label(codes, Chat("able", server.url))
    assert server.requests == []


def test_defaults_are_enough_texts_to_decide_on():
    defaults = {k: p.default for k, p in inspect.signature(llm_label).parameters.items()}
    assert defaults["tests"] >= 20  # active ones, and as many silent ones
    assert defaults["shown"] >= 10


def test_on_the_command_line(codes, server, capsys):
    run, flags = str(codes.run), ["--llm", "--model", "able", "--base-url", server.url]
    some = ["--features", *map(str, FEATURES)]
    assert main(["label", run, *flags, *some, "--dry-run", "--price", "1", "2"]) == 0
    shown = capsys.readouterr().out
    assert "123" in shown
    assert "cost" in shown
    assert not (codes.run / "features.parquet").exists()
    assert main(["label", run, *flags, *some, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {line["llm_label"] for line in found} <= set(server.names)
    assert (codes.run / "features.parquet").exists()
    assert main(["label", run, "--llm", "--base-url", "http://127.0.0.1:9/v1", *some]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert Codes.open(run).n_rows == 900
