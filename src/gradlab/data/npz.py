"""Files of arrays (.npz): what they say of themselves is compared with what is there, then read."""

from __future__ import annotations

import os
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from gradlab import machine, paths
from gradlab.data.kinds import kind_of
from gradlab.errors import UserError
from gradlab.text import one_line, quoted, shortened

EXPECTED = "Expected arrays x and y, or x_train, y_train (and x_val, y_val, x_test, y_test)"


def numbers(values: np.ndarray, where: str) -> np.ndarray:
    """Values as float32; UserError when any is no finite number."""
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where} has the type {values.dtype}: expected numbers")
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(values, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(result))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise UserError(
            f"{where}: {len(bad)} of its values are no finite float32 numbers, the first at "
            f"{list(place)} ({values[place]}): leave those examples out or fill them"
        )
    return result


def given_array(item: Any, where: str) -> np.ndarray:
    """An array, numbers in lists, or the array x of an .npz file; UserError for anything else."""
    if isinstance(item, str | os.PathLike) and kind_of(item) == "arrays":
        arrays = read_npz(paths.given(item, where))
        if "x" not in arrays:
            raise UserError(f"{item} has no array 'x'; it holds {', '.join(arrays) or 'nothing'}")
        return arrays["x"]
    if isinstance(item, list | tuple):
        try:
            return np.asarray(item)
        except ValueError:
            raise UserError(f"{where}: its rows differ in length") from None
    if not isinstance(item, np.ndarray):
        named = isinstance(item, str | os.PathLike)
        found = quoted(os.fspath(item)) if named else f"of the type {type(item).__name__}"
        raise UserError(f"{where} is {found}: expected an .npz file with the array x, or an array")
    return item


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; UserError when it cannot be read or holds objects.

    What each array says of itself is compared with what is there, and all of them with the memory
    that is free, before any is read.
    """
    paths.regular(path)
    try:
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise UserError(f"{path} is a single array, not an .npz file. {EXPECTED}")
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            sizes = []
            for info in members:
                with archive.open(info) as member:
                    sizes.append(_declared(member, info.file_size, f"{path}: {info.filename}"))
            free = machine.memory()
            if free is not None and 2 * sum(sizes) > free:
                raise UserError(
                    f"{path}: its arrays take {sum(sizes) / 1e9:,.1f} GB of memory, and twice that "
                    f"while they are brought to their form; {free / 1e9:,.1f} GB are free"
                )
            arrays = {}
            for info in members:
                with archive.open(info) as member:
                    found = npy.read_array(member, allow_pickle=False)
                arrays[info.filename.removesuffix(".npy")] = found
            return arrays
    except UserError:
        raise
    except Exception as error:  # zipfile, its codecs and numpy raise whatever a file brings up
        said = one_line(str(error)) or type(error).__name__
        raise UserError(f"{path} cannot be read: {shortened(said)}") from None


def _declared(member: IO[bytes], size: int, where: str) -> int:
    """Bytes of the array that begins here, as its header says; UserError when it cannot be so.

    `size`: bytes of the member, the header included.
    """
    version = npy.read_magic(member)
    if version not in _HEADERS:
        raise UserError(f"{where} is of the format {version}. {_PLAIN}")
    shape, _, dtype = _HEADERS[version](member)
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects, which are not read. {_PLAIN}")
    declared, there = prod(shape) * dtype.itemsize, size - member.tell()
    if min(shape, default=0) < 0 or declared != there:
        raise UserError(
            f"{where} is damaged: it says that it is {shape} of {dtype}, {declared:,} bytes, "
            f"but {there:,} follow"
        )
    return declared


_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PLAIN = "Save plain arrays of numbers with numpy.savez"
