"""Read trainer_state.json, which the Trainer of Hugging Face transformers writes."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from transforms.evaluation.training_logs import (
    LogColumns,
    TrainingLog,
    choose_column,
    merge_evaluations,
    to_accuracy,
    to_epoch,
)
from transforms.records import UsageError, cut_lines

FILE_PATTERNS = ("trainer_state.json",)
_CHECKPOINT = re.compile(r"(?:(.*)/)?checkpoint-(\d+)/[^/]*")
_ROUNDED = 0.0005  # of runtime and speed


def name_model(folder: str) -> str:
    """Return the folder's name; "" if it is that of a checkpoint."""
    return "" if _CHECKPOINT.fullmatch(f"{folder}/state") else folder


def select(paths: Sequence[str]) -> list[str]:
    """Keep one trainer_state.json per run: its own, or else its last checkpoint's."""
    last: dict[str, tuple[float, str]] = {}
    for path in paths:
        match = _CHECKPOINT.fullmatch(path)
        run = (match[1] or "") if match else path.rpartition("/")[0]
        step = int(match[2]) if match else math.inf
        last[run] = max(last.get(run, (-1, "")), (step, path))
    return [path for _, path in last.values()]


def read(text: str, columns: LogColumns) -> TrainingLog | None:
    """Read a state; evaluations may be any number of steps apart."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"is damaged JSON ({error!s:.60}); copy it again, or give that of an "
            "earlier checkpoint"
        ) from None
    history = state.get("log_history")
    if not isinstance(history, list):
        return None
    entries = [entry for entry in history if isinstance(entry, dict)]
    names = list(dict.fromkeys(str(name) for entry in entries for name in entry))
    column = choose_column(names, columns.accuracy)
    points = []
    sizes = set()
    problems = [] if len(entries) == len(history) else ["log_history has other values"]
    for number, entry in enumerate(entries):
        if column in entry:
            try:
                accuracy = to_accuracy(column, entry[column])
                points.append((to_epoch(entry.get("epoch"), is_whole=False), accuracy))
            except ValueError as error:
                problems.append(f"log_history[{number}]: {error}")
            sizes.add(_find_num_images(entry))
    accuracies, notes = merge_evaluations(points)
    if not accuracies and not problems:
        problems.append(f"has no value of {column} after an epoch; train on")
    if problems:
        raise UsageError("\n".join(cut_lines(problems)))
    epochs = state.get("num_train_epochs")
    is_number = isinstance(epochs, int | float) and 0 < epochs < 1e9
    return TrainingLog(
        "huggingface",
        column,
        accuracies,
        epochs=math.ceil(epochs) if is_number else 0,
        validation_images=sizes.pop() if len(sizes) == 1 else 0,
        notes=notes,
    )


def _find_num_images(entry: dict[str, Any]) -> int:
    """Compute the number of evaluated images from runtime and speed.

    Returns:
      The number; 0 if the entry lacks these values or they are too rounded.
    """
    try:
        runtime = float(entry["eval_runtime"])
        speed = float(entry["eval_samples_per_second"])
        number = round(runtime * speed)
    except (KeyError, OverflowError, TypeError, ValueError):
        return 0
    uncertainty = abs(runtime * speed - number) + _ROUNDED * (runtime + speed)
    return number if uncertainty < 0.5 else 0
