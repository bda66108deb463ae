"""Fixtures of the tests of texts."""

import pytest


@pytest.fixture(scope="module", params=["bert", "llama"])
def pair(request):
    from language_models import model_of, tokenizer_of

    return model_of(request.param), tokenizer_of(request.param)


@pytest.fixture(scope="module")
def bert():
    from language_models import model_of, tokenizer_of

    return model_of("bert"), tokenizer_of("bert")


@pytest.fixture(scope="module")
def llama():
    from language_models import model_of, tokenizer_of

    return model_of("llama"), tokenizer_of("llama")
