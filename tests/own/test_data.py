"""Data of any form for a network of one's own: read as it is, kept, given again."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import gradlab
from gradlab.data import held, reading

RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 3)).astype(np.float32)
Y = (X[:, :1] * 2 + X[:, 1:2]).astype(np.float32)
QUIET: dict[str, Any] = {"progress": False, "threads": 1, "epochs": 2, "batch_size": 16}


def fit(tmp_path, module, data, **options):
    return gradlab.fit(module, data=data, out=tmp_path, **{**QUIET, **options})


def notes(run):
    return " | ".join(run.record["notes"])


class Items(Dataset):
    """Examples by number; with `noise` they differ each time."""

    def __init__(self, x=X, y=Y, noise=0.0):
        self.x, self.y, self.noise = torch.as_tensor(x), torch.as_tensor(y), noise
        self.reads = 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, number):
        self.reads += 1
        return self.x[number] + self.noise * torch.randn(3), self.y[number]


class Counting(IterableDataset):
    def __iter__(self):
        return ((x, y) for x, y in zip(X, Y, strict=True))


FORMS = {
    "arrays": lambda: (X, Y),
    "float64": lambda: (X.astype(np.float64), Y.astype(np.float64)),
    "tensors": lambda: (torch.as_tensor(X), torch.as_tensor(Y)),
    "lists": lambda: [X.tolist(), Y.tolist()],
    "named": lambda: {"x": X, "y": Y},
    "tensor dataset": lambda: TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)),
    "dataset": Items,
    "loader": lambda: DataLoader(Items(), batch_size=16),
    "iterable": lambda: DataLoader(Counting(), batch_size=16),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights that all forms of the same data must lead to."""
    torch.manual_seed(0)
    options = {**QUIET, "epochs": 1}
    run = gradlab.fit(nn.Linear(3, 1), data=(X, Y), out=tmp_path_factory.mktemp("w"), **options)
    return run.model.weight.detach().clone()


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_same_data_are_learnt_from_alike(tmp_path, weights, form):
    run = fit(tmp_path, nn.Linear(3, 1), FORMS[form](), epochs=1)
    assert torch.equal(run.model.weight, weights)
    assert run.record["dataset"]["counts"] == {"train": 92, "val": 10, "test": 18}
    assert run.recipe.plan.batch_size == 16


def test_nothing_is_standardised_unless_it_is_asked_for(tmp_path):
    far = X * 7 + 100
    run = fit(tmp_path, nn.Linear(3, 1), (far, Y))
    alone = run.model(torch.as_tensor(far)).detach().reshape(-1)
    assert np.allclose([one.answer.number for one in run.predict(far)], alone, atol=1e-6)
    assert not run.schema.inputs["x"].mean and "not normalised" in notes(run)
    asked = fit(tmp_path, nn.Linear(3, 1), (far, Y), standardise=True)
    found = asked.schema.inputs["x"]
    assert found.standardise and found.mean[0] == pytest.approx(100, abs=2)
    assert "standardised" in notes(asked)
    scaled = (far - np.array(found.mean)) / np.array(found.std)
    alone = asked.model(torch.as_tensor(scaled).float()).detach().reshape(-1)
    assert np.allclose([one.answer.number for one in asked.predict(far)], alone, atol=1e-5)


def test_channels_are_standardised_each_by_itself(tmp_path):
    x = RNG.normal(size=(60, 2, 5, 5)).astype(np.float32) * [[[[1.0]], [[9.0]]]] + 3
    module = nn.Sequential(nn.Conv2d(2, 1, 5), nn.Flatten())
    run = fit(tmp_path, module, (x, Y[:60]), standardise=True)
    assert run.schema.inputs["x"].std == pytest.approx((1, 9), rel=0.1)


def test_images_are_never_turned_without_a_word(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(2))
    first = RNG.normal(size=(40, 3, 8, 8)).astype(np.float32)
    module(torch.zeros(1, 3, 8, 8))
    labels = np.arange(40) % 2
    run = fit(tmp_path, module, (first, labels), epochs=1)
    assert run.schema.inputs["x"].size == (3, 8, 8)
    with pytest.raises(gradlab.UserError, match=r"x.movedim\(-1, 1\)"):
        fit(tmp_path, module, (np.moveaxis(first, 1, -1), labels))


def test_sequences_tokens_and_bytes(tmp_path):
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    series = RNG.normal(size=(60, 5, 3))
    run = fit(tmp_path, Last(), (series, Y[:60]))
    assert run.schema.inputs["x"].size == (5, 3) and "float64, given to the network as" in notes(
        run
    )
    tokens = RNG.integers(0, 9, (60, 4))
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(16, 1))
    for dtype in (np.int64, np.int32, np.uint16, np.float32):
        run = fit(tmp_path, words, (tokens.astype(dtype), Y[:60]), epochs=1)
        batch = run.schema.inputs["x"].example()
        assert batch.dtype in (torch.int64, torch.int32)
    counts = RNG.integers(0, 9, (60, 3))
    run = fit(tmp_path, nn.Linear(3, 1), (counts, Y[:60]), epochs=1)
    assert "int64, given to the network as float32" in notes(run)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 1), nn.Embedding(4, 1)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        return self.a(numbers) + self.b(kinds)


class Whole(Two):
    def forward(self, batch: Any) -> Tensor:
        pair = tuple(batch.values()) if isinstance(batch, dict) else batch
        return super().forward(*pair)


KINDS = RNG.integers(0, 4, 120)


@pytest.mark.parametrize("module", [Two, Whole])
@pytest.mark.parametrize("grouped", ["tuple", "dict", "turned", "target"])
def test_several_inputs_are_the_arguments_of_forward(tmp_path, module, grouped):
    named = {"numbers": X, "kinds": KINDS}
    turned = {"kinds": KINDS, "numbers": X}
    forms: dict[str, Any] = {
        "tuple": ((X, KINDS), Y),
        "dict": (named, Y),
        "turned": ((turned if module is Two else named), Y),
        "target": {**named, "price": Y},
    }
    target = {"target": "price"} if grouped == "target" else {}
    run = fit(tmp_path, module(), forms[grouped], **target)
    given: Any = (
        (X[:4], KINDS[:4]) if grouped == "tuple" else {"numbers": X[:4], "kinds": KINDS[:4]}
    )
    found = [one.answer.number for one in run.predict(given)]
    with torch.no_grad():
        expected = Two.forward(run.model, torch.as_tensor(X[:4]), torch.as_tensor(KINDS[:4]))
    assert np.allclose(found, expected.reshape(-1), atol=1e-6)


def test_items_of_several_inputs(tmp_path):
    class Pairs(Items):
        def __getitem__(self, number):
            return {"numbers": X[number], "kinds": int(KINDS[number])}, Y[number]

    whole = fit(tmp_path, Two(), ({"numbers": X, "kinds": KINDS}, Y))
    torch.manual_seed(0)
    assert torch.equal(fit(tmp_path, Two(), Pairs()).model.a.weight, whole.model.a.weight)
    torch.manual_seed(0)
    three = TensorDataset(torch.as_tensor(X), torch.as_tensor(KINDS), torch.as_tensor(Y))
    assert torch.equal(fit(tmp_path, Two(), three).model.a.weight, whole.model.a.weight)


def test_val_and_test_of_ones_own(tmp_path):
    run = fit(tmp_path, nn.Linear(3, 1), (X[:80], Y[:80]), val=(X[80:100], Y[80:100]),
              test=Items(X[100:], Y[100:]))  # fmt: skip
    assert run.record["dataset"]["counts"] == {"train": 80, "val": 20, "test": 20}
    assert "held out" not in notes(run)
    halves = fit(tmp_path, nn.Linear(3, 1), (X, Y), val=(X[:9], Y[:9]), test=False)
    assert halves.record["dataset"]["counts"]["val"] == 9 and "test" not in halves.metrics
    with pytest.raises(gradlab.UserError, match=r"val: x has examples of \(2,\)"):
        fit(tmp_path, nn.Linear(3, 1), (X, Y), val=(X[:, :2], Y))


def test_items_that_change_at_random_are_read_anew(tmp_path):
    items = Items(noise=0.1)
    run = fit(tmp_path, nn.Linear(3, 1), items, epochs=3)
    assert "read anew for each batch: its items differ" in notes(run)
    assert items.reads > 3 * 92
    again = gradlab.load(run.path, model=nn.Linear(3, 1), data=Items(noise=0.1))
    assert "loss" in again.evaluate("val")
    with pytest.raises(gradlab.UserError, match="give them again"):
        gradlab.load(run.path, model=nn.Linear(3, 1)).evaluate("val")


def test_what_is_too_large_is_read_for_each_batch_and_gives_the_same(
    tmp_path, monkeypatch, weights
):
    monkeypatch.setattr(held, "LARGEST", 1000)
    items = Items()
    run = fit(tmp_path, nn.Linear(3, 1), items)
    assert "are kept in memory" in notes(run) and items.reads > 200
    whole = gradlab.load(run.path, model=nn.Linear(3, 1), data=items)
    assert whole.evaluate("test") == run.metrics["test"]
    with pytest.raises(gradlab.UserError, match="fit into memory"):
        fit(tmp_path, nn.Linear(3, 1), Counting())


def test_lengths_that_a_collate_function_fills_up(tmp_path):
    texts = [RNG.integers(1, 9, n % 5 + 2) for n in range(60)]

    class Texts(Dataset):
        def __len__(self):
            return 60

        def __getitem__(self, number):
            return torch.as_tensor(texts[number]), number % 2

    def collate(items):
        x = nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True)
        return x, torch.tensor([y for _, y in items])

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.words(x).mean(1))

    loader = DataLoader(Texts(), batch_size=8, collate_fn=collate)
    run = fit(tmp_path, Mean(), loader, loss=nn.CrossEntropyLoss())
    assert run.schema.inputs["x"].size == (0,) and run.recipe.plan.batch_size == 16
    assert len(run.predict([np.array([1, 2, 3])])) == 1
    with pytest.raises(gradlab.UserError, match="collate_fn of your own"):
        fit(tmp_path, Mean(), Texts())
    assert reading.of_loader(loader, None, "data").batch_size == 8


FRAME = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "n": [str(i % 5) for i in range(120)]})
FRAME = FRAME.with_columns(price=pl.Series(Y[:, 0]), kind=pl.Series(["u", "v"] * 60))


def test_columns_of_a_data_frame(tmp_path):
    frame = FRAME.drop("kind")
    run = fit(tmp_path, nn.Linear(3, 1), frame, target="price")
    assert run.schema.inputs["x"].columns == ("a", "b", "n")
    one = run.predict(frame[:2])
    assert one[0].answer.number == run.predict([frame.row(0, named=True)])[0].answer.number
    assert run.predict(frame.drop("price").select("n", "b", "a"))[1].answer == one[1].answer
    with pytest.raises(gradlab.UserError, match="lacks the columns n"):
        run.predict(frame.drop("n"))
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    torch.manual_seed(0)
    same = fit(tmp_path, nn.Linear(3, 1), str(path), target="price")
    assert np.allclose(same.model.weight.detach(), run.model.weight.detach(), atol=1e-4)
    both = fit(tmp_path, nn.Linear(2, 2), frame.drop("n").with_columns(more=1.0 * pl.col("a")),
               target=("price", "more"))  # fmt: skip
    assert both.schema.targets["y"].size == (2,)


def test_text_in_a_data_frame_is_refused_or_encoded(tmp_path):
    with pytest.raises(gradlab.UserError, match=r"'kind' holds String.*standardise=True"):
        fit(tmp_path, nn.Linear(4, 1), FRAME, target="price")
    lacking = FRAME.drop("kind").with_columns(a=pl.when(pl.col("a") > 1).then(None).otherwise("a"))
    with pytest.raises(gradlab.UserError, match="'a' lacks"):
        fit(tmp_path, nn.Linear(3, 1), lacking, target="price")
    run = fit(tmp_path, nn.Linear(5, 1), FRAME, target="price", standardise=True, loss=nn.MSELoss())
    assert run.schema.inputs["table"].shape == (5,)
    assert len(run.predict(FRAME[:3])) == 3


def test_a_registered_network_learns_from_them_too(tmp_path):
    given = {**QUIET, "out": tmp_path, "model.widths": (8,)}
    frame = FRAME.drop("price")
    run = gradlab.train(
        "mlp", data=frame[:90], target="kind", val=frame[90:105], test=frame[105:], **given
    )
    assert run.record["dataset"]["counts"] == {"train": 90, "val": 15, "test": 15}
    assert len(run.predict(frame[:4])) == 4
    labels = (X[:, 0] > 0).astype(int)
    arrays = gradlab.train("mlp", data=(X, labels), **given)
    items = gradlab.train("mlp", data=Items(X, labels), val=(X[:20], labels[:20]), **given)
    assert arrays.schema == items.schema or items.record["dataset"]["counts"]["val"] == 20
    with pytest.raises(gradlab.UserError, match=r"gradlab\.fit"):
        gradlab.train("mlp", data=((X, X), labels), **given)


def test_named_sets_come_unscaled(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    run = fit(tmp_path, module, "digits", loss=nn.CrossEntropyLoss(), epochs=1)
    assert run.schema.inputs["image"].mean == (0.0,) and "N C H W, 0..1" in notes(run)
    assert run.evaluate("val") == run.metrics["val"]
    with pytest.raises(gradlab.UserError, match="iris is a table"):
        fit(tmp_path, nn.Linear(4, 3), "iris")
    assert "accuracy" in fit(tmp_path, nn.Linear(4, 3), "iris", standardise=True).metrics["val"]


# what is left behind


def test_small_data_are_kept_and_evaluated_after_loading(tmp_path):
    run = fit(tmp_path, nn.Linear(3, 1), (X, Y), loss=nn.MSELoss())
    again = gradlab.load(run.path, model=nn.Linear(3, 1))
    assert again.evaluate("test") == run.metrics["test"]
    assert "kept in the run" in notes(run)
    data = run.path / "data.npz"
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    with pytest.raises(gradlab.UserError, match="damaged or was edited"):
        gradlab.load(run.path, model=nn.Linear(3, 1)).evaluate("test")


def test_other_data_are_given_again_and_compared(tmp_path):
    run = fit(tmp_path, nn.Linear(3, 1), (X, Y), keep_data=False)
    assert not (run.path / "data.npz").exists() and "not kept" in notes(run)
    with pytest.raises(gradlab.UserError, match="give them again"):
        gradlab.load(run.path, model=nn.Linear(3, 1)).evaluate("test")
    again = gradlab.load(run.path, model=nn.Linear(3, 1), data=(X, Y))
    assert again.evaluate("test") == run.metrics["test"]
    with pytest.raises(gradlab.UserError, match="has changed"):
        gradlab.load(run.path, model=nn.Linear(3, 1), data=(X + 1, Y))


# what cannot be learnt from


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (5, "found int"),
        ((X,), "found tuple of 1 entries"),
        ((X, X, Y), r"give \(\(x1, x2\), y\)"),
        ((X, Y[:50]), "x 120, y 50"),
        ((X[:0], Y[:0]), "no examples"),
        (({"a": X}, {"a": Y}), "one name"),
        ((np.array(["a"] * 120), Y), "holds text"),
        ((np.where(X > 2, np.nan, X), Y), "no finite"),
        ([[[1, 2], [3]], [1, 2]], "of one shape"),
        ({"a": X, "b": Y}, "which of a, b is the target"),
        (torch.as_tensor(X), "expected"),
    ],
)
def test_what_is_no_data_is_refused(tmp_path, data, said):
    with pytest.raises(gradlab.UserError, match=said):
        fit(tmp_path, nn.Linear(3, 1), data)
    assert not list(tmp_path.iterdir())


def test_a_wrong_width_or_type_names_the_layer(tmp_path):
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with pytest.raises(gradlab.UserError, match=r"layer '0' \(Linear\).*in_features=3"):
        fit(tmp_path, module, (X, Y))
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 1))
    with pytest.raises(gradlab.UserError, match=r"layer '0' \(Embedding\).*whole numbers"):
        fit(tmp_path, tokens, (X, Y))
    with pytest.raises(gradlab.UserError, match="make an instance"):
        gradlab.fit(nn.Linear, data=(X, Y))
