import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore = ["fields_to_come.py", "support.py"]  # what tests import, not tests

# Several tests run at once: one thread each, before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _no_photos_in_the_home() -> Iterator[None]:
    """Decoded photos are kept in a folder that goes with the tests."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["GRADLAB_CACHE"] = str(Path(folder) / "photos")
        yield
