"""How text becomes numbers: by characters, by words, or by pieces that are learnt (byte pairs).

Words are found by one regular expression, `WORD`: letters and digits with the apostrophes inside
them, or a single other sign. A text that is split already is taken by its spaces.

Byte pairs: Sennrich et al. (2016), "Neural machine translation of rare words with subword units",
https://arxiv.org/abs/1508.07909, by the library `tokenizers`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config
from gradlab.errors import UserError

PAD, UNKNOWN = 0, 1
"""What fills up a short text, and what stands for a token that is not in the vocabulary."""
FIRST = 2
"""The number of the first token of the vocabulary."""
WORD = r"\w+(?:['\u2019]\w+)*|[^\w\s]"
"""A word, or a sign that is none."""
END = "<eos>"
"""The end of a line, where a text is split by its spaces."""

CLOSING = frozenset(".,;:!?)]")
"""Signs before which no space is written."""
CONTEXT = 32
"""Tokens that are looked back on to write the next one: no character and no space needs more."""

By = Literal["character", "word", "space", "bpe"]


class Tokens(Config):
    """A vocabulary and how text is cut into its tokens; learnt from the training split alone.

    >>> tokens = Tokens(by="word").learn(["It's fine.", "It's a day."])
    >>> tokens.vocabulary
    ('.', "It's", 'a', 'day', 'fine')
    >>> tokens.encode("It's a fine night.").tolist(), tokens.decode([3, 5, 2])
    ([3, 4, 6, 1, 2], "It's day.")
    """

    by: By = Described("word", description="character, word, space (split already), bpe")
    lower: bool = Described(False, description="whether capitals are made small")
    minimum: int = Described(1, ge=1, description="a rarer token is unknown")
    most: int = Described(30_000, ge=1, description="tokens, at most: the most frequent ones")
    vocabulary: tuple[str, ...] = Described((), description="the tokens, the first has number 2")
    pieces: str = Described("", description="bpe: the tokenizer as its library writes it (JSON)")

    @property
    def size(self) -> int:
        """How many numbers there are, those of padding and of unknown tokens included."""
        return len(self.vocabulary) + FIRST

    def learn(self, texts: Iterable[str]) -> Tokens:
        """With the vocabulary of these texts, the most frequent first; equal ones by themselves."""
        if self.by == "bpe":
            return self._learn_pieces(texts)
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self._cut(text))
        kept = [token for token, count in counts.items() if count >= self.minimum]
        if not kept:
            raise UserError(
                f"the training texts have no token that occurs {self.minimum} times: give more "
                "text, or a smaller minimum"
            )
        kept.sort(key=lambda token: (-counts[token], token))
        return self.model_copy(update={"vocabulary": tuple(kept[: self.most])})

    def _learn_pieces(self, texts: Iterable[str]) -> Tokens:
        tokenizers = _tokenizers()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=self.most,
            min_frequency=max(self.minimum, 2),
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((self._cased(text) for text in texts), trainer)
        pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        vocabulary = tuple(piece for piece, _ in pieces)
        return self.model_copy(update={"vocabulary": vocabulary, "pieces": tokenizer.to_str()})

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text's tokens, int32 T."""
        return self.encoder()(text)

    def encoder(self) -> Callable[[str], np.ndarray]:
        """`encode` for many texts: the vocabulary is looked up once."""
        if self.by == "bpe":
            pieces = _piecewise(self.pieces)
            return lambda text: np.asarray(pieces.encode(self._cased(text)).ids, np.int32) + FIRST
        known = _numbers(self.vocabulary)

        def encode(text: str) -> np.ndarray:
            cut = self._cut(text)
            return np.fromiter((known.get(token, UNKNOWN) for token in cut), np.int32, len(cut))

        return encode

    def head(self, text: str, count: int) -> str:
        """The beginning of a text, so many characters or words of it."""
        if self.by == "character":
            return text[:count]
        pattern = WORD if self.by == "word" else r"\S+"
        ends = (match.end() for match in re.finditer(pattern, text))
        return text[: next(islice(ends, count - 1, None), len(text))]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some numbers; unknown tokens are written as \ufffd, padding is left out."""
        chosen = [int(number) for number in numbers if int(number) != PAD]
        if self.by == "bpe":
            found: str = _piecewise(self.pieces).decode([n - FIRST for n in chosen if n >= FIRST])
            return found
        tokens = ["\ufffd" if n < FIRST else self.vocabulary[n - FIRST] for n in chosen]
        return "".join(tokens) if self.by == "character" else self._joined(tokens)

    def _joined(self, tokens: Iterable[str]) -> str:
        """Words with spaces between them; a longer text begins as its beginning does."""
        text = ""
        for token in tokens:
            if token == END and self.by == "space":
                text += "\n"
            elif not text or text[-1] == "\n" or (self.by == "word" and token in CLOSING):
                text += token
            else:
                text += f" {token}"
        return text

    def pieces_of(self, before: Sequence[int], numbers: Iterable[int]) -> Iterator[str]:
        """The text of tokens that follow others: what each adds to it, as they come."""
        last = list(before)[-CONTEXT:]
        shown = self.decode(last)
        for number in numbers:
            last.append(number)
            text = self.decode(last)
            if self.by == "bpe" and text.endswith("\ufffd"):
                yield ""  # a part of a character: it comes with the last of its pieces
                continue
            yield text[len(shown) :]
            last = last[-CONTEXT:]
            shown = self.decode(last)

    @property
    def start(self) -> int:
        """The token that a text without a beginning follows: a line's end, else the commonest."""
        ends = ("\n", END, "\u010a")
        return next((self.number(end) for end in ends if end in _numbers(self.vocabulary)), FIRST)

    def number(self, token: str) -> int:
        """The number of a token."""
        return _numbers(self.vocabulary).get(token, UNKNOWN)

    @property
    def unit(self) -> str:
        """What a token is called."""
        return {"character": "character", "bpe": "piece"}.get(self.by, "word")

    def name(self, number: int) -> str:
        """One token, as it can be shown."""
        return repr(self.decode([number]))[1:-1] if self.by == "bpe" else self._plain(number)

    def _plain(self, number: int) -> str:
        names = {PAD: "", UNKNOWN: "\ufffd"}
        token = names[number] if number in names else self.vocabulary[number - FIRST]
        return repr(token)[1:-1]

    def _cased(self, text: str) -> str:
        return text.lower() if self.lower else text

    def _cut(self, text: str) -> Sequence[str]:
        text = self._cased(text)
        if self.by == "character":
            return text
        if self.by == "space":
            return text.replace("\n", f" {END} ").split()
        return re.findall(WORD, text)


@lru_cache(maxsize=8)
def _numbers(vocabulary: tuple[str, ...]) -> dict[str, int]:
    return {token: number for number, token in enumerate(vocabulary, FIRST)}


@lru_cache(maxsize=8)
def _piecewise(written: str) -> Any:
    return _tokenizers().Tokenizer.from_str(written)


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            "byte pairs need the library tokenizers: pip install 'gradlab[text]', or choose "
            "--data.tokens word"
        ) from None
    return tokenizers
