import pytest
import torch


@pytest.fixture(autouse=True)
def _without_pages(monkeypatch):
    """The page of a run is tested elsewhere; here it would take most of the time."""
    monkeypatch.setattr("gradlab.workflows.train.write", lambda run, task, details: None)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
