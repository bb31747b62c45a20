"""Parse the command line of a job into its frozen options dataclass.

Each field declared with `transforms.options.flag` becomes a flag of the same name.
Flags that belong neither to the job nor to its methods are returned for Beam. All
problems are reported together.
"""

import argparse
import dataclasses
import difflib
import errno
import functools
import inspect
import os
import re
import sys
import tempfile
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from pipelines import light_imports, stop_by_exception, stopping
from pipelines.log_flags import LogFlags
from transforms import __version__
from transforms.records import JobError, UsageError, list_names
from transforms.storage.clients import parse_location as parse_url

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}
_NUMBERS = {int: "whole number", float: "number"}
_METAVARS = {int: "N", float: "X"}
_MAX_SUGGESTIONS = 3
_SIMILAR = 0.1  # largest difference in similarity to the best suggestion
_CHOICES_SHOWN = 100
_SUGGESTION = "; did you mean"
_FLAG = re.compile(r"--(\w+)")


class JobOptions(Protocol):
    """Protocol of a job's frozen options dataclass."""

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""


OptionsT = TypeVar("OptionsT", bound=JobOptions)


class _Parser(argparse.ArgumentParser):
    """Raise `UsageError` on invalid arguments instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(
    options_class: type[OptionsT],
    argv: Sequence[str],
    *,
    prog: str,
    methods: Mapping[str, Mapping[str, type]] | None = None,
    takes_beam_flags: bool = True,
    finds_files: bool = True,
) -> tuple[OptionsT, dict[str, Any], list[str]]:
    """Parse a command line.

    Args:
      options_class: the job's frozen dataclass; its docstring is the description.
      argv: command-line arguments, without the program's name.
      prog: the program's name in --help.
      methods: options class of each value of a flag, e.g.
        {"grouping": {"manual": manual.Options}}; its fields become
        `--<value>_<field>` flags.
      takes_beam_flags: whether flags that the job does not declare are Beam's.
      finds_files: whether files that do not exist are problems.

    Returns:
      The options, the options of the selected methods by flag, and Beam's flags.

    Raises:
      UsageError: lists all problems, one per line.
    """
    methods = methods or {}
    parser = _make_parser(options_class, prog=prog, methods=methods)
    if takes_beam_flags:
        parser.epilog = "All other flags are passed to Apache Beam, e.g. --runner."
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    parsed, rest = parser.parse_known_args(argv)
    given = {name: value for name, value in vars(parsed).items() if value is not None}
    problems = _find_unknown(parser, rest, takes_beam_flags=takes_beam_flags)
    options, found = _convert(options_class, given, prefix="")
    problems += [
        p for p in found if _find_flag(p) not in set(map(_find_flag, problems))
    ]
    implied = {f.name: f.metadata["implies"] for f in dataclasses.fields(options_class)}
    chosen = {}
    for name, classes in methods.items():
        value = getattr(options, name, None)
        for method, method_class in classes.items():
            prefix = f"{method}_"
            method_options, found = _convert(method_class, given, prefix=prefix)
            problems += found
            if method == value:
                chosen[name] = method_options
            else:
                found = [
                    f"--{prefix}{field.name}: applies only with --{name}={method}"
                    for field in dataclasses.fields(method_class)
                    if f"{prefix}{field.name}" in given
                ]
                problems += _drop_consequences(found, problems, implied)
    problems += _drop_consequences(options.problems(), problems, implied)
    wrong = set(map(_find_flag, problems))
    absent = [*_find_absent(options)]
    for name, method_options in chosen.items():
        prefix = f"{getattr(options, name)}_"
        absent += _find_absent(method_options, prefix=prefix)
    if finds_files:
        problems += [p for p in absent if _find_flag(p) not in wrong]
    if isinstance(options, LogFlags):
        options.open_log()
    if problems:
        raise UsageError("\n".join(problems))
    if takes_beam_flags and rest:
        options = _use_dask_defaults(options, given, rest)
    return options, chosen, rest


def _use_dask_defaults(
    options: OptionsT, given: Mapping[str, Any], beam_flags: Sequence[str]
) -> OptionsT:
    """Replace the defaults of flags that have others on Dask."""
    from pipelines import engine

    if not engine.is_dask(engine.make_beam_options(beam_flags)):
        return options
    fields: Any = dataclasses.fields(options)
    defaults = {f.name: f.metadata.get("dask_default") for f in fields}
    changed = {n: d for n, d in defaults.items() if d is not None and n not in given}
    replaced: OptionsT = dataclasses.replace(options, **changed)
    return replaced


def _drop_consequences(
    found: Iterable[str], known: Iterable[str], implied: Mapping[str, Collection[str]]
) -> list[str]:
    """Drop messages that name a flag already reported as wrong.

    Args:
      found: messages about invalid combinations of flags.
      known: messages already reported. Flags that they suggest as corrections of
        misspelt flags count as wrong too.
      implied: the flags that each flag sets; they count as wrong if that flag is
        wrong.
    """
    wrong = set(map(_find_flag, known))
    for problem in known:
        wrong.update(_FLAG.findall(problem.partition(_SUGGESTION)[2]))
    wrong |= {name for flag in wrong for name in implied.get(flag, ())}
    return [problem for problem in found if wrong.isdisjoint(_FLAG.findall(problem))]


def _find_absent(options: Any, *, prefix: str = "") -> Iterator[str]:
    """Yield a message for each local file of the flags that does not exist."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        absent = field.metadata["absent"]
        if not (value and absent):
            continue
        for path in value if isinstance(value, tuple) else [value]:
            if path and "://" not in path and not os.path.lexists(path):
                yield f"--{prefix}{field.name} {path}: {absent}{describe_pattern(path)}"


def describe_pattern(path: str) -> str:
    """Return a remedy if an absent path is an unexpanded pattern, otherwise ""."""
    if not set("{*?[") & set(path):
        return ""
    folder = re.split(r"[^/]*[{*?[]", path, maxsplit=1)[0].rstrip("/") or "."
    return f"; patterns are not expanded: give the folder of the files, {folder}"


def _find_flag(problem: str) -> str:
    """Return the flag name at the start of a message, with underscores."""
    return problem.split(":", 1)[0].split(maxsplit=1)[0].lstrip("-").replace("-", "_")


def _make_parser(
    options_class: type, *, prog: str, methods: Mapping[str, Mapping[str, type]]
) -> _Parser:
    parser = _Parser(
        prog=prog,
        description=inspect.getdoc(options_class),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"imagenet-subsets {__version__}"
    parser.add_argument("--version", action="version", version=version)
    _add_flags(parser, options_class, prefix="")
    for classes in methods.values():
        for method, method_class in classes.items():
            if dataclasses.fields(method_class):
                description = inspect.getdoc(method_class)
                group = parser.add_argument_group(f"--{method}_*", description)
                _add_flags(group, method_class, prefix=f"{method}_")
    return parser


def _add_flags(
    parser: argparse._ActionsContainer, options_class: type, *, prefix: str
) -> None:
    """Add one flag per field; argparse keeps values as strings for `_convert`."""
    kinds = typing.get_type_hints(options_class)
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for field in dataclasses.fields(options_class):
        heading = field.metadata.get("heading", "")
        group = groups.get(heading) or parser.add_argument_group(heading)
        groups[heading] = group
        kind, is_list = _describe_kind(kinds[field.name])
        settings: dict[str, Any] = {
            "dest": prefix + field.name,
            "help": describe_flag(field).replace("%", "%%"),
        }
        if kind is bool:
            settings |= {"nargs": "?", "const": "true", "metavar": "true|false"}
        else:
            choices = "|".join(field.metadata.get("choices", ()))
            metavar = field.metadata.get("metavar") or choices
            settings["metavar"] = metavar or _METAVARS.get(kind, "TEXT")
        if is_list:
            settings |= {"action": "extend", "nargs": "+"}
        action: Any = group.add_argument(f"--{prefix}{field.name}", **settings)
        values = ("true", "false") if kind is bool else field.metadata.get("choices")
        if values:  # argcomplete completes other values as paths
            action.completer = functools.partial(_complete_value, values=values)


def _complete_value(prefix: str, *, values: Collection[str], **_: object) -> list[str]:
    """Return the completions of a value in the shell, of the last one in a list."""
    before, comma = prefix.rpartition(",")[:2]
    return [f"{before}{comma}{value}" for value in values]


def describe_flag(field: dataclasses.Field, default: str | None = None) -> str:
    """Return the help text of a flag with its range and its default.

    Args:
      field: declaration of the flag.
      default: text shown instead of the declared default; "" shows no default.
    """
    note = field.metadata.get("default_note", "")
    if default is None and field.default is dataclasses.MISSING:
        facts = ["required"]
    else:
        shown = show_default(field.default) if default is None else default
        if note:
            shown = f"{note}, here {shown}" if shown else note
        facts = [f"default: {shown}"] if shown else []
    if bounds := _describe_range(field.metadata):
        facts.insert(0, bounds)
    text = str(field.metadata["help"])
    return f"{text} ({'; '.join(facts)})" if facts else text


def show_default(default: object) -> str:
    """Format a default as on the command line; "" for None and ()."""
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _describe_range(metadata: Mapping[str, Any]) -> str:
    """Return the range of a flag in words, e.g. "at least 1"; "" if unlimited."""
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    if minimum is not None and maximum is not None:
        return f"between {minimum} and {maximum}"
    bounds = {"at least": minimum, "above": metadata.get("above")}
    bounds |= {"at most": maximum, "below": metadata.get("below")}
    return " and ".join(
        f"{word} {bound}" for word, bound in bounds.items() if bound is not None
    )


def _describe_kind(kind: Any) -> tuple[Any, bool]:
    """Return the type of a field's value or items, and whether the field is a list."""
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _convert(
    options_class: type, given: Mapping[str, Any], *, prefix: str
) -> tuple[Any, list[str]]:
    """Create options from strings; return them, and messages about wrong values.

    Invalid values are replaced by their defaults, missing required values by None.
    """
    kinds = typing.get_type_hints(options_class)
    values: dict[str, Any] = {}
    problems = []
    for field in dataclasses.fields(options_class):
        name = prefix + field.name
        is_required = field.default is dataclasses.MISSING
        values[field.name] = None if is_required else field.default
        if name in given:
            value, found = _read_value(
                name, given[name], kinds[field.name], field.metadata
            )
            problems += found
            if not found:
                values[field.name] = value
        elif is_required:
            problems.append(f"--{name}: is required ({field.metadata['help']})")
    return options_class(**values), problems


def _read_value(
    name: str, given: Any, kind: Any, metadata: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    """Convert and check the strings of one flag; return its value and its problems."""
    item_kind, is_list = _describe_kind(kind)
    words = given if is_list else [given]
    split = metadata.get("split", "")
    if split:
        parts = (part.strip() for word in words for part in word.split(split))
        words = [part for part in parts if part]
    expand = metadata.get("expand")
    values, problems = [], []
    for word in words:
        try:
            if expand and (expanded := expand(word)):
                values += expanded
                continue
            values.append(_to_kind(word, item_kind))
            _check_value(values[-1], metadata)
        except ValueError as error:
            problems.append(f"--{name} {word}: {error}")
    if split and not words:
        problems.append(f"--{name}: has no value; give at least one")
    if split and not metadata["allow_repeats"]:
        repeated = dict.fromkeys(v for v in values if values.count(v) > 1)
        problems += [f"--{name} {v}: is given twice; give it once" for v in repeated]
    if is_list:
        return tuple(values), list(dict.fromkeys(problems))
    return next(iter(values), None), problems


def _to_kind(text: str, kind: Any) -> Any:
    """Convert a string to a bool, int or float, or keep it as a string.

    Raises:
      ValueError: the string is not a value of this type.
    """
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError("must be true or false")
        return text.lower() in _TRUE
    if kind in _NUMBERS:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"is not a {_NUMBERS[kind]}") from None
    return text


def _check_value(value: Any, metadata: Mapping[str, Any]) -> None:
    """Check a value against its flag's choices and range.

    Raises:
      ValueError: the value is not allowed.
    """
    choices = metadata.get("choices", ())
    if choices and value not in choices:
        named = list_names(choices, _CHOICES_SHOWN)
        raise ValueError(f"is not one of {named}{suggest(value, choices)}")
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    above, below = metadata.get("above"), metadata.get("below")
    is_within = (  # never for NaN
        (minimum is None or value >= minimum)
        and (maximum is None or value <= maximum)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not is_within:
        raise ValueError(f"must be {_describe_range(metadata)}")


def _find_unknown(
    parser: _Parser, rest: list[str], *, takes_beam_flags: bool
) -> list[str]:
    """Return messages about arguments that belong to no flag of the job.

    Beam's flags are checked with `takes_beam_flags`; otherwise, the job runs on one
    machine and rejects them. Beam is imported only if there are such arguments.
    """
    if not rest:
        return []
    ours = {s.removeprefix("--") for s in parser._option_string_actions}
    problems, others = _find_dashed(rest, ours)
    if not others:
        return problems
    if takes_beam_flags:
        light_imports.import_beam(others)
    from pipelines import engine

    if takes_beam_flags:
        unknown, known = engine.find_unknown_flags(others)
        dashed, others = _find_dashed(others, known)
        problems += dashed
        problems += [
            describe_unknown_flag(name, [*ours, *known]) for name in sorted(unknown)
        ]
        if runner := engine.find_unknown_runner(others):
            similar = suggest(runner, engine.RUNNERS)
            problems.append(f"--runner {runner}: unknown runner{similar}")
        return [*problems, *engine.find_flag_problems(others)]
    _, of_beam = engine.find_unknown_flags([])
    names = (w.removeprefix("--").split("=", 1)[0] for w in others if w[:2] == "--")
    problems += [
        f"--{name}: unknown flag; it is one of Apache Beam, without which this job "
        "runs on one machine; leave it out"
        if name in of_beam
        else describe_unknown_flag(name, ours)
        for name in names
    ]
    return problems or [f"{' '.join(rest)}: belongs to no flag; put a flag before it"]


def _find_dashed(
    words: Iterable[str], known: Collection[str]
) -> tuple[list[str], list[str]]:
    """Find known flags that are written with dashes.

    Beam's own check cannot report them, because it shows them with underscores.

    Returns:
      Messages about these flags, and the words without them and their values.
    """
    problems: list[str] = []
    others: list[str] = []
    is_value = False  # of the flag before it
    for word in words:
        name, equals, _ = word.removeprefix("--").partition("=")
        if word[:2] == "--" and "-" in name and name.replace("-", "_") in known:
            problems.append(describe_unknown_flag(name, known))
            is_value = not equals
        elif word.startswith("-") or not is_value:
            others.append(word)
            is_value = False
    return problems, others


def suggest(word: str, known: Collection[str], *, prefix: str = "") -> str:
    """Return "; did you mean …?" with the most similar known words, or ""."""
    plain = _simplify(word)
    equal = [name for name in known if _simplify(name) == plain]
    longer = sorted(
        name for name in known if word and _simplify(name).startswith(plain)
    )
    close = equal or longer or _find_similar(word.replace("-", "_"), known)
    shown = " or ".join(prefix + name for name in close[:_MAX_SUGGESTIONS])
    return f"{_SUGGESTION} {shown}?" if close else ""


def _simplify(word: str) -> str:
    return re.sub("[-_]", "", word).lower()


def _find_similar(word: str, known: Collection[str]) -> list[str]:
    """Return the most similar known words, best match first."""
    names = difflib.get_close_matches(word, known, n=_MAX_SUGGESTIONS)
    ratios = [difflib.SequenceMatcher(None, name, word).ratio() for name in names]
    return [n for n, r in zip(names, ratios, strict=True) if r > ratios[0] - _SIMILAR]


def describe_unknown_flag(name: str, known: Collection[str]) -> str:
    """Return the message about an unknown flag, with similar known flags."""
    return f"--{name}: unknown flag{suggest(name, known, prefix='--')}"


def find_folder_problems(output: str | None) -> Iterator[str]:
    """Yield a problem if --output is an invalid URL, a file or a path below a file."""
    if not output:
        return
    if "://" in output:
        try:
            parse_url(output)
        except UsageError as error:
            yield f"--output {error}"
        return
    place = Path(output)
    if any(parent.is_file() for parent in (place, *place.parents)):
        yield f"--output {output}: is a file, or inside one; name a folder"


def find_file_problems(output: str | None, suffix: str) -> Iterator[str]:
    """Yield the problems if --output lacks the suffix or is a folder."""
    if not output:
        return
    if not output.endswith(suffix):
        yield f"--output {output}: must end in {suffix}"
    if "://" not in output and Path(output).is_dir():
        yield f"--output {output}: is a folder; name a file"


def _check_bucket(output: str) -> None:
    """Check that the bucket of an output URL is accessible.

    Raises:
      UsageError: the bucket is not accessible.
    """
    # This imports pyarrow, which takes a second; --help must not wait for it.
    from transforms import storage

    try:
        storage.check_bucket(output)
    except OSError as error:
        raise cannot_write(output, error) from error


def check_output(output: str | None) -> None:
    """Check that an output is writable; None is accepted.

    For a URL, check the bucket. For a local path, create and remove a temporary folder
    in the output folder, or in its nearest existing parent.

    Raises:
      UsageError: the output is not writable.
    """
    if not output:
        return
    if "://" in output:
        _check_bucket(output)
        return
    place = Path(output).absolute()
    try:
        above = next(parent for parent in place.parents if parent.exists())
        folder = place if place.is_dir() else above  # mkdtemp fails if it is a file
        Path(tempfile.mkdtemp(prefix=".", dir=folder)).rmdir()
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: str, error: OSError) -> UsageError:
    """Create the `UsageError` for an output that is not writable."""
    if isinstance(error, FileExistsError):
        return UsageError(f"--output {output}: is a file; give a folder")
    remedies = {
        errno.EACCES: "give the credentials write permission, or ",
        errno.ENOENT: "create the bucket, or ",
        errno.EIO: "check the network and --store_endpoint, or ",
    }
    remedy = remedies.get(error.errno or 0, "") if "://" in output else ""
    return UsageError(
        f"--output {output}: is not writable ({error.strerror}); "
        f"{remedy}use another path"
    )


@contextmanager
def exit_codes(*, when_stopped: str = "stopped") -> Iterator[None]:
    """Report errors of a block on stderr and exit with the matching code.

    Exit codes: 2 for `UsageError`, 1 for `JobError` and `OSError`, 130 for Ctrl-C.

    Args:
      when_stopped: message after Ctrl-C.
    """
    stop_by_exception()
    with stopping.watch(when_stopped) as deadline:
        try:
            yield
        except UsageError as error:
            _exit(str(error), 2)
        except JobError as error:
            _exit(str(error), 1)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            _exit(f"{place}{error.strerror or error}", 1)
        except KeyboardInterrupt:
            deadline.is_said = True
            _exit(when_stopped, stopping.EXIT_CODE)


def _exit(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"error: {line}\n")
    sys.exit(code)
