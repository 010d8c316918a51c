"""Networks that say of which class a text is: bags of n-grams, convolutions, a recurrent one.

Joulin et al. (2016), "Bag of tricks for efficient text classification",
https://arxiv.org/abs/1607.01759; Wang and Manning (2012), "Baselines and bigrams: simple, good
sentiment and topic classification" (NBSVM); Kim (2014), "Convolutional neural networks for sentence
classification", https://arxiv.org/abs/1408.5882; Graves and Schmidhuber (2005), "Framewise phoneme
classification with bidirectional LSTM".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import describe

PAD = 0
"""What fills up a short text."""
_PRIME = 1_000_003
"""What n-grams are hashed by."""

Grams = Annotated[int, Field(ge=1, le=9, description="words of the longest n-grams")]
Buckets = Annotated[
    int, Field(ge=1, le=1 << 26, description="n-grams of two words and more share so many vectors")
]
Width = Annotated[int, Field(ge=1, le=65536, description="numbers for each token")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="in front of the last layer")]


def ngrams(x: Tensor, most: int, buckets: int) -> list[Tensor]:
    """Numbers of the n-grams of 2 to `most` tokens: N T-1, N T-2, ..., from 1, 0 for padding.

    x: int64 N T, filled up with 0 at the end. Equal n-grams have equal numbers, others share one
    with a chance of 1 / `buckets`.

    >>> first, _, third, last = ngrams(torch.tensor([[5, 7, 5, 7, 0]]), 2, 1000)[0][0].tolist()
    >>> first == third, last
    (True, 0)
    """
    found = []
    code = x
    for n in range(2, most + 1):
        if x.shape[1] < n:
            break
        code = code[:, :-1] * _PRIME + x[:, n - 1 :]
        code = code ^ (code >> 29)
        there = x[:, n - 1 :] != PAD
        found.append(torch.where(there, code.remainder(buckets) + 1, PAD))
    return found


class BagOfNgrams(nn.Module):
    """The mean of the vectors of a text's words and n-grams, and one linear layer. N T -> N K."""

    def __init__(
        self, vocabulary: int, outputs: int, *, grams: int, buckets: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.grams, self.buckets = grams, buckets
        self.words = nn.EmbeddingBag(vocabulary, width, mode="sum", padding_idx=PAD)
        self.ngrams = (
            nn.EmbeddingBag(buckets + 1, width, mode="sum", padding_idx=PAD) if grams > 1 else None
        )
        for bag in (self.words, self.ngrams):
            if bag is not None:
                nn.init.uniform_(bag.weight, -1 / width, 1 / width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: int64 N T."""
        total = self.words(x)  # N E
        count = (x != PAD).sum(1, keepdim=True)  # N 1
        if self.ngrams is not None:
            for codes in ngrams(x, self.grams, self.buckets):
                total = total + self.ngrams(codes)
                count = count + (codes != PAD).sum(1, keepdim=True)
        scores: Tensor = self.head(self.dropout(total / count.clamp(min=1)))  # N K
        return scores


class NBSVM(nn.Module):
    """A linear model of which n-grams a text has, each times its log-count ratio. N T -> N K.

    `ratio` says how much commoner an n-gram is in a class than in all others, from the training
    split, and is no parameter. Weights begin near 0: weights of 1, naive Bayes itself, are right
    on every training text already, since most long n-grams stand in one text alone, and nothing
    more is learnt.
    """

    def __init__(self, vocabulary: int, outputs: int, *, grams: int, buckets: int) -> None:
        super().__init__()
        self.grams, self.buckets, self.outputs = grams, buckets, outputs
        self.vocabulary = vocabulary
        columns = 1 if outputs == 2 else outputs
        size = vocabulary + buckets + 1 if grams > 1 else vocabulary
        self.weight = nn.Parameter(torch.full((columns, size), 1e-4))
        self.bias = nn.Parameter(torch.zeros(columns))
        self.ratio: Tensor
        self.register_buffer("ratio", torch.zeros(columns, size))

    def features(self, x: Tensor) -> Tensor:
        """The numbers of the n-grams that a text has, each once, the others 0: N L."""
        codes = [x, *(torch.where(c == PAD, PAD, c + self.vocabulary) for c in self._codes(x))]
        every = torch.cat(codes, 1).sort(1).values
        again = functional.pad(every[:, 1:] == every[:, :-1], (1, 0))
        return every.masked_fill(again, PAD)

    def _codes(self, x: Tensor) -> list[Tensor]:
        return [code - (code != PAD).long() for code in ngrams(x, self.grams, self.buckets)]

    def initialise_from_examples(self, examples: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Count the n-grams of each class. examples: batches of x (N T) and y (N)."""
        counts = torch.zeros(self.outputs, self.ratio.shape[1])  # K F
        for x, y in examples:
            found = self.features(x)
            for label in range(self.outputs):
                chosen = found[y == label]
                chosen = chosen[chosen != PAD]
                counts[label] += torch.bincount(chosen.cpu(), minlength=counts.shape[1])
        for column, label in enumerate(range(self.outputs - len(self.ratio), self.outputs)):
            own, rest = counts[label] + 1, counts.sum(0) - counts[label] + 1
            ratio = (own / own.sum()).log() - (rest / rest.sum()).log()
            ratio[counts.sum(0) == 0] = 0
            self.ratio[column] = ratio.to(self.ratio.device)

    def forward(self, x: Tensor) -> Tensor:
        """x: int64 N T."""
        found = self.features(x)  # N L
        scores = []
        for weight, ratio, bias in zip(self.weight, self.ratio, self.bias, strict=True):
            values = functional.embedding_bag(
                found, weight[:, None], mode="sum", per_sample_weights=ratio[found]
            )  # N 1; the ratio of padding is 0
            scores.append(values[:, 0] + bias)
        if self.outputs == 2:
            scores = [-scores[0] / 2, scores[0] / 2]
        return torch.stack(scores, 1)  # N K


class TextCNN(nn.Module):
    """Filters over windows of words, the strongest answer of each, a linear layer. N T -> N K."""

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        width: int,
        windows: tuple[int, ...],
        filters: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, size) for size in windows)
        self.least = max(windows)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(windows), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: int64 N T."""
        ends = self.least - 1 + (x != PAD).sum(1)  # N: where the padding after a text begins
        x = functional.pad(x, (self.least - 1, self.least - 1))
        embedded = self.embedding(x).transpose(1, 2)  # N E T
        found = []
        for conv in self.convolutions:
            strength = conv(embedded).relu()  # N F T
            # Windows beyond the text depend on the longest one of the batch: they do not count.
            starts = torch.arange(strength.shape[2], device=x.device)
            beyond = starts[None] >= ends.clamp(min=self.least)[:, None]  # N T
            found.append(strength.masked_fill(beyond[:, None], 0).amax(2))  # N F
        scores: Tensor = self.head(self.dropout(torch.cat(found, 1)))  # N K
        return scores


class BiLSTM(nn.Module):
    """An LSTM in both directions over the words, pooled, and a linear layer. N T -> N K."""

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        width: int,
        hidden: int,
        layers: int,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.spread = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            width, hidden, layers, batch_first=True, bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )  # fmt: skip
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: int64 N T."""
        lengths = (x != PAD).sum(1).clamp(min=1)  # N
        embedded = self.spread(self.embedding(x))  # N T E
        packed = pack_padded_sequence(
            embedded, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        output, (h, _) = self.lstm(packed)
        if self.pool == "last":
            found = torch.cat([h[-2], h[-1]], 1)  # N 2H: the end of each direction
        else:
            states, _ = pad_packed_sequence(output, batch_first=True)  # N T 2H
            there = torch.arange(states.shape[1], device=x.device)[None] < lengths[:, None]
            if self.pool == "max":
                found = states.masked_fill(~there[..., None], -torch.inf).amax(1)
            else:
                found = states.sum(1) / lengths[:, None]  # padding is 0
        scores: Tensor = self.head(self.dropout(found))  # N K
        return scores


def _tokens(inputs: Shape) -> int:
    """The size of the vocabulary; UserError for what is no text."""
    if len(inputs) != 2:
        raise UserError(
            f"this network reads texts, but the inputs are not ({describe(inputs)}): give texts "
            "(--data.text COLUMN for a table), or choose the network 'mlp' for a table or an image"
        )
    return inputs[1]


@models.register("bag_of_ngrams")
def bag_of_ngrams(
    inputs: Shape,
    outputs: int,
    *,
    grams: Grams = 2,
    buckets: Buckets = 1 << 19,
    width: Width = 10,
    dropout: Dropout = 0.0,
) -> BagOfNgrams:
    """fastText's classifier."""
    return BagOfNgrams(
        _tokens(inputs), outputs, grams=grams, buckets=buckets, width=width, dropout=dropout
    )


@models.register("nbsvm")
def nbsvm(inputs: Shape, outputs: int, *, grams: Grams = 3, buckets: Buckets = 1 << 22) -> NBSVM:
    """Naive Bayes features in a linear model."""
    return NBSVM(_tokens(inputs), outputs, grams=grams, buckets=buckets)


@models.register("text_cnn")
def text_cnn(
    inputs: Shape,
    outputs: int,
    *,
    width: Width = 300,
    windows: Annotated[
        tuple[Annotated[int, Field(ge=1, le=100)], ...],
        Field(min_length=1, max_length=100, description="words that a filter sees, each a kind"),
    ] = (3, 4, 5),
    filters: Annotated[int, Field(ge=1, le=65536, description="of each kind")] = 100,
    dropout: Dropout = 0.5,
) -> TextCNN:
    """Kim's convolutional network."""
    return TextCNN(
        _tokens(inputs), outputs, width=width, windows=windows, filters=filters, dropout=dropout
    )


@models.register("bilstm")
def bilstm(
    inputs: Shape,
    outputs: int,
    *,
    width: Width = 128,
    hidden: Annotated[int, Field(ge=1, le=65536, description="units of a direction")] = 64,
    layers: Annotated[int, Field(ge=1, le=100, description="recurrent layers")] = 1,
    dropout: Dropout = 0.3,
    pool: Annotated[
        Literal["max", "mean", "last"], Field(description="of the states of all words")
    ] = "max",
) -> BiLSTM:
    """A bidirectional LSTM."""
    return BiLSTM(
        _tokens(inputs),
        outputs,
        width=width,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        pool=pool,
    )
