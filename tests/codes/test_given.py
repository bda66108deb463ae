"""What the verbs take for a corpus."""

import numpy as np
import pytest
import scipy.sparse as sp

import nanosae
from nanosae.codes import as_codes, run_folder, write_codes
from nanosae.errors import DataTypeError, MissingError


@pytest.fixture
def codes(tmp_path):
    activations = sp.csr_array(np.eye(4, dtype=np.float32))
    texts = ["a", "b", "c", "d"]
    return write_codes(tmp_path / "run" / "codes" / "default", activations, texts=texts)


def test_codes_a_run_folder_and_an_analysis_are_the_same_corpus(codes):
    analysis = nanosae.open(codes.run)
    for given in (codes, codes.run, str(codes.run), codes.path, analysis):
        assert as_codes(given).path == codes.path
        tables = nanosae.describe(given), nanosae.describe(codes)
        assert tables[0]["n_active"].tolist() == tables[1]["n_active"].tolist()
    assert run_folder(analysis) == run_folder(codes.run) == codes.run


def test_anything_else_is_refused(codes, tmp_path):
    with pytest.raises(DataTypeError, match="a run folder or an Analysis is needed"):
        as_codes(3)
    with pytest.raises(MissingError, match="there are none"):
        as_codes(tmp_path)
    alone = write_codes(tmp_path / "alone", sp.csr_array(np.eye(2, dtype=np.float32)))
    with pytest.raises(MissingError, match="is not in a run folder"):
        run_folder(alone)
