"""Resolve and check the images, groups and models of the predict job."""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipelines import inputs
from pipelines.index import check_images, index_images
from pipelines.input_flags import InputFlags
from transforms.grouping import groups_file
from transforms.grouping import table as groups
from transforms.grouping.table import GroupTable
from transforms.index import table as index_table
from transforms.index.inventory import read_inventory
from transforms.labels import classes
from transforms.labels.classes import is_wnid
from transforms.models import image_chunks, image_source, inference
from transforms.models import spec as model_spec
from transforms.models.card import OUTPUTS
from transforms.models.image_chunks import Chunk
from transforms.models.image_source import ImageSource
from transforms.models.loaders.loaded_model import ModelError
from transforms.models.spec import ModelSpec
from transforms.records import ImageClass, UsageError, list_names

ListImages = Callable[[str], ImageSource]  # takes a scratch folder


def read_groups(path: str) -> GroupTable:
    """Read a table of groups; classes that it does not list belong to no group.

    Raises:
      UsageError: lists all problems of the table.
    """
    file = groups_file.read_groups_file(path)
    named = (i.text.lower() for entry in file.entries for i in entry.identifiers)
    wnids = {c.wnid for c in classes.load_classes()} | set(filter(is_wnid, named))
    held = tuple(
        ImageClass(w, classes.class_index(w), classes.display_name(w), 0, 0)
        for w in sorted(wnids)
    )
    result = groups_file.read_groups(path, held)
    grouped = [c for c in held if result.assignment[c.wnid] is not None]
    assignment = {c.wnid: result.assignment[c.wnid] for c in grouped}
    return groups.make_table(grouped, assignment, result.names)


def describe_models(
    paths: Sequence[str], fallback_card: str | None, table: GroupTable | None
) -> list[ModelSpec]:
    """Read the cards of all models and describe the models.

    Args:
      paths: paths of the models.
      fallback_card: path of the card of models that have none beside them, or None.
      table: groups that count as correct predictions, or None.

    Raises:
      UsageError: lists the problems of every model.
    """
    models: list[ModelSpec] = []
    problems = []
    cards = {path: model_spec.find_card(path) for path in dict.fromkeys(paths)}
    if fallback_card and all(cards.values()):
        problems.append(
            f"--model_card {fallback_card}: every model has a card beside it; leave "
            "it out"
        )
    for path, card in cards.items():
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


def _find_same(paths: Sequence[str], models: Sequence[ModelSpec]) -> Iterator[str]:
    """Yield a problem for repeated models, and one for models that share a name."""
    if repeated := [path for path in dict.fromkeys(paths) if paths.count(path) > 1]:
        verb = "is" if len(repeated) == 1 else "are"
        yield f"--model {list_names(repeated)}: {verb} given twice; give it once"
    names = [spec.card.model for spec in models]
    same = [
        (spec.path, name)
        for number, (spec, name) in enumerate(zip(models, names, strict=True))
        if name in names[:number]
    ]
    if same:
        (path, name), *others = same
        shown = list_names(other for other, _ in others)
        more = f" ({len(others)} more models share names: {shown})" if others else ""
        yield (
            f"--model {path}: has the same name {name!r} as another model{more}; "
            "change `model` in their cards, or predict with one model at a time"
        )


def prepare_source(
    paths: Sequence[str],
    flags: InputFlags,
    *,
    split: str | None,
    beam_flags: Sequence[str],
) -> ListImages:
    """Check the inputs and return a function that lists the images of the split.

    Listing a raw input is slow and needs a scratch folder for its index, and the images
    of an index may be in a bucket, so both are deferred until all other checks have
    passed.

    Args:
      paths: raw ImageNet, or one index or dataset.
      flags: the other inputs.
      split: split to list; None lists all.
      beam_flags: flags of the Beam runner.

    Raises:
      UsageError: the inputs are invalid.
    """
    prepared = [
        p for p in paths if index_table.is_index(p) or image_source.is_dataset(p)
    ]
    if prepared and (len(paths) > 1 or any(flags.inputs_of_splits.values())):
        raise UsageError(
            f"--input {prepared[0]}: an index or a dataset must be the only input"
        )
    for name in ("validation_labels", "class_list"):
        if prepared and (path := getattr(flags, name)):
            raise UsageError(
                f"--{name} {path}: applies to raw ImageNet only; leave it out"
            )
    if prepared and index_table.is_index(prepared[0]):
        source = image_source.read_index(prepared[0], split)

        def check(_: str) -> ImageSource:
            check_images(prepared[0], read_inventory(prepared[0]))
            return source

        return check
    if prepared:
        source = image_source.read_dataset(prepared[0], split)
        return lambda _: source
    recognised = inputs.recognise(
        paths, flags.validation_labels, flags.inputs_of_splits, flags.class_list
    )
    splits = {part.split for part in recognised.parts}
    if split is not None and split not in splits:
        raise UsageError(
            f"--split {split}: the input has no such images; it has "
            f"{', '.join(sorted(splits))}"
        )

    def index(scratch: str) -> ImageSource:
        for line in recognised.notes:
            sys.stderr.write(f"found {line}\n")
        path = f"{scratch}/index.parquet"
        inventory = index_images(recognised, output=path, beam_flags=beam_flags)
        sys.stderr.write(f"{inventory.describe()}\n")
        return image_source.read_index(path, split)

    return index


def choose_images(source: ImageSource, models: Sequence[ModelSpec]) -> ImageSource:
    """Remove images of classes that no model predicts, and print their number.

    Raises:
      UsageError: a model predicts none of the images' classes.
    """
    counts = {
        count["values"]: count["counts"]
        for count in pc.value_counts(source.table["wnid"].combine_chunks()).to_pylist()
    }
    problems = []
    for spec in models:
        unknown = sorted(counts.keys() - spec.correct_outputs.keys())
        if not unknown:
            continue
        shown = list_names(map(classes.display_name, unknown))
        if len(unknown) == len(counts):
            problems.append(
                f"--model {spec.path}: none of its outputs is a class of "
                f"these images ({shown}); correct `classes` in its card, or "
                "give other images"
            )
        else:
            ungrouped = " or are in no group" if spec.scored.groups_sha256 else ""
            sys.stderr.write(
                f"{spec.card.model}: {sum(counts[w] for w in unknown)} images of "
                f"{len(unknown)} classes without an output{ungrouped} are left "
                f"out ({shown})\n"
            )
    if problems:
        raise UsageError("\n".join(problems))
    known = sorted(set().union(*(spec.correct_outputs for spec in models)))
    is_known = pc.is_in(source.table["wnid"], value_set=pc.cast(known, "string"))
    return source._replace(table=source.table.filter(is_known))


def check_models(models: Sequence[ModelSpec], batch_size: int) -> None:
    """Load every model once and run it on grey images.

    Raises:
      UsageError: lists all models that cannot be loaded or do not match their cards.
    """
    problems = []
    for spec in models:
        images = inference.make_greys(spec.card.preprocessing)[:batch_size]
        try:
            loaded = inference.load_model(spec, batch_size)
            outputs = inference.predict_batch(spec, loaded, images, batch_size)
        except ModelError as error:
            problems.append(f"--model {spec.path}: {error}")
            continue
        if problem := _find_output_problem(outputs, spec.card.output):
            problems.append(f"--model {spec.path}: {problem}")
    if problems:
        raise UsageError("\n".join(problems))


def _find_output_problem(outputs: npt.NDArray[np.floating], kind: str) -> str:
    """Return how outputs contradict a card's `output`, with the remedy, or ""."""
    _, bad = inference.find_bad_row(outputs, kind) or (0, "")
    values = inference.infer_output_type(outputs)
    if kind == "logits" and values == "probabilities":
        return (
            "has outputs from 0 to 1 that sum to 1: they are probabilities, not "
            'logits; set in its card: "output": "probabilities"'
        )
    if values == "percentages":
        return (
            "has outputs that sum to 100: they are percentages; export the model with "
            f"{' or '.join(OUTPUTS)}"
        )
    if not bad:
        return ""
    if kind == "logits":
        return f"{bad}; correct `preprocessing` in its card"
    if values == "independent probabilities":
        return (
            f"{bad}, but are from 0 to 1, as after a sigmoid; export the model with "
            "a softmax, or with the logits before the sigmoid"
        )
    return f'{bad}; if they are logits, set in its card: "output": "logits"'


def make_list(
    source: ImageSource, models: Sequence[ModelSpec], batch_size: int
) -> tuple[bytes, tuple[Chunk, ...]]:
    """Return the Parquet list of images that workers read, and its chunks.

    Args:
      source: the images.
      models: the models that will be run on them.
      batch_size: images per inference batch.

    Raises:
      UsageError: a card names a file of training image keys that cannot be read.
    """
    keys = source.table["key"].combine_chunks()
    seen = [image_chunks.find_seen(keys, spec.keys_file) for spec in models]
    return image_chunks.make(source.table, seen=seen, batch_size=batch_size)
