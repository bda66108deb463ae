"""Validation and parsing of a language model's answers."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

import numpy as np

MAX_CHARACTERS = 200_000  # longer answers are rejected
MAX_LABEL_WORDS = 8
MAX_LABEL_CHARACTERS = 120
# control characters, and those that change the direction of writing
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MAX_DIGITS = 9  # longer numbers cannot be those of a text
MINUS = "-\u2010-\u2015\u2212\ufe63\uff0d"  # hyphens, dashes and minus signs
# a dash after words, as in "high - 0.9", is no minus
PREDICTED = re.compile(
    rf"(^[{MINUS}]\s*|(?<!\w)[{MINUS}](?=[\d.,]))?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?",
    re.I,
)
MATCHED = re.compile(rf"(\d+)(?:[ \t]*[{MINUS}][ \t]*(\d+))?")  # a number, or a range
NUMBERED = re.compile(r"\W*\d")  # the beginning of a line of a list
MAX_TOKENS = 10**8  # no call uses more: such a count of the server is wrong


def answer_fault(answer: Any) -> str:
    """Return what is wrong with a server's answer; "" if it is usable.

    Example:
        >>> answer_fault("FINAL: trees"), answer_fault(None), answer_fault(["FINAL: trees"])
        ('', 'empty answer', 'answer of type list')
    """
    if answer is None or answer == "":
        return "empty answer"
    if not isinstance(answer, str):
        return f"answer of type {type(answer).__name__}"
    if len(answer) > MAX_CHARACTERS:
        return f"answer of {len(answer)} characters"
    try:
        answer.encode()
    except UnicodeEncodeError:
        return "answer that is not Unicode text"
    return ""


def token_count(given: Any, otherwise: int) -> int:
    """Return a server's token count if it is plausible, else an estimate.

    Example:
        >>> token_count(7, 100), token_count("many", 100), token_count(-1, 100)
        (7, 100, 100)
    """
    is_integer = isinstance(given, int) and not isinstance(given, bool)
    if is_integer and 0 < given <= MAX_TOKENS:
        return given
    return otherwise


def parse_label(answer: str | None) -> str:
    r"""Return the name in an interpreter's answer, cut to 8 words; "" if there is none.

    Example:
        >>> parse_label("<think>FINAL: no</think> It is about ...\n**FINAL:** text editors.")
        'text editors'
    """
    name, *_ = _after_tag(answer, "FINAL")
    printable = CONTROLS.sub(" ", name)
    words = printable.strip(" *_`\"'.").split()
    label = " ".join(words[:MAX_LABEL_WORDS])
    return label if len(label) <= MAX_LABEL_CHARACTERS else ""


def parse_prediction(answer: str | None) -> float:
    r"""Return the number in a predictor's answer, clipped to [-1, 1]; NaN if there is none.

    Example:
        >>> parse_prediction("It fits.\nPREDICTION: 0.9"), parse_prediction("PREDICTION: maybe")
        (0.9, nan)
    """
    tagged, *_ = _after_tag(answer, "PREDICTION")
    number = PREDICTED.search(tagged)
    if number is None:
        return float("nan")
    minus, digits, exponent = number.groups("")
    magnitude = float(digits.replace(",", ".") + exponent)
    prediction = -magnitude if minus else magnitude
    return min(max(prediction, -1.0), 1.0)


def parse_matches(answer: str | None, n: int) -> np.ndarray:
    """Return which of `n` numbered texts an answer names, 0 or 1, (n,); NaN if it is unreadable.

    Example:
        >>> parse_matches("MATCHES: 1, 3", 4).tolist(), parse_matches("MATCHES: none", 2).tolist()
        ([1.0, 0.0, 1.0, 0.0], [0.0, 0.0])
        >>> parse_matches("MATCHES: 2-4", 4).tolist()
        [0.0, 1.0, 1.0, 1.0]
    """
    line, *below = _after_tag(answer, "MATCHES")
    tagged = "\n".join([line, *takewhile(NUMBERED.match, below)])
    ranges = MATCHED.findall(tagged)
    is_named = np.zeros(n)
    if re.match(r"\W*none\b", tagged, re.I):  # "none of the texts 1 to 10"
        return is_named
    if not ranges and "none" not in tagged.lower():
        return np.full(n, np.nan)
    for first, last in ranges:
        if max(len(first), len(last)) <= MAX_DIGITS:
            start = max(int(first) - 1, 0)
            stop = int(last or first)
            is_named[start:stop] = 1
    return is_named


def agreement(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compare predictions with the truth; NaN predictions count as 0.

    Args:
        predicted: From -1 (inactive) to 1 (active), (n,).
        truth: 0 or 1, (n,).

    Returns:
        `llm_f1` of predictions above 0 and `llm_pearson`, both NaN if undefined; `llm_n`;
        `llm_unparsed` (how many were NaN); `llm_doubtful` (whether F1 is undefined or no better
        than predicting that all texts are active).

    Example:
        >>> agreement(np.array([0.9, 0.2, -1.0]), np.array([1, 0, 0]))["llm_f1"]
        0.6666666666666666
    """
    n_unparsed = int(np.isnan(predicted).sum())
    predicted = np.nan_to_num(predicted)
    is_positive = predicted > 0
    f1 = np.nan
    pearson = np.nan
    n_true = truth.sum()
    f1_of_all = 2 * n_true / max(n_true + len(truth), 1)
    if len(np.unique(truth)) == 2:
        n_hits = is_positive @ truth
        n_predicted = is_positive.sum()
        f1 = float(2 * n_hits / (n_predicted + n_true))
        if np.ptp(predicted) > 0:
            correlations = np.corrcoef(predicted, truth)
            pearson = float(correlations[0, 1])
    return {
        "llm_f1": f1,
        "llm_pearson": pearson,
        "llm_n": len(truth),
        "llm_unparsed": n_unparsed,
        "llm_doubtful": not f1 > f1_of_all,
    }


def _after_tag(answer: str | None, tag: str) -> list[str]:
    """Return what follows the last `TAG:`: the rest of its line or, if empty, the lines below.

    These end before an empty one. There is at least one, perhaps empty; <think> sections are
    ignored.
    """
    visible = re.sub(r"(?is)<think>.*?(</think>|\Z)", "", answer or "")
    visible = visible.rpartition("</think>")[2]  # some servers cut the opening tag
    _, *followed = re.split(rf"(?i)\b{tag}\b\W*?:[ \t*]*", visible)
    line, _, below = followed[-1].partition("\n") if followed else ("", "", "")
    paragraph = line if line.strip() else re.split(r"\n\s*\n", below.strip())[0]
    return [line.strip("* \t\r") for line in paragraph.split("\n")]
