"""Recipes for series."""

from __future__ import annotations

from gradlab.config import (
    Choice,
    DataConfig,
    OptimizerConfig,
    Plan,
    Recipe,
    ScheduleConfig,
    Target,
)
from gradlab.recipes import register

_KIND = "series"
LAI = (
    "Lai et al. (2018), Modeling long- and short-term temporal patterns with deep neural networks, "
    "https://arxiv.org/abs/1703.07015"
)

register(
    Recipe(
        name="forecaster",
        kind=_KIND,
        summary="the next values of a series, with intervals: an LSTM beside a linear model",
        paper=LAI,
        departures=("an LSTM without convolutions and skips", "quantiles are learnt beside"),
        model=Choice(name="forecaster"),
        data=DataConfig(name="daily_min_temperatures", horizon=1, val=0.1, test=0.2),
        optimizer=OptimizerConfig(name="adamw", lr=2e-3, weight_decay=0.05),
        schedule=ScheduleConfig(name="cosine", warmup=0.5),
        plan=Plan(epochs=20, updates=1000, batch_size=64, clip_norm=1.0, patience=8, min_epochs=5),
        targets=(
            Target(
                dataset="daily_min_temperatures",
                metric="rmse",
                value=2.15,
                source="a linear autoregression of 7 days with yearly terms",
            ),
        ),
    )
)
register(
    Recipe(
        name="pollution_forecaster",
        kind=_KIND,
        summary="hourly pollution a day ahead from its own past and the weather's",
        paper=LAI,
        departures=("an LSTM without convolutions and skips", "quantiles are learnt beside"),
        model=Choice(name="forecaster", width=64, dropout=0.5),
        data=DataConfig(name="pollution", horizon=24, window=24, val=0.1, test=8760 / 43824),
        optimizer=OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.1),
        schedule=ScheduleConfig(name="cosine", warmup=0.5),
        plan=Plan(epochs=4, batch_size=128, clip_norm=1.0),
        targets=(
            Target(
                dataset="pollution",
                metric="rmse_last",
                value=80.0,
                source="set for gradlab: 24 hours ahead the last value has 99.5, a linear "
                "autoregression of 24 hours 84.4",
            ),
        ),
    )
)
register(
    Recipe(
        name="weather_class",
        kind=_KIND,
        summary="tomorrow's weather of five classes from the last three days",
        paper=LAI,
        departures=("an LSTM without convolutions and skips",),
        model=Choice(name="forecaster"),
        data=DataConfig(name="seattle_weather", horizon=1, window=3, val=0.1, test=0.25),
        optimizer=OptimizerConfig(name="adamw", lr=2e-3, weight_decay=0.1),
        schedule=ScheduleConfig(name="cosine", warmup=0.5),
        plan=Plan(epochs=20, updates=600, batch_size=64, clip_norm=1.0),
        targets=(
            Target(
                dataset="seattle_weather",
                metric="accuracy",
                value=0.66,
                source="set for gradlab: as yesterday 60.0, always rain 39.5",
            ),
        ),
    )
)
