"""Recurrent networks: Elman's, LSTM and GRU, and language models on them.

Elman (1990), "Finding structure in time"; Hochreiter and Schmidhuber (1997), "Long short-term
memory"; Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder"
(https://arxiv.org/abs/1406.1078). The language model: Mikolov et al. (2010), "Recurrent neural
network based language model"; dropout between layers alone: Zaremba et al. (2014),
https://arxiv.org/abs/1409.2329; one matrix for input and output words: Press and Wolf (2017),
https://arxiv.org/abs/1608.05859.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import describe

Cell = Literal["elman", "rnn", "lstm", "gru"]
State = Tensor | tuple[Tensor, Tensor]
"""What a recurrent layer carries from step to step: h (L N H), of an LSTM (h, c)."""


class Elman(nn.Module):
    """Layers of Elman's network, written as textbooks do: h_t = tanh(U x_t + W h_t-1 + b).

    What the answer is made of by V belongs to the network around it. Called as `nn.RNN` is with
    `batch_first=True`, and equal to it.
    """

    def __init__(self, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [inputs] + [hidden] * (layers - 1)
        self.U = nn.ModuleList(nn.Linear(width, hidden) for width in widths)
        self.W = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in widths)
        self.hidden, self.dropout = hidden, dropout
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: N T E; state: L N H (zeros). Returns all h of the last layer, N T H, and the state."""
        last = []
        for layer, (u, w) in enumerate(zip(self.U, self.W, strict=True)):
            if layer and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)  # N T H
            h = x.new_zeros(len(x), self.hidden) if state is None else state[layer]  # N H
            steps = []
            for driven in u(x).unbind(1):  # U x + b of all steps at once, then N H for each
                h = torch.tanh(driven + w(h))  # N H
                steps.append(h)
            x = torch.stack(steps, 1)  # N T H
            last.append(h)
        return x, torch.stack(last)  # N T H, L N H


def layers_of(cell: Cell, inputs: int, hidden: int, layers: int, dropout: float) -> nn.Module:
    """Recurrent layers of one kind, batch first; dropout between them."""
    if cell == "elman":
        return Elman(inputs, hidden, layers, dropout)
    kinds: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    between = dropout if layers > 1 else 0.0
    made: nn.Module = kinds[cell](inputs, hidden, layers, dropout=between, batch_first=True)
    return made


class LanguageModel(nn.Module):
    """Says of each token which one comes next, from all those before it."""

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        cell: Cell,
        width: int,
        layers: int,
        embedding: int,
        dropout: float,
        tied: bool,
        spread: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = layers_of(cell, embedding, width, layers, dropout)
        self.V = nn.Linear(width, outputs)
        if spread:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -spread, spread)
        if tied:
            self.V.weight = self.embedding.weight

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x: int N T. Returns logits, N T V, and the state after the last token."""
        embedded = self.dropout(self.embedding(x))  # N T E
        h, state = self.recurrent(embedded, state)  # N T H
        return self.V(self.dropout(h)), state  # N T V


@models.register("recurrent_lm")
def recurrent_lm(
    inputs: Shape,
    outputs: int,
    *,
    cell: Annotated[
        Cell, Field(description="elman (written out), rnn (torch's), lstm or gru")
    ] = "lstm",
    width: Annotated[int, Field(ge=1, le=65536, description="units of a layer")] = 256,
    layers: Annotated[int, Field(ge=1, le=100, description="recurrent layers")] = 2,
    embedding: Annotated[int, Field(ge=1, le=65536, description="numbers for each token")] = 256,
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="of embeddings and between layers, in training")
    ] = 0.0,
    tied: Annotated[bool, Field(description="one matrix for input and output tokens")] = False,
    spread: Annotated[
        float,
        Field(ge=0, le=10, description="initial values between plus and minus this (0: torch's)"),
    ] = 0.0,
) -> LanguageModel:
    """A recurrent language model; inputs (T, V) of tokens."""
    if len(inputs) != 2:
        raise UserError(
            f"this network reads texts, but the inputs are not ({describe(inputs)}): give a text "
            "(.txt), or choose the network 'mlp' for a table or an image"
        )
    if tied and (embedding, inputs[1]) != (width, outputs):
        raise UserError(
            "model.tied: one matrix for input and output needs an embedding as wide as the layers "
            f"({width}) and one answer for each of the {inputs[1]} tokens, found {embedding} and "
            f"{outputs}: give --model.embedding {width}"
        )
    return LanguageModel(
        inputs[1],
        outputs,
        cell=cell,
        width=width,
        layers=layers,
        embedding=embedding,
        dropout=dropout,
        tied=tied,
        spread=spread,
    )
