"""What results look like in a prompt and in a notebook: short, and in words."""

import numpy as np
import pytest

import nanosae
from nanosae.errors import DataTypeError


@pytest.fixture(scope="module")
def shown(labelled_codes, compared_codes):
    codes = labelled_codes
    directions = np.random.default_rng(0).normal(size=(codes.n_features, 8))
    return {
        "contrast": nanosae.contrast(compared_codes, "B", "A", by="group"),
        "families": nanosae.families(codes),
        "topics": nanosae.topics(codes, 3, directions=directions),
        "card": nanosae.card(codes, 0),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["contrast", "families", "topics", "card"])
def test_results_show_themselves(shown, name):
    result = shown[name]
    for text in (repr(result), result._repr_html_()):
        assert "DataFrame" not in text
        assert "array(" not in text
        assert not text.startswith(type(result).__name__)
    assert 1 <= len(repr(result).splitlines()) < 60


def test_findings_are_shown_in_plain_words(shown):
    result = shown["contrast"]
    n_found = len(result.findings)
    assert n_found
    assert repr(result).startswith(f"{n_found} findings among ")
    for text in (repr(result), result._repr_html_()):
        assert "Texts about " in text
        assert "odds ratio" not in text


def test_a_feature_is_asked_for_by_its_number(labelled_codes):
    with pytest.raises(DataTypeError, match="by its number, not by 'sea'"):
        nanosae.card(labelled_codes, "sea")
