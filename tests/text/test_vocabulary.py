"""Words like a word: no filter loses one that brute force finds."""

import numpy as np

from nanosae.text.tokens import allowed_edits, edits
from nanosae.text.vocabulary import Vocabulary


def test_typos_are_those_of_comparing_with_every_word():
    rng = np.random.default_rng(0)
    known = {"".join(rng.choice(list("abcd"), rng.integers(3, 11))) for _ in range(900)}
    vocabulary = Vocabulary(sorted(known))
    n_found = 0
    for word in sorted(known)[::30]:
        asked = word[:1] + word[2:] + "a"
        most = allowed_edits(asked)
        near = {other for other in known if edits(asked, other, most) <= most}
        expected = near if most else set()
        assert set(vocabulary.typos(asked)) == expected
        n_found += len(expected)
    assert n_found > 50


def test_typos_are_looked_for_only_where_nothing_else_is_like_the_word():
    vocabulary = Vocabulary(["form", "from", "forms", "formal"])
    assert vocabulary.similar("form") == {"form": 1.0, "forms": 0.9, "formal": 0.8}
    assert vocabulary.similar("fomr") == {"form": 0.7}


def test_a_run_is_found_inside_longer_ones():
    vocabulary = Vocabulary(["東京都", "京都", "大阪"])
    assert vocabulary.similar("京都") == {"京都": 1.0, "東京都": 0.8}
    assert vocabulary.similar("北京") == {}
