"""The fields of TrainConfig as flags, lists of their values, and a file of them."""

from __future__ import annotations

import dataclasses
import json

from nanosae.config import TrainConfig

FIELDS = {field.name for field in dataclasses.fields(TrainConfig)}


class Settings(TrainConfig):
    """The fields of TrainConfig as flags; what contradicts itself is for `checked` to say."""

    def __post_init__(self) -> None:
        pass

    def checked(self) -> TrainConfig:
        """Return the config, validated."""
        return TrainConfig(**vars(self))


def lists(vary: tuple[str, ...]) -> dict[str, list]:
    """Return the values of `FIELD=V1,V2` by field."""
    lists = {}
    for item in vary:
        name, _, values = item.partition("=")
        if name not in FIELDS or not values:
            raise ValueError(
                f"{item!r} is no FIELD=V1,V2 with a field such as k, hidden_size, seed."
            )
        lists[name] = [_value(value) for value in values.split(",")]
    return lists


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def with_lists(argv: list[str]) -> list[str]:
    """Turn `--k 16,32` of `train` into `--vary k=16,32`."""
    if argv[:1] != ["train"]:
        return argv
    fields, out, lists = FIELDS - {"columns", "matryoshka"}, [], []
    for word in (part for a in argv for part in (a.split("=", 1) if a[:2] == "--" else [a])):
        name = out[-1].removeprefix("--").replace("-", "_") if out else ""
        if "," in word and name in fields and out[-1].startswith("--"):
            out.pop()
            lists.append(f"{name}={word}")
        else:
            out.append(word)
    return out + (["--vary", *lists] if lists else [])


def with_config(argv: list[str]) -> list[str]:
    """Add the settings of `--config FILE` as flags, but those that are given as flags anyway."""
    if "--config" not in argv[:-1]:
        return argv
    flags = []
    given = {arg.split("=")[0].replace("_", "-") for arg in argv}
    for name, value in TrainConfig.load(argv[argv.index("--config") + 1]).to_dict().items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False or flag in given:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        flags += [flag, *map(str, values)]
    return argv + flags
