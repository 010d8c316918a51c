"""A process that decodes blocks of images into the cache: see `gradlab.data.image_cache`.

Reads one JSON object on stdin; writes a line for each block that is done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gradlab.data.decode import ImageFile
from gradlab.data.image_cache import fill
from gradlab.data.image_store import Entry


def main() -> None:
    """Decode what stdin names."""
    task = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    height, width, channels = task["form"]
    entry = Entry(Path(task["folder"]), task["count"], (height, width, channels))
    for start, paths in task["blocks"]:
        errors = fill(entry, start, [ImageFile.at(Path(path)) for path in paths])
        print(json.dumps({"start": start, "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
