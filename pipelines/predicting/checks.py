"""What a command line of `predict` names → images and models, fit to be asked."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pipelines import inputs
from pipelines.index import index_images
from transforms.grouping import reading
from transforms.grouping import table as groups
from transforms.grouping.table import GroupTable
from transforms.index import table as index_table
from transforms.index.inventory import read_inventory
from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.models import image_list, inference
from transforms.models import spec as model_spec
from transforms.models.image_list import ImageSource
from transforms.models.inference import ModelSpec
from transforms.models.loaders.loaded_model import ModelError
from transforms.records import ImageClass, UsageError, list_names

ListImages = Callable[[str], ImageSource]  # a scratch folder → the images


def read_groups(path: str) -> GroupTable:
    """Read any table of groups; classes that it does not mention are in none.

    Raises: UsageError: all that is wrong with it.
    """
    file = groups.read_groups_file(path)
    named = (i.text.lower() for entry in file.entries for i in entry.identifiers)
    wnids = {c.wnid for c in classes.load_classes()} | set(filter(is_wnid, named))
    held = tuple(
        ImageClass(w, classes.class_index(w), classes.display_name(w), 0, 0)
        for w in sorted(wnids)
    )
    result = reading.read_groups(path, held)
    grouped = [c for c in held if result.assignment[c.wnid] is not None]
    assignment = {c.wnid: result.assignment[c.wnid] for c in grouped}
    return groups.make_table(grouped, assignment, result.names)


def describe_models(
    paths: Sequence[str], fallback_card: str | None, table: GroupTable | None
) -> list[ModelSpec]:
    """Read the cards of all models.

    Raises: UsageError: all that is wrong with any of them.
    """
    models: list[ModelSpec] = []
    problems = []
    found = {path: model_spec.find_card(path) for path in dict.fromkeys(paths)}
    if fallback_card and all(found.values()):
        problems.append(
            f"--model_card {fallback_card}: every model has a card beside it; leave "
            "it out"
        )
    for path, card in found.items():
        try:
            models.append(
                model_spec.describe_model(path, card or fallback_card or "", table)
            )
        except (UsageError, OSError) as error:
            problems.append(f"--model {path}: {error}")
    problems += _find_same(paths, models)
    if problems:
        raise UsageError("\n".join(problems))
    return models


def _find_same(paths: Sequence[str], models: Sequence[ModelSpec]) -> list[str]:
    """Name what could not be told apart in the table of predictions."""
    problems = [
        f"--model {path}: is given twice"
        for path in dict.fromkeys(paths)
        if paths.count(path) > 1
    ]
    names = [asked.card.model for asked in models]
    return problems + [
        f"--model {asked.path}: is called {name!r} as another model is; change `model` "
        "in one of the cards, or ask them one after the other"
        for number, (asked, name) in enumerate(zip(models, names, strict=True))
        if name in names[:number]
    ]


def prepare_source(
    paths: Sequence[str],
    validation_labels: str | None,
    *,
    split: str,
    beam_flags: Sequence[str],
) -> ListImages:
    """Check what is given, and return what lists the images of the split.

    Listing a raw input takes its time, and a scratch folder for its index, so it waits
    until all else is checked.

    Raises: UsageError: what is wrong with the inputs.
    """
    whole = [p for p in paths if index_table.is_index(p) or image_list.is_dataset(p)]
    if whole and len(paths) > 1:
        raise UsageError(
            f"--input {whole[0]}: an index or a dataset goes alone; ask one at a time"
        )
    if whole and validation_labels:
        raise UsageError(
            f"--validation_labels {validation_labels}: goes with raw ImageNet only"
        )
    if whole and index_table.is_index(whole[0]):
        inventory = read_inventory(whole[0])
        inputs.check_versions(whole[0], inventory.versions)
        source = image_list.read_index(whole[0], split)
        return lambda _: source
    if whole:
        source = image_list.read_dataset(whole[0], split)
        return lambda _: source
    pieces, told = inputs.find_pieces(paths, validation_labels)
    if split not in (splits := {piece.split for piece in pieces}):
        raise UsageError(
            f"--split {split}: the input has no such images; it has "
            f"{', '.join(sorted(splits))}"
        )

    def index(scratch: str) -> ImageSource:
        for line in told:
            sys.stderr.write(f"found {line}\n")
        path = f"{scratch}/index.parquet"
        index_images(pieces, output=path, beam_flags=beam_flags)
        return image_list.read_index(path, split)

    return index


def choose_images(source: ImageSource, models: Sequence[ModelSpec]) -> ImageSource:
    """Leave out images that no model can be right of, and tell of them.

    Raises: UsageError: a model that can be right of none.
    """
    counts = {
        count["values"]: count["counts"]
        for count in pc.value_counts(source.table["wnid"].combine_chunks()).to_pylist()
    }
    problems = []
    for asked in models:
        unknown = sorted(counts.keys() - asked.right.keys())
        if not unknown:
            continue
        shown = list_names(map(classes.display_name, unknown))
        if len(unknown) == len(counts):
            problems.append(
                f"--model {asked.path}: none of its outputs stands for a class of "
                f"these images ({shown}); mend `classes` in its card, or give others"
            )
        else:
            ungrouped = " or are in no group" if asked.scored.groups_sha256 else ""
            sys.stderr.write(
                f"{asked.card.model}: {sum(counts[w] for w in unknown)} images of "
                f"{len(unknown)} classes that it has no output for{ungrouped} are left "
                f"out ({shown})\n"
            )
    if problems:
        raise UsageError("\n".join(problems))
    known = sorted(set().union(*(asked.right for asked in models)))
    is_known = pc.is_in(source.table["wnid"], value_set=pc.cast(known, "string"))
    return source._replace(table=source.table.filter(is_known))


def check_models(models: Sequence[ModelSpec], batch_size: int) -> None:
    """Load every model once and ask it of a grey picture.

    Raises: UsageError: all models that cannot be loaded or do not fit their cards.
    """
    problems = []
    for asked in models:
        grey = inference.make_grey(asked.card.preprocessing)
        try:
            model = inference.load_model(asked, batch_size)
            outputs = inference.predict_once(asked, model, grey[np.newaxis], batch_size)
        except ModelError as error:
            problems.append(f"--model {asked.path}: {error}")
            continue
        if bad := inference.find_bad_row(outputs, asked.card.output):
            remedy = (
                '; if they are logits, say so in its card: "output": "logits"'
                if asked.card.output == "probabilities"
                else "; mend `preprocessing` in its card"
            )
            problems.append(f"--model {asked.path}: {bad[1]}{remedy}")
    if problems:
        raise UsageError("\n".join(problems))


def write_list(
    source: ImageSource, models: Sequence[ModelSpec], path: str, batch_size: int
) -> int:
    """Write the list of images that workers read; returns the number of chunks.

    Raises: UsageError: a card's file of keys that cannot be read.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    keys = source.table["key"].combine_chunks()
    seen = [image_list.find_seen(keys, asked.keys_file) for asked in models]
    return image_list.write(source.table, path, seen=seen, batch_size=batch_size)
