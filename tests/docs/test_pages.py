"""What the documents say is run."""

import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cyclopts import CycloptsError

from nanosae.cli.app import app, parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "llms.txt",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
}


def test_every_file_of_the_tables_exists():
    tables = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", tables, re.M)
    assert len(rows) > 15
    for path in re.findall(r"`([\w/.]+)`", "\n".join(rows)):
        assert (ROOT / "src" / "nanosae" / path).exists(), path


def test_every_package_is_in_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)/` \|", text, re.M))
    packages = {
        path.parent.name for path in (ROOT / "src" / "nanosae").glob("*/__init__.py")
    }
    assert rows == packages - {"demo"}


def shown_commands():
    """Yield the words of every nanosae command in the shell blocks of README and docs."""
    for text in DOCUMENTS.values():
        for block in re.findall(r"```bash\n(.*?)```", text, re.S):
            lines = block.replace("\\\n", " ")
            for words in re.findall(r"\bnanosae ([a-z][^#&|\n]*)", lines):
                yield shlex.split(words)


def test_every_command_that_is_shown_parses():
    shown = list(shown_commands())
    assert len(shown) >= 25
    for words in shown:
        parse(words)


@pytest.mark.parametrize(
    "words", ["train DATA", "train DATA -o RUN --kk 3", "fly", "info RUN RUN"]
)
def test_a_wrong_command_would_be_found(words):
    with pytest.raises(CycloptsError):
        parse(words.split())


def test_verbs_and_flags_in_running_text_are_known():
    found = 0
    for name, text in DOCUMENTS.items():
        for code in re.findall(
            r"`(?:torchrun -m )?nanosae ([a-z][a-z-]*)([^`|]*)`", text
        ):
            verb, rest = code
            known = {flag for argument in arguments(verb) for flag in argument.names}
            known.add("--help")
            flags = re.findall(r"(?<![\w-])-{1,2}[a-z][\w-]*", rest)
            assert set(flags) <= known, (name, code)
            found += 1
    assert found >= 10


def arguments(verb):
    options = app.meta.assemble_argument_collection()
    return [*app[verb].assemble_argument_collection(), *options]


def test_every_import_that_is_shown_works():
    found = 0
    for name, text in DOCUMENTS.items():
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            for module, names in re.findall(
                r"from (nanosae[\w.]*) import ([\w, ]+)", block
            ):
                home = importlib.import_module(module)
                for part in names.split(","):
                    what = part.split(" as ")[0].strip()
                    assert hasattr(home, what), (name, module, what)
                    found += 1
    assert found >= 8


def test_every_dotted_name_in_running_text_exists():
    found = 0
    for name, text in DOCUMENTS.items():
        for dotted in re.findall(r"`(nanosae(?:\.\w+)+)", text):
            assert pkgutil.resolve_name(dotted), (name, dotted)
            found += 1
    assert found >= 2


def test_links_lead_somewhere():
    only_on_the_site = {"contributing.md", "changelog.md"}  # see docs/site_hooks.py
    for name, text in DOCUMENTS.items():
        folder = ROOT / "docs" if (ROOT / "docs" / name).exists() else ROOT
        for link in re.findall(r"\]\((?!http|#)(.+?)\)", text):
            path = folder / link.partition("#")[0]
            assert path.exists() or link in only_on_the_site, (name, link)


@pytest.mark.slow
def test_the_ray_recipe_writes_what_the_model_gives(tmp_path):
    pytest.importorskip("ray", reason="needs the ray extra")
    from nanosae import SAETrainer, TrainConfig

    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    pd.DataFrame({"id": range(60), "vector": list(x)}).to_parquet(
        tmp_path / "embeddings.parquet"
    )
    config = TrainConfig(hidden_size=16, k=3, steps=5)
    model = SAETrainer(config, run=tmp_path / "run").train(x, progress=False)
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    recipe = text.partition("<!-- ray -->\n```python\n")[2].partition("```")[0]
    # workers have folders of their own
    recipe = recipe.replace('"run"', f'"{tmp_path}/run"')
    recipe = recipe.replace('"embeddings.parquet"', f'"{tmp_path}/embeddings.parquet"')
    recipe = recipe.replace('"codes"', f'"{tmp_path}/codes"').replace(
        "concurrency=2", "concurrency=1"
    )
    start = "import ray\nray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
    done = subprocess.run(
        [sys.executable, "-c", start + recipe],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = pd.read_parquet(tmp_path / "codes").sort_values("id", ignore_index=True)
    want = model.features(x)
    for i in range(60):
        row = want[[i]]
        assert list(found["feature"][i]) == row.indices.tolist()
        np.testing.assert_array_equal(found["activation"][i], row.data)
