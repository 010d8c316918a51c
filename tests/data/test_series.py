"""Tables as series: columns, steps of time, gaps, windows and their splits."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gradlab.config import DataConfig
from gradlab.data import load
from gradlab.data.layout import layout_of, series_of
from gradlab.data.sources.series import windows
from gradlab.data.steps import Step, calendar, step_of
from gradlab.errors import UserError


def days(count: int, first: str = "2020-01-01") -> list[str]:
    start = np.datetime64(first)
    return [str(start + n) for n in range(count)]


def frame(count: int = 200, **more: object) -> pl.DataFrame:
    values = np.sin(np.arange(count) / 5) * 3 + 10
    return pl.DataFrame({"day": days(count), "sales": [f"{v:.3f}" for v in values], **more})


CONFIG = DataConfig(name="x", time="day", target="sales", horizon=2, window=5, val=0.1, test=0.2)


def changed(**fields: object) -> DataConfig:
    return CONFIG.model_copy(update=fields)


def test_a_window_is_followed_by_what_comes_next():
    table = frame()
    source = windows("x", table, CONFIG)
    values = table["sales"].cast(pl.Float64).to_numpy()
    train = source.parts["train"]
    for number in (0, 7, len(train) - 1):
        first = int(np.flatnonzero(np.isclose(values, train["past"][number][0, 0]))[0])
        assert np.allclose(train["past"][number][:, 0], values[first : first + 5])
        assert np.allclose(train["sales"][number][:, 0], values[first + 5 : first + 7])


def test_later_splits_hold_later_targets_alone():
    source = windows("x", frame(), CONFIG)
    ends = {}
    for split, part in source.parts.items():
        column = part["sales"]
        ends[split] = column.starts.min(), column.starts.max() + 1
    assert ends["train"][1] < ends["val"][0] and ends["val"][1] < ends["test"][0]
    assert (ends["val"][0], ends["test"][0]) == (140, 160)
    assert source.parts["test"]["past"].starts.min() == 155, "what is looked back on may lie before"
    assert source.parts["test"].ids[0] == "2020-06-08"


def test_scales_are_learnt_from_the_training_times_alone():
    table = frame()
    other = table.with_columns(
        pl.when(pl.int_range(pl.len()) >= 140).then(pl.lit("900")).otherwise("sales").alias("sales")
    )
    fields = []
    for one in (table, other):
        source = windows("x", one, CONFIG)
        fields.append(source.schema.inputs["past"].fit(source.parts["train"]["past"]))
    assert fields[0] == fields[1]


def test_the_long_form_is_understood_as_it_is(tmp_path):
    rows = [(name, day, n) for name in ("a", "b") for n, day in enumerate(days(60))]
    path = tmp_path / "long.csv"
    pl.DataFrame(rows, schema=["unique_id", "ds", "y"], orient="row").write_csv(path)
    dataset = load(DataConfig(name=str(path), horizon=3, window=7, test=0.2))
    column = dataset.split("train")["past"]
    assert column.timeline.names == ("a", "b")
    codes = column.timeline.codes
    assert (codes[column.starts] == codes[column.starts + 9]).all(), "no window is of two series"
    assert dataset.schema.inputs["past"].several  # type: ignore[attr-defined]
    assert list(dataset.schema.targets) == ["y"]


def test_rows_out_of_order_are_put_in_order_and_gaps_are_filled_and_not_learnt_from():
    table = frame(60, extra=[str(n % 7) for n in range(60)])
    mixed = table.sample(fraction=1.0, shuffle=True, seed=1)
    layout, _ = layout_of("x", mixed, CONFIG)
    whole, again = (series_of("x", one, layout) for one in (table, mixed))
    assert np.array_equal(whole.values, again.values)
    assert any("not in the order of time" in note for note in again.notes)
    gappy = pl.concat([table[:30], table[33:]])
    made = series_of("x", gappy, layout)
    assert len(made.values) == 60 and (~made.known).nonzero()[0].tolist() == [30, 31, 32]
    assert np.allclose(made.values[30:33, 0], made.values[29, 0])
    assert any("3 steps without a row" in note for note in made.notes)
    source = windows("x", gappy, CONFIG.model_copy(update={"val": 0.0, "test": 0.0}))
    future = source.parts["train"]["sales"].starts
    assert not set(range(29, 33)) & set(future.tolist()), "no target was missing"


def test_a_missing_value_is_the_last_known_one_and_no_target():
    values = [f"{n}" for n in range(60)]
    values[20] = "NA"
    table = pl.DataFrame({"day": days(60), "sales": values}, strict=False).with_columns(
        pl.col("sales").replace("NA", None)
    )
    layout, _ = layout_of("x", table, CONFIG)
    made = series_of("x", table, layout)
    assert made.values[20, 0] == 19 and not made.known[20]
    assert any("1 values of sales are missing" in note for note in made.notes)


def test_texts_of_few_kinds_become_variables_and_others_are_left_out():
    table = frame(
        60,
        sky=["sun", "rain"] * 30,
        note=[f"text {n}" for n in range(60)],
        same=["3"] * 60,
        row=[str(n) for n in range(60)],
    )
    layout, notes = layout_of("x", table, CONFIG)
    assert layout.categories == {"sky": ("rain", "sun")} and layout.numbers == ("sales",)
    said = "\n".join(notes)
    for part in (
        "note: left out, it has 60",
        "same: left out, it is the same",
        "row: left out, it",
    ):
        assert part in said
    made = series_of("x", table, layout)
    place = layout.variables.index("sky=sun")
    assert made.values[:4, place].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("stamps", "words", "season"),
    [
        (np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]"), "day", 7),
        (np.arange("2020-01-01", "2020-01-09", dtype="datetime64[h]"), "hour", 24),
        (np.datetime64("2020-01-01") + 7 * np.arange(30), "7 days", 52),
        (np.arange("2015-01", "2020-01", dtype="datetime64[M]"), "month", 12),
        (np.arange("2015-01", "2020-01", 3, dtype="datetime64[M]"), "quarter", 4),
        (np.arange("1950", "2020", dtype="datetime64[Y]"), "year", 1),
        (np.arange(0, 80, 2), "step of 2", 1),
    ],
)  # fmt: skip
def test_the_step_of_time_is_found(stamps, words, season):
    stamps = stamps if stamps.dtype.kind == "i" else stamps.astype("datetime64[us]")
    step = step_of(stamps, "x")
    assert (step.words, step.season) == (words, season)
    assert np.array_equal(step.numbers(stamps, "x"), np.arange(len(stamps)))
    assert np.array_equal(step.after(stamps[3], 4), stamps[4:8])


def test_last_days_of_months_are_a_month_apart():
    ends = np.arange("2019-02", "2021-02", dtype="datetime64[M]").astype("datetime64[D]") - 1
    stamps = ends.astype("datetime64[us]")
    step = step_of(stamps, "x")
    assert step.words == "month"
    assert np.array_equal(step.numbers(stamps, "x"), np.arange(24))


def test_waves_of_the_calendar_return():
    stamps = np.arange("2020-01-06", "2020-02-06", dtype="datetime64[h]").astype("datetime64[us]")
    waves = calendar(stamps, Step(unit="seconds", count=3600), ("day", "week"))
    assert waves.shape == (len(stamps), 12)
    assert np.allclose(waves[:-24, :6], waves[24:, :6]) and np.allclose(waves[:-168], waves[168:])
    assert np.allclose(waves[0, 6:], [0, 1] * 3), "a week begins on Monday"


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y-%m-%d %H:%M"])
@pytest.mark.parametrize("count", [12, 200])
def test_dates_are_read_in_the_form_in_which_they_are_steps(form, count):
    """Of the first twelve days of a year each is a date in both orders of day and month."""
    table = frame(count)
    written = table["day"].str.to_date().cast(pl.Datetime).dt.strftime(form)
    layout, _ = layout_of("x", table.with_columns(day=written), CONFIG)
    made = series_of("x", table.with_columns(day=written), layout)
    assert layout.step.words == "day"
    assert str(made.timeline.stamps[-1])[:10] == table["day"][-1]


def test_no_window_begins_before_the_target_is_known():
    table = frame(60).with_columns(
        sales=pl.when(pl.int_range(pl.len()) < 20).then(None).otherwise("sales")
    )
    source = windows("x", table, changed(val=0.0, test=0.0))
    assert source.parts["train"]["past"].starts.min() == 20


def test_what_is_no_series_is_refused():
    texts = pl.format("text {}", pl.int_range(pl.len())).alias("sales")
    two_times = frame().rename({"day": "when"}).with_columns(other=pl.lit("2020-01-01"))
    uneven = frame(40).with_columns(day=pl.Series([*days(39), "2020-02-09 11:00"]))
    twice = r"2020-01-01 stands there twice \(rows 1 and 201\).*--data.series"
    for table, config, said in (
        (frame(), changed(time="when"), "unknown column of x: 'when'"),
        (frame().vstack(frame()), CONFIG, twice),
        (frame(30), changed(window=40), "30 steps, fewer than a window of 40 and 2 ahead"),
        (frame(40), changed(window=30), "0 windows .* lie in train, expected 10 or more"),
        (frame(40), changed(val=0.01), "0 windows .* lie in val, expected 1 or more"),
        (frame().with_columns(day=pl.lit("soon")), CONFIG, "row 1: the time 'day' is 'soon'"),
        (two_times, changed(time=None), "which column is the time"),
        (frame(), changed(target=None), "what is to be forecast"),
        (frame().with_columns(texts), CONFIG, "holds texts such as"),
        (uneven, CONFIG, "expected all rows in one form"),
    ):
        with pytest.raises(UserError, match=said):
            windows("x", table, config)


def test_a_time_between_two_steps_is_refused():
    stamps = [f"{day} 00:00" for day in days(59)] + ["2020-02-29 11:00"]
    with pytest.raises(UserError, match=r"a day apart, but 2020-02-29T11.*lies between"):
        windows("x", frame(60).with_columns(day=pl.Series(stamps)), CONFIG)


@pytest.mark.parametrize("name", ["daily_min_temperatures", "pollution", "seattle_weather"])
def test_named_sets(name):
    from gradlab.data.here import is_here

    if not is_here(name):
        pytest.skip(f"{name} is not in the cache")
    dataset = load(DataConfig(name=name, horizon=1, test=0.2))
    assert dataset.counts["train"] > 900
    batch = dataset.schema.inputs["past"].example()
    assert batch.shape[1] == 1 and np.isfinite(dataset.split("train")["past"].base).all()
