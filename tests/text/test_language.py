"""Which texts are told to be in another language than their embedder."""

import pytest

from nanosae.text.language import language_note, seem_english

OTHERS = {
    "German": "Der Händler hat die Schuhe erst nach zwölf Tagen geschickt, und sie waren zu groß.",
    "French": "Le vendeur a envoyé les chaussures après douze jours et elles étaient trop grandes.",
    "Spanish": "El vendedor envió los zapatos después de doce días y no eran de mi tamaño.",
    "Polish": "Sprzedawca wysłał buty dopiero po dwunastu dniach i były za duże.",
    "Russian": "Продавец отправил обувь только через двенадцать дней, и она была велика.",
    "Greek": "Ο πωλητής έστειλε τα παπούτσια μετά από δώδεκα μέρες και ήταν μεγάλα.",
    "Japanese": "靴は十二日後に届き、大きすぎました。",
    "Hindi": "विक्रेता ने बारह दिन बाद जूते भेजे और वे बहुत बड़े थे।",
}
ENGLISH = {
    "sentences": "The seller sent the shoes after twelve days, and they were too large for me.",
    "an accent": "The café sent the crème brûlée after twelve days, and it was too cold for me.",
    "titles": "running shoes black size 9 waterproof",
    "numbers": "2,000.50 4/5 ★★★★",
    "nothing": "",
}


@pytest.mark.parametrize("language", OTHERS)
def test_texts_in_other_languages_are_recognised(language):
    assert not seem_english([OTHERS[language]])


@pytest.mark.parametrize("kind", ENGLISH)
def test_english_texts_and_titles_are_recognised(kind):
    assert seem_english([ENGLISH[kind]])


def test_a_few_texts_in_other_languages_do_not_count():
    assert seem_english([ENGLISH["sentences"]] * 30 + [OTHERS["French"]])


def test_texts_are_sampled_over_all_rows():
    assert not seem_english([ENGLISH["sentences"]] * 1000 + [OTHERS["Russian"]] * 9000)


def test_only_embedders_for_english_are_noted():
    texts = [OTHERS["Greek"]]
    assert len(language_note("all-MiniLM-L6-v2", texts)) == 1
    assert len(language_note("sentence-transformers/all-MiniLM-L6-v2", texts)) == 1
    assert language_note("paraphrase-multilingual-MiniLM-L12-v2", texts) == []
    assert language_note("wordllama", [ENGLISH["sentences"]]) == []


def test_texts_of_which_many_are_english_are_called_so():
    texts = [OTHERS["Russian"]] * 6 + [ENGLISH["sentences"]] * 4
    (note,) = language_note("wordllama", texts)
    assert note.startswith("Many texts do not seem to be English, but")
    (note,) = language_note("wordllama", texts[:6])
    assert note.startswith("The texts do not seem to be English, but")
