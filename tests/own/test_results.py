"""What a training with one's own network shows in Python, and its learning rate."""

from __future__ import annotations

import torch
from torch import nn

import gradlab

X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])
SMALL = {"data": (X, Y), "threads": 1, "epochs": 2, "lr": 0.1}


def test_the_results_are_printed_where_the_progress_is(tmp_path, capsys):
    run = gradlab.fit(nn.Linear(3, 1), out=tmp_path, report=True, **SMALL)
    out = capsys.readouterr().out
    assert all(word in out for word in ("train", "val", "test", "r2", "baselines on test"))
    assert f"report: {run.path / 'report.html'}" in out
    gradlab.fit(nn.Linear(3, 1), out=tmp_path, progress=False, **SMALL)
    gradlab.fit(nn.Linear(3, 1), out=tmp_path, results=False, **SMALL)
    assert capsys.readouterr().out == ""
    assert repr(run) == f"Run({str(run.path)!r})" and " " not in run.path.name


def test_a_learning_rate_is_found_for_a_network_of_ones_own():
    module = nn.Linear(3, 1)
    before = module.weight.detach().clone()
    found = gradlab.find_lr(module, data=(X, Y), threads=1)
    assert 1e-4 < found.suggested < 1 and torch.equal(module.weight, before)


def test_layers_in_a_list_are_named_in_the_verdict(tmp_path):
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(3, 3)]
            self.head = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layers[0](x))

    run = gradlab.fit(Listed(), out=tmp_path, progress=False, **SMALL)
    first = run.summary["verdict"][0]
    assert first["code"] == "unregistered-layers" and "nn.ModuleList" in first["fix"]
