"""Describe a model by its file, its card and the correct outputs of each class."""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from transforms import storage
from transforms.grouping.table import GroupTable
from transforms.models import loaders
from transforms.models.card import CARD, ModelCard, read_card
from transforms.models.loaders.loaded_model import ModelError
from transforms.predictions.table import ScoredModel
from transforms.records import UsageError, list_names, to_json

_MAX_OUTPUTS = 1 << 16  # top5 holds uint16
MINIMAL_CARD = """\
{"model": "NAME", "classes": "imagenet", "output": "probabilities",
 "preprocessing": {"resize_px": 256, "crop_px": 224,
                   "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5]}}"""


@dataclass(frozen=True)
class OutputMap:
    """The correct outputs of a model for each class.

    Attributes:
      outputs: by wnid, the indices of the outputs that are correct for its images, in
        ascending order; wnids without a correct output are absent.
      correct: whether these outputs predict the image's "class" or its "group".
    """

    outputs: Mapping[str, tuple[int, ...]]
    correct: str


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model file, its card, and the outputs that are correct for each class.

    Attributes:
      path: path of the model file.
      card: card of the model.
      scored: metadata stored with the model's predictions.
      correct_outputs: `OutputMap.outputs`; images of other wnids are skipped.
      keys_file: Parquet file with the keys of the training images; "" if unknown.
    """

    path: str
    card: ModelCard
    scored: ScoredModel
    correct_outputs: Mapping[str, tuple[int, ...]]
    keys_file: str = ""


def map_outputs(card: ModelCard, groups: GroupTable | None) -> OutputMap:
    """Find the correct outputs for images of every wnid that a model predicts.

    Without groups, the only correct output of a wnid is the one that contains it. With
    groups, all outputs in the wnid's group are correct; a wnid in no group has no
    correct output.

    Raises:
      UsageError: an output's wnids do not all belong to the same group.
    """
    if groups is None:
        outputs = {w: (n,) for n, c in enumerate(card.classes) for w in c.wnids}
        return OutputMap(outputs, "class" if card.is_fine else "group")
    label_of = groups.label_of
    outputs_of: dict[int | None, list[int]] = defaultdict(list)
    straddling = []
    for number, output in enumerate(card.classes):
        labels = {label_of.get(wnid) for wnid in output.wnids}
        outputs_of[labels.pop()].append(number)
        if labels:
            straddling.append(output.name)
    if straddling:
        raise UsageError(_describe_straddling(straddling))
    known = (wnid for output in card.classes for wnid in output.wnids)
    correct = {w: tuple(outputs_of[label_of[w]]) for w in known if w in label_of}
    is_fine = len(label_of) == groups.num_groups
    return OutputMap(correct, "class" if is_fine else "group")


def _describe_straddling(names: Sequence[str]) -> str:
    return (
        f"its outputs {list_names(map(repr, names))} cover classes inside and outside "
        "a group, so the probability of the group is unknown; give the groups that the "
        "model was trained on, or a model with one class per output"
    )


def find_card(path: str) -> str:
    """Return the path of the card in the model's folder; "" if there is none.

    The card is NAME.json, where NAME is the model's file stem, or else model.json.
    """
    folder, _, name = storage.absolute(path).rpartition("/")
    beside = (f"{folder}/{PurePath(name).stem}.json", f"{folder}/{CARD}")
    return next(filter(storage.exists, beside), "")


def describe_model(path: str, card_path: str, groups: GroupTable | None) -> ModelSpec:
    """Describe a model from its file and card, without loading it.

    Args:
      path: path of the model.
      card_path: path of its card; "" if it has none, which is an error.
      groups: groups to predict; None to predict the classes or groups of the card.

    Raises:
      UsageError: the model or its card is missing or invalid, they do not belong
        together, or an output covers classes of several groups.
    """
    try:
        loaders.check_kind(path)
        model_id = loaders.find_model_id(path)
    except ModelError as error:
        raise UsageError(str(error)) from error
    if not card_path:
        raise UsageError(
            f"has no card beside it ({PurePath(path).stem}.json or {CARD}) with its "
            "classes and preprocessing; write one (docs/model_cards.md), or give it "
            f"with --model_card. A minimal card:\n{MINIMAL_CARD}"
        )
    card = read_card(card_path)
    if not card.model:
        card = dataclasses.replace(card, model=_find_name(path))
    if card.file_sha256 not in {"", model_id}:
        raise UsageError(
            f"{card_path}: belongs to another model file (its file_sha256 differs); "
            "give the matching card, or remove file_sha256 from it"
        )
    if len(card.classes) > _MAX_OUTPUTS:
        raise UsageError(f"{card_path}: lists more than {_MAX_OUTPUTS} classes")
    output_map = map_outputs(card, groups)
    preprocessing = to_json(dataclasses.asdict(card.preprocessing))
    scored = ScoredModel(
        model=card.model,
        model_id=model_id,
        classes=card.classes,
        trained_on_subset_id=card.trained_on.subset_id,
        trained_on_split=card.trained_on.split,
        correct=output_map.correct,
        groups_sha256=groups.sha256 if groups else "",
        preprocessing_sha256=hashlib.sha256(preprocessing).hexdigest(),
    )
    return ModelSpec(
        path=path,
        card=card,
        scored=scored,
        correct_outputs=output_map.outputs,
        keys_file=_find_keys(card, card_path),
    )


def _find_name(path: str) -> str:
    """Return the name of a model whose card has none."""
    place = PurePath(storage.absolute(path))
    if storage.is_folder(path):
        return place.name
    return place.parent.name if place.stem == PurePath(CARD).stem else place.stem


def _find_keys(card: ModelCard, card_path: str) -> str:
    """Return the path of the file with a model's training image keys; "" if unknown.

    Raises:
      UsageError: the card names a file that is not beside the card.
    """
    name = card.trained_on.keys_file
    if not name:
        return ""
    if PurePath(name).name != name:
        raise UsageError(
            f"{card_path}: trained_on.keys_file {name!r} must be the name of a file "
            "beside the card"
        )
    keys = f"{storage.absolute(card_path).rpartition('/')[0]}/{name}"
    if not storage.exists(keys):
        raise UsageError(
            f"{card_path}: trained_on.keys_file {name} is not beside the card; copy it "
            "there, or remove keys_file from the card"
        )
    return keys
