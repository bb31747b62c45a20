"""A model's card (model.json) ↔ what must be known to ask it: classes, pictures, past.

A model file does not say which of its outputs stands for which class, nor how a picture
is prepared for it; both are silent errors when they are guessed. So every model has a
card: `train` writes one, and for a model from elsewhere the user does.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transforms import storage
from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.predictions.table import ModelClass
from transforms.records import JSON, UsageError, list_names, to_json

CARD = "model.json"  # beside the model file
IMAGENET = "imagenet"  # stands for the 1000 classes in the order of their wnids
OUTPUTS = ("probabilities", "logits")
CHANNEL_ORDERS = ("rgb", "bgr")
LAYOUTS = ("channels_last", "channels_first")
_MAX_BYTES = 16 * 2**20
_MAX_SIDE_PX = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the bytes of a picture become a model's input.

    The picture is made upright RGB, its shorter side brought to `resize_px` (bicubic,
    enlarged if need be), the middle square of `crop_px` cut out, and each channel c
    becomes (c − mean) / std, c from 0 to 255.
    """

    resize_px: int
    crop_px: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = "rgb"
    layout: str = "channels_last"

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values."""
        for name in ("resize_px", "crop_px"):
            if not 1 <= getattr(self, name) <= _MAX_SIDE_PX:
                yield f"{name} {getattr(self, name)}: must be 1 to {_MAX_SIDE_PX}"
        if self.crop_px > self.resize_px:
            yield f"crop_px {self.crop_px}: must not exceed resize_px {self.resize_px}"
        if not all(value > 0 for value in self.std):
            yield f"std {list(self.std)}: must be above 0"
        if self.channel_order not in CHANNEL_ORDERS:
            known = " or ".join(CHANNEL_ORDERS)
            yield f"channel_order {self.channel_order}: is {known}"
        if self.layout not in LAYOUTS:
            yield f"layout {self.layout}: is {' or '.join(LAYOUTS)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What a model has seen; all empty when nobody says."""

    subset_id: str = ""
    split: str = ""
    # A Parquet file with the keys of all its training images, beside the card.
    keys_file: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What must be known of a model file to ask it."""

    model: str  # its name, e.g. resnet50
    classes: tuple[ModelClass, ...]  # in the order of its outputs
    preprocessing: Preprocessing
    output: str = "probabilities"
    trained_on: TrainedOn = TrainedOn()
    # sha256 of the model file that the card was written for; "" when nobody says.
    file_sha256: str = ""
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_fine(self) -> bool:
        """Whether every output is a single class."""
        return all(len(c.wnids) == 1 for c in self.classes)

    def describe(self) -> dict[str, JSON]:
        """Return the card as JSON."""
        described = dataclasses.asdict(self)
        described["classes"] = [
            {"name": c.name, "wnids": list(c.wnids)} for c in self.classes
        ]
        return described


def imagenet_classes() -> tuple[ModelClass, ...]:
    """Return the 1000 classes in the order of their wnids."""
    return tuple(ModelClass(c.name, (c.wnid,)) for c in classes.load_classes())


def to_bytes(card: ModelCard) -> bytes:
    """Write a card."""
    return to_json(card.describe())


def read_card(path: str) -> ModelCard:
    """Read a card.

    `classes` is a list of wnids, of lists of wnids, or of {name, wnids}; or the word
    "imagenet". `preprocessing` needs resize_px and crop_px.

    Raises: UsageError: it is not there, or all that is wrong with it, a line each.
    """
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large for a card")
        found = json.loads(storage.read(path))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: is no card; it must be one JSON object")
    problems: list[str] = []
    model = found.get("model") or Path(path).parent.name
    card = ModelCard(
        model=str(model),
        classes=_read_classes(found.get("classes"), problems),
        preprocessing=_read_fields(
            Preprocessing, found.get("preprocessing"), "preprocessing", problems
        ),
        output=found.get("output", "probabilities"),
        trained_on=_read_fields(
            TrainedOn, found.get("trained_on", {}), "trained_on", problems
        ),
        file_sha256=str(found.get("file_sha256", "")),
        training=found.get("training") or {},
    )
    if card.output not in OUTPUTS:
        problems.append(f"output {card.output!r}: is {' or '.join(OUTPUTS)}")
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return card


def _read_classes(found: object, problems: list[str]) -> tuple[ModelClass, ...]:
    if found == IMAGENET:
        return imagenet_classes()
    if not isinstance(found, list) or len(found) < 2:
        problems.append(
            'classes: must list the wnids of each output in order, or say "imagenet" '
            "for the 1000 classes in the order of their wnids"
        )
        return ()
    listed = []
    for number, item in enumerate(found):
        wnids = item.get("wnids") if isinstance(item, dict) else item
        wnids = [wnids] if isinstance(wnids, str) else wnids
        if not isinstance(wnids, list) or not _are_wnids(wnids):
            problems.append(f"classes: output {number} names no wnids ({item!r:.60})")
            return ()
        name = item.get("name") if isinstance(item, dict) else None
        listed.append(ModelClass(str(name or _name(wnids)), tuple(wnids)))
    counts = Counter(wnid for c in listed for wnid in c.wnids)
    if twice := sorted(wnid for wnid, count in counts.items() if count > 1):
        problems.append(f"classes: {list_names(twice)} stand for more than one output")
    return tuple(listed)


def _are_wnids(found: list) -> bool:
    return bool(found) and all(isinstance(w, str) and is_wnid(w) for w in found)


def _name(wnids: Sequence[str]) -> str:
    return classes.display_name(wnids[0]) if len(wnids) == 1 else f"{wnids[0]}, …"


def _read_fields(kind: Any, found: object, name: str, problems: list[str]) -> Any:  # noqa: ANN401  # a dataclass
    """Make a dataclass of a JSON object whose values have the right types."""
    fallback = (
        TrainedOn() if kind is TrainedOn else Preprocessing(resize_px=1, crop_px=1)
    )
    if not isinstance(found, dict):
        problems.append(f"{name}: is missing; it must be an object")
        return fallback
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(found) - set(fields)):
        problems.append(f"{name}: {', '.join(unknown)} is not known")
    needed = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    if missing := sorted(needed - set(found)):
        problems.append(f"{name}: {', '.join(missing)} is missing")
        return fallback
    values = {}
    for key in set(found) & set(fields):
        value = found[key]
        if isinstance(value, list):
            value = tuple(value)
        if not _fits(value, key, needed):
            problems.append(f"{name}: {key} cannot be {found[key]!r:.60}")
            return fallback
        values[key] = value
    made = kind(**values)
    if isinstance(made, Preprocessing):
        problems += [f"{name}: {problem}" for problem in made.problems()]
    return made


def _fits(value: object, key: str, whole: set[str]) -> bool:
    if key in whole:
        return isinstance(value, int) and not isinstance(value, bool)
    if key in {"mean", "std"}:
        return (
            isinstance(value, tuple)
            and len(value) == 3
            and all(isinstance(v, int | float) for v in value)
        )
    return isinstance(value, str)
