"""Group classes, or compare grouping methods, without reading images."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import group_comparison, grouping_flags, presets
from pipelines.cli import check_output, exit_codes, parse
from pipelines.grouping_flags import GroupingFlags
from pipelines.store_flags import StoreFlags, settle
from transforms import csv_tables, grouping, storage
from transforms.grouping import table as groups
from transforms.grouping.table import Grouping, GroupTable
from transforms.index import inventory
from transforms.labels import wordnet
from transforms.labels.wordnet import GroupNamer
from transforms.options import flag
from transforms.records import ImageClass, UsageError, to_json
from transforms.reports import groups as group_report
from transforms.reports import page as pages
from transforms.reports.groups import GroupCounts, GroupsPage, make_page

_PROG = "python -m pipelines.group"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupOptions(GroupingFlags, StoreFlags):
    """Group the classes of an index, or the 1000 classes, without reading images.

    --compare groups them by every method and prints scores instead of writing groups.
    """

    index: str | None = flag(
        "index whose classes and image counts are used (default: the 1000 classes)",
        default=None,
        metavar="FILE",
        absent="no such file; make an index with python -m pipelines.index",
    )
    output: str | None = flag(
        "folder of groups.csv, groups.json and groups.html",
        default=None,
        metavar="DIR",
    )
    compare: bool = flag(
        "print a table of all methods, scored by --predictions of trained models and "
        "by --confusion (with --grouping=confusion: by --confusion_heldout)",
        default=False,
    )
    predictions: tuple[str, ...] = flag(
        "predictions of a trained model for the validation images, for --compare; "
        "repeatable",
        default=(),
        metavar="FILE",
        absent="no such file; create it with python -m pipelines.predict",
    )
    export_starter: str | None = flag(
        "file to write: a table of all classes, to edit for --grouping=manual",
        default=None,
        metavar="FILE",
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()
        if not (self.output or self.export_starter or self.compare):
            yield "--output: is required, or --export_starter, or --compare"
        for name in ("output", "export_starter"):
            path, is_folder = getattr(self, name), name == "output"
            if path and Path(path).exists() and Path(path).is_dir() != is_folder:
                what = "a file; name a folder" if is_folder else "a folder; name a file"
                yield f"--{name} {path}: is {what}"
        if self.predictions and not self.compare:
            yield "--predictions: applies only with --compare"
        if self.compare and presets.is_published(self.preset):
            yield (
                f"--preset {self.preset}: is a list of classes without an N to "
                "compare at; give --num_groups"
            )
        if self.compare and (self.output or self.export_starter):
            yield "--compare: writes no files; omit --output and --export_starter"
        if self.compare and not self.predictions:
            yield "--compare: needs one or more --predictions FILE"
        if self.compare and not self.expand_preset().num_groups:
            yield "--num_groups: is required (number of groups)"
        if not self.compare and (self.output or self.grouping or self.preset):
            yield from self.find_grouping_problems()


def write_groups(
    options: GroupOptions,
    held: Sequence[ImageClass],
    table: GroupTable,
    result: Grouping,
    method_options: object,
) -> str:
    """Write groups.json and groups.html, and return the folder.

    Args:
      options: flags of the job.
      held: the classes of the input.
      table: the group of every class.
      result: assignment, notes and quality figures of the method.
      method_options: options of the grouping method.
    """
    confusions = group_report.measure_confusions(
        table,
        result.quality,
        confusion=options.confusion,
        heldout=getattr(method_options, "heldout", None),
    )
    described = group_report.describe_groups(
        table,
        result,
        method=options.grouping,
        method_options=method_options,
        captured=confusions[-1].captured if options.confusion else None,
    )
    page = GroupsPage(
        title=f"{table.num_groups} groups of ImageNet's classes",
        method=f"--grouping {options.grouping}, seed {options.seed}",
        table=table,
        counts=_count_images(table, held, options),
        notes=result.notes,
        confusions=confusions,
        brief_names=group_report.name_briefly(table, options.grouping),
        paths=group_report.find_paths(table, options.grouping),
    )
    root = storage.absolute(options.output or "")
    storage.write(root, "groups.json", to_json(described))
    pages.write(root, "groups.html", make_page(page))
    return root


def _count_images(
    table: GroupTable, held: Sequence[ImageClass], options: GroupOptions
) -> list[GroupCounts]:
    """Count the images of each group; the counts are unknown without an index."""
    if options.index is None:
        return [GroupCounts()] * table.num_groups
    counts = []
    for label in range(table.num_groups):
        members = [c for c in held if table.label_of.get(c.wnid) == label]
        counts.append(
            GroupCounts(
                num_train=sum(c.num_train for c in members),
                num_validation=sum(c.num_validation for c in members),
                num_wanted=options.images_per_group,
            )
        )
    return counts


def make_starter(held: Sequence[ImageClass], table: GroupTable | None) -> bytes:
    """Return a table of all classes for editing by hand, as CSV.

    Each row contains the WordNet path of its class, for sorting. The group comes from
    `table`, and is empty if `table` is None or lacks the class.
    """
    label_of = table.label_of if table else {}
    rows = []
    known = wordnet.load_closure()
    tree, word_of = wordnet.grow_tree(c.wnid for c in held if c.wnid in known)
    namer = GroupNamer(tree, word_of)
    for c in held:
        place = " > ".join(namer.name_path(c.wnid)) if c.wnid in known else ""
        group = label_of.get(c.wnid)
        rows.append((c.class_index, c.wnid, c.name, place, group))
    columns = ("class_index", "wnid", "name", "wordnet_path", "group")
    return csv_tables.to_csv(columns, rows)


def _write_tables(options: GroupOptions, tables: Mapping[str, bytes]) -> None:
    """Write the tables of groups, by flag, unless they would replace edited ones.

    Raises:
      UsageError: lists the tables that exist with other content.
    """
    paths = {name: storage.absolute(getattr(options, name)) for name in tables}
    if "output" in paths:
        paths["output"] += "/groups.csv"
    problems = [
        f"--{name} {getattr(options, name)}: {path} exists with other content, perhaps "
        "edited by hand; name another, or remove it"
        for name, path in paths.items()
        if storage.is_file(path) and storage.read(path) != tables[name]
    ]
    if problems:
        raise UsageError("\n".join(problems))
    for name, path in paths.items():
        folder, _, file = path.rpartition("/")
        storage.write(folder, file, tables[name])
    if starter := options.export_starter:
        sys.stderr.write(
            f"edit the column `group` of {starter}, then build with --grouping=manual "
            f"--groups={starter}\n"
        )


def method_options() -> dict[str, dict[str, type]]:
    """Return the options classes of all grouping methods, for `parse`."""
    return {
        "grouping": {name: grouping.load(name).Options for name in grouping.METHODS}
    }


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes():
        options, options_of, _ = parse(
            GroupOptions,
            argv,
            prog=_PROG,
            methods=method_options(),
            takes_beam_flags=False,
        )
        settle(options)
        check_output(options.output)
        check_output(options.export_starter)
        if not options.compare:  # which compares all methods
            for note in options.describe_preset():
                sys.stderr.write(f"{note}\n")
        summary = _run(options.expand_preset(), options_of)
        sys.stdout.write(f"{summary}\n")


def _run(options: GroupOptions, options_of: Mapping[str, Any]) -> str:
    held = _read_classes(options)
    if options.compare:
        given = options_of.get("grouping")
        return group_comparison.compare_methods(
            held,
            options,
            {options.grouping or "": given},
            predictions=options.predictions,
            heldout=getattr(given, "heldout", None),
        )
    starter = storage.absolute(options.export_starter or "")
    if not options.grouping:
        _write_tables(options, {"export_starter": make_starter(held, None)})
        return starter
    chosen = options_of.get("grouping") or grouping_flags.load_options(options.grouping)
    table, result = grouping_flags.group_classes(held, options, chosen)
    tables = {}
    if options.export_starter:
        tables["export_starter"] = make_starter(held, table)
    if options.output:
        tables["output"] = groups.to_csv(table)
    _write_tables(options, tables)
    if not options.output:
        return starter
    return write_groups(options, held, table, result, chosen)


def _read_classes(options: GroupOptions) -> tuple[ImageClass, ...]:
    if options.index is None:
        return grouping_flags.list_official_classes()
    return grouping_flags.list_classes(inventory.read_inventory(options.index))


if __name__ == "__main__":
    main(sys.argv[1:])
