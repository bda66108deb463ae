"""Tiny random language models with their tokenizers, and a pass of one text by itself."""

import numpy as np
import torch

from nanosae.text.activations import activations

WORDS = [
    "the",
    "a",
    "dog",
    "cat",
    "tree",
    "river",
    "of",
    "runs",
    "sleeps",
    "old",
    "small",
    "green",
]
WORDS += ["under", "near", "and", "but", "sings"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>"]


def texts_of(n, seed=0, longest=12):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)]


def tokenizer_of(kind):
    """BERT's adds [CLS] and [SEP]; Llama's knows <s> and adds nothing. Pieces of two letters."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = {word[i : i + 2] for word in WORDS for i in range(0, len(word), 2)}
    known = SPECIAL + sorted({*pieces, *(f"##{p}" for p in pieces)})
    vocabulary = {piece: i for i, piece in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "<s>"}
    if kind == "bert":
        names |= {"bos_token": None, "cls_token": "[CLS]", "sep_token": "[SEP]"}
        special = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=special
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **names
    )


def model_of(kind):
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "vocab_size": 99, "max_position_embeddings": 64}
    sizes["initializer_range"] = 0.3  # neighbours matter
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**sizes)).eval()
    return transformers.LlamaModel(
        transformers.LlamaConfig(num_key_value_heads=2, pad_token_id=0, **sizes)
    ).eval()


def layer(model, i):
    return f"encoder.layer.{i}" if "Bert" in type(model).__name__ else f"layers.{i}"


def hidden(model, ids, i):
    """Output of layer i for one text by itself: the oracle. Not layer 2, whose output a norm
    follows."""
    with torch.no_grad():
        states = model(
            input_ids=torch.tensor([ids]), output_hidden_states=True
        ).hidden_states
    return states[i + 1][0].numpy()


def alone(model, tokenizer, texts, i):
    """Return rows and (text, start, end) of every token that belongs to a text."""
    rows, places = [], []
    for t, text in enumerate(texts):
        coded = tokenizer(text, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], coded["offset_mapping"]
        if tokenizer.bos_token_id is not None:
            ids, offsets = [tokenizer.bos_token_id, *ids], [(0, 0), *offsets]
        for row, (start, end) in zip(hidden(model, ids, i), offsets, strict=True):
            if end > start:  # specials have no characters
                rows.append(row)
                places.append((t, start, end))
    return np.array(rows), places


def close(found, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )


def collect(blocks):
    blocks = list(blocks)
    tables = [block.table.to_pandas() for block in blocks]
    table = {c: np.concatenate([t[c].to_numpy() for t in tables]) for c in tables[0]}
    rows = [block.rows for block in blocks]
    if isinstance(rows[0], dict):
        return {
            name: np.concatenate([r[name] for r in rows]) for name in rows[0]
        }, table
    return np.concatenate(rows), table


def run(pair, layers, texts, **options):
    return collect(activations(pair[0], layers, texts, tokenizer=pair[1], **options))
