"""Check the statistics of comparisons by simulation on the features of a real corpus.

    python bench/inference.py run/codes/default [--rows 8000] [--rounds 20] [--seed 0] [--json FILE]

In every round, rows are drawn and random groups (or a random number) are assigned to them. Planted
features are redrawn with their real density, at odds ratios of 1.5, 2 and 3 between the groups, or
such that the number has another mean and three times the standard deviation where they are active.
Printed are

- recall of planted features by odds ratio, and the false discovery rate, of `contrast` and, on the
  same rows, of the same test on one half of the rows after a selection on the other half;
- the share of rounds with any finding in shuffled groups;
- coverage of 95 % intervals and bias of effects (in the direction of the effect), for all lines of
  the table and for findings, after and before ("raw") the adjustment for selection;
- the same for numbers with unequal variances.

Rounds are independent; binomial errors of the shares follow from the printed counts.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import expit, logit

from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.effects import Candidates, effects
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.feature_sums import feature_sums
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.statistics import Z95, false_discovery
from nanosae.codes import Codes, write_codes

ODDS_RATIOS = (1.5, 2.0, 3.0)
PLANTED = 45  # features per round, a third for each odds ratio
# of the number's mean, in standard deviations of rows without the feature
DIFFERENCE = 0.4
SPREAD = 3.0  # standard deviation of the number on rows with a planted feature
MIN_ACTIVE = 40  # fewest rows on which a planted feature is active


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", type=Path)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    codes = Codes.open(args.codes)
    groups, halves, numbers, shuffled = [], [], [], []
    for number in range(args.rounds):
        rng = np.random.default_rng([args.seed, number])
        active = drawn_rows(codes, args.rows, rng)
        planted = rng.permutation(common_features(active))[:PLANTED]
        groups.append(group_round(active, planted, rng))
        halves.append(halves_round(active, planted, rng))
        numbers.append(number_round(active, planted, rng))
        shuffled.append(shuffled_round(active, rng))
    result = {
        "codes": args.codes.name,
        "rows": min(args.rows, codes.n_rows),
        "rounds": args.rounds,
        "seed": args.seed,
        "groups": summary(pd.concat(groups)),
        "groups, tested on one half": summary(pd.concat(halves)),
        "numbers with unequal variances": summary(pd.concat(numbers)),
        "shuffled groups with findings": float(np.mean(np.array(shuffled) > 0)),
    }
    text = json.dumps(result, indent=1)
    if args.json:
        args.json.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


def drawn_rows(codes: Codes, n_rows: int, rng: np.random.Generator) -> Any:
    """Draw rows of a corpus; return where its features are active."""
    rows = np.sort(rng.permutation(codes.n_rows)[:n_rows])
    return sp.csc_array(codes.take(rows).astype(bool).astype(np.float32))


def common_features(active: Any) -> np.ndarray:
    """Return the features that may be planted."""
    counts = active.sum(0)
    return np.flatnonzero((counts >= MIN_ACTIVE) & (counts < active.shape[0] / 3))


def plant(
    active: Any,
    planted: np.ndarray,
    chances: np.ndarray,
    rng: np.random.Generator,
) -> Any:
    """Redraw planted features with a probability for each row and feature."""
    columns = active.tolil()
    columns[:, planted] = (rng.random(chances.shape) < chances).astype(np.float32)
    return sp.csr_array(columns)


def planted_groups(
    active: Any, planted: np.ndarray, rng: np.random.Generator
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Assign random groups and plant features; return matrix, groups and log odds ratios."""
    member = rng.random(active.shape[0]) < 0.5
    sign = rng.choice([-1, 1], len(planted))
    effect = sign * np.log(np.resize(ODDS_RATIOS, len(planted)))
    density = active.sum(0)[planted] / active.shape[0]
    chances = expit(logit(density) + np.outer(member - 0.5, effect))
    return plant(active, planted, chances, rng), member, effect


def group_round(
    active: Any, planted: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Compare random groups by `contrast`."""
    matrix, member, effect = planted_groups(active, planted, rng)
    with tempfile.TemporaryDirectory() as folder:
        found = contrast(write_codes(Path(folder) / "codes", matrix), member)
    return judged(found, planted, effect)


def halves_round(
    active: Any, planted: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Compare random groups by a selection on one half of the rows and a test on the other."""
    matrix, member, effect = planted_groups(active, planted, rng)
    target = sp.csr_array(member[:, None].astype(float))
    with tempfile.TemporaryDirectory() as folder:
        codes = write_codes(Path(folder) / "codes", matrix)
        half = rng.random(codes.n_rows) < 0.5
        sums = []
        for part in (half, ~half):
            rows = np.flatnonzero(part)
            one_stratum = sp.csr_array(np.ones((len(rows), 1)))
            weight = np.ones(len(rows))
            sums.append(
                feature_sums(Compared(codes), rows, target[rows], one_stratum, weight)
            )
        chosen, report = sums
        fewest = np.minimum(chosen.n_active.sum(1), report.n_active.sum(1))
        features = np.flatnonzero((fewest >= 10) & (np.abs(chosen.z[:, 0]) >= Z95))
        tested = effects(
            Compared(codes), report, "groups", Candidates(features, 0 * features)
        )
    same_sign = np.sign(tested.effect) == np.sign(chosen.z[features, 0])
    table = pd.DataFrame(
        {
            "feature": features,
            "effect": tested.effect,
            "low": tested.effect - Z95 * tested.error,
            "high": tested.effect + Z95 * tested.error,
            "raw_effect": tested.effect,
            "error": tested.error,
            "found": (false_discovery(tested.p) <= 0.05) & same_sign,
        }
    )
    empty = pd.DataFrame()
    return judged(Contrast("groups", table, empty, empty, {}, empty), planted, effect)


def number_round(
    active: Any, planted: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Explain a random number whose mean and variance depend on planted features."""
    density = active.sum(0)[planted] / active.shape[0]
    chances = np.broadcast_to(density, (active.shape[0], len(planted)))
    matrix = plant(active, planted, chances, rng)
    effect = rng.choice([-1, 1], len(planted)) * np.resize([0, 1, 2], len(planted))
    effect = DIFFERENCE * effect
    is_active = matrix[:, planted].toarray()
    spread = np.where(is_active.any(1), SPREAD, 1.0)
    noise = rng.uniform(-np.sqrt(3), np.sqrt(3), active.shape[0])
    y = is_active @ effect + spread * noise
    with tempfile.TemporaryDirectory() as folder:
        found = explain(write_codes(Path(folder) / "codes", matrix), y, kind="numeric")
    return judged(found, planted, effect)


def shuffled_round(active: Any, rng: np.random.Generator) -> int:
    """Count findings between random groups."""
    member = rng.random(active.shape[0]) < 0.5
    with tempfile.TemporaryDirectory() as folder:
        codes = write_codes(Path(folder) / "codes", sp.csr_array(active))
        return len(contrast(codes, member).findings)


def judged(found: Contrast, planted: np.ndarray, effect: np.ndarray) -> pd.DataFrame:
    """Add true effects to the lines of a table, and lines for planted features without one."""
    truth = pd.DataFrame({"feature": planted, "truth": effect})
    lines: Any = found.table.merge(truth, how="outer", on="feature")
    lines["truth"] = lines["truth"].fillna(0.0)
    lines["has_line"] = lines["effect"].notna()
    lines["found"] = lines["found"].eq(True)
    return lines


def summary(lines: Any) -> dict[str, float]:
    """Return recall by size of the true effect, false discovery rate, coverage and bias."""
    size = lines["truth"].abs()
    result: dict[str, float] = {}
    for value in sorted(set(size[size > 0])):
        result[f"recall at {value:.3g}"] = float(
            lines.loc[size == value, "found"].mean()
        )
    findings = lines[lines["found"]]
    result["n_findings"] = len(findings)
    result["false discovery rate"] = float((findings["truth"] == 0).mean())
    for name, part in (("all", lines[lines["has_line"]]), ("findings", findings)):
        inside = (part["low"] <= part["truth"]) & (part["truth"] <= part["high"])
        raw_inside = (part["raw_effect"] - part["truth"]).abs() <= Z95 * part["error"]
        real = part[part["truth"] != 0]
        sign = np.sign(real["raw_effect"])
        result |= {
            f"n_lines, {name}": len(part),
            f"coverage, {name}": float(inside.mean()),
            f"coverage, {name}, raw": float(raw_inside.mean()),
            f"bias, {name}": float((sign * (real["effect"] - real["truth"])).mean()),
            f"bias, {name}, raw": float(
                (sign * (real["raw_effect"] - real["truth"])).mean()
            ),
        }
    return result


if __name__ == "__main__":
    main()
