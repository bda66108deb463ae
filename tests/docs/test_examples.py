"""The notebooks in examples/ run from the first cell to the last."""

import ast
import re

import pytest

from pages import ROOT

NOTEBOOKS = sorted(
    path
    for path in (ROOT / "examples").glob("*.py")
    if path.read_text(encoding="utf-8").startswith("# %%")
)


def test_there_are_notebooks_with_words_and_code():
    assert len(NOTEBOOKS) >= 2
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert len(re.findall(r"^# %% \[markdown\]$", text, re.M)) >= 4
        assert len(re.findall(r"^# %%$", text, re.M)) >= 4
        ast.parse(text)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = compile(path.read_text(encoding="utf-8"), path.name, "exec")
    exec(code, {"__name__": "__main__"})
    assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.slow
def test_a_cell_that_fails_would_be_found():
    text = NOTEBOOKS[0].read_text(encoding="utf-8")
    broken = text.replace("hidden_size=512", "hidden_size=0")
    with pytest.raises(ValueError, match="hidden_size"):
        exec(compile(broken, "broken", "exec"), {"__name__": "__main__"})
