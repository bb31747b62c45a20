"""The path of a model → its card, and all that its predictions will share."""

import dataclasses
import hashlib
from pathlib import PurePath

from transforms import storage
from transforms.datasets import to_json
from transforms.models import answers, loading
from transforms.models.asking import AskedModel
from transforms.models.card import CARD, ModelCard, read_card
from transforms.models.loaded import ModelError
from transforms.records import UsageError
from transforms.tables.groups import GroupTable
from transforms.tables.predictions_table import ScoredModel

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


def describe_model(path: str, card_path: str, groups: GroupTable | None) -> AskedModel:
    """Gather what is known of a model before it is loaded.

    Args:
      path: of the model.
      card_path: of its card; "": it has none.
      groups: what is right, where it is not the class.
    Raises: UsageError: what is wrong with its file or its card.
    """
    try:
        loading.check_kind(path)
    except ModelError as error:
        raise UsageError(str(error)) from error
    if not card_path:
        raise UsageError(
            f"has no card beside it ({PurePath(path).stem}.json or {CARD}), which says "
            "what its outputs are and how pictures are prepared; write one, or name "
            f"one with --model_card. The smallest:\n{MINIMAL_CARD}"
        )
    card = read_card(card_path)
    model_id = loading.find_model_id(path)
    if card.file_sha256 not in {"", model_id}:
        raise UsageError(
            f"{card_path} is the card of another file (its file_sha256 differs); give "
            "the right card, or remove file_sha256 from it"
        )
    if len(card.classes) > _MAX_OUTPUTS:
        raise UsageError(f"{card_path}: lists more than {_MAX_OUTPUTS} classes")
    found = answers.find_answers(card, groups)
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
    return AskedModel(
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
