"""Weights published for torchvision, learnt from ImageNet (1,000 classes): names and files.

The publisher gives the first eight digits of each file's SHA-256 as the end of its name, and
checks no more. The full sums below are those on which independent public records agree; the other
files are checked against the eight digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradlab.data.here import cache_folder
from gradlab.data.sources.download import Remote, fetch_all
from gradlab.errors import UserError, unknown

ADDRESS = "https://download.pytorch.org/models/"
FOLDER = "weights"
"""Where the files are kept, in the cache."""

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """A file of weights, and how the images were normalised that they were learnt from."""

    file: str
    sha256: str = ""
    """The full sum, where it is known."""
    mean: Channels = (0.485, 0.456, 0.406)
    std: Channels = (0.229, 0.224, 0.225)

    @property
    def remote(self) -> Remote:
        """The file as a download."""
        digits = self.sha256 or Path(self.file).stem.rsplit("-", 1)[1]
        return Remote(self.file, digits, (ADDRESS + self.file,))

    @property
    def path(self) -> Path:
        """Its place in the cache."""
        return cache_folder() / FOLDER / self.file


# fmt: off
PUBLISHED = {
    "alexnet": Published(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg11": Published("vgg11-8a719046.pth"),
    "vgg11_bn": Published("vgg11_bn-6002323d.pth"),
    "vgg13": Published("vgg13-19584684.pth"),
    "vgg13_bn": Published("vgg13_bn-abd245e5.pth"),
    "vgg16": Published(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "vgg16_bn": Published("vgg16_bn-6c64b313.pth"),
    "vgg19": Published(
        "vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
    "vgg19_bn": Published("vgg19_bn-c79401a0.pth"),
    # Learnt with TensorFlow from values of -1 to 1 (torchvision's transform_input).
    "googlenet": Published(
        "googlenet-1378be20.pth",
        "1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    ),
    "resnet18": Published(
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "resnet34": Published(
        "resnet34-b627a593.pth",
        "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    ),
    "resnet50": Published(
        "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    "resnet50_v2": Published(
        "resnet50-11ad3fa6.pth",
        "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
    ),
    "resnet101": Published("resnet101-63fe2227.pth"),
    "resnet101_v2": Published("resnet101-cd907fc2.pth"),
    "resnet152": Published("resnet152-394f9c45.pth"),
    "resnet152_v2": Published("resnet152-f82ba261.pth"),
    "densenet121": Published(
        "densenet121-a639ec97.pth",
        "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395",
    ),
    "densenet161": Published("densenet161-8d451a50.pth"),
    "densenet169": Published("densenet169-b2777c0a.pth"),
    "densenet201": Published("densenet201-c1103571.pth"),
}
# fmt: on
"""By the name of the network; `_v2` are those of torchvision's newer training."""


def get(name: str) -> Path:
    """The file of published weights in the cache, checked; it is downloaded when it is not there.

    UserError when it cannot be had: it says from where to get it and where to put it.
    """
    if name not in PUBLISHED:
        raise unknown("published weights", name, PUBLISHED)
    chosen = PUBLISHED[name]
    again = f"Then run 'gradlab weights get {name}' again: it checks the file."
    return fetch_all(FOLDER, [chosen.remote], advice=again)[0]


def located(given: str) -> Path:
    """The file or run that is meant: a path that exists, else published weights by their name."""
    path = Path(given).expanduser()
    if path.exists() or given not in PUBLISHED:
        return path
    cached = PUBLISHED[given].path
    if not cached.is_file():
        raise UserError(
            f"--weights: {given} is no file or run here, and the published weights of that name "
            f"are not in the cache ({cached}): gradlab weights get {given}"
        )
    return cached


def by_file(path: Path) -> Published | None:
    """The published weights in a file, as far as its name says."""
    return next((found for found in PUBLISHED.values() if found.file == path.name), None)
