"""A job's frozen dataclass ↔ its command line: one parser for all jobs.

A field made with `flag` is a flag of the same name. What stands neither here nor in a
method's own `Options` is handed back for Beam. All problems are reported at once.
"""

import argparse
import dataclasses
import difflib
import inspect
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from pipelines import stop_by_exception
from transforms.records import JobError, UsageError
from transforms.storage.clients import parse_location

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}
_NUMBERS = {int: "whole number", float: "number"}


class JobOptions(Protocol):
    """A job's frozen options."""

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values, each with flag, value and remedy."""


OptionsT = TypeVar("OptionsT", bound=JobOptions)


def flag(
    help_text: str,
    *,
    default: Any = dataclasses.MISSING,
    choices: Sequence[str] = (),
    metavar: str = "",
    heading: str = "",
) -> Any:
    """Declare a field that is a flag; without a default it is required.

    Args:
      help_text: what --help says of it.
      default: its value when it is not given.
      choices: the values that it may have.
      metavar: what stands for the value in --help.
      heading: under which it stands there, behind those that have none.
    """
    metadata = {
        "help": help_text,
        "choices": tuple(choices),
        "metavar": metavar,
        "heading": heading,
    }
    return dataclasses.field(default=default, metadata=metadata)


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(
    options_class: type[OptionsT],
    argv: Sequence[str],
    *,
    prog: str,
    methods: Mapping[str, Mapping[str, type]] | None = None,
    takes_beam_flags: bool = True,
) -> tuple[OptionsT, dict[str, Any], list[str]]:
    """Parse a command line.

    Args:
      options_class: the job's frozen dataclass; its docstring is the description.
      argv: the words after the program's name.
      prog: how the program is called.
      methods: flag → its values → each one's own options class, whose fields become
        `--<value>_<field>` flags, e.g. {"grouping": {"manual": manual.Options}}.
      takes_beam_flags: whether flags that are not ours may be Beam's.
    Returns: The options, the chosen methods' own options by flag, and Beam's flags.
    Raises: UsageError: every problem, a line each.
    """
    methods = methods or {}
    parser = _make_parser(options_class, prog=prog, methods=methods)
    if takes_beam_flags:
        parser.epilog = "All other flags are Apache Beam's, e.g. --runner."
    parsed, rest = parser.parse_known_args(argv)
    given = {name: value for name, value in vars(parsed).items() if value is not None}
    problems = _find_unknown(parser, rest, takes_beam_flags=takes_beam_flags)
    options, found = _convert(options_class, given, prefix="")
    problems += found
    chosen = {}
    for name, classes in methods.items():
        value = getattr(options, name, None)
        for method, method_class in classes.items():
            prefix = f"{method}_"
            made, found = _convert(method_class, given, prefix=prefix)
            problems += found
            own = [f"{prefix}{f.name}" for f in dataclasses.fields(method_class)]
            if method == value:
                chosen[name] = made
            else:
                problems += [
                    f"--{flag_name}: goes with --{name}={method} only"
                    for flag_name in own
                    if flag_name in given
                ]
    bad = {problem.split(":", 1)[0].split()[0] for problem in problems}
    problems += [
        p for p in options.problems() if p.split(":", 1)[0].split()[0] not in bad
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return options, chosen, rest


def _make_parser(
    options_class: type, *, prog: str, methods: Mapping[str, Mapping[str, type]]
) -> _Parser:
    parser = _Parser(
        prog=prog,
        description=inspect.getdoc(options_class),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_flags(parser, options_class, prefix="")
    for classes in methods.values():
        for method, method_class in classes.items():
            if dataclasses.fields(method_class):
                group = parser.add_argument_group(f"--{method}_*", method_class.__doc__)
                _add_flags(group, method_class, prefix=f"{method}_")
    return parser


def _add_flags(
    parser: argparse._ActionsContainer, options_class: type, *, prefix: str
) -> None:
    """Add a flag a field; values stay text until all can be judged together."""
    kinds = typing.get_type_hints(options_class)
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for field in dataclasses.fields(options_class):
        kind = kinds[field.name]
        heading = field.metadata.get("heading", "")
        group = groups.get(heading) or parser.add_argument_group(heading)
        groups[heading] = group
        text = field.metadata["help"].replace("%", "%%")
        if field.default is dataclasses.MISSING:
            text += " (required)"
        elif field.default not in (None, ()) and field.default is not False:
            shown = field.default
            text += f" ({','.join(shown) if isinstance(shown, tuple) else shown})"
        settings: dict[str, Any] = {"dest": prefix + field.name, "help": text}
        if kind is bool:
            settings |= {"nargs": "?", "const": "true", "metavar": "true|false"}
        else:
            choices = "|".join(field.metadata.get("choices", ()))
            metavar = field.metadata.get("metavar") or choices or _metavar(kind)
            settings |= {"metavar": metavar}
        if kind == tuple[str, ...]:
            settings |= {"action": "extend", "nargs": "+"}
        group.add_argument(f"--{prefix}{field.name}", **settings)


def _metavar(kind: Any) -> str:
    names = {int: "N", float: "X", str: "TEXT", tuple[str, ...]: "TEXT"}
    return names.get(_plain(kind), "TEXT")


def _plain(kind: Any) -> Any:
    """Strip `| None`."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _convert(
    options_class: type, given: Mapping[str, Any], *, prefix: str
) -> tuple[Any, list[str]]:
    """Make options of texts; a value that is wrong is replaced after it is named."""
    kinds = typing.get_type_hints(options_class)
    values: dict[str, Any] = {}
    problems = []
    for field in dataclasses.fields(options_class):
        name = prefix + field.name
        fallback = None if field.default is dataclasses.MISSING else field.default
        if name in given:
            try:
                values[field.name] = _to_kind(
                    given[name], _plain(kinds[field.name]), field.metadata
                )
                continue
            except ValueError as error:
                problems.append(f"--{name} {_shown(given[name])}: {error}")
        elif field.default is dataclasses.MISSING:
            problems.append(f"--{name}: is required ({field.metadata['help']})")
        values[field.name] = fallback
    return options_class(**values), problems


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _to_kind(text: Any, kind: Any, metadata: Mapping[str, Any]) -> Any:
    choices = metadata.get("choices", ())
    if kind == tuple[str, ...]:
        words = [w for item in text for w in item.split(",")] if choices else text
        for word in words:
            _check_choice(word, choices)
        return tuple(words)
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError("is true or false")
        return text.lower() in _TRUE
    if kind in _NUMBERS:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"is not a {_NUMBERS[kind]}") from None
    _check_choice(text, choices)
    return text


def _check_choice(word: str, choices: Sequence[str]) -> None:
    if choices and word not in choices:
        hint = suggest(word, choices)
        raise ValueError(f"is not one of {', '.join(choices)}{hint}")


def _find_unknown(
    parser: _Parser, rest: Sequence[str], *, takes_beam_flags: bool
) -> list[str]:
    """Name what is left and nobody knows.

    Beam is asked only when something is left, since its import takes a second.
    """
    if not rest:
        return []
    ours = {s.removeprefix("--") for s in parser._option_string_actions}
    if not takes_beam_flags:
        names = (w.removeprefix("--").split("=", 1)[0] for w in rest if w[:2] == "--")
        found = [describe_unknown_flag(name, ours) for name in names]
        return found or [f"{' '.join(rest)}: belongs to no flag; put a flag before it"]
    from pipelines import engine  # noqa: PLC0415  # Beam's import takes a second

    return engine.find_flag_problems(rest, ours)


@contextmanager
def exit_codes(*, when_stopped: str = "stopped") -> Iterator[None]:
    """End the process as a command does: what is wrong on stderr, no traceback.

    2: what the user must mend; 1: what went wrong later; 130: Ctrl-C.
    """
    stop_by_exception()
    try:
        yield
    except UsageError as error:
        _exit(str(error), 2)
    except (JobError, OSError) as error:
        _exit(str(error), 1)
    except KeyboardInterrupt:
        _exit(when_stopped, 130)


def _exit(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"error: {line}\n")
    sys.exit(code)


_MOST = 3


def suggest(word: str, known: Collection[str], *, prefix: str = "") -> str:
    """Return "; did you mean …?", or nothing when no word is near."""
    longer = sorted(name for name in known if word and name.startswith(word))
    close = longer or difflib.get_close_matches(word, known, n=1)
    shown = " or ".join(prefix + name for name in close[:_MOST])
    return f"; did you mean {shown}?" if close else ""


def describe_unknown_flag(name: str, known: Collection[str]) -> str:
    """Say that a flag is unknown, and which was perhaps meant."""
    return f"--{name}: unknown flag{suggest(name, known, prefix='--')}"


def find_folder_problems(output: str | None) -> Iterator[str]:
    """Say why nothing can be written into a folder, as far as its name tells."""
    if not output:
        return
    if "://" in output:
        try:
            parse_location(output)
        except UsageError as error:
            yield f"--output {error}"
        return
    place = Path(output)
    if any(parent.is_file() for parent in (place, *place.parents)):
        yield f"--output {output}: lies in or is a file; name a folder"


def check_bucket(output: str | None) -> None:
    """See that the bucket of an output answers, before all work; local ones are fine.

    Raises: UsageError: it does not.
    """
    if not output or "://" not in output:
        return
    # pyarrow, which this imports, takes a second that --help has not.
    from transforms import storage  # noqa: PLC0415

    try:
        storage.check_bucket(output)
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: str, error: OSError) -> UsageError:
    """Say that, and why, an output takes nothing."""
    return UsageError(
        f"--output {output}: nothing can be written there ({error.strerror}); name "
        "another place"
    )
