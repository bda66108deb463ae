"""The sparse activations of a corpus on disk."""

from nanosae.codes.corpus import (
    Codes,
    CodesWriter,
    as_table,
    facts_html,
    indices,
    join_codes,
    write_codes,
)

__all__ = ["Codes", "CodesWriter", "as_table", "facts_html", "indices", "join_codes", "write_codes"]
