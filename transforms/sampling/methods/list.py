"""Select exactly the images that a list names."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from transforms.options import flag
from transforms.records import UsageError, cut_lines, list_names
from transforms.sampling import image_list
from transforms.sampling.plan import FixedSelection, SamplingRequest

TABLES = ("images",)
IS_FIXED = True
check_table = image_list.read


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of sampling by a list of images."""

    outside: str = flag(
        "listed images whose class is in no group: error: fail; drop: leave them out",
        default="error",
        choices=("error", "drop"),
    )


def arrange(request: SamplingRequest, options: Options) -> FixedSelection:
    """Select the listed images, in the split that the list or the input states.

    If the list names no validation images, all validation images of its classes are
    selected.

    Raises:
      UsageError: the list is invalid, or contradicts the input.
    """
    del options
    path = request.images_file or ""
    listed, images = image_list.read(path), request.read_images()
    rows = pc.index_in(listed["key"], value_set=images["key"].combine_chunks())
    missing = listed["name"].filter(pc.is_null(rows)).to_pylist()
    listed, rows = listed.filter(pc.is_valid(rows)), rows.drop_null()
    actual = images.take(rows)
    splits = pc.if_else(pc.equal(listed["split"], ""), actual["split"], listed["split"])
    problems = [
        *_find_class_problems(listed, actual),
        *_find_split_problems(listed, actual, splits),
    ]
    if problems:
        raise UsageError("\n".join(f"--images {path}: {line}" for line in problems))
    notes = []
    if missing:
        num_listed = len(listed) + len(missing)
        notes.append(
            f"{len(missing)} of {num_listed} listed images are not among the usable "
            f"images of the input ({list_names(missing)})"
        )
    return FixedSelection(
        splits=_select(images, rows, splits),
        adds_validation="validation" not in pc.unique(splits).to_pylist(),
        missing=missing,
        notes=tuple(notes),
    )


def _find_class_problems(listed: pa.Table, actual: pa.Table) -> list[str]:
    is_wrong = pc.and_(
        pc.not_equal(listed["wnid"], ""), pc.not_equal(listed["wnid"], actual["wnid"])
    )
    wrong = zip(
        listed["name"].filter(is_wrong).to_pylist(),
        listed["wnid"].filter(is_wrong).to_pylist(),
        actual["wnid"].filter(is_wrong).to_pylist(),
        strict=True,
    )
    return cut_lines(
        (
            f"{name}: the list gives {wnid}, the input {by_input}; correct the list, "
            "or leave out its labels"
            for name, wnid, by_input in wrong
        ),
        more="and {} more images of another class than in the input",
    )


def _find_split_problems(
    listed: pa.Table, actual: pa.Table, splits: pa.ChunkedArray
) -> list[str]:
    is_moved = pc.and_(
        pc.equal(actual["split"], "validation"), pc.not_equal(splits, "validation")
    )
    moved = listed["name"].filter(is_moved).to_pylist()
    problems = []
    if moved:
        problems.append(
            f"{len(moved)} validation images of the input are listed for training "
            f"({list_names(moved)}); correct their splits"
        )
    named = set(pc.unique(splits).to_pylist())
    if "train" in named and len(named - {"validation"}) > 1:
        problems.append(
            f"has the splits {', '.join(sorted(named))}; give either train, or fold_a "
            "and fold_b"
        )
    return problems


def _select(images: pa.Table, rows: pa.Array, splits: pa.ChunkedArray) -> pa.Array:
    """Return the split of each image of the input; "" if it is not selected."""
    order = pc.sort_indices(rows)
    positions = pa.array(range(len(images)), rows.type)
    return pc.replace_with_mask(
        pa.array([""] * len(images)),
        pc.is_in(positions, value_set=rows.combine_chunks()),
        splits.take(order).combine_chunks(),
    )
