"""A model's classes, and groups → which of its outputs are right for a wnid."""

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
from transforms.models.inference import ModelSpec
from transforms.models.loaders.loaded_model import ModelError
from transforms.predictions.table import ScoredModel
from transforms.records import UsageError, list_names, to_json


@dataclass(frozen=True)
class OutputMap:
    """What is right.

    Attributes:
      outputs: wnid → the outputs that are right for its images, ascending; a wnid that
        no output holds is missing.
      correct: what their sum is the probability of: the image's "class" or "group".
    """

    outputs: Mapping[str, tuple[int, ...]]
    correct: str


def map_outputs(card: ModelCard, groups: GroupTable | None) -> OutputMap:
    """Find the right outputs for images of every wnid that a model knows.

    Without groups, the one output that holds the wnid; with them, all outputs that lie
    in the wnid's group. Classes that are in no group are asked nothing.

    Raises: UsageError: an output lies partly in a group and partly elsewhere.
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
    right = {w: tuple(outputs_of[label_of[w]]) for w in known if w in label_of}
    is_fine = len(label_of) == groups.num_groups
    return OutputMap(right, "class" if is_fine else "group")


def _describe_straddling(names: Sequence[str]) -> str:
    return (
        f"its outputs {list_names(map(repr, names))} lie partly in one group and "
        "partly outside it, so that no sum is the group's probability; give the groups "
        "that the model was trained on, or a model of single classes"
    )


_MAX_OUTPUTS = 1 << 16  # top5 is of uint16
MINIMAL_CARD = """\
{"model": "NAME", "classes": "imagenet", "output": "probabilities",
 "preprocessing": {"resize_px": 256, "crop_px": 224,
                   "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5]}}"""


def find_card(path: str) -> str:
    """Return the path of the card that lies beside a model; "" without one."""
    folder, _, name = storage.absolute(path).rpartition("/")
    beside = (f"{folder}/{PurePath(name).stem}.json", f"{folder}/{CARD}")
    return next(filter(storage.exists, beside), "")


def describe_model(path: str, card_path: str, groups: GroupTable | None) -> ModelSpec:
    """Gather what is known of a model before it is loaded.

    Args:
      path: of the model.
      card_path: of its card; "": it has none.
      groups: what is right, where it is not the class.
    Raises: UsageError: what is wrong with its file or its card.
    """
    try:
        loaders.check_kind(path)
    except ModelError as error:
        raise UsageError(str(error)) from error
    if not card_path:
        raise UsageError(
            f"has no card beside it ({PurePath(path).stem}.json or {CARD}), which says "
            "what its outputs are and how pictures are prepared; write one, or name "
            f"one with --model_card. The smallest:\n{MINIMAL_CARD}"
        )
    card = read_card(card_path)
    model_id = loaders.find_model_id(path)
    if card.file_sha256 not in {"", model_id}:
        raise UsageError(
            f"{card_path} is the card of another file (its file_sha256 differs); give "
            "the right card, or remove file_sha256 from it"
        )
    if len(card.classes) > _MAX_OUTPUTS:
        raise UsageError(f"{card_path}: lists more than {_MAX_OUTPUTS} classes")
    found = map_outputs(card, groups)
    prepared = to_json(dataclasses.asdict(card.preprocessing))
    scored = ScoredModel(
        model=card.model,
        model_id=model_id,
        classes=card.classes,
        trained_on_subset_id=card.trained_on.subset_id,
        trained_on_split=card.trained_on.split,
        correct=found.correct,
        groups_sha256=groups.sha256 if groups else "",
        preprocessing_sha256=hashlib.sha256(prepared).hexdigest(),
    )
    return ModelSpec(
        path=path,
        card=card,
        scored=scored,
        right=found.outputs,
        keys_file=_find_keys(card, card_path),
    )


def _find_keys(card: ModelCard, card_path: str) -> str:
    """Return the path of the keys that a model has seen; "" when nobody says."""
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
            f"{card_path}: trained_on.keys_file {name} is not beside it; bring it "
            "there, or remove it from the card"
        )
    return keys
