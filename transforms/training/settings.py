"""Define the settings of a training run, and check whether it is finished."""

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
RESULTS = (MODEL, KEYS, PREDICTIONS, CURVES, CARD)  # written in this order
_SETTINGS = f"{checkpoint.FOLDER}/settings.json"
_CENTRE_CROP = 224 / 256  # side of the crop, as a share of the shorter side
_CHOSEN_RATE = "chosen_learning_rate"
_REMEDY = "give another --output, or remove that folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of a training run; it can be resumed only with the same ones."""

    subset_id: str
    train_split: str
    validation_split: str
    model: str
    image_size: int
    epochs: int
    learning_rate: tuple[float, ...]  # one run per rate; the best is kept
    batch_size: int
    label_smoothing: float
    weight_decay: float
    seed: int
    mixed_precision: str  # auto | true | false
    input_pipeline: int = 2  # raised when the order of the images or the crops change

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of validation images: a resize and a centre crop.

        Random training crops magnify objects, so a centre crop matches them better than
        the whole image. It makes small models one percentage point more accurate on
        real images.
        """
        resize_px = round(self.image_size / _CENTRE_CROP)
        return Preprocessing(resize_px=resize_px, crop_px=self.image_size)

    def describe(self, chosen: float | None = None) -> dict[str, Any]:
        """Convert the settings to a JSON object; add the chosen rate if given."""
        described = json.loads(to_json(dataclasses.asdict(self)))
        return described if chosen is None else {**described, _CHOSEN_RATE: chosen}


def is_finished(folder: str, settings: TrainSettings) -> bool:
    """Return whether a folder contains the complete results of a run.

    Raises:
      UsageError: the folder contains another run's files, unrelated files, or a damaged
        card.
    """
    card, started = Path(folder, CARD), Path(folder, _SETTINGS)
    if card.exists():
        if finished := _read(card).get("training"):
            _compare(folder, finished, settings)
            return True
    elif started.exists():
        _compare(folder, _read(started), settings)
        return False
    foreign = [name for name in RESULTS if Path(folder, name).exists()]
    if foreign:
        raise UsageError(
            f"{folder}: holds {foreign[0]}, which this run did not write; {_REMEDY}"
        )
    return False


def mark_started(folder: str, settings: TrainSettings) -> None:
    """Write the settings of a run to its folder; `is_finished` compares them."""
    storage.write(folder, _SETTINGS, to_json(settings.describe()))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON; {_REMEDY}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is not a JSON object; {_REMEDY}")
    return content


def _compare(folder: str, recorded: Mapping[str, Any], settings: TrainSettings) -> None:
    given = settings.describe()
    differing = [name for name in given if recorded.get(name) != given[name]]
    if differing:
        shown = "; ".join(
            f"{name} {_format(recorded.get(name))} there, {_format(given[name])} here"
            for name in differing
        )
        raise UsageError(
            f"{folder}: holds a run with other settings: {shown}; {_REMEDY}"
        )


def _format(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
