"""A full-text index (SQLite FTS5) of the texts of a corpus.

The index, `texts.sqlite` beside the codes, is created on first use and again after the corpus has
grown. Texts are folded and split by `text.tokens`; scripts without spaces are indexed by character,
so any of their words is found as a phrase. A word of a query matches its inflections; a word that
is in no text matches the words that begin with it, or else the words it may be a misspelling of.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nanosae.atomic import write_path
from nanosae.checked import BLANK, is_sealed, seal_file
from nanosae.codes import Codes
from nanosae.errors import DamagedFileError
from nanosae.progress import tracked
from nanosae.text.tokens import characters, is_unspaced, split_words, stem
from nanosae.text.vocabulary import Vocabulary

FORMAT = 3  # of the index
BLOCK = 2**14  # rows that are indexed together
# all but spaces, because texts are split before: SQLite knows no letters of later Unicode
TOKENS = "unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'"
LONGEST_RUN = 4  # characters without spaces that are looked up as one phrase
HAN_OR_KANA = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
KATAKANA = re.compile("[\u30a1-\u30ff]+")
KATAKANA_OR_HAN = re.compile("[\u30a1-\u30ff]+|[\u3005\u3400-\u9fff\uf900-\ufaff]+")
SHORTEST_PREFIX = 3  # letters
MAX_TERMS = 20  # of one word
MAX_WORDS = 100  # of a query
MAX_MISSPELLED = 10  # words of a query; each takes 0.2 s with 40,000 texts
LAST = "\U0010ffff"  # sorts after every word of the vocabulary


@dataclass(frozen=True)
class WordTerms:
    """The terms of the index that a word of a query matches.

    Attributes:
        word: The word, folded.
        terms: The matching words of the corpus; for a script without spaces the word itself.
        exact: Whether the word or an inflection of it is in the corpus.
    """

    word: str
    terms: list[str]
    exact: bool


def find_texts(
    codes: Codes, words: str | Sequence[WordTerms], n: int = 10, *, every: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose texts contain any of the words, best first by BM25, and their scores.

    Args:
        codes: The corpus.
        words: The words, in any inflection, or their terms (`word_terms`).
        n: Number of rows.
        every: Return only rows that contain all the words.

    Raises:
        DamagedFileError: If the index cannot be read.
    """
    if isinstance(words, str):
        words = word_terms(codes, words)
    query = (
        "SELECT rowid - 1, -bm25(texts) FROM texts WHERE texts MATCH ? "
        "ORDER BY rank, rowid LIMIT ?"
    )
    found = _matching(codes, words, every, query, int(n))  # SQLite knows no NumPy types
    rows = np.array([row for row, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float64)
    return rows, scores


def rows_with(codes: Codes, words: str) -> np.ndarray:
    """Return all rows whose texts contain all the words, ascending int64."""
    query = "SELECT rowid - 1 FROM texts WHERE texts MATCH ? ORDER BY rowid"
    found = _matching(codes, word_terms(codes, words), True, query)
    return np.array([row for (row,) in found], np.int64)


def word_terms(codes: Codes, words: str) -> list[WordTerms]:
    """Return the terms of the index that each word of a query matches.

    Only the first 100 words are looked up, and only the first 10 unknown ones as misspellings.

    Raises:
        DamagedFileError: If the index cannot be read.
    """
    looked_up = distinct_words(words)[:MAX_WORDS]
    if not looked_up:
        return []
    found = []
    n_misspelled = 0
    with _opened_index(codes) as index:
        for word in looked_up:
            terms = _known_terms(index, word)
            if not terms.terms and n_misspelled < MAX_MISSPELLED:
                n_misspelled += 1
                terms = replace(terms, terms=_misspelled(index, word))
            found.append(terms)
    return found


def distinct_words(text: str) -> list[str]:
    """Return the words of a text, folded, each once."""
    return list(dict.fromkeys(split_words(text)))


def has_index(codes: Codes) -> bool:
    """Return whether the full-text index exists, is undamaged and was made from these codes."""
    path = _index_path(codes)
    if not path.exists() or not is_sealed(path):
        return False
    made_from = None
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError):
        made_from = db.execute("SELECT codes, format FROM made_from").fetchone()
    return made_from == (codes.checksum, FORMAT)


def text_index(codes: Codes) -> Path:
    """Return the path of the full-text index; create it if it is missing or out of date."""
    path = _index_path(codes)
    if has_index(codes):
        return path
    write_path(path, lambda draft: _make_index(codes, draft))
    return path


def _make_index(codes: Codes, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            f'CREATE VIRTUAL TABLE texts USING fts5(text, content="", tokenize="{TOKENS}")'
        )
        db.execute("CREATE VIRTUAL TABLE words USING fts5vocab(texts, row)")
        starts = range(0, codes.n_rows, BLOCK)
        for start in tracked(starts, "index texts"):
            rows = range(start, min(start + BLOCK, codes.n_rows))
            numbers = [row + 1 for row in rows]
            texts = [_tokens(text) for text in codes.texts(rows, marks="")]
            pairs = zip(numbers, texts, strict=True)
            db.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", pairs)
        db.execute("CREATE TABLE made_from (codes TEXT, format INTEGER, checksum TEXT)")
        facts = (codes.checksum, FORMAT, BLANK)
        db.execute("INSERT INTO made_from VALUES (?, ?, ?)", facts)
        db.commit()
    seal_file(path)


def _tokens(text: str) -> str:
    """Return the tokens of a text: its words, and the characters of runs without spaces."""
    tokens = []
    for word in split_words(text):
        tokens += characters(word) if is_unspaced(word) else [word]
    return " ".join(tokens)


def _index_path(codes: Codes) -> Path:
    return codes.path / "texts.sqlite"


@contextmanager
def _opened_index(codes: Codes) -> Iterator[sqlite3.Connection]:
    """Open the index, creating it if needed.

    Raises:
        DamagedFileError: If it cannot be read.
    """
    path = text_index(codes)
    try:
        with closing(sqlite3.connect(path)) as index:
            yield index
    except sqlite3.DatabaseError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error}.",
            file=path,
            remedy="Delete it; it is created again when needed.",
        ) from error


def _matching(
    codes: Codes, words: Sequence[WordTerms], every: bool, query: str, *values: int
) -> list[tuple]:
    """Return the results of an SQL query on the texts that match the words; none without words."""
    if not words:
        return []
    pattern = _match_pattern(words, every)
    with _opened_index(codes) as index:
        return index.execute(query, (pattern, *values)).fetchall()


def _match_pattern(words: Sequence[WordTerms], every: bool) -> str:
    """Return the words as a query in the syntax of FTS5."""
    alternatives = []
    for word in words:
        terms = word.terms or [word.word]
        if is_unspaced(word.word):
            terms = [word.word] if every else _pieces(word.word)
        phrases = " OR ".join(f'"{_tokens(term)}"' for term in terms)
        alternatives.append(f"({phrases})")
    operator = " AND " if every else " OR "
    return operator.join(alternatives)


def _pieces(run: str) -> list[str]:
    """Split a run of characters without spaces into pieces, in place of its words.

    In Japanese, these are its parts in Katakana and in Han; Hiragana, which writes particles and
    endings, is left out beside them. Long parts, which may be several words, become overlapping
    pieces: pairs of characters in Han, triples in Katakana and in scripts such as Thai.

    Example:
        >>> _pieces("将棋のゲーム"), _pieces("画像変換を")
        (['将棋', 'ゲーム'], ['画像', '像変', '変換'])
    """
    parts = KATAKANA_OR_HAN.findall(run) or [run]
    n_characters = len(characters(run))
    if parts == [run] and n_characters <= LONGEST_RUN:
        return [run]
    if not HAN_OR_KANA.match(run):
        return _overlapping(run, 3)
    pieces = []
    for part in parts:
        longest, length = (5, 3) if KATAKANA.match(part) else (3, 2)
        pieces += [part] if len(part) <= longest else _overlapping(part, length)
    return list(dict.fromkeys(pieces))


def _overlapping(run: str, length: int) -> list[str]:
    parts = characters(run)
    starts = range(len(parts) - length + 1)
    return ["".join(parts[start : start + length]) for start in starts]


def _known_terms(index: sqlite3.Connection, word: str) -> WordTerms:
    """Look a word up: its inflections, or else the words that begin with it."""
    if is_unspaced(word):
        return WordTerms(word, [word], exact=True)
    inflections = _inflections(index, word)
    if inflections:
        return WordTerms(word, inflections, exact=True)
    longer_words = []
    if len(word) >= SHORTEST_PREFIX:
        longer_words = _words_with_prefix(index, word)
    return WordTerms(word, longer_words[:MAX_TERMS], exact=False)


def _inflections(index: sqlite3.Connection, word: str) -> list[str]:
    """Return the word, if a text has it, and all words with the same stem, sorted."""
    itself = _words_between(index, word, word)
    its_stem = stem(word)
    if not its_stem:
        return itself
    prefix = its_stem[:-1] or its_stem
    candidates = _words_with_prefix(index, prefix)
    inflections = [other for other in candidates if stem(other) == its_stem]
    return sorted({*itself, *inflections})


def _misspelled(index: sqlite3.Connection, word: str) -> list[str]:
    """Return the words that differ least by typing errors, preferably with the same initial."""
    initial = word[0]
    nearby = _words_between(index, initial, initial + LAST, about_as_long_as=word)
    typos = Vocabulary(nearby).typos(word)
    if not typos:
        everything = _words_between(index, "", LAST, about_as_long_as=word)
        typos = Vocabulary(everything).typos(word)
    highest = max(typos.values(), default=0)
    most_alike = [other for other, likeness in typos.items() if likeness == highest]
    return most_alike[:MAX_TERMS]


def _words_with_prefix(index: sqlite3.Connection, prefix: str) -> list[str]:
    return _words_between(index, prefix, prefix + LAST)


def _words_between(
    index: sqlite3.Connection, first: str, last: str, about_as_long_as: str = ""
) -> list[str]:
    """Return the words between two in code-point order, the most frequent first.

    With `about_as_long_as`, only words whose length differs from it by at most two letters.
    """
    query = "SELECT term FROM words WHERE term >= ? AND term <= ?"
    limits: list[str | int] = [first or " ", last]
    if about_as_long_as:
        query += " AND abs(length(term) - ?) <= 2"
        limits.append(len(about_as_long_as))
    found = index.execute(f"{query} ORDER BY doc DESC, term", limits)
    return [term for (term,) in found]
