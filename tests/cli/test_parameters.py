"""Flags and the arguments of the Python functions: the same names and the same defaults."""

import dataclasses
import importlib
import inspect

import pytest

from nanosae.cli import app

# The functions that take what a command takes, by module. Where several are named, a flag belongs
# to the first that has an argument of its name.
FUNCTIONS = {
    "run": ["pipeline.run.run"],
    "demo": ["demo.run_demo"],
    "embed": ["text.embedders.find_embedder"],
    "activations": ["text.activation_cache.cache_activations"],
    "cache": ["data.cache.cache"],
    "recommend": ["advice.recommend"],
    "train": ["train.trainer.SAETrainer.train", "sweep.sweep"],
    "watch": ["view.live.watch"],
    "encode": ["model.sae.SAEModel.encode_corpus"],
    "describe": ["analysis.describe.describe", "analysis.cards.card"],
    "label": [
        "analysis.names.labels.label",
        "analysis.llm.labels.llm_label",
        "analysis.llm.chat.Chat",
    ],
    "families": ["analysis.groups.families.families"],
    "topics": ["analysis.groups.topics.topics"],
    "search": ["analysis.search.search.search"],
    "evaluate": [
        "analysis.evaluation.evaluate.evaluate",
        "text.recovered.loss_recovered",
    ],
    "steer": ["analysis.search.search.search"],
    "contrast": ["analysis.comparisons.contrast.contrast"],
    "explain": ["analysis.comparisons.explain.explain"],
    "over_time": ["analysis.comparisons.over_time.over_time"],
    "match": ["analysis.matching.match"],
    "splitting": ["analysis.matching.splitting"],
    "stability": ["analysis.matching.stability"],
    "report": ["view.report.render.report"],
    "explore": ["view.explorer.server.explore"],
    "export": ["export.stores.to_store"],
    "push": ["model.sae.SAEModel.push_to_hub"],
}
# Flags about the command itself: what it reads, writes, prints and opens.
OF_COMMANDS = {
    "browser",
    "config",
    "dry_run",
    "encoding",
    "explore",
    "force",
    "live",
    "name",
    "output",
    "settings",
    "stats",
    "text",
}
# Flags of one command that a Python program writes in another way.
OF_ONE_COMMAND = {
    "activations": {"chat"},  # texts that are lists of messages
    "encode": {"texts"},  # part of `metadata`
    "export": {"features", "formulas"},  # codes.features, DataFrame.to_csv
    "label": {"llm"},  # llm_label
    "run": {"price"},  # of a dry run
}
# Flags for which the function must be given a value, or has none by default.
CHOSEN_BY_COMMANDS = {
    ("activations", "layers"),
    ("export", "to"),
    ("label", "model"),
    ("steer", "edit"),
}
COMMANDS = {verb.__name__: verb for verb in app.VERBS if verb.__name__ in FUNCTIONS}


def loaded(address):
    parts = address.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(["nanosae", *parts[:n]]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            found = getattr(found, name)
        return found
    raise AssertionError(address)


def flags(command):
    """Return the defaults of the flags, those in groups of them included."""
    found = {}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if dataclasses.is_dataclass(parameter.default):
            found |= dataclasses.asdict(parameter.default)
        else:
            found[parameter.name] = parameter.default
    return found


def arguments(functions):
    """Return the defaults of the arguments of functions, the first that has a name winning."""
    found = {}
    for function in reversed(functions):
        for parameter in inspect.signature(function).parameters.values():
            found[parameter.name] = parameter.default
    return found


def differences(verb, command, functions):
    """Return the flags that have another name or default than the arguments."""
    known = arguments(functions)
    without_argument = OF_COMMANDS | OF_ONE_COMMAND.get(verb, set())
    found = []
    for name, default in flags(command).items():
        if name not in known:
            if name not in without_argument:
                found.append(f"{name}: no argument has this name")
        elif default != known[name] and not _is_free(default, known[name]):
            found.append(f"{name}: {default!r} as a flag, {known[name]!r} in Python")
    return found


def _is_free(flag, argument):
    """Return whether a value must be given in either form, or is not given by default."""
    is_required = inspect.Parameter.empty in (flag, argument)
    return is_required or (not flag and not argument)


@pytest.mark.parametrize("verb", COMMANDS)
def test_flags_have_the_names_and_defaults_of_the_arguments(verb):
    functions = [loaded(address) for address in FUNCTIONS[verb]]
    assert differences(verb, COMMANDS[verb], functions) == []


def test_the_check_can_fail():
    def command(run, /, *, n=10, other=1, name=None): ...

    def function(run, n=20): ...

    assert differences("", command, [function]) == [
        "n: 10 as a flag, 20 in Python",
        "other: no argument has this name",
    ]


def test_every_command_of_a_public_function_is_compared():
    import nanosae

    missing = {verb.__name__ for verb in app.VERBS} & set(nanosae.__all__)
    assert missing - set(FUNCTIONS) == set()
