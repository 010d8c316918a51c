"""Published files: taken from the cache folder, else from their publisher, always checked."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlab import paths
from gradlab.data.here import cache_folder
from gradlab.errors import UserError


@dataclass(frozen=True)
class Remote:
    """A published file: its name, its SHA-256, and the addresses to try in order."""

    name: str
    sha256: str
    """In hexadecimal; only the first digits of it where its publisher gives no more, and `md5:`
    with that sum where no other is known."""
    urls: tuple[str, ...]


def fetch(dataset: str, filename: str, urls: Sequence[str], sha256: str) -> Path:
    """The path of one published file; see `fetch_all`."""
    return fetch_all(dataset, [Remote(filename, sha256, tuple(urls))])[0]


def fetch_all(dataset: str, files: Sequence[Remote], advice: str = "") -> list[Path]:
    """The paths of a set's files, in order; what is not in the cache is downloaded into it.

    UserError when a file in the cache is not the published one, or when a file can be had from
    none of its addresses: then each missing file of the set is named, with where to get it and
    where to put it; `advice` is what to do after that.
    """
    folder = cache_folder() / dataset
    missing = [file for file in files if not (folder / file.name).exists()]
    for file in files:
        if file not in missing:
            check(folder / file.name, file.sha256)
    for file in missing:
        reasons = download(folder, file)
        if reasons:
            still = [file for file in missing if not (folder / file.name).exists()]
            raise UserError(_absent(dataset, folder, still, reasons, advice))
    return [folder / file.name for file in files]


def check(path: Path, sha256: str) -> None:
    """UserError when the SHA-256 of the content of `path` does not begin with these digits.

    Digits behind `md5:` are those of its MD5.
    """
    name, _, digits = sha256.rpartition(":")
    try:
        with paths.open_regular(path) as file:
            found = hashlib.file_digest(file, name or "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if not found.startswith(digits):
        raise UserError(
            f"{path} is not the published file: expected SHA-256 {sha256}, found {found}. "
            "It was cut short or changed: delete it, and it is downloaded again"
        )


def download(folder: Path, file: Remote) -> list[str]:
    """Put a file into `folder`, from the first address that has it.

    Returns nothing when it is there, else why each address failed. The file appears under its
    name only when it is whole and its checksum is right; of a failure no folder is left.
    """
    import pooch

    name, _, digits = file.sha256.rpartition(":")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {folder}: {error.strerror or error}. Set the "
            "environment variable GRADLAB_DATA to a folder that can be written"
        ) from None

    def checked(url: str, output: str, pup: Any) -> None:
        pooch.HTTPDownloader()(url, output, pup)
        with Path(output).open("rb") as content:
            found = hashlib.file_digest(content, name or "sha256").hexdigest()
        if not found.startswith(digits):
            raise ValueError(f"its hash ({name or 'SHA-256'}) is {found}, expected {digits}")

    # Pooch itself knows no first digits: it is given a downloader that checks.
    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for url in file.urls:
        print(f"downloading {url}", file=sys.stderr)
        try:
            pooch.retrieve(url, None, fname=file.name, path=folder, downloader=checked)
            return []
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            reasons.append(f"{url}: {_first_line(error)}")
    for place in made:
        with contextlib.suppress(OSError):  # another process has put something there
            place.rmdir()
    return reasons


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def _absent(
    dataset: str, folder: Path, files: Sequence[Remote], reasons: list[str], advice: str
) -> str:
    lines = [f"{dataset} is not complete in the cache and cannot be downloaded. Missing:"]
    for file in files:
        lines.append(f"  {folder / file.name}")
        lines += [f"    from {url}" for url in file.urls]
    lines.append(f"Get each file from one of its addresses and put it at the path above it{_ENV}")
    lines += [advice] if advice else []
    lines += ["What failed:", *(f"  {reason}" for reason in reasons)]
    return "\n".join(lines)


_ENV = ",\nor set the environment variable GRADLAB_DATA to a folder that holds <dataset>/<file>."
