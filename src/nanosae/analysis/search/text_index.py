"""Words in texts: a full-text index (SQLite FTS5) of a corpus.

The index, `texts.sqlite` beside the codes, is made when it is first needed and made anew when the
corpus has grown. Texts are folded and split by `text.tokens`; scripts without spaces are indexed
by character, so that any of their words is found as a phrase. A word stands for its inflections;
one that is in no text stands for the words that it begins, else for those it is a misspelling of.
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

FORMAT = 2  # of the index
BLOCK = 2**14  # rows that are indexed together
TOKENS = "unicode61 remove_diacritics 0 categories 'L* N* M* Pc Co'"
# characters of a script without spaces that are looked up as one phrase
LONGEST_RUN = 4
HAN_OR_KANA = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
SHORTEST_BEGINNING = 3  # letters of a word that stands for those it begins
MOST_LIKE = 20  # words that one stands for
MAX_WORDS = 100  # of a query, that are looked up
MAX_MISSPELLED = (
    10  # of these, whose misspellings are looked for: each takes 0.2 s of 40,000 texts
)
LAST = "\U0010ffff"  # behind every word of the vocabulary


@dataclass(frozen=True)
class WordTerms:
    """What a word of a query is looked up as.

    Attributes:
        word: The word, folded.
        terms: Words of the corpus that it stands for; itself if it is a run.
        exact: Whether the word or an inflection of it is in the corpus.
    """

    word: str
    terms: list[str]
    exact: bool


def find_texts(
    codes: Codes, words: str | Sequence[WordTerms], n: int = 10, *, every: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose texts hold any of the words, best first by BM25, and their scores.

    Args:
        codes: The corpus.
        words: The words, or what they stand for: inflections of them also count.
        n: Number of rows.
        every: Only rows that hold all the words.

    Raises:
        DamagedFileError: If the index cannot be read.
    """
    if isinstance(words, str):
        words = word_terms(codes, words)
    query = (
        "SELECT rowid - 1, -bm25(texts) FROM texts WHERE texts MATCH ? "
        "ORDER BY rank, rowid LIMIT ?"
    )
    found = _matching(codes, words, every, query, n)
    rows = np.array([row for row, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float64)
    return rows, scores


def rows_with(codes: Codes, words: str) -> np.ndarray:
    """Return all rows whose texts hold all the words, ascending int64."""
    query = "SELECT rowid - 1 FROM texts WHERE texts MATCH ? ORDER BY rowid"
    found = _matching(codes, word_terms(codes, words), True, query)
    return np.array([row for (row,) in found], np.int64)


def word_terms(codes: Codes, words: str) -> list[WordTerms]:
    """Return what each word of a query stands for in the corpus' texts.

    Only the first 100 words are looked up, and misspellings of only the first 10 that are in no
    text.

    Raises:
        DamagedFileError: If the index cannot be read.
    """
    looked_up = different_words(words)[:MAX_WORDS]
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


def different_words(text: str) -> list[str]:
    """Return the words of a text, folded, each once."""
    return list(dict.fromkeys(split_words(text)))


def has_index(codes: Codes) -> bool:
    """Return whether the full-text index is there, undamaged and made from these codes."""
    path = _index_path(codes)
    if not path.exists() or not is_sealed(path):
        return False
    made_from = None
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError):
        made_from = db.execute("SELECT codes, format FROM made_from").fetchone()
    return made_from == (codes.checksum, FORMAT)


def text_index(codes: Codes) -> Path:
    """Return the path of the full-text index, which is made if it is missing or out of date."""
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
    """Return what is indexed of a text: its words, and the characters of unspaced runs."""
    tokens = []
    for word in split_words(text):
        tokens += characters(word) if is_unspaced(word) else [word]
    return " ".join(tokens)


def _index_path(codes: Codes) -> Path:
    return codes.path / "texts.sqlite"


@contextmanager
def _opened_index(codes: Codes) -> Iterator[sqlite3.Connection]:
    """Open the index, which is made if it is not there; what cannot be read is damaged."""
    path = text_index(codes)
    try:
        with closing(sqlite3.connect(path)) as index:
            yield index
    except sqlite3.DatabaseError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error}.",
            file=path,
            remedy="Delete it; it is made again when it is needed.",
        ) from error


def _matching(
    codes: Codes, words: Sequence[WordTerms], every: bool, query: str, *values: int
) -> list[tuple]:
    """Return what a query selects of the texts that match the words; nothing without a word."""
    if not words:
        return []
    with _opened_index(codes) as index:
        return index.execute(query, (_match_pattern(words, every), *values)).fetchall()


def _match_pattern(words: Sequence[WordTerms], every: bool) -> str:
    """Return the words as a query of FTS5."""
    alternatives = []
    for word in words:
        terms = word.terms or [word.word]
        if is_unspaced(word.word):
            terms = [word.word] if every else _pieces(word.word)
        phrases = [f'"{_tokens(term)}"' for term in terms]
        alternatives.append(f"({' OR '.join(phrases)})")
    return (" AND " if every else " OR ").join(alternatives)


def _pieces(run: str) -> list[str]:
    """Cut a long run into overlapping pieces, which stand for its words.

    Words of Han and Kana mostly have two characters, those of Thai and its like more.
    """
    parts = characters(run)
    if len(parts) <= LONGEST_RUN:
        return [run]
    length = 2 if HAN_OR_KANA.match(run) else 3
    starts = range(len(parts) - length + 1)
    return ["".join(parts[start : start + length]) for start in starts]


def _known_terms(index: sqlite3.Connection, word: str) -> WordTerms:
    """Look a word up: its inflections, else words that it begins."""
    if is_unspaced(word):
        return WordTerms(word, [word], exact=True)
    inflections = _inflections(index, word)
    if inflections:
        return WordTerms(word, inflections, exact=True)
    begun = []
    if len(word) >= SHORTEST_BEGINNING:
        begun = _words_beginning(index, word)
    return WordTerms(word, begun[:MOST_LIKE], exact=False)


def _inflections(index: sqlite3.Connection, word: str) -> list[str]:
    """Return the word, if a text has it, and the words of the same stem, sorted."""
    itself = _words_between(index, word, word)
    its_stem = stem(word)
    if not its_stem:
        return itself
    beginning = its_stem[:-1] or its_stem
    begun = _words_beginning(index, beginning)
    inflections = [other for other in begun if stem(other) == its_stem]
    return sorted({*itself, *inflections})


def _misspelled(index: sqlite3.Connection, word: str) -> list[str]:
    """Return the words nearest to one by typing errors: with its first letter, else any."""
    initial = word[0]
    nearby = _words_between(index, initial, initial + LAST, about_as_long_as=word)
    typos = Vocabulary(nearby).typos(word)
    if not typos:
        everything = _words_between(index, "", LAST, about_as_long_as=word)
        typos = Vocabulary(everything).typos(word)
    nearest = max(typos.values(), default=0)
    most_alike = [other for other, likeness in typos.items() if likeness == nearest]
    return most_alike[:MOST_LIKE]


def _words_beginning(index: sqlite3.Connection, beginning: str) -> list[str]:
    return _words_between(index, beginning, beginning + LAST)


def _words_between(
    index: sqlite3.Connection, first: str, last: str, about_as_long_as: str = ""
) -> list[str]:
    """Return the words from one to another in order of code points, those in most texts first.

    Of all these only those whose length is within two letters of a given word's, if there is one.
    """
    query = "SELECT term FROM words WHERE term >= ? AND term <= ?"
    limits: list[str | int] = [first or " ", last]
    if about_as_long_as:
        query += " AND abs(length(term) - ?) <= 2"
        limits.append(len(about_as_long_as))
    found = index.execute(f"{query} ORDER BY doc DESC, term", limits)
    return [term for (term,) in found]
