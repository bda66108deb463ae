"""The API pages: every public name is on them, and everything on them exists."""

import inspect
import pkgutil
import re

import nanosae
from pages import ROOT

PLOTS = {
    "plot",
    "plot_dictionary",
    "plot_umap",
}  # all of `nanosae.view.plots` is described


def addresses():
    """Return what the API pages describe."""
    found = []
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        found += re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.M)
    return found


def described():
    return {address: pkgutil.resolve_name(address) for address in addresses()}


def returned(function):
    """Return the class of the package that a function returns, or None."""
    name = inspect.signature(function).return_annotation
    home = inspect.getmodule(function)
    found = getattr(home, str(name), None)
    is_own = inspect.isclass(found) and found.__module__.startswith("nanosae.")
    return found if is_own else None


def test_every_public_name_is_described_and_every_described_name_is_public():
    top_level = {a.removeprefix("nanosae.") for a in addresses() if a.count(".") == 1}
    assert top_level - {"errors"} == set(nanosae.__all__) - PLOTS
    assert "nanosae.view.plots" in addresses()
    assert len(addresses()) == len(set(addresses()))


def test_what_public_functions_return_is_described():
    objects = set(described().values())
    missing = {}
    for address, function in described().items():
        if not inspect.isfunction(function):
            continue
        result = returned(function)
        if result is not None and result not in objects:
            missing[address] = result
    assert missing == {}


def test_every_described_function_and_class_has_a_docstring():
    assert [a for a, found in described().items() if not found.__doc__] == []


def test_the_check_of_results_can_fail():
    assert returned(nanosae.contrast).__name__ == "Contrast"
    assert returned(nanosae.describe) is None
