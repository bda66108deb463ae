"""Prompts that ask a language model to name a feature, and to judge texts by a name.

Answers are stored under the whole prompt. Increase PROMPT_VERSION when the meaning of a prompt
changes but its text does not.
"""

from __future__ import annotations

from collections.abc import Sequence

PROMPT_VERSION = 1
INTERPRET = """A feature of text embeddings is a number per text: above 0 if the text has a certain
property, 0 if not. Find the property in four steps. 1. List what the ACTIVE texts share (subject,
purpose, form, tone, single words), in narrow and in broad terms; the activation in front of each
says how much it counts. 2. Strike out what the INACTIVE texts have,
too. 3. Of the rest take the simplest description that fits all ACTIVE texts and is no broader than
needed. 4. End with one line: FINAL: and that description in 1 to 8 plain words."""
JUDGE = "One feature of text embeddings is active on texts that fit this description: {label}"
PREDICT = """Is it active on the text below? Give a short reason and end with one line: PREDICTION:
and a number from -1 (certainly inactive) over 0 (no idea) to 1 (certainly active)."""
DETECT = """On which of the numbered texts below is it active? Any number of them may fit, or none.
End with one line: MATCHES: and their numbers with commas between them, or the word none."""


def interpretation_prompt(
    active: Sequence[str], activations: Sequence[float], inactive: Sequence[str]
) -> str:
    """Ask for the name of a feature from active texts, the strongest first, and inactive texts."""
    active_lines = []
    for text, activation in zip(active, activations, strict=True):
        relative = activation / activations[0]
        active_lines.append(f"[{relative:.2f}] {_tagged(text)}")
    inactive_lines = [_tagged(text) for text in inactive]
    lines = [INTERPRET, "ACTIVE:", *active_lines, "INACTIVE:", *inactive_lines]
    return "\n".join(lines)


def prediction_prompt(label: str, text: str) -> str:
    """Ask whether a feature of this name is active on one text."""
    return "\n".join([JUDGE.format(label=label), PREDICT, _tagged(text)])


def detection_prompt(label: str, texts: Sequence[str]) -> str:
    """Ask on which of several numbered texts a feature of this name is active."""
    lines = [f"{number}. {_tagged(text)}" for number, text in enumerate(texts, 1)]
    return "\n".join([JUDGE.format(label=label), DETECT, *lines])


def _tagged(text: str) -> str:
    return f"<text>{text}</text>"
