"""Convert training logs of other programs to the rows of `curves.csv`."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple

from transforms import storage
from transforms.evaluation import training_logs
from transforms.evaluation.training_logs import ANY_COLUMNS, LogColumns, TrainingLog
from transforms.records import UsageError, list_names
from transforms.training.curves import CurveRow

_FULL, _SUBSET = "full", "subset"
_SEED = re.compile(r"seed[-_=]?(\d{1,9})", re.IGNORECASE)  # a folder below the model's


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Settings for what logs do not state.

    Attributes:
      columns: names of the columns of the logs; "" lets the format choose.
      model_names: model names by the name that is derived from a log's path, by its
        folder, or by its path.
      train_images: number of training images of each set of logs, or one number for all
        sets; empty if the logs state it.
      validation_images: number of validation images, as `train_images`.
    """

    columns: LogColumns = ANY_COLUMNS
    model_names: Mapping[str, str] = field(default_factory=dict)
    train_images: tuple[int, ...] = ()
    validation_images: tuple[int, ...] = ()


class LocatedLog(NamedTuple):
    """A log with its path and the path among the arguments that contains it."""

    log: TrainingLog
    path: str
    argument: str


class LocatedRow(NamedTuple):
    """A row of curves, with the path of its file."""

    row: CurveRow
    path: str


class _Run(NamedTuple):
    model: str
    seed: int


def find_logs(files: Sequence[str], *, named: Sequence[str]) -> list[str]:
    """Select the paths that may be curves from the files of a folder, in their order.

    If a folder contains a file whose name its program prescribes, e.g. summary.csv,
    files with names that users choose are not selected from this folder.

    Args:
      files: paths of all files.
      named: names of files that are always selected.
    """
    selected = [path for path in files if PurePosixPath(path).name in named]
    named_folders = set(map(_folder, selected))
    for is_free in (False, True):
        for name in training_logs.FORMATS:
            module = training_logs.load(name)
            if getattr(module, "NAMES_FILES", False) != is_free:
                continue
            paths = [
                path
                for path in files
                if any(
                    fnmatchcase(PurePosixPath(path).name, pattern)
                    for pattern in module.FILE_PATTERNS
                )
                and not (is_free and _folder(path) in named_folders)
            ]
            selected += getattr(module, "select", list)(paths)
        named_folders = set(map(_folder, selected))
    return [path for path in files if path in set(selected)]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def is_free_name(path: str) -> bool:
    """Return whether no training program prescribes the name of a file."""
    modules = map(training_logs.load, training_logs.FORMATS)
    return not any(
        fnmatchcase(PurePosixPath(path).name, pattern)
        for module in modules
        if not getattr(module, "NAMES_FILES", False)
        for pattern in module.FILE_PATTERNS
    )


def to_rows(
    logs: Mapping[str, Sequence[LocatedLog]], settings: LogSettings
) -> tuple[dict[str, list[LocatedRow]], list[str]]:
    """Convert logs to rows.

    All logs of the full set form one set. A folder with logs of several models is a
    subset; all other logs of subsets form one subset together.

    Args:
      logs: by flag, "full" and "subset", the logs that it gives.
      settings: settings for what the logs do not state.

    Returns:
      The rows by flag, and notes for the user.

    Raises:
      UsageError: a log has no or several model names, a name in the settings matches no
        log, a number of images is unknown, or a unit is ambiguous; one line per
        problem.
    """
    runs, problems = _name_runs(
        [item for items in logs.values() for item in items], settings.model_names
    )
    sets = [(_FULL, list(logs[_FULL]))] if logs[_FULL] else []
    sets += _split_subsets(logs[_SUBSET], runs)
    sizes = {
        name: _size_sets(name, getattr(settings, name), sets, problems)
        for name in ("train_images", "validation_images")
    }
    notes: list[str] = []
    rows: dict[str, list[LocatedRow]] = {_FULL: [], _SUBSET: []}
    for number, (name, items) in enumerate(sets):
        scales = _find_scales(name, items, problems, notes)
        lengths: Counter[_Run] = Counter()
        for item in items:
            longest = max(item.log.epochs, *item.log.accuracies)
            lengths[runs[item.path]] = max(lengths[runs[item.path]], longest)
        rows[_FULL if logs[_FULL] and not number else _SUBSET] += [
            LocatedRow(
                CurveRow(
                    dataset=name,
                    subset_id="",
                    model=runs[item.path].model,
                    seed=runs[item.path].seed,
                    learning_rate=0,
                    epoch=epoch,
                    epochs=lengths[runs[item.path]],
                    train_images=sizes["train_images"][number],
                    validation_images=sizes["validation_images"][number],
                    validation_accuracy=accuracy / scales[item.log.format],
                    seconds=0,
                ),
                item.path,
            )
            for item in items
            for epoch, accuracy in sorted(item.log.accuracies.items())
        ]
    if problems:
        raise UsageError("\n".join(problems))
    return rows, notes


def _name_runs(
    logs: Sequence[LocatedLog], model_names: Mapping[str, str]
) -> tuple[dict[str, _Run], list[str]]:
    """Return the model and seed of each log by path, and problems.

    They are derived from the names of the log's folders, or of its file if a folder has
    several logs; `model_names` overrides the model.
    """
    in_folder = Counter(map(_folder, {item.path for item in logs}))
    runs = {}
    unused = dict(model_names)
    problems = []
    for item in logs:
        module = training_logs.load(item.log.format)
        absolute = PurePosixPath(storage.absolute(item.path))
        parts = list(absolute.parts[1:-1])
        seed = 0
        if is_free_name(item.path) and in_folder[_folder(item.path)] > 1:
            parts.append(absolute.stem)
        name = ""
        while parts and not name:
            part = parts.pop()
            if match := _SEED.fullmatch(part):
                seed = int(match[1])
            else:
                name = getattr(module, "name_model", str)(part)
        keys = [
            key
            for key in model_names
            if key in {name, item.path} or f"/{key.strip('/')}/" in f"{absolute}/"
        ]
        for key in keys:
            unused.pop(key, None)
        names = {model_names[key] for key in keys} or {name}
        if len(names) > 1:
            problems.append(
                f"--model_names: {list_names(keys)} both match {item.path}; give one"
            )
        if names == {""}:
            problems.append(
                f"{item.path}: no folder names its model; give --model_names "
                f"{item.path}=NAME"
            )
        runs[item.path] = _Run(min(names), seed)
    problems += [
        f"--model_names {key}: matches no log; give the name of a log's folder or file"
        for key in unused
    ]
    return runs, problems


def _split_subsets(
    logs: Sequence[LocatedLog], runs: Mapping[str, _Run]
) -> list[tuple[str, list[LocatedLog]]]:
    """Split the logs of subsets into named sets.

    An argument with several models is a set of its own, named by the shortest unique
    end of its folder's path. All other logs form one set, named "subset".
    """
    models_of = defaultdict(set)
    for item in logs:
        models_of[item.argument].add(runs[item.path].model)
    sets: dict[str, list[LocatedLog]] = defaultdict(list)
    for item in logs:
        sets[item.argument if len(models_of[item.argument]) > 1 else ""].append(item)
    folders = {name: PurePosixPath(storage.absolute(name)).parts for name in sets}
    depth = 1
    while depth < max(map(len, folders.values()), default=0) and (
        len({folder[-depth:] for folder in folders.values()}) < len(sets)
        or any(folder[-depth:] == (_FULL,) for folder in folders.values())
    ):
        depth += 1
    return [
        ("/".join(folders[name][-depth:]) if name else _SUBSET, items)
        for name, items in sets.items()
    ]


def _size_sets(
    flag: str,
    given: Sequence[int],
    sets: Sequence[tuple[str, list[LocatedLog]]],
    problems: list[str],
) -> list[int]:
    """Return the number of images of each set, as given or else as its logs state it.

    Args:
      flag: "train_images" or "validation_images".
      given: one number for all sets, one per set, or none.
      sets: names and logs of the sets.
      problems: list to which problems are appended.
    """
    if given and not sets:
        problems.append(f"--{flag}: applies only with training logs; leave it out")
        return []
    sizes = list(given) * (len(sets) if len(given) == 1 else 1)
    if given and len(sizes) != len(sets):
        problems.append(
            f"--{flag} {','.join(map(str, given))}: {len(given)} numbers are given for "
            f"{len(sets)} sets of logs ({list_names(name for name, _ in sets)}); give "
            "one for all, or one for each"
        )
        return [1] * len(sets)
    if given:
        return sizes
    missing = []
    for name, logs in sets:
        stated = {getattr(item.log, flag, 0) for item in logs}
        sizes.append(stated.pop() if len(stated) == 1 else 0)
        missing += [name] * (not sizes[-1])
    if missing:
        problems.append(
            f"--{flag}: is required, since the logs of {list_names(missing)} do not "
            f"state it; give a number for all sets of logs, or one for each of "
            f"{', '.join(name for name, _ in sets)}"
        )
    return sizes


def _find_scales(
    name: str, logs: Sequence[LocatedLog], problems: list[str], notes: list[str]
) -> dict[str, int]:
    """Return the divisor of a set's accuracies by format: 100 for percent, else 1.

    Within a set, all logs of one program have the same unit: percent if the program
    always writes percent or if any accuracy exceeds 1. Otherwise, if some logs exceed 1
    and others do not, the unit is ambiguous.

    Args:
      name: name of the set, for notes.
      logs: logs of the set.
      problems: list to which ambiguous units are appended.
      notes: list to which the units are appended.
    """
    by_format = defaultdict(list)
    for item in logs:
        by_format[item.log.format].append(item)
    scales = {}
    for format_name, items in by_format.items():
        best = {item.path: max(item.log.accuracies.values()) for item in items}
        in_percent = [path for path, value in best.items() if value > 1]
        others = [path for path, value in best.items() if 0 < value <= 1]
        is_stated = getattr(training_logs.load(format_name), "IN_PERCENT", False)
        is_percent = is_stated or bool(in_percent)
        scales[format_name] = 100 if is_percent else 1
        if in_percent and others and not is_stated:
            problems.append(
                f"{others[0]}: its accuracies are at most {best[others[0]]:g}, those "
                f"of {in_percent[0]} up to {best[in_percent[0]]:g}: one is in percent, "
                "or its model failed; give all in percent or all as 0 to 1"
            )
        unit = "in percent, and divided by 100" if is_percent else "0 to 1"
        columns = list_names(dict.fromkeys(item.log.column for item in items))
        notes.append(
            f"{name}: accuracies in {len(items)} {format_name} "
            f"{'logs' if len(items) > 1 else 'log'} ({columns}) are {unit} (up to "
            f"{max(best.values()):g})"
        )
        said = dict.fromkeys(note for item in items for note in item.log.notes)
        notes += [f"{name}: {note}" for note in said]
    return scales
