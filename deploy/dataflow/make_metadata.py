"""Write metadata.json, the parameters of the flex template, from the job's options.

python deploy/dataflow/make_metadata.py
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.building.options import BuildOptions, method_options
from pipelines.cli import describe_flag
from pipelines.index import IndexOptions
from pipelines.predict import PredictOptions

FILE = Path(__file__).with_name("metadata.json")
JOBS = ("build", "index", "predict")  # jobs that keep nothing on the launching machine

# With these flags no job is submitted, but Google's launcher expects one.
_EXCLUDED = {"plan_only", "dry_run"}
# Parameters that no other job has.
_OF_PREDICT = {field.name for field in dataclasses.fields(PredictOptions)} - {
    field.name for field in dataclasses.fields(BuildOptions)
}
_PLACE = r"(gs|s3)://[^,]+"
_NUMBERS = {int: r"[0-9]+", float: r"[0-9]+(\.[0-9]+)?"}  # never negative
# The launcher has no access to the user's files: all paths must be in buckets.
_FILE = "gs://.+"


def make_metadata() -> dict[str, Any]:
    """Return the content of metadata.json, with all parameters of the template."""
    parameters = [
        _describe(
            "job",
            "job to run: build; index, which takes only input, validation_labels, "
            "class_list, output, inspect and threads; or predict, which takes only "
            "input, validation_labels, class_list, output, groups, threads, "
            f"max_failure_fraction, {', '.join(sorted(_OF_PREDICT))} (default: build)",
            choices=JOBS, default=JOBS[0],
        ),
        *_list_parameters(BuildOptions),
        *_list_parameters(IndexOptions, only={"inspect"}),
        *_list_parameters(PredictOptions, only=_OF_PREDICT),
        *_list_method_parameters(),
        _describe(
            "sdk_container_image", "container image of the workers, by digest",
            pattern=r".+@sha256:[0-9a-f]{64}",
        ),
    ]  # fmt: skip
    return {
        "name": "Subsets of ImageNet",
        "description": "Builds a subset of ImageNet, indexes or predicts images.",
        "parameters": parameters,
    }


def _list_method_parameters() -> Iterator[dict[str, Any]]:
    for classes in method_options().values():
        for method, method_class in classes.items():
            yield from _list_parameters(method_class, prefix=f"{method}_")


def _list_parameters(
    options_class: type, *, prefix: str = "", only: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    kinds = typing.get_type_hints(options_class)
    for field in dataclasses.fields(options_class):
        if field.name in _EXCLUDED or (only and field.name not in only):
            continue
        name, kind = prefix + field.name, kinds[field.name]
        if isinstance(kind, types.UnionType):
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
        choices = field.metadata.get("choices", ())
        if kind is bool:
            choices = ("true", "false")
        yield _describe(
            name,
            describe_flag(field, _show(field) or ""),
            choices=choices if kind in {bool, str} else (),
            pattern=_make_pattern(name, kind, field.metadata),
            default=_show(field),
        )


def _describe(
    name: str,
    help_text: str,
    *,
    choices: Sequence[str] = (),
    pattern: str | None = None,
    default: str | None = None,
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": help_text,
        "isOptional": default is not None,
        "paramType": "GCS_READ_FILE" if pattern == _FILE else "TEXT",
    }
    if default:  # launch.py drops it, because `index` rejects flags of `build`
        described["defaultValue"] = default
    if set(choices) == {"true", "false"} and default:  # a switch is never empty
        described["paramType"] = "BOOLEAN"
    elif choices and default:  # an ENUM without a default has no empty choice
        described["paramType"] = "ENUM"
        described["enumOptions"] = [{"value": c, "label": c} for c in choices]
    if pattern := pattern or "|".join(map(re.escape, choices)):
        # An optional parameter that is left empty in the console is sent as "".
        described["regexes"] = [f"^({pattern}){'?' if default is not None else ''}$"]
    return described


def _make_pattern(name: str, kind: object, metadata: Mapping[str, Any]) -> str | None:
    """Return the pattern of a value: its choices, a number, or a bucket path."""
    choices = "|".join(map(re.escape, metadata.get("choices", ())))
    if kind == tuple[str, ...]:
        one = f"({choices})" if choices else _PLACE
        return f"{one}(,{one})*"
    if choices:
        return choices
    if kind is bool:
        return "true|false"
    if name == "output":
        return _PLACE
    return _FILE if metadata.get("metavar") == "FILE" else _NUMBERS.get(kind)


def _show(field: dataclasses.Field) -> str | None:
    """Return a default as text; None for required parameters.

    Return "" if there is no default, or if it depends on the machine.
    """
    default = field.default
    if field.name in {"input", "output"}:  # required: no demonstration here
        return None
    # The default would be the number of cores of this machine, not of the workers.
    if (
        default in (None, ())
        or default is dataclasses.MISSING
        or field.name == "threads"
    ):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


def to_text() -> str:
    """Return the text of metadata.json."""
    return json.dumps(make_metadata(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(to_text())
