"""Networks as scikit-learn estimators: in a pipeline, a grid search, cross-validation.

>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.svm import SVC
>>> x, y = load_iris(return_X_y=True)
>>> model = make_pipeline(NetworkFeatures(epochs=60, random_state=0), SVC())
>>> bool(model.fit(x, y).score(x, y) > 0.9)
True

Training is that of gradlab: the same tasks, the same engine. Only the run is kept in memory instead
of in a folder, and nothing is printed. The parameters of all three:

- recipe: the name of a recipe (`gradlab list`), or a `gradlab.config.Recipe`;
- widths: units of each hidden layer, when the recipe's network is an mlp;
- epochs, batch_size, lr: None takes the recipe's own (and of few examples, smaller batches);
- val: share of the examples held out to choose the best epoch by (0: the last one is kept);
- image_size: height and width, when X holds square images as rows of H*W*C values. X may also be
  N H W or N H W C. The lowest value in the training set is taken for black, the highest for white;
- device: "auto", "cpu", "cuda" or "cuda:N";
- fields: any other fields of the recipe by dotted name, such as {"optimizer.weight_decay": 0}, and
  {"threads": 4}, which are 1 else;
- random_state: owner of initial values, dropout, the order of examples and augmentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from gradlab.config import DataConfig, Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.columns import Dense
from gradlab.data.dataset import Source
from gradlab.data.decode import pixels, refit
from gradlab.data.fields.base import Field
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.values import Values
from gradlab.data.splits import finish
from gradlab.dotted import override, validate
from gradlab.engine import Interrupted, Progress, RunFolder, fit, pack, seeded
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.runs import load
from gradlab.runs.make import make
from gradlab.tasks.activations import Pool, activations
from gradlab.workflows.train import training

__all__ = ["NetworkClassifier", "NetworkFeatures", "NetworkRegressor"]


class _Network(BaseEstimator):  # type: ignore[misc]
    """What the three estimators share: parameters, training, pickling."""

    _task: Any
    """The trained network with its recipe and schema, without the examples."""

    def __init__(
        self,
        recipe: str | Recipe = "mlp",
        *,
        widths: tuple[int, ...] = (128,),
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        val: float = 0.0,
        image_size: int | None = None,
        device: str = "auto",
        fields: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.recipe = recipe
        self.widths = widths
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.val = val
        self.image_size = image_size
        self.device = device
        self.fields = fields
        self.random_state = random_state

    def _chosen(self, task: str, count: int) -> Recipe:
        """The recipe with this estimator's parameters in it, for so many examples."""
        recipe = find(self.recipe)
        changes: dict[str, Any] = {
            "data": "arrays",
            "task": task,
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
            # An epoch of one step costs more in what surrounds it than in the step.
            "batch_size": self.batch_size or min(recipe.plan.batch_size, max(count // 16, 16)),
        }
        if recipe.model.name == "mlp":
            changes["model.widths"] = tuple(self.widths)
        if self.epochs is not None:
            changes["epochs"] = self.epochs
        if self.lr is not None:
            changes["optimizer.lr"] = self.lr
        fields = self.fields or {}
        given = {key: value for key, value in fields.items() if key not in Runtime.model_fields}
        return find(recipe, {**changes, **given})

    def _runtime(self) -> Runtime:
        """One thread, as scikit-learn's n_jobs=None: a grid search is what to spread out."""
        fields = self.fields or {}
        given = {key: value for key, value in fields.items() if key in Runtime.model_fields}
        return override(Runtime(device=self.device, precision="float32", threads=1), given)

    def _train(self, x: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> None:
        """Train on x as a column keeps it, and y: class numbers, or values without `classes`."""
        given, asked = _field(x), Label(classes=classes) if classes else Number()
        schema = Schema(inputs={given.type: given}, targets={asked.type: asked})
        examples = Split({given.type: Dense(x), asked.type: Dense(y)})
        stratify = asked.type if classes else ""
        source = Source("the examples", schema, {"train": examples}, stratify=stratify)
        dataset = finish(source, DataConfig(val=self.val, test=0))
        recipe = self._chosen("classification" if classes else "regression", len(x))
        run = _InMemory()
        with training(recipe, dataset, self._runtime(), None) as task:
            try:
                fit(task, task.recipe.plan, run)
            except Interrupted:
                raise KeyboardInterrupt from None
            task.load_weights({"model": run.best})
            decision = task.decide()
            # Without the examples, the optimizer and the gradients.
            self._task = make(task.recipe, task.schema, task.setup.runtime)
            self._task.load_weights({"model": run.best, "decision": decision})
        self.history_ = run.log

    def _fit_inputs(self, x: np.ndarray) -> np.ndarray:
        """The training inputs as a column keeps them; images by the range of their values."""
        if x.ndim == 2 and self.image_size is None:
            return np.array(x, np.float32, order="C")
        self._shape = _image_shape(x, self.image_size)
        self._range = (float(x.min()), float(x.max()))
        return self._pixels(x)

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        """New inputs as a column keeps them."""
        return self._pixels(x) if hasattr(self, "_shape") else np.array(x, np.float32, order="C")

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        """Images as uint8 N H W C: the training's lowest value black, its highest white."""
        low, high = self._range
        if x[0].size != np.prod(self._shape):
            raise ValueError(f"X has examples of the shape {x.shape[1:]}, expected {self._shape}")
        scaled = (x.reshape(len(x), *self._shape) - low) / ((high - low) or 1.0)
        return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)

    def _read(self, x: Any) -> np.ndarray:
        """New inputs, validated."""
        check_is_fitted(self, "_task")
        return self._inputs(validate_data(self, x, reset=False, allow_nd=True))

    def _answers(self, x: Any) -> np.ndarray:
        """Probabilities (N K) or values (N), float32."""
        examples = self._examples(self._read(x))
        loader = self._task.loader_of(examples, self._task.schema.inputs)
        with self._task.setup.applied():
            found = [self._task.interpreted(out).cpu() for _, out in self._task.outputs_of(loader)]
        return np.concatenate(found)

    def _examples(self, x: np.ndarray) -> Split:
        """Inputs as the network's task takes them."""
        (name,) = self._task.schema.inputs
        return Split({name: Dense(x)})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_task")

    def __getstate__(self) -> dict[str, Any]:
        """The network as its recipe, its schema and the bytes of its weights."""
        state: dict[str, Any] = super().__getstate__().copy()
        task = state.pop("_task", None)
        if task is not None:
            values = (task.recipe, task.schema, task.setup.runtime)
            tensors = pack.to_bytes(task.model.state_dict())
            decision = task.decision.model_dump(exclude_defaults=True)
            dumped = (value.model_dump(mode="json") for value in values)
            state["_network"] = (*dumped, tensors, decision)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        network = state.pop("_network", None)
        super().__setstate__(state)
        if network is not None:
            kinds: tuple[Any, ...] = (Recipe, Schema, Runtime)
            recipe, schema, runtime = (
                validate(kind, value, "a pickled estimator")
                for kind, value in zip(kinds, network, strict=False)
            )
            with seeded(recipe.seed):
                self._task = make(recipe, schema, override(runtime, {"device": self.device}))
            tensors, decision = pack.from_bytes(network[3]), network[4]
            self._task.load_weights({"model": tensors, "decision": decision})


class NetworkClassifier(ClassifierMixin, _Network):  # type: ignore[misc]
    """A network that classifies. Its parameters are those listed in `gradlab.sklearn`."""

    def fit(self, X: Any, y: Any) -> NetworkClassifier:  # noqa: N803
        """Train. X: N D (or images), y: N labels of any kind."""
        X, y = validate_data(self, X, y, allow_nd=True, ensure_min_samples=2)  # noqa: N806
        self.classes_, number = _classes(y)
        self._train(self._fit_inputs(X), number, tuple(str(label) for label in self.classes_))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities of the classes, N K, in the order of `classes_`."""
        return self._answers(X)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The class of each example: the likeliest, or by `task.threshold`."""
        answers = torch.from_numpy(self._answers(X))
        return np.asarray(self.classes_[self._task.picked(answers).numpy()])


class NetworkRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """A network that estimates a number. Its parameters are listed in `gradlab.sklearn`."""

    def fit(self, X: Any, y: Any) -> NetworkRegressor:  # noqa: N803
        """Train. X: N D (or images), y: N numbers."""
        X, y = validate_data(  # noqa: N806
            self, X, y, allow_nd=True, ensure_min_samples=2, y_numeric=True
        )
        self._train(self._fit_inputs(X), np.array(y, np.float32), ())
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The number for each example."""
        return self._answers(X)


class NetworkFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Network):  # type: ignore[misc]
    """What a layer of a network makes of each example: inputs for any other estimator.

    Beside the parameters listed in `gradlab.sklearn`: `run`, the path of a run whose network is
    used (nothing is trained then, y is not needed, and X is read as the run reads it: images
    of 0..255 or 0..1, or the inputs of an array); `layer` and `pool`, as in `gradlab.features`.
    """

    def __init__(
        self,
        recipe: str | Recipe = "mlp",
        *,
        run: str | os.PathLike[str] | None = None,
        layer: str | None = None,
        pool: Pool = "mean",
        widths: tuple[int, ...] = (128,),
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        val: float = 0.0,
        image_size: int | None = None,
        device: str = "auto",
        fields: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            recipe, widths=widths, epochs=epochs, batch_size=batch_size, lr=lr, val=val,
            image_size=image_size, device=device, fields=fields, random_state=random_state,
        )  # fmt: skip
        self.run = run
        self.layer = layer
        self.pool = pool

    def fit(self, X: Any, y: Any = None) -> NetworkFeatures:  # noqa: N803
        """Train on X (N D or images) and y (labels or numbers), or take the network of `run`."""
        if self.run is None:
            X, y = validate_data(self, X, y, allow_nd=True, ensure_min_samples=2)  # noqa: N806
            if type_of_target(y).startswith("continuous"):
                self._train(self._fit_inputs(X), np.array(y, np.float32), ())
            else:
                classes, number = _classes(y)
                self._train(self._fit_inputs(X), number, tuple(str(label) for label in classes))
        else:
            X = validate_data(self, X, allow_nd=True)  # noqa: N806
            self._task = load(self.run, runtime=Runtime(device=self.device)).task
        self._n_features_out = self._features(self._inputs(X[:1])).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """The features of each example, float32 N D."""
        return self._features(self._read(X))

    def _features(self, x: np.ndarray) -> np.ndarray:
        return activations(self._task, self._examples(x), self.layer, self.pool)[0]

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        if self.run is None:
            return super()._inputs(x)
        (read,) = self._task.schema.inputs.values()
        if not isinstance(read, Image | Values):
            raise UserError(
                f"{self.run} reads a {read.type}, by the names of its columns: use "
                "gradlab.features, or a run on images or arrays"
            )
        # H W C of images, which a network reads as C H W.
        shape = (*read.shape[1:], read.shape[0]) if isinstance(read, Image) else read.shape
        if x.ndim == 2 or isinstance(read, Values):
            if x[0].size != np.prod(shape):
                expected = "x".join(map(str, shape))
                raise ValueError(
                    f"X has {x[0].size} values for each example, but {self.run} reads {expected}"
                )
            x = x.reshape(-1, *shape)
        if isinstance(read, Values):
            return np.array(x, np.float32, order="C")
        images = pixels(x if x.ndim == 4 else x[..., None])
        return refit(images, (read.height, read.width), read.channels)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.run is None
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class _InMemory(RunFolder):
    """A run that leaves nothing behind but its log and the weights of its best epoch.

    scikit-learn fits by the hundred; a folder would cost more than the training.
    """

    def __init__(self) -> None:
        super().__init__(Path("memory"))
        self.log: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}

    def append(self, line: dict[str, Any]) -> None:
        self.log.append(line)

    def has(self, which: Literal["last", "best"]) -> bool:
        return False

    def save(
        self, which: Literal["last", "best"], progress: Progress, state: dict[str, Any]
    ) -> None:
        if which == "best":
            self.best = {name: value.detach().clone() for name, value in state["model"].items()}


def _field(x: np.ndarray) -> Field:
    """What inputs are, as a column keeps them: images (uint8 N H W C), or values (float32)."""
    if x.dtype == np.uint8:
        height, width, channels = x.shape[1:]
        return Image(height=height, width=width, channels=channels)
    return Values(size=x.shape[1:])


def _classes(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The classes in order, and y as their numbers."""
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    classes, number = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y holds 1 class only ({classes[0]!r}): at least 2 are needed")
    return classes, number.astype(np.int64)


def _image_shape(x: np.ndarray, image_size: int | None) -> tuple[int, int, int]:
    """H W C of the images in X: N H W C, N H W, or N rows of H*W*C values."""
    if x.ndim == 2:
        side = int(image_size or 0)
        channels, rest = divmod(x.shape[1], side * side)
        if rest or channels not in (1, 3):
            raise ValueError(
                f"X has {x.shape[1]} values for each image: expected {side}x{side}x1 or "
                f"{side}x{side}x3 (image_size={image_size})"
            )
        return side, side, channels
    height, width, channels = (*x.shape[1:], 1)[:3]
    if x.ndim > 4 or (x.ndim == 4 and channels not in (1, 3)):
        raise ValueError(f"X has the shape {x.shape}: expected N H W or N H W C (C 1 or 3)")
    return height, width, channels
