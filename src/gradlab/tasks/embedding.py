"""Vectors of words that were learnt elsewhere, as the embedding of a network that reads texts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gradlab.data import Schema
from gradlab.data.fields.text import Stream, Text, Word
from gradlab.data.tokens import FIRST
from gradlab.dotted import validate
from gradlab.engine.run import RunFolder
from gradlab.errors import UserError
from gradlab.models.word_vectors import WordVectors, read


def embedding_of(model: nn.Module) -> nn.Embedding:
    """The table of a network's words; UserError where it has none."""
    found = getattr(model, "embedding", None)
    if not isinstance(found, nn.Embedding):
        raise UserError(
            "transfer.embedding: this network has no table of word vectors to begin with: choose "
            "text_cnn, bilstm or a language model"
        )
    return found


def vectors_from(source: str) -> WordVectors:
    """The vectors of a run of word2vec, or of a file of vectors."""
    place = Path(source)
    if not place.is_dir():
        return read(place)
    folder = RunFolder.open(place)
    schema = validate(Schema, folder.record["schema"], f"run {place}: recipe.json")
    fields = list(schema.inputs.values())
    if len(fields) != 1 or not isinstance(fields[0], Word):
        raise UserError(
            f"transfer.embedding: {place} is no run of word2vec: expected one (gradlab train "
            "skip_gram), or a file of vectors"
        )
    weight = folder.load("best")[1]["model"]["vectors.weight"]
    return WordVectors(fields[0].tokens.vocabulary, weight[FIRST:].numpy())


def begin_embedding(model: nn.Module, schema: Schema, source: str) -> tuple[str, ...]:
    """Give the words of a network that are known there their vectors, and say how many are.

    The others keep their random ones, in the spread of those that are known (Kim 2014, 3.1).
    """
    table, known = embedding_of(model), vectors_from(source)
    field = next(iter(schema.inputs.values()))
    if not isinstance(field, Text | Stream) or field.tokens.by not in ("word", "space"):
        raise UserError(
            f"transfer.embedding: vectors are of words, but the inputs are {schema.words()}: "
            "choose --data.tokens word"
        )
    size = known.vectors.shape[1]
    if size != table.embedding_dim:
        name = "model.embedding" if isinstance(field, Stream) else "model.width"
        raise UserError(
            f"transfer.embedding: the vectors of {source} have {size} numbers, those of the "
            f"network {table.embedding_dim}: give --{name} {size}"
        )
    number = known.number
    pairs = [
        (row, place)
        for row, word in enumerate(field.tokens.vocabulary, FIRST)
        if (place := number.get(word, number.get(word.lower()))) is not None
    ]
    if not pairs:
        raise UserError(f"transfer.embedding: no word of the texts is known to {source}")
    rows, places = (torch.tensor(column) for column in zip(*pairs, strict=True))
    found = torch.from_numpy(known.vectors)[places]
    with torch.no_grad():
        weight: Tensor = table.weight
        weight[FIRST:] *= float(found.std() / weight[FIRST:].std().clamp(min=1e-12))
        weight[rows] = found.to(weight)
    share = len(pairs) / len(field.tokens.vocabulary)
    return (f"embedding: {len(pairs):,} words ({share:.0%} of the vocabulary) from {source}",)
