"""Stages are done once, and again only when what they depend on has changed."""

import io
import json
import sys
from contextlib import suppress
from functools import partial

import pytest

from nanosae.pipeline.progress import Progress
from nanosae.pipeline.stages import Stage, run_stages


def run(folder, settings=None, fail=None, changed=frozenset()):
    """Run three stages; return which did their work, and whether they could resume.

    The results of the stages in `changed` are not as these have left them, until they are repeated.
    """
    settings = settings or {}
    done = []

    def state_of(name):
        repeated = any(name == stage for stage, _ in done)
        return "changed" if name in changed and not repeated else "as it was left"

    def work(name, resumes):
        done.append((name, resumes))
        if name == fail:
            raise RuntimeError("killed")
        return "did it"

    def stage(name, needs=()):
        return Stage(
            name,
            partial(work, name, resumes=False),
            needs,
            settings.get(name, {}),
            resume=partial(work, name, resumes=True),
        )

    stages = [stage("read"), stage("count", needs=("read",)), stage("other")]
    lines = []
    try:
        run_stages(folder, stages, Progress(lines.append, show=False), state_of)
    except RuntimeError:
        assert fail
    return done, lines


def test_a_second_call_does_nothing(tmp_path):
    assert [name for name, _ in run(tmp_path)[0]] == ["read", "count", "other"]
    done, lines = run(tmp_path)
    assert done == []
    assert all("up to date" in line for line in lines)


def test_a_change_redoes_what_depends_on_it(tmp_path):
    run(tmp_path)
    assert run(tmp_path, {"count": {"n": 2}})[0] == [("count", False)]
    done, _ = run(tmp_path, {"read": {"n": 2}, "count": {"n": 2}})
    assert done == [("read", False), ("count", False)]


def test_a_changed_result_is_made_again_with_what_depends_on_it(tmp_path):
    run(tmp_path)
    assert run(tmp_path, changed=["count"])[0] == [("count", False)]
    assert run(tmp_path, changed=["read"])[0] == [("read", False), ("count", False)]
    assert run(tmp_path)[0] == []


def test_what_depends_on_a_repeated_stage_is_repeated_though_a_call_was_killed(
    tmp_path,
):
    bar = Progress(lambda line: None, show=False)

    def repeat(changed=frozenset(), killed_in=None):
        done = []

        def work(name):
            if name == killed_in:
                raise KeyboardInterrupt
            done.append(name)
            return ""

        stages = [
            Stage(name, partial(work, name), needs)
            for name, needs in [("read", []), ("other", []), ("count", ["read"])]
        ]
        with suppress(KeyboardInterrupt):
            run_stages(
                tmp_path, stages, bar, lambda name: f"{name in changed - set(done)}"
            )
        return done

    assert repeat(changed=set()) == ["read", "other", "count"]
    assert repeat(changed={"read", "other"}, killed_in="other") == ["read"]
    assert repeat(changed=set()) == ["other", "count"]


def test_results_of_unknown_state_are_up_to_date(tmp_path):
    run(tmp_path)
    record = tmp_path / "stages.json"
    stages = json.loads(record.read_text())
    for stage in stages.values():
        del stage["state"]  # as earlier versions wrote them
    record.write_text(json.dumps(stages))
    assert run(tmp_path)[0] == []


@pytest.mark.parametrize("fail", ["read", "count", "other"])
def test_an_interrupted_stage_is_resumed(tmp_path, fail):
    first, _ = run(tmp_path, fail=fail)
    second, _ = run(tmp_path)
    assert second[0] == (fail, True)
    assert [name for name, _ in first[:-1] + second] == ["read", "count", "other"]


def test_other_settings_do_not_resume_an_interrupted_stage(tmp_path):
    run(tmp_path, fail="read")
    assert run(tmp_path, {"read": {"n": 2}})[0][0] == ("read", False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_moves_through_what_is_to_do(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    lines = []
    bar = Progress(lines.append, show=True)
    bar.plan([1.0, 3.0])
    places = []
    for name, length in (("read", 1.0), ("count", 3.0)):
        bar.begin(name, length)
        for share in (0.5, 1.0):
            bar.advance(share)
            places.append(bar._bar.n)
        bar.end()
        bar.say(name)
    bar.close()
    assert places == [0.5, 1.0, 2.5, 4.0]
    assert lines == ["read", "count"]
    assert "left" in terminal.getvalue()
