"""The sparse activations of a corpus on disk."""

from nanosae.codes.format import DEFAULT_CORPUS, corpus_path, has_corpus
from nanosae.codes.given import Corpus, as_codes, run_folder
from nanosae.codes.joining import join_codes
from nanosae.codes.notebook import facts_html
from nanosae.codes.places import indices
from nanosae.codes.reader import Codes
from nanosae.codes.sampling import excerpt, sample_notes, sampled_rows
from nanosae.codes.tables import as_table, as_table_with_index
from nanosae.codes.writer import CodesWriter, write_codes

__all__ = [
    "DEFAULT_CORPUS",
    "Codes",
    "CodesWriter",
    "Corpus",
    "as_codes",
    "as_table",
    "as_table_with_index",
    "corpus_path",
    "excerpt",
    "facts_html",
    "has_corpus",
    "indices",
    "join_codes",
    "run_folder",
    "sample_notes",
    "sampled_rows",
    "write_codes",
]
