"""Labels by a language model, scored on held-out texts.

The protocol follows O'Neill et al. 2024 (arXiv 2408.00657, section 4). An interpreter reads texts
on which a feature is strongest and texts on which it is inactive, and labels it in 1 to 8 words. A
predictor reads the label and one held-out text and states on a scale from -1 to 1 whether the
feature is active. The scores are the Pearson correlation with the truth (0 or 1) and the F1 of
predictions above 0. Detection makes a tenth of the calls: it shows ten held-out texts at once and
asks which of them fit the label. Scores with different kinds of inactive texts are not comparable,
so the kind is stored with the score.

Any chat-completions server will do. Each answer is stored in SQLite on arrival, under a hash of
everything that can change it: after an interruption only calls in flight are paid for again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nanosae.analysis.llm.answers import (
    agreement,
    parse_label,
    parse_matches,
    parse_prediction,
)
from nanosae.analysis.llm.cases import (
    HARD_SHARE,
    Case,
    CaseSource,
    Negatives,
)
from nanosae.analysis.llm.chat import Chat, ChatSession
from nanosae.analysis.llm.prompts import detection_prompt, prediction_prompt
from nanosae.analysis.reading import chosen_features
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError
from nanosae.progress import tracked

SCORES = ["llm_f1", "llm_pearson", "llm_n", "llm_unparsed", "llm_doubtful"]
COLUMNS = ["feature", "llm_label", *SCORES, "llm_negatives", "llm_scoring", "llm_model"]
BLOCK = 512  # features whose cases are drawn together
DETECTED = 10  # texts per detection prompt
MIN_JUDGED = 0.5  # share of the test texts that must be judged for a score

Scoring = Literal["predict", "detect"]


def llm_label(
    codes: Corpus,
    chat: Chat,
    features: Any = None,
    *,
    predictor: Chat | None = None,
    scoring: Scoring = "predict",
    negatives: Negatives = "random",
    shown: int = 10,
    tests: int = 20,
    words: int = 150,
    groups: str | None = None,
    cache: str | Path | None = None,
    dry_run: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Label features with a language model and score the labels on held-out texts.

    Args:
        codes: A corpus with texts, or its run folder, or an `Analysis` of it.
        chat: The server and model that label features.
        features: The features to label; by default all that are active on some row.
        predictor: The server and model that judge labels; by default the same.
        scoring: "predict" asks about one text per call, "detect" about ten.
        negatives: Kind of the inactive texts, shown and tested: "random", "hard", or "mixed" (half
            of each).
        shown: Number of strongest texts to show (one of several near-duplicates), and of inactive
            ones.
        tests: Number of held-out active texts to judge, and of inactive ones.
        words: Texts are cut to this number of words, and to 8 times as many characters.
        groups: A metadata column whose equal values stay on one side of the split.
        cache: The SQLite file of answers; by default `llm.sqlite` in the run folder.
        dry_run: Make no calls; return what they would cost.
        seed: Seed of the split and of the sampling. The texts of a feature do not depend on which
            other features are labelled.

    Returns:
        A frame with `feature, llm_label, llm_f1, llm_pearson, llm_n` (texts judged), `llm_unparsed`
        (texts with an unreadable answer, which count as inactive), `llm_doubtful` (F1 is undefined
        or no better than that of "all texts fit"), `llm_negatives, llm_scoring, llm_model`;
        undefined scores are NaN. It has a row for each feature whose new label was judged on at
        least half of the test texts, so saving it keeps the existing labels of all others.
        `frame.attrs["unlabelled"]` lists the others, and `frame.attrs["usage"]` has a dict for each
        model (see `Usage`). A dry run returns these dicts as a frame, with upper bounds instead of
        counts.

    Raises:
        ExtraError: If the `llm` extra is missing.
        ConfigError: If an argument is out of range, or OpenAI's server is to be used without a key.
        DataError: If there are no texts.
        ServerError: If the server cannot be reached, rejects the key or the model, or fails more
            than 20 times in a row. It is a ConnectionError. Call again to continue from the stored
            answers.
    """
    codes = as_codes(codes)
    _check(scoring, negatives, shown, tests, words)
    features = chosen_features(codes, features)
    duplicate_group, held = _split(codes, groups, seed)
    sizes = (shown, tests, words)
    source = CaseSource(codes, duplicate_group, held, *sizes, negatives, seed)
    if cache is None:
        folder = codes.path if codes.run is None else codes.run
        cache = folder / "llm.sqlite"

    with ExitStack() as sessions:
        namer = judge = ChatSession(chat, Path(cache), dry_run=dry_run)
        sessions.callback(namer.close)
        if predictor is not None:
            judge = ChatSession(predictor, Path(cache), dry_run=dry_run)
            sessions.callback(judge.close)
        lines = _label_all(features, source, namer, judge, scoring)
    usage = [asdict(namer.usage)]
    if predictor is not None:
        usage.append(asdict(judge.usage))

    if dry_run:
        frame = pd.DataFrame(usage)
    else:
        frame = pd.DataFrame(lines, columns=COLUMNS)
        frame["llm_negatives"] = negatives
        frame["llm_scoring"] = scoring
        frame["llm_model"] = chat.model
        labelled = frame["feature"].astype(int)
        frame.attrs["unlabelled"] = np.setdiff1d(features, labelled).tolist()
    frame.attrs["usage"] = usage
    return frame


def _split(
    codes: Codes, groups: str | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out half of the rows; near-duplicates and equal values of a column stay together.

    Returns:
        The duplicate group of each row, and whether it is held out, each (n_rows,).
    """
    duplicate_group = duplicate_groups(codes)
    split_group = duplicate_group
    if groups is not None:
        split_group = duplicate_groups(codes, groups=groups)
    return duplicate_group, held_out(split_group, 0.5, seed)


def _label_all(
    features: np.ndarray,
    source: CaseSource,
    namer: ChatSession,
    judge: ChatSession,
    scoring: Scoring,
) -> list[dict[str, Any]]:
    """Return a line for each feature that is named and whose name is judged."""
    with (
        ThreadPoolExecutor(namer.chat.concurrency) as naming,
        ThreadPoolExecutor(judge.chat.concurrency) as judging,
    ):
        labeller = _Labeller(namer, judge, judging, scoring)
        lines = []
        for block in np.split(features, range(BLOCK, len(features), BLOCK)):
            labelled = naming.map(labeller.label, source.draw(block))
            lines += tracked(labelled, "ask", len(block))
    return [line for line in lines if line is not None]


@dataclass(frozen=True)
class _Labeller:
    """Names features and has their names judged."""

    namer: ChatSession
    judge: ChatSession
    judging: ThreadPoolExecutor
    scoring: Scoring

    def label(self, case: Case) -> dict[str, Any] | None:
        """Return the line of a feature; None if it is not named or on too few texts judged."""
        label = parse_label(self.namer.ask(case.prompt)) if case.prompt else ""
        if not label:
            return None
        predicted, is_judged = self._judged(label, case.texts)
        if is_judged.sum() < MIN_JUDGED * len(case.texts):
            return None
        scores = agreement(predicted[is_judged], case.truth[is_judged])
        return {"feature": case.feature, "llm_label": label, **scores}

    def _judged(self, label: str, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the predictions, NaN if unreadable, and which texts got an answer."""
        if self.scoring == "predict":
            prompts = [prediction_prompt(label, text) for text in texts]
            answers = list(self.judging.map(self.judge.ask, prompts))
            predicted = [parse_prediction(answer) for answer in answers]
            is_judged = [answer is not None for answer in answers]
            return np.array(predicted), np.array(is_judged, dtype=bool)
        starts = range(0, len(texts), DETECTED)
        parts = [texts[start : start + DETECTED] for start in starts]
        prompts = [detection_prompt(label, part) for part in parts]
        matches = [np.zeros(0)]
        is_judged = []
        answers = self.judging.map(self.judge.ask, prompts)
        for part, answer in zip(parts, answers, strict=True):
            matches.append(parse_matches(answer, len(part)))
            is_judged += [answer is not None] * len(part)
        return np.concatenate(matches), np.array(is_judged, dtype=bool)


def _check(scoring: str, negatives: str, shown: int, tests: int, words: int) -> None:
    """Raise ConfigError if an argument is out of range."""
    if scoring not in ("predict", "detect"):
        raise ConfigError(f"scoring={scoring!r} must be 'predict' or 'detect'.")
    if negatives not in HARD_SHARE:
        raise ConfigError(f"negatives={negatives!r} must be one of {[*HARD_SHARE]}.")
    for name, value, least in (
        ("shown", shown, 1),
        ("tests", tests, 0),
        ("words", words, 1),
    ):
        if value < least:
            raise ConfigError(f"{name}={value} must be at least {least}.")
