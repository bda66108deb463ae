"""Clues from the names of columns, for roles that their values leave open.

Names are compared by their words: "author_id" and "postId" are "author id" and "post id".
"""

from __future__ import annotations

import re

TEXT_NAMES = re.compile(
    r"^(text|texts|body|content|contents|abstract|review|comment|message|description|tweet|post|"
    r"answer|response|feedback|document|sentence|summary|question|complaint|narrative|utterance)s?$"
)
ID_NAMES = re.compile(
    r"\b(id|ids|uuid|guid|key|index|idx|hash|url|uri|link|doi|isbn|issn|ean|gtin|sku|mrn|pmid"
    r"|zip|zipcode|zip code|postcode|postal code|plz|postleitzahl|iban|ip|phone|tel|telefon|fax"
    r"|(phone|order|case|ticket|invoice|account|customer|member|serial|reference) (number|no|nr)"
    r"|\w*(kunden|auftrags|bestell|rechnungs|vertrags|telefon|artikel)nummer"
    r"|user|customer|client|patient|respondent|participant|member)$"
)
INDEX_NAMES = re.compile(r"^(index|level \d+)$")  # given by pandas
TIME_NAMES = re.compile(
    r"\b(time|timestamp|ts|epoch|unix|date|datetime|datum|fecha|created|posted|published"
    r"|updated|modified|received|opened|closed|resolved|submitted"
    r"|when|sent|written|answered|started|ended|finished)\b"
)
DAY_NAMES = re.compile(
    r"\b(day|date|datum|fecha|created|posted|published|updated|modified|received|submitted)\b"
)
DURATION_NAMES = re.compile(
    r"\b(duration|length|elapsed|runtime|waiting|wait|took|spent|handling|talk|dauer|durée|duración)\b"
)
YEAR_NAMES = re.compile(r"\b(year|yr|jahr|annee|année|año|anno|ano)$")
BIRTH_NAMES = re.compile(r"\b(birth|born|geburt\w*|naissance|nacimiento|nascita)\b")
PLACE_NAMES = re.compile(r"\b(lat|latitude|lon|lng|long|longitude)$")
TAG_NAMES = re.compile(
    r"\b(tag|label|topic|genre|keyword|category|categorie|subject|skill)s?$"
)
# of questions with several answers, "(select all that apply)"
CHOICE_NAMES = re.compile(
    r"\b(all|any|which|more than one|several) (of the \w+ )?(that |which )?appl(y|ies)\b"
    r"|multiple (choice|answers|selection)|mehrfach"
)


def words_of(name: str) -> str:
    """Return the words of a column's name, in lower case and separated by spaces.

    Example:
        >>> words_of("postId"), words_of("author_id")
        ('post id', 'author id')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", apart).strip().lower()


def numbered_names(n: int) -> list[str]:
    """Return names for columns without any.

    Example:
        >>> numbered_names(2)
        ['column1', 'column2']
    """
    return [f"column{number}" for number in range(1, n + 1)]


def field_of(name: str) -> str:
    """Return the last component of a record's field, such as `text` of `post.content.text`."""
    return name.rpartition(".")[2].strip().lower()
