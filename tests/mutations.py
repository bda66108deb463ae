"""Mutation testing: change one thing in the source, and see whether a test fails.

    python tests/mutations.py                  # all, in a temporary copy of the tree
    python tests/mutations.py --list
    python tests/mutations.py --only clip --only lift

Each mutation replaces a text that stands exactly once in a file, however its lines are broken. It
is killed if one of its tests fails (or hangs), and survives if all pass; slow tests are run only if
all fast ones pass. A text that is not found once is an error (see test_mutations.py): change the
list together with the source. Exit code: 0 if at most 5 % survive, of which each is explained here
or equivalent; 1 otherwise. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation_list import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
LEFT_OUT = (
    ".git",
    ".venv",
    "gallery",
    "results",
    ".hypothesis",
    ".pytest_cache",
    "node_modules",
)
TIMEOUT = 180
MOST_SURVIVORS = 0.05
KILLED, SURVIVED = "killed", "survived"
TESTS_FAILED, NO_TEST_FAILED, NO_TESTS = 1, 0, 5
SLOW = ' -m "slow and not gpu"'
FAST_AND_SLOW = ' -m "not gpu"'


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation: killed, survived, or an error in words."""

    mutation: Mutation
    verdict: str
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Apply the mutations one by one and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--list", action="store_true", help="print the mutations and end"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only names that hold NAME"
    )
    parser.add_argument(
        "--unchecked", action="store_true", help="do not run the unchanged tree"
    )
    args = parser.parse_args(argv)
    chosen = [
        m
        for m in MUTATIONS
        if not args.only or any(part in m.name for part in args.only)
    ]
    if args.list:
        for mutation in chosen:
            print(
                f"{mutation.name:44} {mutation.file}: {mutation.old!r} → {mutation.new!r}"
            )
        return 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        if not args.unchecked and not _passes_unchanged(tree, chosen):
            return 1
        outcomes = []
        for mutation in chosen:
            outcomes.append(_try(tree, mutation))
            _print_outcome(outcomes[-1])
    return _summarise(outcomes)


def _passes_unchanged(tree: Path, mutations: Sequence[Mutation]) -> bool:
    """Run all tests on the unchanged copy: a test that always fails would kill everything."""
    tests = sorted({mutation.tests for mutation in mutations})
    for words in tests:
        if _run(tree, words + FAST_AND_SLOW) != NO_TEST_FAILED:
            print(f"{words} fails on the unchanged tree.")
            return False
    return True


def _try(tree: Path, mutation: Mutation) -> Outcome:
    """Run the tests of a mutation on the changed copy, and change it back."""
    start = time.perf_counter()
    path = tree / mutation.file
    before = path.read_text(encoding="utf-8")
    places = list(pattern_of(mutation.old).finditer(before))
    if len(places) != 1:
        return Outcome(
            mutation, f"error: the text stands {len(places)} times in the file", 0.0
        )
    start_of, end_of = places[0].span()
    changed = before[:start_of] + mutation.new + before[end_of:]
    path.write_text(changed, encoding="utf-8")
    _forget_compiled(tree, path)
    code = _run(tree, mutation.tests)
    if code == NO_TEST_FAILED:
        code_of_slow = _run(tree, mutation.tests + SLOW)
        if code_of_slow != NO_TESTS:
            code = code_of_slow
    path.write_text(before, encoding="utf-8")
    _forget_compiled(tree, path)
    verdicts = {TESTS_FAILED: KILLED, NO_TEST_FAILED: SURVIVED, None: KILLED}
    verdict = verdicts.get(code, f"error: pytest ended with {code}")
    return Outcome(mutation, verdict, time.perf_counter() - start)


def _forget_compiled(tree: Path, changed: Path) -> None:
    """Delete compiled kernels after a change to one: numba does not see those that it calls."""
    if "kernels" in changed.parts:
        for compiled in (tree / "src").rglob("*.nb[ic]"):
            compiled.unlink()


def pattern_of(source: str) -> re.Pattern[str]:
    """Return a pattern for `source` that does not depend on where its lines are broken."""
    pattern = ""
    last = ""
    for token in re.findall(r"\w+|[^\w\s]", source):
        between_words = last.isidentifier() and token.isidentifier()
        pattern += r"\s+" if between_words else r"\s*"
        if token in ")]}" and last != ",":
            pattern += r",?\s*"
        pattern += re.escape(token)
        last = token
    return re.compile(pattern.removeprefix(r"\s*"))


def _run(tree: Path, tests: str) -> int | None:
    """Return pytest's exit code, None if it took too long."""
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += shlex.split(tests)
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def _print_outcome(outcome: Outcome) -> None:
    mutation = outcome.mutation
    remark = f"  ({mutation.survives_because})" if mutation.survives_because else ""
    line = f"{mutation.name:44} {outcome.verdict:9} {outcome.seconds:5.1f} s{remark}"
    print(line, flush=True)


def _summarise(outcomes: Sequence[Outcome]) -> int:
    survivors = [outcome for outcome in outcomes if outcome.verdict == SURVIVED]
    errors = [outcome for outcome in outcomes if outcome.verdict.startswith("error")]
    unexplained = [
        outcome for outcome in survivors if not outcome.mutation.survives_because
    ]
    share = len(survivors) / max(1, len(outcomes))
    print(
        f"{len(outcomes)} mutations: {len(outcomes) - len(survivors) - len(errors)} killed, "
        f"{len(survivors)} survived ({share:.1%}), {len(errors)} errors"
    )
    return int(bool(unexplained or errors) or share > MOST_SURVIVORS)


if __name__ == "__main__":
    sys.exit(main())
