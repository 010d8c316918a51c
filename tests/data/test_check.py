from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlab.config import DataConfig
from gradlab.data import columns
from gradlab.data.check import Report, check
from gradlab.data.fields import label as label_field
from gradlab.data.fields.base import Issue
from gradlab.errors import UserError

RNG = np.random.default_rng(0)


def looked(name: Any, **config: Any) -> Report:
    finding = check(DataConfig(name=str(name), **config))
    assert json.loads(json.dumps(finding.to_dict()))["name"] == str(name)
    return finding


def issue(finding: Report, words: str) -> Issue:
    found = [issue for issue in finding.issues if words in issue.what]
    assert len(found) == 1, finding.text()
    assert found[0].what in finding.text()
    return found[0]


def photo(path: Path, seed: int | None = None, size: tuple[int, int] = (12, 8)) -> Path:
    """A random picture, the same one for the same seed."""
    rng = RNG if seed is None else np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


def photos(folder: Path, **counts: int) -> Path:
    for label, count in counts.items():
        for number in range(count):
            photo(folder / label / f"{number}.png")
    return folder


def csv(folder: Path, *lines: str, header: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


# Images


def test_a_sound_folder(tmp_path: Path) -> None:
    finding = looked(photos(tmp_path, cat=20, dog=10))
    assert (finding.kind, finding.target) == ("image", "class")
    assert sum(finding.counts.values()) == 30 and list(finding.counts) == ["train", "val", "test"]
    assert {name: sum(counts.values()) for name, counts in finding.facts["classes"].items()} == {
        "cat": 20,
        "dog": 10,
    }
    assert finding.facts["imbalance"] == 2.0
    assert finding.facts["sizes"] == {"12x8": 30} and finding.facts["modes"] == {"RGB": 30}
    assert (finding.copies, finding.leaks, finding.facts["unreadable"]) == (0, 0, {})
    assert finding.issues == () and "no issues" in finding.text()


def test_broken_files_are_all_named(tmp_path: Path) -> None:
    photos(tmp_path, cat=20, dog=20)
    whole = photo(tmp_path / "cat" / "cut.png").read_bytes()
    (tmp_path / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "text.jpg").write_text("no picture", encoding="utf-8")
    (tmp_path / "dog" / "empty.png").touch()
    finding = looked(tmp_path)
    assert set(finding.facts["unreadable"]) == {"cat/cut.png", "dog/text.jpg", "dog/empty.png"}
    assert all(finding.facts["unreadable"].values())
    found = issue(finding, "cannot be read: 3 of 43")
    assert found.level == "error" and len(found.where) == 3
    assert sum(finding.counts.values()) == 40


def test_only_the_first_places_are_named(tmp_path: Path) -> None:
    photos(tmp_path, cat=5, dog=5)
    for number in range(14):
        (tmp_path / "dog" / f"bad{number}.png").touch()
    finding = looked(tmp_path)
    assert len(finding.facts["unreadable"]) == 14
    where = issue(finding, "14 of 24").where
    assert len(where) == 11 and where[-1] == "and 4 more"


def test_sizes_and_modes_as_on_the_disk(tmp_path: Path) -> None:
    photos(tmp_path, cat=6, dog=5)
    photo(tmp_path / "cat" / "wide.png", size=(30, 8))
    Image.new("L", (12, 8), 9).save(tmp_path / "dog" / "grey.png")
    finding = looked(tmp_path)
    assert finding.facts["sizes"] == {"12x8": 12, "30x8": 1}
    assert finding.facts["modes"] == {"RGB": 12, "L": 1}


def test_copies_and_leaks(tmp_path: Path) -> None:
    for split in ("train", "test"):
        photos(tmp_path / split, cat=10, dog=10)
    photo(tmp_path / "train" / "cat" / "a.png", seed=1)
    photo(tmp_path / "train" / "cat" / "b.bmp", seed=1)  # equal by content, not by bytes
    photo(tmp_path / "train" / "dog" / "c.png", seed=2)
    photo(tmp_path / "test" / "dog" / "d.png", seed=2)
    photo(tmp_path / "test" / "cat" / "e.png", seed=2)
    finding = looked(tmp_path)
    assert (finding.copies, finding.leaks) == (2, 2)
    leak = issue(finding, "in another split too: 2")
    assert leak.level == "error"
    assert leak.where == ("train/dog/c.png, test/cat/e.png, test/dog/d.png",)
    copies = issue(finding, "repeat another of the same split: 2")
    assert copies.level == "warning" and copies.where[0] == "train/cat/a.png, train/cat/b.bmp"
    assert issue(finding, "equal examples of different classes: 1").where == leak.where
    assert finding.issues[0] is leak


def test_splits_that_are_cut_off_do_not_leak(tmp_path: Path) -> None:
    photos(tmp_path, cat=10, dog=10)
    for number in range(10):
        photo(tmp_path / "cat" / f"same{number}.png", seed=1)
    finding = looked(tmp_path)
    assert (finding.copies, finding.leaks) == (9, 0)
    assert [found.level for found in finding.issues] == ["warning"]


def test_imbalance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, cat=33, dog=3)
    finding = looked(tmp_path)
    assert finding.facts["imbalance"] == 11.0
    assert issue(finding, "out of balance: 'cat' has 11.0 times").where == ("cat", "dog")
    monkeypatch.setattr(label_field, "IMBALANCE", 12)
    assert not looked(tmp_path).issues


def test_one_class(tmp_path: Path) -> None:
    photos(tmp_path, cat=5)
    finding = looked(tmp_path)
    found = issue(finding, "at least two classes")
    assert found.level == "error" and "cat" in found.what
    assert finding.facts["sizes"] == {"12x8": 5}  # the rest is looked at all the same


def test_images_without_classes(tmp_path: Path) -> None:
    for number in range(20):
        photo(tmp_path / f"{number}.png")
    finding = looked(tmp_path, target_kind="none")
    assert (finding.kind, finding.target, finding.issues) == ("image", "no target", ())
    assert finding.text().startswith(f"{tmp_path}: image, no target, 20 examples\n")
    assert "classes" not in finding.facts and list(finding.counts) == ["train", "val", "test"]


def test_images_on_the_disk_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, cat=20, dog=20)
    (tmp_path / "dog" / "bad.png").touch()  # those beside it are chosen, not copied
    read: list[int] = []
    plain = columns.Dense.__getitem__

    def noted(column: columns.Dense, chosen: Any) -> np.ndarray:
        found = plain(column, chosen)
        read.append(len(found) if found.ndim == 4 else 0)
        return found

    monkeypatch.setattr(columns, "BLOCK", 8)
    monkeypatch.setattr(columns.Dense, "__getitem__", noted)
    assert sum(looked(tmp_path).counts.values()) == 40
    assert max(read) == 8


def test_a_split_that_lacks_a_class(tmp_path: Path) -> None:
    photos(tmp_path / "train", cat=10, dog=10)
    photos(tmp_path / "test", cat=3)
    finding = looked(tmp_path)
    assert finding.facts["classes"]["dog"]["test"] == 0
    assert issue(finding, "without an example in test: 1 of 2").where == ("dog",)


def test_an_archive(tmp_path: Path) -> None:
    import shutil

    photos(tmp_path / "set", cat=6, dog=6)
    (tmp_path / "set" / "dog" / "bad.png").touch()
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    finding = looked(tmp_path / "set.zip")
    assert list(finding.facts["unreadable"]) == ["dog/bad.png"] and finding.facts["sizes"] == {
        "12x8": 12
    }


# Tables


def test_columns_of_a_table(tmp_path: Path) -> None:
    lines = [f"{n},7,{'' if n % 5 else n},{'' if n % 4 == 0 else 'u'},{n % 2}" for n in range(40)]
    path = csv(tmp_path, *lines, header="n,same,rare,often,y")
    finding = looked(path, target="y")
    assert (finding.kind, finding.target) == ("table", "y (class)")
    assert finding.facts["constant"] == ("same",)
    assert finding.facts["missing"] == {"rare": 0.8, "often": 0.25}
    assert issue(finding, "constant columns").where == ("same",)
    assert issue(finding, "lack more than 50%").where == ("rare: 80.0%",)
    assert "rare 80.0%, often 25.0%" in finding.text()
    assert {name: sum(counts.values()) for name, counts in finding.facts["classes"].items()} == {
        "0": 20,
        "1": 20,
    }


def test_rows_that_repeat(tmp_path: Path) -> None:
    lines = [f"{n},{'ab'[n % 2]}" for n in [*range(2, 30), 5, 5, 6]]
    finding = looked(csv(tmp_path, *lines, "7,a", header="n,y"), target="y")
    assert finding.copies == 4
    where = issue(finding, "repeat another").where
    assert where == ("example 4, example 29, example 30", "example 5, example 31",
                     "example 6, example 32")  # fmt: skip
    assert issue(finding, "different classes: 1").where == ("example 6, example 32",)


def test_rows_that_repeat_behind_a_count_of_rows(tmp_path: Path) -> None:
    lines = [f"{n},{n % 30},{'ab'[n % 2]}" for n in range(31)]
    assert looked(csv(tmp_path, *lines, header="id,n,y"), target="y").copies == 1


def test_a_number_to_predict(tmp_path: Path) -> None:
    lines = [f"{n},{n / 3}" for n in range(2, 42)]
    finding = looked(csv(tmp_path, *lines, header="n,y"), target="y")
    assert finding.target == "y (number)" and sum(finding.counts.values()) == 40
    assert not {"classes", "imbalance"} & set(finding.facts) and finding.issues == ()


def test_a_table_without_a_target(tmp_path: Path) -> None:
    finding = looked(csv(tmp_path, "1,,a", "2,,b", header="n,empty,y"))
    assert finding.facts["missing"] == {"empty": 1.0} and finding.facts["constant"] == ()
    assert "--data.target" in finding.notes[-1]
    assert [found.level for found in finding.issues] == ["warning"]
    assert finding.text().startswith(f"{finding.name}: table, 2 examples\n")


@pytest.mark.parametrize(
    ("cells", "words"), [(["a"] * 9, "'a' in every row"), ([""] * 9, "no value in any")]
)
def test_a_target_that_teaches_nothing(tmp_path: Path, cells: list[str], words: str) -> None:
    lines = [f"{n},7,{cell}" for n, cell in enumerate(cells)]
    finding = looked(csv(tmp_path, *lines, header="n,same,y"), target="y")
    assert issue(finding, words).level == "error"
    assert finding.kind == "table" and finding.counts == {"train": 9} and finding.notes == ()
    assert "same" in finding.facts["constant"]  # the rest is looked at all the same


def test_too_few_rows(tmp_path: Path) -> None:
    finding = looked(csv(tmp_path, "1,a", "1,b", "1,b", header="n,y"), target="y")
    assert issue(finding, "too few to hold out") is finding.issues[0]  # errors come first
    assert [found.level for found in finding.issues] == ["error", *["warning"] * 3]
    assert finding.counts == {"train": 3} and finding.copies == 2


# Arrays


def arrays(folder: Path, **given: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, **given)
    return path


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2, 3], "not 0 to 2: 3 different ones from 1 to 3, 0 left out"),
        ([0, 1, 5], "not 0 to 2: 3 different ones from 0 to 5, 3 left out"),
        ([-1, 0, 1], "not 0 to 2: 3 different ones from -1 to 1, 0 left out"),
    ],
)
def test_labels_that_are_not_0_to_k(tmp_path: Path, labels: list[int], words: str) -> None:
    x = RNG.normal(size=(30, 4))
    found = issue(looked(arrays(tmp_path, x=x, y=np.array(labels * 10))), words)
    assert found.level == "warning" and found.where == tuple(map(str, labels))


def test_arrays_without_targets(tmp_path: Path) -> None:
    path = arrays(tmp_path, x=np.tile(RNG.normal(size=(30, 4)), (2, 1)))
    finding = looked(path)
    assert issue(finding, "no array 'y'").level == "error"
    assert (finding.kind, finding.counts, finding.copies) == ("values", {"train": 60}, 30)
    bare = looked(path, target_kind="none")
    assert bare.target == "no target" and [one.level for one in bare.issues] == ["warning"]


def test_labels_beyond_the_classes(tmp_path: Path) -> None:
    path = arrays(
        tmp_path, x=RNG.normal(size=(30, 4)), y=np.arange(30) % 3, classes=np.array(["a", "b"])
    )
    finding = looked(path)
    assert issue(finding, "labels out of range: 2").level == "error"
    assert finding.text().startswith(f"{path}\n")


def test_arrays(tmp_path: Path) -> None:
    x = RNG.normal(size=(40, 4))
    x[:, 2] = 5
    path = arrays(
        tmp_path, x_train=x[:30], y_train=np.arange(30) % 2, x_test=x[[3, 30]], y_test=[1, 0]
    )
    finding = looked(path)
    assert finding.kind == "values" and finding.leaks == 1 and "sizes" not in finding.facts
    assert issue(finding, "in another split").where == ("train 4, test 1",)
    assert finding.facts["constant"] == ("input 2",)


def test_images_in_arrays(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (30, 6, 6), np.uint8)
    finding = looked(arrays(tmp_path, x=x, y=np.arange(30) % 3))
    assert (
        finding.facts["sizes"] == {"6x6": 30}
        and finding.facts["modes"] == {"L": 30}
        and finding.issues == ()
    )


# Named sets


def test_embedded_sets() -> None:
    digits = looked("digits")
    assert sum(digits.counts.values()) == 1797 and digits.issues == ()
    assert digits.facts["sizes"] == {"8x8": 1797} and digits.facts["modes"] == {"L": 1797}
    assert digits.facts["imbalance"] == pytest.approx(183 / 174)
    iris = looked("iris")
    assert iris.copies == 1  # Fisher's table has one flower twice
    assert issue(iris, "repeat").where == ("example 102, example 143",)


@pytest.mark.skipif(
    not (Path(os.environ.get("GRADLAB_DATA", "absent")) / "titanic" / "titanic.csv").is_file(),
    reason="GRADLAB_DATA holds no titanic/titanic.csv",
)
def test_titanic() -> None:
    finding = looked("titanic")
    assert (
        sum(finding.counts.values()) == 891 and sum(finding.facts["classes"]["1"].values()) == 342
    )
    assert finding.facts["missing"] == {
        "Age": pytest.approx(177 / 891),
        "Cabin": pytest.approx(687 / 891),
        "Embarked": pytest.approx(2 / 891),
    }
    assert [found.where for found in finding.issues] == [("Cabin: 77.1%",)]
    assert (finding.copies, finding.leaks) == (0, 0)


def test_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'digitz' is neither a named dataset nor a path"):
        check(DataConfig(name="digitz"))
    path = csv(tmp_path, "1,a", "2,b", header="n,label")
    with pytest.raises(UserError, match="did you mean 'label'"):
        check(DataConfig(name=str(path), target="lable"))
    with pytest.raises(UserError, match="unknown column of iris"):
        check(DataConfig(name="iris", target="lable"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"PK\x03\x04 cut short")
    assert looked(tmp_path / "set.npz").issues[0].level == "error"
    (tmp_path / "table.csv").touch()
    assert issue(looked(tmp_path / "table.csv"), "is empty").level == "error"
    (tmp_path / "empty").mkdir()
    assert issue(looked(tmp_path / "empty"), "holds no image").level == "error"
