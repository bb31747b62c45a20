"""How a model is trained; a folder → whether it holds such a run."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transforms import storage
from transforms.models.card import CARD, Preprocessing
from transforms.records import UsageError, to_json
from transforms.training import checkpoint

MODEL, CURVES = "model.keras", "curves.csv"
PREDICTIONS, KEYS = "predictions.parquet", "trained_on.parquet"
RESULTS = (MODEL, KEYS, PREDICTIONS, CURVES, CARD)  # the last says that all are there
_SETTINGS = f"{checkpoint.FOLDER}/settings.json"
_MIDDLE = 224 / 256  # of a side
_CHOSEN = "chosen_learning_rate"
_REMEDY = "name another --output, or remove that folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What decides a run; any other value makes another run of it."""

    subset_id: str
    train_split: str
    validation_split: str
    model: str
    image_size: int
    epochs: int
    learning_rate: tuple[float, ...]  # each is trained with; the best is kept
    batch_size: int
    label_smoothing: float
    weight_decay: float
    seed: int
    mixed_precision: str  # auto | true | false

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared to be validated on.

        The usual middle: training crops show things larger than whole pictures do, and
        with it small models were a point better on real photographs.
        """
        resize_px = round(self.image_size / _MIDDLE)
        return Preprocessing(resize_px=resize_px, crop_px=self.image_size)

    def describe(self, chosen: float | None = None) -> dict[str, Any]:
        """Return them as JSON, with the learning rate that was best."""
        described = json.loads(to_json(dataclasses.asdict(self)))
        return described if chosen is None else {**described, _CHOSEN: chosen}


def is_finished(folder: str, settings: TrainSettings) -> bool:
    """Tell whether a folder holds the results of exactly this run.

    Raises: UsageError: it holds another run, or something else.
    """
    card, underway = Path(folder, CARD), Path(folder, _SETTINGS)
    if card.exists():
        if found := _read(card).get("training"):
            _compare(folder, found, settings)
            return True
    elif underway.exists():
        _compare(folder, _read(underway), settings)
        return False
    there = [name for name in RESULTS if Path(folder, name).exists()]
    if there:
        raise UsageError(f"{folder} holds {there[0]} of something else; {_REMEDY}")
    return False


def mark_started(folder: str, settings: TrainSettings) -> None:
    """Note whose folder this is."""
    storage.write(folder, _SETTINGS, to_json(settings.describe()))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path} is no JSON; {_REMEDY}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object; {_REMEDY}")
    return found


def _compare(folder: str, found: Mapping[str, Any], settings: TrainSettings) -> None:
    wanted = settings.describe()
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        shown = "; ".join(
            f"{name} {_show(found.get(name))} there, {_show(wanted[name])} here"
            for name in differing
        )
        raise UsageError(f"{folder} holds a run of other settings: {shown}; {_REMEDY}")


def _show(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
