"""Recipes for tables: linear, logistic and softmax regression, the multilayer perceptron."""

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

register(
    Recipe(
        name="linear_regression",
        kind="tables and small images",
        summary="one linear map, squared error",
        paper="Legendre (1805), Nouvelles methodes pour la determination des orbites des cometes",
        departures=("fitted by gradient descent instead of the normal equations",),
        model=Choice(name="linear"),
        task=Choice(name="regression"),
        data=DataConfig(name="diabetes", test=0.2),
        optimizer=OptimizerConfig(name="momentum", lr=0.02, weight_decay=1e-3),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=100, batch_size=32),
        targets=(
            Target(
                dataset="diabetes",
                metric="r2",
                value=0.51,
                source="ordinary least squares on this split (scikit-learn): 0.518",
            ),
        ),
    ),
)

register(
    Recipe(
        name="logistic_regression",
        kind="tables and small images",
        summary="one linear map and a sigmoid: one of two classes",
        paper="Cox (1958), The regression analysis of binary sequences",
        model=Choice(name="linear"),
        task=Choice(name="binary"),
        data=DataConfig(name="breast_cancer", test=0.2),
        optimizer=OptimizerConfig(name="momentum", lr=0.1, weight_decay=1e-3),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=50, updates=800, batch_size=32),
        targets=(
            Target(
                dataset="breast_cancer",
                metric="accuracy",
                value=0.95,
                source="logistic regression on this split (scikit-learn): 95.6 %",
            ),
            Target(
                dataset="titanic",
                metric="accuracy",
                value=0.78,
                source="logistic regression on this split (scikit-learn): 78.7 %",
            ),
        ),
    ),
)

register(
    Recipe(
        name="softmax_regression",
        kind="tables and small images",
        summary="one linear map and a softmax: one of several classes",
        paper="LeCun et al. (1998), Gradient-based learning applied to document recognition, III.C",
        departures=("cross-entropy instead of squared error",),
        model=Choice(name="linear"),
        task=Choice(name="classification"),
        data=DataConfig(name="digits"),
        optimizer=OptimizerConfig(name="adamw", lr=3e-3, weight_decay=1e-2),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=20, updates=1500, batch_size=128),
        targets=(Target(dataset="mnist", metric="accuracy", value=0.92, source="set for gradlab"),),
    ),
)

register(
    Recipe(
        name="mlp",
        kind="tables and small images",
        summary="fully connected layers: any table, any small image",
        paper="Rumelhart, Hinton and Williams (1986), Learning representations by "
        "back-propagating errors",
        departures=("ReLU, dropout and AdamW instead of sigmoid units and plain descent",),
        model=Choice(name="mlp", widths=(800, 800), dropout=0.25),
        data=DataConfig(name="digits"),
        optimizer=OptimizerConfig(name="adamw", lr=2e-3, weight_decay=1e-2),
        schedule=ScheduleConfig(name="one_cycle"),
        plan=Plan(epochs=20, updates=600, batch_size=256),
        targets=(
            Target(
                dataset="mnist",
                metric="accuracy",
                value=0.984,
                source="one hidden layer of 800 units, Simard et al. (2003), Table 1: 1.6 % error",
            ),
        ),
    ),
)

register(
    Recipe(
        name="tabular",
        kind="tables and small images",
        summary="an ensemble of perceptrons in one network: any table, the first to try",
        paper="Gorishniy, Kotelnikov and Babenko (2024), TabM: advancing tabular deep learning "
        "with parameter-efficient ensembling",
        departures=(
            "each example of a batch trains one member; their outputs are averaged",
            "numbers are encoded piecewise linearly straight into the first layer",
            "a fixed number of updates with a cosine schedule, and the last epoch is kept: val "
            "splits of small tables choose badly",
        ),
        model=Choice(name="tabular"),
        data=DataConfig(name="breast_cancer"),
        optimizer=OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.5),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=10, updates=600, batch_size=256, keep="last"),
    ),
)
