"""The API of the explorer: paths, their parameters, and the functions that answer.

A question is a GET whose parameters are JSON; a change is a POST of one JSON object. Parameters are
validated here, and invalid ones are answered with status 400 and one sentence. Both may name the
corpus that a page shows; if another one is served now, the answer has status 409. Only errors of
the kinds in `nanosae.errors` are mistakes of the client; all others are defects, which `view.web`
answers with status 500.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple
from unicodedata import category

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from nanosae.errors import DataError, NanoSAEError
from nanosae.view.explorer import (
    columns,
    comparisons,
    evidence,
    features,
    glance,
    overview,
    points,
    rows,
    topics,
)
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.prepare import Jobs
from nanosae.view.web import json_response, read_body, refusal

MAX_NUMBER = 2**31 - 1  # rows and features are numbered in 32 bits
MAX_DIGITS = 10  # of such a number in an address
MAX_CHANGE = 2**20  # bytes of a change
MAX_TEXT = 500  # characters of a search text
MAX_TAG = 80
MAX_SIZE = 10**9  # absolute value of a coordinate or an activation
MIN_SIDE = 1e-9  # of a part of a map
SLOW_AT_ONCE = 2  # slow questions answered at a time, so that quick ones need not wait
MAX_SHOWN = 80  # characters of an invalid value in a refusal
OTHER_CORPUS = "Another run is served here now: reload this page."
FILE_HEADERS = {"Content-Disposition": 'attachment; filename="texts.csv"'}

Check = Callable[[Any], Any]  # returns the parsed parameter or raises InvalidValue


class InvalidValue(Exception):
    """A parameter is invalid; the message says what it must be."""


def whole_number(value: Any) -> int:
    """Check a number of a row, feature or line."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 0 <= value <= MAX_NUMBER
    ):
        raise InvalidValue(f"a whole number from 0 to {MAX_NUMBER:,}")
    return value


def number_in_path(value: Any) -> int:
    """Check a row or feature number in a path."""
    if not value.isdecimal() or len(value) > MAX_DIGITS:
        raise InvalidValue(f"a whole number from 0 to {MAX_NUMBER:,}")
    return whole_number(int(value))


def text(value: Any) -> str:
    """Check a text; surrogates are refused because they can be neither searched nor stored."""
    if not isinstance(value, str):
        raise InvalidValue("a text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidValue("a text without surrogates")
    return value


def short_text(value: Any) -> str:
    """Check a text that a user typed."""
    if len(text(value)) > MAX_TEXT:
        raise InvalidValue(f"a text of at most {MAX_TEXT} characters")
    return value


def tag_name(value: Any) -> str:
    """Check the name of a tag."""
    name = " ".join(text(value).split())
    if not 0 < len(name) <= MAX_TAG:
        raise InvalidValue(f"a text of 1 to {MAX_TAG} characters")
    if any(category(character) == "Cc" for character in name):
        raise InvalidValue("a text without control characters")
    return name


def flag(value: Any) -> bool:
    """Check a bool."""
    if not isinstance(value, bool):
        raise InvalidValue("true or false")
    return value


def finite(value: Any) -> float:
    """Check a number that can be computed with."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidValue("a number")
    if not -MAX_SIZE <= value <= MAX_SIZE:  # NaN is neither
        raise InvalidValue(f"a number from -{MAX_SIZE:,} to {MAX_SIZE:,}")
    return float(value)


def whole_numbers(value: Any) -> list[int]:
    """Check a list of rows or features."""
    if not isinstance(value, list):
        raise InvalidValue("a list of whole numbers")
    return [whole_number(item) for item in value]


def two_texts(value: Any) -> list[str]:
    """Check a column and its value."""
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidValue("a column and a value")
    return [text(item) for item in value]


def polygon(value: Any) -> list[list[float]]:
    """Check the corners of a polygon."""
    if not isinstance(value, list) or not value:
        raise InvalidValue("a list of [x, y] pairs")
    for corner in value:
        if not isinstance(corner, list) or len(corner) != 2:
            raise InvalidValue("a list of [x, y] pairs")
    return [[finite(x), finite(y)] for x, y in value]


def box(value: Any) -> list[float]:
    """Check a rectangular part of a map."""
    if not isinstance(value, list) or len(value) != 4:
        raise InvalidValue("a box, [x0, y0, x1, y1]")
    x0, y0, x1, y1 = (finite(end) for end in value)
    if not (x0 + MIN_SIDE < x1 and y0 + MIN_SIDE < y1):
        raise InvalidValue("a box, [x0, y0, x1, y1], with x0 < x1 and y0 < y1")
    return [x0, y0, x1, y1]


def activations(value: Any) -> dict[int, float]:
    """Check new activations by feature."""
    if not isinstance(value, dict):
        raise InvalidValue("an object of features and activations")
    edit = {}
    for feature, activation in value.items():
        edit[number_in_path(feature)] = finite(activation)
    return edit


CONDITIONS: Mapping[str, Check] = {
    "words": short_text,
    "features": whole_numbers,
    "value": two_texts,
    "tag": text,
    "lasso": polygon,
    "led": polygon,
    "topic": whole_number,
}


def selection(value: Any) -> dict[str, Any]:
    """Check the conditions of a selection; see `selections`."""
    if not isinstance(value, dict):
        raise InvalidValue("an object of conditions")
    return checked(value, CONDITIONS, "condition")


def map_kind(value: Any) -> str:
    """Check the kind of a map."""
    if value not in ("rows", "features"):
        raise InvalidValue('"rows" or "features"')
    return value


def or_null(check: Check) -> Check:
    """Return a check that also accepts null."""

    def check_or_null(value: Any) -> Any:
        return None if value is None else check(value)

    return check_or_null


def checked(
    given: Mapping[str, Any], checks: Mapping[str, Check], what: str = "parameter"
) -> dict[str, Any]:
    """Validate parameters and return them parsed.

    Raises:
        DataError: If a parameter is unknown or invalid.
    """
    parsed = {}
    for name, value in given.items():
        if name not in checks:
            known = ", ".join(checks) or "none"
            raise DataError(f"unknown {what} {name!r}; known are: {known}.")
        try:
            parsed[name] = checks[name](value)
        except InvalidValue as error:
            raise DataError(
                f"the {what} {name!r} must be {error}, not {_shown(value)}."
            ) from error
    return parsed


def _shown(value: Any) -> str:
    """Return a value as JSON, truncated."""
    try:
        return json.dumps(value)[:MAX_SHOWN]
    except RecursionError:
        return "a value nested this deeply"


class Endpoint(NamedTuple):
    """An endpoint of the API.

    Attributes:
        answer: The function that answers.
        checks: Checks of its parameters.
        required: Names of the required parameters.
        slow: Whether the answer may take seconds.
    """

    answer: Callable[..., Any]
    checks: Mapping[str, Check]
    required: Sequence[str] = ()
    slow: bool = False


WHERE = {"where": or_null(selection)}
QUESTIONS = {
    "features": Endpoint(
        features.list_features,
        {"words": short_text, "sort": text, "marked": flag, "at": whole_number},
    ),
    "card/{feature}": Endpoint(features.card, {"feature": number_in_path}),
    "topic/{topic}": Endpoint(topics.topic, {"topic": number_in_path}),
    "glance": Endpoint(glance.glance, {}),
    "columns": Endpoint(columns.columns, {}),
    "sentences": Endpoint(
        evidence.weigh_sentences,
        {"row": whole_number, "feature": whole_number},
        required=("row", "feature"),
        slow=True,
    ),
    "texts": Endpoint(rows.list_rows, WHERE | {"at": whole_number}),
    "row/{row}": Endpoint(rows.show_row, {"row": number_in_path}),
    "export": Endpoint(rows.export_rows, WHERE),
    "steer": Endpoint(
        comparisons.steer,
        {
            "row": or_null(whole_number),
            "query": or_null(short_text),
            "edit": or_null(activations),
        },
        slow=True,
    ),
    "contrast": Endpoint(comparisons.contrast_selection, WHERE, slow=True),
    "points/{kind}": Endpoint(
        points.map_points,
        WHERE | {"kind": map_kind, "color": text, "box": or_null(box)},
    ),
    "regions/{kind}": Endpoint(points.map_regions, {"kind": map_kind}),
}
CHANGES = {
    "rename": Endpoint(
        features.rename,
        {"feature": whole_number, "name": text},
        required=("feature", "name"),
    ),
    "bookmark": Endpoint(
        features.bookmark,
        {"feature": whole_number, "on": flag},
        required=("feature", "on"),
    ),
    "tag": Endpoint(
        rows.tag_rows,
        WHERE | {"tag": tag_name, "rows": or_null(whole_numbers), "on": flag},
        required=("tag",),
    ),
}


def make_routes(corpus: OpenCorpus, jobs: Jobs) -> list[Route]:
    """Return the routes below /api for a corpus."""
    state = Endpoint(partial(overview.overview, jobs=jobs), {})
    turns = asyncio.Semaphore(SLOW_AT_ONCE)
    routes = []
    for path, endpoint in {"state": state, **QUESTIONS}.items():
        turn = turns if endpoint.slow else nullcontext()
        routes.append(Route(f"/api/{path}", _question(corpus, endpoint, turn)))
    for path, endpoint in CHANGES.items():
        routes.append(
            Route(f"/api/{path}", _change(corpus, endpoint), methods=["POST"])
        )
    return routes


def _question(
    corpus: OpenCorpus, endpoint: Endpoint, turn: AbstractAsyncContextManager
) -> Callable[[Request], Any]:
    """Answer a GET, in a thread of the server's pool, as soon as it is its turn."""

    async def respond(request: Request) -> Response:
        try:
            given = {
                name: json.loads(value) for name, value in request.query_params.items()
            }
        except (ValueError, RecursionError):
            return refusal("Parameters must be JSON.", 400)
        async with turn:
            if await request.is_disconnected():
                return refusal("Nobody waits for this answer any more.", 499)
            meant = given | request.path_params
            return await run_in_threadpool(_respond, corpus, endpoint, meant)

    return respond


def _change(corpus: OpenCorpus, endpoint: Endpoint) -> Callable[[Request], Any]:
    """Carry out a POST of the explorer's own page."""

    async def respond(request: Request) -> Response:
        origin = request.headers.get("origin", "")
        content_type = request.headers.get("content-type", "")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return refusal("Changes must come from the explorer's own page.", 403)
        if content_type.partition(";")[0] != "application/json":
            return refusal("Changes must be JSON.", 415)
        try:
            body = await read_body(request, MAX_CHANGE)
        except TimeoutError:
            return refusal("The change did not arrive in time.", 408)
        if body is None:
            return refusal(f"A change may have at most {MAX_CHANGE:,} bytes.", 413)
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return refusal("A change must be a JSON object.", 400)
        return await run_in_threadpool(_respond, corpus, endpoint, given)

    return respond


def _respond(
    corpus: OpenCorpus, endpoint: Endpoint, given: Mapping[str, Any]
) -> Response:
    """Validate the parameters, call the function that answers, and return its response."""
    meant = dict(given)
    if meant.pop("corpus", corpus.id) != corpus.id:
        return refusal(OTHER_CORPUS, 409)
    try:
        parameters = checked(meant, endpoint.checks)
        _require(endpoint.required, parameters)
        answer = endpoint.answer(corpus, **parameters)
    except NanoSAEError as error:
        return refusal(str(error), 400)
    if isinstance(answer, bytes):
        return Response(answer, media_type="application/octet-stream")
    if isinstance(answer, dict | list):
        return json_response(answer)
    return StreamingResponse(answer, media_type="text/csv", headers=FILE_HEADERS)


def _require(names: Sequence[str], parameters: Mapping[str, Any]) -> None:
    for name in names:
        if name not in parameters:
            raise DataError(f"the parameter {name!r} is missing.")
