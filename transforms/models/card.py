"""Read and write model cards (model.json): classes, preprocessing, training data.

A model file records neither which class each output predicts nor how images must be
preprocessed, and a wrong guess causes wrong predictions without an error. Therefore,
every model needs a card. `train` writes one for each model it trains; users write the
cards of other models.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms import storage
from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.predictions.table import ModelClass
from transforms.records import JSON, UsageError, list_names, to_json

CARD = "model.json"  # beside the model file
IMAGENET = "imagenet"  # the 1000 classes in wnid order
BACKGROUND = "background"  # name of an output that is no class, like null
OUTPUTS = ("probabilities", "logits")
CHANNEL_ORDERS = ("rgb", "bgr")
LAYOUTS = ("channels_last", "channels_first")
_MAX_BYTES = 16 * 2**20
_MAX_SIDE_PX = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Settings for converting an image to a model's input.

    The image is converted to upright RGB, resized so that its shorter side has
    `resize_px` pixels (bicubic, enlarging if necessary), and cropped to the central
    square of `crop_px` × `crop_px` pixels. Each channel value c, 0 to 255, then becomes
    (c − mean) / std; `mean` and `std` are in RGB order for any `channel_order`.
    """

    resize_px: int
    crop_px: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = "rgb"
    layout: str = "channels_last"

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid setting or combination of settings."""
        for name in ("resize_px", "crop_px"):
            if not 1 <= getattr(self, name) <= _MAX_SIDE_PX:
                yield f"{name} {getattr(self, name)}: must be 1 to {_MAX_SIDE_PX}"
        if self.crop_px > self.resize_px:
            yield f"crop_px {self.crop_px}: must not exceed resize_px {self.resize_px}"
        if not all(value > 0 for value in self.std):
            yield f"std {list(self.std)}: must be above 0"
        if self.channel_order not in CHANNEL_ORDERS:
            known = " or ".join(CHANNEL_ORDERS)
            yield f"channel_order {self.channel_order}: must be {known}"
        if self.layout not in LAYOUTS:
            yield f"layout {self.layout}: must be {' or '.join(LAYOUTS)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The training data of a model; unknown fields are empty strings."""

    subset_id: str = ""
    split: str = ""
    keys_file: str = ""  # Parquet file beside the card with all training images' keys


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Metadata of a model file, as needed for inference.

    Attributes:
      model: name of the model, e.g. resnet50; "" if the card has none.
      classes: class or group of each output, in output order; `unused` outputs are
        omitted.
      preprocessing: preprocessing of the model's input images.
      output: type of the outputs: probabilities | logits.
      trained_on: training data of the model.
      file_sha256: SHA-256 of the model file that this card describes; "" if unknown.
      training: settings of the training run; empty if unknown.
      unused: indices of outputs that represent no class, such as a background output.
    """

    model: str
    classes: tuple[ModelClass, ...]
    preprocessing: Preprocessing
    output: str = "probabilities"
    trained_on: TrainedOn = TrainedOn()
    file_sha256: str = ""
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unused: tuple[int, ...] = ()

    @property
    def num_outputs(self) -> int:
        """The number of model outputs, including unused ones."""
        return len(self.classes) + len(self.unused)

    @property
    def is_fine(self) -> bool:
        """Whether every output in `classes` is a single class instead of a group."""
        return all(len(c.wnids) == 1 for c in self.classes)

    def describe(self) -> dict[str, JSON]:
        """Convert the card to a JSON object."""
        described = dataclasses.asdict(self)
        outputs: list[JSON] = [
            {"name": c.name, "wnids": list(c.wnids)} for c in self.classes
        ]
        for position in described.pop("unused"):
            outputs.insert(position, None)
        return {**described, "classes": outputs}


def imagenet_classes() -> tuple[ModelClass, ...]:
    """Return the 1000 classes in wnid order."""
    return tuple(ModelClass(c.name, (c.wnid,)) for c in classes.load_classes())


def to_bytes(card: ModelCard) -> bytes:
    """Serialise a card to JSON."""
    return to_json(card.describe())


def read_card(path: str) -> ModelCard:
    """Read and validate a model card.

    `classes` is either the string "imagenet" or a list with one item per output: a
    wnid, a list of wnids, an object {name, wnids}, or null for an output that
    represents no class. The list item "imagenet" expands to the 1000 classes in wnid
    order. `preprocessing` requires resize_px and crop_px.

    Raises:
      UsageError: the file is missing or invalid; one line per problem.
    """
    try:
        if storage.num_bytes(path) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large for a card")
        content = json.loads(storage.read(path))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is not a card; it must be one JSON object")
    problems: list[str] = []
    model_classes, unused = _read_classes(content.get("classes"), problems)
    card = ModelCard(
        model=str(content.get("model") or ""),
        classes=model_classes,
        preprocessing=_read_fields(
            Preprocessing, content.get("preprocessing"), "preprocessing", problems
        ),
        output=content.get("output", "probabilities"),
        trained_on=_read_fields(
            TrainedOn, content.get("trained_on", {}), "trained_on", problems
        ),
        file_sha256=str(content.get("file_sha256", "")),
        training=content.get("training") or {},
        unused=unused,
    )
    if card.output not in OUTPUTS:
        problems.append(f"output {card.output!r}: must be {' or '.join(OUTPUTS)}")
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return card


def _read_classes(
    value: object, problems: list[str]
) -> tuple[tuple[ModelClass, ...], tuple[int, ...]]:
    """Parse the `classes` field of a card and append its problems to `problems`.

    Returns:
      The classes, and the indices of outputs that represent no class.
    """
    if value == IMAGENET:
        return imagenet_classes(), ()
    if not isinstance(value, list) or len(value) < 2:
        problems.append(
            'classes: must list the wnids of each output in order, or be "imagenet" '
            "for the 1000 classes in wnid order"
        )
        return (), ()
    outputs: list[ModelClass | None] = []
    invalid: list[str] = []
    for item in value:
        if item == IMAGENET:
            outputs += imagenet_classes()
            continue
        wnids = item.get("wnids", item) if isinstance(item, dict) else item
        wnids = [wnids] if isinstance(wnids, str) else wnids
        name = item.get("name") if isinstance(item, dict) else None
        if _is_no_class(wnids):
            outputs.append(None)
        elif isinstance(wnids, list) and _are_wnids(wnids):
            outputs.append(ModelClass(str(name or _name(wnids)), tuple(wnids)))
        else:
            invalid.append(f"output {len(outputs)} has no valid wnids ({item!r:.60})")
            outputs.append(None)
    if invalid:
        problems.append(
            f"classes: {list_names(invalid)}; give null for an output that is no class"
        )
    model_classes = tuple(output for output in outputs if output is not None)
    counts = Counter(wnid for c in model_classes for wnid in c.wnids)
    if repeated := sorted(wnid for wnid, count in counts.items() if count > 1):
        problems.append(f"classes: {list_names(repeated)} belong to several outputs")
    if len(model_classes) < 2 and not invalid:
        problems.append(
            f"classes: {len(model_classes)} of {len(outputs)} outputs are classes, not "
            "2 or more"
        )
    return model_classes, tuple(n for n, o in enumerate(outputs) if o is None)


def _is_no_class(wnids: object) -> bool:
    """Return whether an output represents no class: null, [] or ["background"]."""
    if wnids is None or wnids == []:
        return True
    return (
        isinstance(wnids, list)
        and len(wnids) == 1
        and str(wnids[0]).strip().lower() == BACKGROUND
    )


def _are_wnids(values: list) -> bool:
    return bool(values) and all(isinstance(w, str) and is_wnid(w) for w in values)


def _name(wnids: Sequence[str]) -> str:
    return classes.display_name(wnids[0]) if len(wnids) == 1 else f"{wnids[0]}, …"


def _read_fields(kind: Any, content: object, name: str, problems: list[str]) -> Any:
    """Convert a JSON object to a dataclass; return a placeholder if that is impossible.

    Args:
      kind: TrainedOn or Preprocessing.
      content: the parsed JSON.
      name: name of the card's field, for messages.
      problems: list to which problems are appended.
    """
    values: dict[str, Any] = {}
    if kind is Preprocessing:  # placeholders that contradict no other value
        values = {"resize_px": _MAX_SIDE_PX, "crop_px": 1}
    if not isinstance(content, dict):
        problems.append(f"{name}: is missing; it must be an object")
        return kind(**values)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(content) - set(fields)):
        problems.append(f"{name}: unknown field {', '.join(unknown)}")
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    if missing := sorted(required - set(content)):
        problems.append(f"{name}: {', '.join(missing)} is missing")
    for key in sorted(set(content) & set(fields)):
        value = content[key]
        if isinstance(value, list):
            value = tuple(value)
        if not _has_right_type(value, key, required):
            problems.append(f"{name}: {key} cannot be {content[key]!r:.60}")
        else:
            values[key] = value
    instance = kind(**values)
    if isinstance(instance, Preprocessing):
        problems += [f"{name}: {problem}" for problem in instance.problems()]
    return instance


def _has_right_type(value: object, key: str, integer_keys: set[str]) -> bool:
    if key in integer_keys:
        return isinstance(value, int) and not isinstance(value, bool)
    if key in {"mean", "std"}:
        return (
            isinstance(value, tuple)
            and len(value) == 3
            and all(isinstance(v, int | float) for v in value)
        )
    return isinstance(value, str)
