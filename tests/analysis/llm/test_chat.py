"""What calls to a server cost, what is kept of them, and the key."""

import base64
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from chat_server import SECRET
from nanosae.analysis.llm import chat as chat_module
from nanosae.analysis.llm import prompts
from nanosae.analysis.llm.chat import Chat, ChatSession
from nanosae.analysis.llm.labels import llm_label
from nanosae.errors import ConfigError, DamagedFileError, ServerError, WriteError

FEATURES = [16, 21, 44]  # frequent ones without parent


BIG = {"features": FEATURES, "scoring": "detect"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [429, 500, 503, "{not json", 408])
def test_what_may_pass_is_tried_again_or_left_out(codes, server, fault):

    def third_and_eighth(number):  # of the judge's prompts, when they are asked first
        asked = [
            p
            for p in server.prompts[: number + 1]
            if not p.startswith(prompts.INTERPRET[:30])
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


def test_nothing_is_paid_for_twice(codes, server):
    chat = Chat("able", server.url)
    first = llm_label(codes, chat, **BIG)
    paid = len(server.requests)
    again = llm_label(codes, chat, **BIG)
    assert len(server.requests) == paid
    assert again.equals(first)
    assert again.attrs["usage"][0]["calls"] == 0
    assert again.attrs["usage"][0]["cached"] == paid


@pytest.mark.slow
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
    session = ChatSession(
        Chat("able", server.url), tmp_path / "cache.sqlite", dry_run=False
    )
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


@pytest.mark.slow
def test_a_dry_run_counts_what_a_run_then_needs(codes, server):
    chat = Chat("able", server.url, price=(1.0, 2.0))
    bill = llm_label(codes, chat, FEATURES, dry_run=True)
    assert server.requests == []
    assert bill.calls[0] == 123
    longest = (
        sum(len(prompts.prediction_prompt("x" * 60, t)) for t in ("y" * 1200,) * 120)
        / 4
    )
    assert 0 < bill.prompt_tokens[0] < 3 * longest
    assert bill.completion_tokens[0] == 123 * 400
    price = bill.prompt_tokens[0] / 1e6 + 2 * bill.completion_tokens[0] / 1e6
    assert bill.cost[0] == pytest.approx(price)
    frame = llm_label(codes, chat, FEATURES)
    real = frame.attrs["usage"][0]
    assert real["calls"] == len(server.requests) == bill.calls[0]
    bytes_sent = sum(len(prompt.encode()) for prompt in server.prompts)
    # bytes / 4 of every prompt, at most
    assert bytes_sent / 4 <= bill.prompt_tokens[0] + 123
    assert real["cost"] < bill.cost[0]
    # all is known now
    assert llm_label(codes, chat, FEATURES, dry_run=True).calls[0] == 0


def test_limits_stop_cleanly_and_a_later_run_goes_on(codes, server):
    with pytest.warns(UserWarning, match="Stopped at max_calls=6 after 6 calls"):
        frame = llm_label(codes, Chat("able", server.url, max_calls=6), **BIG)
    assert len(server.requests) == 6
    assert frame.attrs["usage"][0]["stopped"] == "max_calls=6"
    assert len(frame) + len(frame.attrs["unlabelled"]) == 3
    assert len(frame) < 3
    # a server that counts no tokens: what a call could cost is what it costs
    server.usage = None
    limited = Chat("able", server.url, price=(1e6, 1e6), max_cost=8000.0, concurrency=1)
    with pytest.warns(UserWarning, match=r"Stopped at max_cost=8000.0 after \d calls"):
        frame = llm_label(codes, limited, **BIG, shown=11)
    assert 4000 < frame.attrs["usage"][0]["cost"] <= 8000
    paid = len(server.requests)
    assert 6 < paid < 21
    llm_label(codes, Chat("able", server.url), **BIG)
    # what the first had, it does not pay again
    assert len(server.requests) <= paid + 15 - 6
    with pytest.raises(ValueError, match="max_cost=5 needs price"):
        Chat("able", max_cost=5)


def test_no_more_calls_at_once_than_allowed(codes, server):
    server.pause = 0.01
    llm_label(codes, Chat("able", server.url, concurrency=3), FEATURES, tests=10)
    assert server.most_at_once <= 3
    assert server.most_at_once > 1


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
    with closing(sqlite3.connect(codes.run / "llm.sqlite")) as db:
        assert db.execute("SELECT COUNT(*) FROM answers").fetchone() == (15,)
    assert SECRET not in repr(Chat("able", server.url))


def test_without_key_server_or_package_the_error_says_what_to_do(codes, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        llm_label(codes, Chat("able"), [16])
    assert llm_label(codes, Chat("able"), [16], dry_run=True).calls[0] == 41
    with pytest.raises(
        ConnectionError, match=r"127.0.0.1:9.*base_url, model and OPENAI_API_KEY"
    ):
        llm_label(codes, Chat("able", "http://127.0.0.1:9/v1", retries=0), [16])
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[llm\]"'):
        llm_label(codes, Chat("able"), [16])


@pytest.fixture
def session(server, tmp_path):
    def opened(**settings):
        return ChatSession(
            Chat("able", server.url, **settings), tmp_path / "answers.sqlite"
        )

    return opened


@pytest.mark.parametrize(
    "bad", ["", None, ["a list"], {"text": "x"}, 7, "x" * 300_000, "\ud800"]
)
def test_a_bad_answer_is_not_kept_and_stops_nothing(server, session, bad):
    answers = [bad, "a good one"]
    server.say = lambda prompt: answers.pop(0)
    opened = session()
    assert opened.ask("question") is None
    assert (opened.usage.calls, opened.usage.failed) == (1, 1)
    assert opened.usage.prompt_tokens == 7  # it is paid for
    assert opened.ask("question") == "a good one"
    assert opened.ask("question") == "a good one"
    assert (opened.usage.calls, opened.usage.failed, opened.usage.cached) == (2, 1, 1)
    opened.close()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "many", "completion_tokens": None},
        {"prompt_tokens": -5, "completion_tokens": 10**30},
        {"prompt_tokens": [1], "completion_tokens": 2.5},
        "lots",
        7,
    ],
)
def test_counts_that_are_none_are_replaced_by_bounds(server, session, usage):
    server.usage = usage
    opened = session(price=(1.0, 1.0))
    assert opened.ask("MATCHES: <text>x</text>") is not None
    assert opened.usage.completion_tokens == 400
    assert opened.usage.prompt_tokens == len("MATCHES: <text>x</text>") // 4 + 8
    assert opened.usage.cost == pytest.approx((400 + opened.usage.prompt_tokens) / 1e6)
    opened.close()


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"choices": []}', '{"choices": [{}]}', "\ufffd", '"hm"']
)
def test_replies_of_another_form_are_failed_calls(server, session, body):
    server.fault = lambda number: body if number == 0 else None
    opened = session()
    assert opened.ask("PREDICTION: <text>x</text>") is None
    assert opened.usage.failed == 1
    assert opened.ask("PREDICTION: <text>x</text>") is not None
    opened.close()


def test_a_server_that_fails_twenty_times_in_a_row_is_given_up(server, session):
    server.fault = lambda number: "{not json"
    opened = session()
    for i in range(20):
        assert opened.ask(f"PREDICTION: <text>{i}</text>") is None
    with pytest.raises(ServerError, match="answers so far are kept"):
        opened.ask("PREDICTION: <text>once more</text>")
    opened.close()
    server.fault = lambda number: "{not json" if number % 20 else None
    opened = session()
    for i in range(60):  # never twenty in a row
        opened.ask(f"PREDICTION: <text>again {i}</text>")
    opened.close()


def test_a_call_is_repeated_as_often_as_asked(server, session):
    server.fault = lambda number: 503
    opened = session(retries=3)
    assert opened.ask("PREDICTION: <text>x</text>") is None
    assert len(server.requests) == 4
    assert opened.usage.calls == 1
    opened.close()


def test_a_limit_counts_what_a_call_could_cost(server, session):
    prompt = "PREDICTION: <text>x</text>"
    most = (len(prompt) // 4 + 8) * 2 + 400 * 3
    opened = session(price=(2e6, 3e6), max_cost=most - 1)
    with pytest.warns(
        UserWarning, match=r"Stopped at max_cost=.* after 0 calls, 0 spent"
    ):
        assert opened.ask(prompt) is None
    opened.close()
    opened = session(price=(2e6, 3e6), max_cost=most)
    assert opened.ask(prompt) is not None
    assert opened.usage.cost == 7 * 2 + 3 * 3
    opened.close()
    opened = session(max_calls=0)
    with pytest.warns(UserWarning, match="Stopped at max_calls=0 after 0 calls"):
        assert opened.ask(prompt + " again") is None
    assert opened.ask(prompt) is not None  # what is known costs nothing
    opened.close()


def hidden(server):
    """The server's address with a user and a password in it."""
    return server.url.replace("http://", f"http://user:{SECRET}@")


def test_a_key_in_the_address_is_sent_and_never_stored_or_shown(
    codes, server, caplog, capfd, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    caplog.set_level(logging.DEBUG)
    chat = Chat("able", hidden(server))
    frame = llm_label(codes, chat, **BIG)
    expected = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert {h["Authorization"] for h in server.headers} == {f"Basic {expected}"}
    server.fault = lambda number: 401
    with pytest.raises(ServerError) as error:
        llm_label(codes, Chat("other", hidden(server)), **BIG)
    shown = caplog.text + "".join(capfd.readouterr()) + str(error.value) + repr(chat)
    shown += frame.to_json() + str(frame.attrs)
    assert SECRET not in shown
    assert expected not in shown
    for path in codes.run.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    known = llm_label(codes, Chat("able", server.url), **BIG).attrs["usage"][0]
    # the same server without the password is the same server
    assert known["calls"] == 0


def test_headers_that_params_hold_are_sent_and_not_stored(server, session, tmp_path):
    opened = session(params={"extra_headers": {"X-Key": SECRET}})
    opened.ask("PREDICTION: <text>x</text>")
    assert SECRET not in repr(opened.chat)
    opened.close()
    assert server.headers[0]["X-Key"] == SECRET
    assert SECRET.encode() not in (tmp_path / "answers.sqlite").read_bytes()


@pytest.mark.parametrize(
    "address",
    [f"http://host/v1?key={SECRET}", f"{SECRET}@host/v1", f"http://{SECRET}:x/v1", ""],
)
def test_an_address_that_is_none_is_refused_and_not_shown(
    tmp_path, monkeypatch, address
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError) as error:
        ChatSession(Chat("able", address), tmp_path / "answers.sqlite")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "model is empty"),
        ({"max_calls": -1}, "max_calls=-1 must be at least 0"),
        ({"concurrency": 0}, "concurrency=0 must be at least 1"),
        ({"retries": -1}, "retries=-1 must be at least 0"),
        ({"timeout": 0.0}, "timeout=0.0 must be above 0"),
        ({"price": (1.0, -1.0)}, "must be two non-negative numbers"),
        ({"max_cost": 5.0}, "max_cost=5.0 needs price"),
        ({"params": {"stream": True}}, "params may not contain 'stream'"),
        ({"params": {"stop": {1}}}, "cannot be sent as JSON"),
        ({"params": {"max_tokens": "400"}}, "max_tokens='400' must be a positive"),
        ({"params": {"max_completion_tokens": 0}}, "must be a positive integer"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Chat(**{"model": "able"} | settings)


def test_a_store_that_is_none_is_named(server, tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 9)
    with pytest.raises(
        DamagedFileError, match=r"answers\.sqlite is not an SQLite file"
    ):
        ChatSession(Chat("able", server.url), path)
    if sys.platform == "linux":
        opened = [os.path.realpath(f) for f in Path("/proc/self/fd").iterdir()]
        assert str(path) not in opened
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be created"):
        ChatSession(Chat("able", server.url), tmp_path / "file" / "answers.sqlite")
