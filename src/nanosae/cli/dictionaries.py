"""Commands that compare the features of several SAEs, steer rows, and tag them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import CoercionError, Parameter, Token

import nanosae
from nanosae.cli.output import (
    command_on,
    open_codes,
    prints_json,
    save,
    say,
    say_next,
    show,
)
from nanosae.cli.parameters import (
    Corpus,
    Count,
    Integers,
    Number,
    Run,
    integer,
    split_at_commas,
)
from nanosae.errors import ConfigError

Other = Annotated[Path, Parameter(help="The run folder of another SAE.")]
Others = Annotated[
    Path, Parameter(help="The run folders of SAEs trained with other seeds.")
]


def edits(_kind: Any, tokens: Sequence[Token]) -> dict[int, float]:
    """Read edits such as 12=0 7=2.5, separated by spaces or commas."""
    found = {}
    for token in split_at_commas(list(tokens)):
        feature, _, value = token.value.partition("=")
        try:
            found[int(feature)] = float(value)
        except ValueError:
            raise CoercionError(
                f"{token.value!r} is not an edit; write FEATURE=ACTIVATION, such as 12=0.",
                token=token,
                target_type=dict,
            ) from None
    return found


if TYPE_CHECKING:
    Edits = dict[int, float]
else:
    # of a dict, cyclopts would also look for keys in the name of the option: --edit.12
    Edits = Annotated[
        tuple[str, ...], Parameter(converter=edits, metavar="FEATURE=VALUE...")
    ]


def match(run: Run, other: Other, /) -> None:
    """Match the features of two runs, each with its most similar one and one-to-one."""
    import numpy as np

    matches = nanosae.match(_weights(run), _weights(other))
    nearest, one_to_one = matches[["similarity", "partner_similarity"]].mean()
    n_mutual = np.count_nonzero(matches["mutual"])
    say(
        f"mean similarity: {nearest:.3f} to the most similar feature, {one_to_one:.3f} "
        "one-to-one; "
        f"{n_mutual:,} of {len(matches):,} features are each other's most similar one"
    )
    show(matches)


def splitting(run: Run, larger: Other, /, *, threshold: float = 0.7) -> None:
    """Show how the features of a run split in a larger SAE.

    Args:
        threshold: Minimum cosine between a parent and its child.
    """
    table = nanosae.splitting(_weights(run), _weights(larger), threshold)
    n_split = (table["n_children"] > 1).sum()
    say(f"{n_split:,} of {len(table):,} features have more than one child")
    if not prints_json():
        table = table.sort_values("n_children", ascending=False, kind="stable")
    show(table)


def stability(run: Run, /, *others: Others) -> None:
    """Measure how well each feature is found again by SAEs with other seeds.

    If the run has codes, the scores are added to its feature table.
    """
    import pandas as pd

    from nanosae.codes import has_corpus

    scores = nanosae.stability(_weights(run), [_weights(other) for other in others])
    table = pd.DataFrame({"feature": range(len(scores)), "stability": scores})
    if has_corpus(run):
        save(nanosae.Codes.open(run), table)
    say(f"mean stability: {scores.mean():.3f}")
    show(table.sort_values("stability", ascending=False))


def steer(
    run: Run,
    row: Annotated[int, Parameter(converter=integer)],
    /,
    *,
    edit: Edits,
    steps: Count = 0,
    n: Number = 10,
    name: Corpus = None,
) -> None:
    """Edit the features of a row and find rows similar to the result.

    Args:
        row: The row to start from.
        edit: New activations of features, such as `12=0 7=2.5`; 0 turns a feature off.
        steps: Number of steps that move the edited vector closer to the edited features.
        n: Number of hits.
    """
    codes = open_codes(run, name)
    changes: dict[int | str, float] = {**edit}
    found = nanosae.search(codes, row=row, edit=changes, steps=steps, n=n)
    if prints_json():
        show(found.to_frame())
    else:
        print(found)


def tag(
    run: Run,
    tag: str,
    /,
    *,
    rows: Integers = None,
    remove: bool = False,
    name: Corpus = None,
) -> None:
    """Tag rows, remove a tag, or list the rows that have it.

    Args:
        tag: The tag.
        rows: Row numbers; without them, the rows that have the tag are listed.
        remove: Remove the tag from these rows.
    """
    import pandas as pd

    from nanosae.codes.places import indices
    from nanosae.runs import annotations

    codes = nanosae.Codes.open(run, name)
    if remove and rows is None:
        raise ConfigError("--remove has no effect without --rows.")
    if rows is not None:
        chosen = indices(list(rows), codes.n_rows, "row").tolist()
        annotations.tag(run, codes.name, tag, chosen, on=not remove, data=codes.data)
    tagged = annotations.tagged(run, codes.name, tag, codes.data)
    table = pd.DataFrame({"row": tagged})
    if codes.has_texts:
        table["text"] = codes.texts(tagged)
    show(table)
    say_next(command_on(codes, "explore", run))


def _weights(run: Path) -> Any:
    from nanosae.model.weights import Weights

    return Weights.load(run)
