"""Search and steer: find rows by meaning and by feature, and say which features a hit shares.

A query is a text, a vector, a row, a feature or a weighted combination of features. With embeddings
rows are ranked by cosine, without them by the activations they share with the query, Σ qⱼaⱼ. A text
needs its encoder (a callable, or the model that the run names, through the `embed` extra); without
one its words are looked up in texts and labels and lifted to features, and the answer says so.

An edited query is x + Σ Δⱼ·W_decⱼ: what the SAE does not explain of x stays. Encoded again it has
not exactly the edited features; `steps` of gradient descent on the vector bring it nearer (as in
O'Neill et al., "Disentangling Dense Embeddings with Sparse Autoencoders", 2024); such descent can
diverge, so the best vector met is kept. Edits that leave the cosine to the query above 0.9 change
little, below 0.3 they change the subject: the answer states the cosine.
"""

from __future__ import annotations

import html
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nanosae.analysis.ranking import largest_in_rows
from nanosae.analysis.reading import run_model
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.model.weights import Weights
from nanosae.runs.tables import known_labels

BLOCK = 2**14  # rows that are decoded or indexed together
LIFTED = 10  # features that words are lifted to
LIFT_ROWS = 100  # best rows with the words that say which features these are


class Hit(NamedTuple):
    """A row that was found.

    Attributes:
        row: Its number.
        score: Cosine to the query, or shared activation.
        text: Its text, "" if the corpus has none.
        shared: The features it shares with the query, the weightiest first: feature, label,
            activation in the query, activation in the row.
    """

    row: int
    score: float
    text: str
    shared: list[tuple[int, str, float, float]]


@dataclass(frozen=True)
class Results:
    """Answer a search; prints as text, shows as HTML in notebooks.

    Attributes:
        hits: What was found, the best first.
        features: The query in features, the strongest first: feature, label, activation.
        note: How the answer came about.
        vector: The vector that was searched with, if any, (input_size,).
    """

    hits: list[Hit]
    features: list[tuple[int, str, float]]
    note: str
    vector: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one line per hit: `row, score, text, shared`."""
        return pd.DataFrame(self.hits, columns=list(Hit._fields))

    def __str__(self) -> str:
        lines = [self.note]
        for hit in self.hits:
            lines.append(f"{hit.score:7.3f}  row {hit.row}  {' '.join(hit.text.split())[:90]}")
            lines.append("         " + _names(hit.shared))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [(f"{h.score:.3f}", str(h.row), h.text, _names(h.shared)) for h in self.hits]
        body = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in cells)
        table = "".join(f"<tr>{row}</tr>" for row in body)
        return f"<div><p>{html.escape(self.note)}</p><table>{table}</table></div>"


def search(
    codes: Codes,
    query: str | np.ndarray | None = None,
    *,
    row: int | None = None,
    feature: int | str | Mapping[int | str, float] | None = None,
    edit: Mapping[int | str, float] | None = None,
    steps: int = 0,
    n: int = 10,
    encoder: str | Callable[[list[str]], Any] | None = None,
) -> Results:
    """Search a corpus; give one of `query`, `row` and `feature`.

    Args:
        codes: The corpus.
        query: A text, or a vector (input_size,) of the corpus' encoder.
        row: Number of a row to which others are to be alike.
        feature: A feature by number or label, or weights of several; rows are ranked by activation.
        edit: New activations of some features of the query: 0 turns one off.
        steps: Steps that bring the edited query nearer to the edited features; 0 only decodes.
        n: Number of hits.
        encoder: A callable from texts to vectors (n, input_size), or the name of a
            sentence-transformers model; by default the one that the run names.

    Raises:
        ValueError: If not exactly one query is given, a feature is unknown, a text can neither be
            encoded nor looked up, or an edit lacks the run's model.
    """
    if sum(given is not None for given in (query, row, feature)) != 1:
        raise ValueError("give exactly one of query, row and feature.")
    model, labels = run_model(codes), known_labels(codes)
    acts, vector = np.zeros(codes.n_features, np.float32), None
    if feature is not None:
        weights = feature if isinstance(feature, Mapping) else {feature: 1.0}
        acts, note = _set(acts, weights, labels), "rows by activation"
    elif row is not None:
        acts[codes.row(row)[0]] = codes.row(row)[1]
        vector = codes.vectors([row])[0] if codes.has_vectors else None
        note = f"rows like row {row}"
    elif isinstance(query, str):
        vector, note = _embed(query, encoder, model)
        if vector is None:
            acts, how = _lift(codes, query, labels)
            note = f"{note}: {how}"
    else:
        vector, note = np.asarray(query, np.float32).ravel(), "rows like the vector"
    if vector is not None and model is None and not codes.has_vectors:
        raise ValueError(
            f"{codes.path} has neither embeddings nor a model to compare a vector with."
        )
    if vector is not None and row is None and model is not None:
        acts = model.encode(vector).toarray()[0]
    if edit is not None:
        if model is None:
            raise ValueError(f"an edit needs the run's model, and {codes.path} lies in no run.")
        target = _set(acts.copy(), edit, labels)
        start = model.decode(acts[None])[0] if vector is None else vector
        vector, decoded, missed = steer(model, start, acts, target, steps)
        cosine = unit(start[None])[0] @ unit(vector[None])[0]
        note += f"; edited: cosine {cosine:.2f} to the query, features missed by {missed:.1%}"
        note += f" ({decoded:.1%} before {steps} steps)" if steps else ""
        acts = target
    hits = _hits(codes, acts, _rank(codes, vector, acts, n, row), labels)
    asked = sorted(np.flatnonzero(acts).tolist(), key=lambda j: -acts[j])
    features = [(j, labels.get(j, ""), float(acts[j])) for j in asked]
    return Results(hits, features, note, vector)


def steer(
    model: Weights, x: np.ndarray, acts: np.ndarray, target: np.ndarray, steps: int = 10
) -> tuple[np.ndarray, float, float]:
    """Move a vector so that it has other features.

    Args:
        model: The SAE.
        x: The vector, (input_size,).
        acts: Its activations, (hidden_size,).
        target: The activations it is to have, (hidden_size,).
        steps: Steps of descent on ‖encode(x) − target‖² after decoding the difference; each goes as
            far as is best for the linear part, and is undone and halved when it does not help.

    Returns:
        The vector (input_size,), and ‖encode(x) − target‖² ÷ ‖target‖² after decoding alone and in
        the end: never more.
    """
    norm = float((target**2).sum() or (acts**2).sum() or 1)
    best = x + (target - acts) @ model.W_dec
    gap = target - model.encode(best).toarray()[0]
    before, scale = float((gap**2).sum()) / norm, 1.0
    for _ in range(steps):
        on = np.flatnonzero(gap)
        move = model.W_enc[:, on] @ gap[on]
        seen = move @ model.W_enc[:, on]
        length = (gap[on] @ seen) / max(float(seen @ seen), 1e-12)
        trial = (best + scale * length * move).astype(np.float32)
        new = target - model.encode(trial).toarray()[0]
        if (new**2).sum() < (gap**2).sum():
            best, gap = trial, new
        else:
            scale /= 2
    return best, before, float((gap**2).sum()) / norm


def reweight(codes: Codes, factors: Mapping[int | str, float]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a whole corpus with some features stronger or weaker: a semantic space of one's own.

    Args:
        codes: The corpus; its run must hold the model.
        factors: What to multiply the activations of a feature (number or label) with.

    Yields:
        (first row, unit vectors (rows, input_size) float32), block by block.

    Raises:
        ValueError: If the run has no model, or a feature is unknown.
    """
    model = codes.weights()
    factor = _set(np.ones(codes.n_features, np.float32), factors, known_labels(codes))
    for start in range(0, codes.n_rows, BLOCK):
        block = codes.rows(start, start + BLOCK)
        block.data *= factor[block.indices]
        yield start, unit(model.decode(block))


def find_texts(
    codes: Codes, words: str, n: int = 10, *, every: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose texts hold any of the words, best first by BM25, and their scores.

    Args:
        codes: The corpus.
        words: The words; case and punctuation do not count.
        n: Number of rows.
        every: Only rows that hold all the words.
    """
    what, order = "rowid - 1, -bm25(texts)", "rank, rowid LIMIT ?"
    found = _lookup(codes, words, " AND " if every else " OR ", what, order, n)
    rows, scores = np.array(found, np.float64).reshape(-1, 2).T
    return rows.astype(np.int64), scores


def rows_with(codes: Codes, words: str) -> np.ndarray:
    """Return all rows whose texts hold all the words, ascending int64."""
    return np.array(_lookup(codes, words, " AND ", "rowid - 1", "rowid"), np.int64).ravel()


def _lookup(codes: Codes, words: str, between: str, what: str, order: str, *limit: int) -> list:
    """Ask the full-text index for the texts that hold words; without a word, for none."""
    terms = between.join(f'"{word}"' for word in _words(words))
    ask = f"SELECT {what} FROM texts WHERE texts MATCH ? ORDER BY {order}"
    with closing(sqlite3.connect(text_index(codes))) as db:
        return db.execute(ask, (terms, *limit)).fetchall() if terms else []


def find_labels(codes: Codes, words: str, n: int = 10) -> list[tuple[int, str]]:
    """Return features whose labels hold any of the words: most words first, then lower number."""
    wanted = set(_words(words))
    scored = [
        (-len(wanted & set(_words(name))), j, name) for j, name in known_labels(codes).items()
    ]
    return [(j, name) for hits, j, name in sorted(scored)[:n] if hits]


def has_index(codes: Codes) -> bool:
    """Say whether the full-text index is there, and of as many rows as the corpus."""
    path = codes.path / "texts.sqlite"
    if path.exists():
        with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError):
            return db.execute("PRAGMA user_version").fetchone()[0] == codes.n_rows
    return False


def text_index(codes: Codes) -> Path:
    """Return the full-text index (`texts.sqlite`, SQLite FTS5), which lies beside the codes.

    It is made when it is first needed, and made anew when the corpus has grown.
    """
    path = codes.path / "texts.sqlite"
    if has_index(codes):
        return path
    draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as db:
        db.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='')")
        for start in range(0, codes.n_rows, BLOCK):
            rows = range(start, min(start + BLOCK, codes.n_rows))
            pairs = zip((row + 1 for row in rows), codes.texts(rows, ""), strict=True)
            db.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", pairs)
        db.execute(f"PRAGMA user_version = {codes.n_rows}")
        db.commit()
    draft.replace(path)
    return path


def _embed(text: str, encoder: Any, model: Any) -> tuple[np.ndarray | None, str]:
    """Return the text's vector, or None and why there is none."""
    if callable(encoder):
        return np.asarray(encoder([text]), np.float32)[0], "rows like the text"
    name = encoder or (model and model.metadata.get("encoder"))
    if not name:
        return None, "no encoder is known"
    from nanosae.text.embed import embed

    try:
        vector = embed([text], model=name)[0]
    except ImportError as error:
        return None, str(error)
    except OSError:
        return None, f"the encoder {name} could not be loaded"
    return np.asarray(vector, np.float32), f"rows like the text, encoded by {name}"


def _lift(codes: Codes, words: str, labels: Mapping[int, str]) -> tuple[np.ndarray, str]:
    """Turn words into features: those labelled so, and those of the rows that hold the words."""
    if not (codes.has_texts or labels):
        raise ValueError(f"{codes.path} has neither texts nor labels: give encoder=… or a vector.")
    acts = np.zeros(codes.n_features, np.float32)
    rows = find_texts(codes, words, LIFT_ROWS)[0] if codes.has_texts else np.empty(0, np.int64)
    if len(rows):
        block = codes.take(rows)
        share = np.bincount(block.indices, minlength=codes.n_features) / len(rows)
        lift = np.log(np.maximum(share / np.maximum(codes.density, 1e-12), 1))
        mean = np.bincount(block.indices, block.data, codes.n_features) / len(rows)
        strength = mean * lift
        few = np.argsort(-strength, kind="stable")[:LIFTED]
        acts[few] = strength[few] / max(strength.max(), 1e-12)
    named = find_labels(codes, words, LIFTED)
    acts[[j for j, _ in named]] = 1
    how = f"{len(rows)} texts and {len(named)} labels hold the words"
    return acts, f"{how}, lifted to {np.count_nonzero(acts)} features"


def _set(acts: np.ndarray, values: Mapping[Any, float], labels: Mapping[int, str]) -> np.ndarray:
    """Set the activations of features given by number or label."""
    for key, value in values.items():
        like: list[Any] = [key]
        if isinstance(key, str):
            low = key.casefold()
            same = [j for j, name in labels.items() if name.casefold() == low]
            like = same or [j for j, name in labels.items() if low in name.casefold()]
        if len(like) != 1:
            some = ", ".join(f"{j} ({labels[j]})" for j in like[:5])
            raise ValueError(f"{len(like)} labels hold {key!r}: {some or 'none'}; give a number.")
        if not 0 <= like[0] < len(acts):
            raise ValueError(f"feature {key}: there are 0 … {len(acts) - 1}.")
        acts[like[0]] = value
    return acts


def _rank(
    codes: Codes, vector: np.ndarray | None, acts: np.ndarray, n: int, leave: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the n best rows and their scores."""
    if vector is not None and codes.has_vectors:
        toward, scores = unit(vector[None])[0], np.empty(codes.n_rows, np.float32)
        for start, x in codes.scan():
            norms = np.sqrt(np.einsum("ij,ij->i", x, x))
            product = np.einsum("ij,j->i", x, toward)  # threads of a BLAS would only wait here
            scores[start : start + len(x)] = product / np.where(norms > 0, norms, 1)
    else:
        on = np.flatnonzero(acts)
        scores = np.asarray(codes.features(on) @ acts[on])
        scores[scores <= 0] = -np.inf
    if leave is not None:
        scores[leave] = -np.inf
    (rows,), (best,) = largest_in_rows(scores[None], n)
    return rows, best


def _hits(codes: Codes, acts: np.ndarray, found: Any, labels: Mapping[int, str]) -> list[Hit]:
    """Read the rows that were found and say what they share with the query."""
    rows, scores = found
    texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
    hits = []
    for row, score, text in zip(rows.tolist(), scores.tolist(), texts, strict=True):
        pairs = [(int(j), float(acts[j]), float(a)) for j, a in zip(*codes.row(row), strict=True)]
        pairs = sorted((p for p in pairs if p[1] > 0), key=lambda p: -p[1] * p[2])
        shared = [(j, labels.get(j, ""), asked, a) for j, asked, a in pairs]
        hits.append(Hit(row, score, text, shared))
    return hits


def _names(shared: list[tuple[int, str, float, float]]) -> str:
    return ", ".join(f"{label or 'feature'} ({j})" for j, label, *_ in shared[:5])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
