import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

collect_ignore = ["fields_to_come.py", "support.py"]  # what tests import, not tests

# Several tests run at once: one thread each, before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _pages_only_where_asked() -> None:
    """Drawing the page is most of a short training: in tests it is written with report=True."""
    import inspect

    from gradlab.workflows.train import RunOptions

    usual = {name: p.default for name, p in inspect.signature(RunOptions).parameters.items()}
    assert inspect.Parameter.empty not in usual.values()
    RunOptions.__init__.__defaults__ = tuple({**usual, "report": False}.values())


@pytest.fixture(autouse=True, scope="session")
def _no_photos_in_the_home() -> Iterator[None]:
    """Decoded photos are kept in a folder that goes with the tests."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["GRADLAB_CACHE"] = str(Path(folder) / "photos")
        yield
