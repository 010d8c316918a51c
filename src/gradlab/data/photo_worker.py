"""A process that decodes blocks of photos into a memory-mapped file: see `gradlab.data.photos`.

Reads one JSON object on stdin; writes a line for each block that is done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gradlab.data.decode import ImageFile
from gradlab.data.photos import Entry, fill


def main() -> None:
    """Decode what stdin names."""
    task = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    height, width, channels = task["form"]
    x = Entry(Path(task["folder"]), task["count"], (height, width, channels)).open("r+")
    for start, paths in task["blocks"]:
        errors = fill(x, start, [ImageFile.at(Path(path)) for path in paths])
        x.flush()
        print(json.dumps({"start": start, "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
