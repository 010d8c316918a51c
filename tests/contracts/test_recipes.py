"""What every named recipe must satisfy."""

from __future__ import annotations

import pytest

from gradlab.config import Recipe
from gradlab.data.sources import datasets
from gradlab.dotted import validate
from gradlab.measures import known, measure
from gradlab.models import models
from gradlab.recipes import find, recipes
from gradlab.recipes.files import as_toml, read_recipe
from gradlab.recipes.options import field_rows
from gradlab.tasks import tasks
from gradlab.tasks.sections import SECTIONS


@pytest.fixture(params=list(recipes))
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return recipes[request.param]


def test_it_is_registered_under_its_own_name_and_says_what_it_is(recipe):
    assert recipes[recipe.name] is recipe and find(recipe.name) == recipe
    assert recipe.summary and recipe.kind != "my own"
    assert recipe.paper or recipe.model.name == "auto"


def test_its_parts_are_there_with_the_options_that_it_names(recipe):
    if recipe.model.name != "auto":
        models.check(recipe.model.name, recipe.model.options)
    if recipe.task.name != "auto":
        tasks.check(recipe.task.name, recipe.task.options)
    assert recipe.task.name == "dqn" or recipe.data.name in datasets


def test_it_sets_nothing_that_its_task_would_ignore(recipe):
    if recipe.task.name == "auto":
        return
    plain = Recipe(name="plain", model=recipe.model)
    served = tasks[recipe.task.name].serves
    for section, fields in SECTIONS.items():
        for dotted in () if section in served else fields:
            values = []
            for node in (recipe, plain):
                for part in dotted.split("."):
                    node = getattr(node, part)
                values.append(node)
            assert values[0] == values[1], dotted


def test_its_targets_have_a_source_and_a_known_metric(recipe):
    for target in recipe.targets:
        assert target.source
        assert target.metric in known()
        assert (target.goal or measure(target.metric).goal) in ("min", "max")


def test_it_comes_back_out_of_json_and_toml(recipe, tmp_path):
    tree = recipe.model_dump(mode="json")
    assert validate(Recipe, tree, "json").model_dump(mode="json") == tree
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(recipe), encoding="utf-8")
    assert read_recipe(path).model_dump(mode="json") == tree


def test_every_field_has_a_meaning(recipe):
    rows = field_rows(recipe)
    assert len(rows) > 40
    chosen_later = "model." if recipe.model.name == "auto" else "nothing"
    assert not [
        name for name, _, meaning in rows if not meaning and not name.startswith(chosen_later)
    ]
