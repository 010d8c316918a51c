import re

import numpy as np
import pytest
import torch
from PIL import Image

import gradlab
from gradlab.config import Transfer
from gradlab.engine import pack
from gradlab.errors import UserError
from gradlab.models import create
from gradlab.tasks import transfer

QUIET = {"progress": False, "test": False}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """LeNet-5 that knows the digits 0 to 9."""
    return gradlab.train("lenet5", out=tmp_path_factory.mktemp("r"), epochs=25, **QUIET)


@pytest.fixture(scope="module")
def even(tmp_path_factory, learnt):
    """Folders of three of the digits: other classes, the same kind of picture."""
    folder = tmp_path_factory.mktemp("even")
    for split in ("train", "val"):
        part = learnt.dataset.splits[split]
        for digit in (2, 4, 6):
            (folder / split / f"digit {digit}").mkdir(parents=True)
            for i in np.flatnonzero(part["label"][:] == digit)[:20]:
                Image.fromarray(part["image"][i][..., 0]).save(
                    folder / split / f"digit {digit}" / f"{i}.png"
                )
    return str(folder)


def backbone(model):
    return {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("fc3")}


def test_frozen_features_stay_bit_for_bit_and_a_new_head_learns(tmp_path, learnt, even):
    run = gradlab.train(
        "lenet5",
        data=even,
        weights=str(learnt.path),
        freeze="features",
        out=tmp_path,
        epochs=20,
        batch_size=16,
        **QUIET,
    )
    for name, value in backbone(learnt.model).items():
        assert torch.equal(value, run.model.state_dict()[name]), name
    assert run.metrics["val"]["accuracy"] > 0.9
    assert any("last layer 'fc3' is new" in note for note in run.record["notes"])


def test_unfreezing_after_some_epochs_trains_the_rest(tmp_path, learnt, even):
    run = gradlab.train(
        "lenet5",
        data=even,
        weights=str(learnt.path),
        freeze="features",
        unfreeze_after=1,
        out=tmp_path,
        epochs=3,
        **QUIET,
    )
    last = run.folder.load("last")[1]["model"]
    assert not torch.equal(last["conv1.weight"], backbone(learnt.model)["conv1.weight"])


def test_the_same_classes_keep_their_head(tmp_path, learnt):
    run = gradlab.train(
        "lenet5",
        weights=str(learnt.path),
        out=tmp_path,
        epochs=1,
        **QUIET,
        **{"optimizer.lr": 1e-9, "data.augment.shift": 0},
    )
    assert run.metrics["val"]["accuracy"] == pytest.approx(
        learnt.metrics["val"]["accuracy"], abs=0.01
    )


def test_a_slower_backbone_has_its_own_group():
    model = create("lenet5", inputs=(1, 28, 28), outputs=3)
    found = transfer.groups(model, Transfer(backbone_lr=0.1))
    assert [scale for scale, _ in found] == [1.0, 0.1]
    assert [name for name, _ in found[0][1]] == ["fc3.weight", "fc3.bias"]


def test_files_of_weights_are_read_and_another_network_is_refused(tmp_path, even):
    model = create("lenet5", inputs=(1, 8, 8), outputs=5)
    (tmp_path / "a.safetensors").write_bytes(pack.to_bytes(model.state_dict()))
    torch.save(model.state_dict(), tmp_path / "a.pth")
    other = create("lenet5", inputs=(1, 8, 8), outputs=3)
    for name in ("a.safetensors", "a.pth"):
        said = transfer.begin_with(other, str(tmp_path / name), ("a", "b", "c"))
        assert "new" in said[1]
        assert torch.equal(other.state_dict()["conv2.weight"], model.state_dict()["conv2.weight"])
    wrong = create("mlp", inputs=(1, 8, 8), outputs=3)
    with pytest.raises(UserError, match=r"another network: 1\.weight: expected .* found nothing"):
        transfer.begin_with(wrong, str(tmp_path / "a.pth"), ())
    for name, content in (("b.pth", b"junk"), ("b.safetensors", b"junk")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as weights"):
            transfer.read_weights(str(tmp_path / name))
    with pytest.raises(UserError, match="no file or run"):
        transfer.read_weights(str(tmp_path / "absent.pth"))


def test_published_densenet_files_have_older_names(tmp_path):
    model = create("densenet_bc_40_12", inputs=(1, 28, 28), outputs=3)
    published = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert published.keys() != model.state_dict().keys()
    torch.save(published, tmp_path / "d.pth")
    other = create("densenet_bc_40_12", inputs=(1, 28, 28), outputs=3)
    assert transfer.begin_with(other, str(tmp_path / "d.pth"), ()) == (
        f"weights: begun with {tmp_path / 'd.pth'}",
    )


def test_a_pickle_that_would_execute_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        transfer.read_weights(str(tmp_path / "evil.pth"))


def test_initial_values_by_name(tmp_path):
    run = gradlab.train(
        "softmax_regression",
        init="zeros",
        epochs=1,
        out=tmp_path,
        **QUIET,
        **{"optimizer.lr": 1e-12},
    )
    assert float(run.model[1].weight.detach().abs().max()) < 1e-9
