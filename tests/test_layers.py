"""The shape of the package: which module may import which, what never sees torch, and line
budgets."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "nanosae"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted(ROOT.rglob("*.py"))
}
TORCH_FREE = (
    "analysis",
    "codes",
    "model.architectures",
    "model.files",
    "model.weights",
    "runs",
    "sources",
    "text",
    "view",
)
NEEDS_TORCH = (
    "runs.checkpoints",
    "runs.training",
    "text.activation_cache",
    "text.activations",
    "text.language_models",
    "text.provenance",
    "text.recovered",
    "text.splice",
    "text.windows",
)

# Which package may import which, at any place in a file; a package may always import itself.
PACKAGES = {
    "__init__": {
        "advice",
        "analysis",
        "codes",
        "config",
        "model",
        "pipeline",
        "sweep",
        "text",
        "train",
        "view",
    },
    "__main__": {"cli"},
    "config": {"defaults"},
    "defaults": set(),
    "sinks": {"runs"},
    "addresses": set(),
    "atomic": set(),
    "checked": set(),
    "errors": set(),
    "lengths": set(),
    "lock": set(),
    "memory": set(),
    "extras": set(),
    "fields": set(),
    "progress": set(),
    "schemas": set(),
    "scripts": set(),
    "sources": set(),
    "data": {"config", "sources"},
    "kernels": set(),
    "distributed": {"kernels"},
    "runs": {"codes", "config", "model.files"},
    "model": {"codes", "distributed", "kernels", "sources"},
    "codes": {"model.files", "model.weights"},
    "text": set(),
    "train": {
        "config",
        "data",
        "distributed",
        "kernels",
        "model",
        "runs",
        "sinks",
        "trainable",
    },
    "trainable": {"config", "data", "distributed", "kernels", "memory", "model"},
    "sweep": {"config", "distributed", "runs", "train"},
    "advice": {"config", "data", "sources", "train"},
    "analysis": {"codes", "model.weights", "runs", "text"},
    "view": {"analysis", "codes", "config", "model.weights", "runs", "text"},
    "pipeline": {
        "analysis",
        "codes",
        "config",
        "model",
        "runs",
        "sources",
        "text",
        "train",
        "view",
    },
    "agents": {"analysis", "codes", "pipeline", "runs"},
    "export": {"codes", "model", "runs", "view"},
    "demo": {"config", "pipeline"},
    "cli": {
        "agents",
        "analysis",
        "codes",
        "config",
        "data",
        "demo",
        "distributed",
        "export",
        "model",
        "pipeline",
        "runs",
        "sources",
        "sweep",
        "text",
        "train",
        "view",
    },
}


def imports(text, module):
    """Names of the package's modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            while parts and parts[0] == "nanosae":
                inner = ".".join(parts[1:])
                if inner in FILES:
                    found.add(inner)
                    break
                parts = parts[:-1]
    return found - {module, ""}


def package(module):
    return module.split(".")[0] or "__init__"


# leaves that any package may import
EVERYWHERE = {
    "addresses",
    "atomic",
    "checked",
    "errors",
    "extras",
    "fields",
    "lengths",
    "lock",
    "progress",
    "schemas",
    "scripts",
}


def forbidden(text, module):
    """Imports of a file that its package may not make."""
    here = package(module)
    assert here in PACKAGES, (
        f"{module} has no place in PACKAGES: decide what it may import"
    )
    return {
        name
        for name in imports(text, module)
        if package(name) != here
        and not {package(name), name} & (PACKAGES[here] | EVERYWHERE)
    }


@pytest.mark.parametrize("module", FILES)
def test_arrows_go_one_way(module):
    assert forbidden(FILES[module].read_text(encoding="utf-8"), module) == set()


def test_a_wrong_arrow_is_found():
    assert forbidden(
        "def f():\n    from nanosae.train.trainer import SAETrainer", "model"
    ) == {"train.trainer"}
    assert forbidden("from nanosae import cli", "analysis.names.labels") == {"cli"}


# the same inside analysis/: what its folders import of each other; its files import no folder
SUBJECTS = {
    "names": set(),
    "llm": set(),
    "search": set(),
    "groups": {"names"},
    "comparisons": {"groups"},
    "evaluation": {"comparisons"},
}


def subject(module):
    """The folder of analysis/ that a module is in, if any."""
    parts = module.split(".")
    return parts[1] if parts[0] == "analysis" and len(parts) > 2 else None


@pytest.mark.parametrize("module", [m for m in FILES if package(m) == "analysis"])
def test_subjects_of_analysis_have_an_order(module):
    here = subject(module)
    text = FILES[module].read_text(encoding="utf-8")
    others = {subject(name) for name in imports(text, module)} - {None, here}
    assert others <= SUBJECTS.get(here, set())


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


BLOCK = "import sys; sys.modules['torch'] = None; sys.modules['numba'] = None; "


@pytest.mark.slow
def test_the_semantic_half_imports_without_torch():
    names = [
        m for m in FILES if {package(m), m} & {*TORCH_FREE} and m not in NEEDS_TORCH
    ]
    done = python(BLOCK + "import " + ", ".join(f"nanosae.{name}" for name in names))
    assert done.returncode == 0, done.stderr


def test_the_torch_free_check_can_fail():
    assert python(BLOCK + "import nanosae.model.sae").returncode != 0


def test_importing_the_package_imports_nothing_heavy():
    heavy = [
        "torch",
        "numpy",
        "scipy",
        "sklearn",
        "pandas",
        "pyarrow",
        "numba",
        "plotly",
    ]
    done = python(
        f"import sys, nanosae; print([m for m in {heavy} if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done


def test_every_public_name_loads():
    import nanosae

    for name in nanosae.__all__:
        assert getattr(nanosae, name).__doc__
    assert set(nanosae.__all__) <= set(dir(nanosae))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nanosae.nothing  # noqa: B018


def code_lines(text):
    """Lines with code on them: no blanks, comments or docstrings."""
    skip = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                skip |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
    }
    blank |= {tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - skip)


def test_the_line_counter_counts_code_only():
    assert (
        code_lines(
            '"""Doc."""\n\n# comment\nx = 1\n\n\ndef f():\n    """Doc."""\n    return x\n'
        )
        == 3
    )


def total(modules):
    return sum(code_lines(FILES[m].read_text(encoding="utf-8")) for m in modules)


TRAIN_LINES = 1000
LONGEST_FILE = 400


def test_training_reads_in_one_sitting():
    parts = [name for name in FILES if name == "config" or package(name) == "train"]
    assert total(parts) < TRAIN_LINES, {name: total([name]) for name in parts}


def test_no_file_is_long():
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    long = [name for name, text in texts.items() if text.count("\n") > LONGEST_FILE]
    sizes = {name: code_lines(texts[name]) for name in long}
    assert {name: n for name, n in sizes.items() if n > LONGEST_FILE} == {}
