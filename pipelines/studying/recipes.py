"""Read recipes from a file or list the default ones, and check their flags."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import presets
from pipelines.building.options import BuildOptions, method_options
from pipelines.cli import parse
from pipelines.grouping_flags import load_options
from transforms import formats, grouping, sampling
from transforms.records import UsageError
from transforms.training.architectures import MAX_EPOCHS

# Tables that the study computes if recipes need them and none is given.
COMPUTED_TABLES = ("confusion", "difficulty")
# Datasets of the study itself.
FULL, HALVES = "full", "halves"
_MAX_BYTES, _MAX_RECIPES = 1 << 20, 1000
# Keys of a recipe that are not flags of the build job.
_NAME, _EPOCHS, _DRAWS = "name", "epochs", "draws"
_MAX_DRAWS = 100
# The study sets these flags for all recipes.
_STUDY_FLAGS = (
    "input",
    "validation_labels",
    "class_list",
    "output",
    "dataset_version",
    "formats",
    "resume",
    "plan_only",
    "folds",
)

# Official numbers of classes and training images, from which sizes are scaled.
_CLASSES, _IMAGES = 1000, 1_281_167
_MIN_GROUPS = 2


class Listed(NamedTuple):
    """A recipe before its flags are parsed.

    Attributes:
      name: name of the recipe.
      flags: flags of the build job.
      epochs: passes over the training images; None for those of all subsets.
      draws: number of subsets, each drawn with another seed.
      draw: number of the draw, from 0.
    """

    name: str
    flags: Mapping[str, str]
    epochs: int | None = None
    draws: int = 1
    draw: int = 0

    def list_draws(self, seed: int) -> "Iterator[Listed]":
        """Yield one recipe per draw, with consecutive seeds from its own or `seed`."""
        first = self.flags.get("seed", str(seed))
        if self.draws == 1 or not first.isdecimal():
            yield self
            return
        for number in range(self.draws):
            flags = {**self.flags, "seed": str(int(first) + number)}
            name = f"{self.name}_draw{number}"
            yield Listed(name, flags, self.epochs, draw=number)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A subset to build.

    Attributes:
      name: name of the recipe and of its dataset.
      base: name without the number of the draw.
      draw: number of the draw, from 0.
      epochs: passes over the training images; None for those of all subsets.
      flags: flags as the user wrote them.
      words: command line of the build job, including the flags of the study.
      options: parsed options of the build job.
      grouping_options: options of the grouping method.
      sampling_options: options of the sampler.
    """

    name: str
    base: str
    draw: int
    epochs: int | None
    flags: Mapping[str, str]
    words: tuple[str, ...]
    options: BuildOptions
    grouping_options: Any
    sampling_options: Any

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the tables that the recipe reads."""
        options = self.options
        named = (options.groups, options.confusion, options.difficulty, options.images)
        return tuple(path for path in named if path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """Defaults of all recipes.

    Attributes:
      flags: default flags.
      tables: files that groupings and samplers read, by flag; those of
        `COMPUTED_TABLES` may be computed later.
    """

    flags: Mapping[str, str]
    tables: Mapping[str, str]


class Size(NamedTuple):
    """The size of a subset: N groups of M training images each."""

    num_groups: int
    images_per_group: int

    @property
    def num_images(self) -> int:
        """Number of training images in all groups."""
        return self.num_groups * self.images_per_group


def read_recipes(
    path: str, check: Callable[[Sequence[Listed]], object] | None = None
) -> list[Listed]:
    """Read recipes from a JSON file.

    Args:
      path: path of the file.
      check: raises UsageError for problems of well-formed recipes, which are reported
        with those of malformed ones.

    Raises:
      UsageError: the file cannot be read; or lists the problems of all recipes.
    """
    try:
        if Path(path).stat().st_size > _MAX_BYTES:
            raise UsageError(f"--recipes {path}: is larger than {_MAX_BYTES} bytes")
        items = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(
            f"--recipes {path}: cannot be read ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--recipes {path}: is not JSON ({error})") from error
    if not isinstance(items, list) or not 0 < len(items) <= _MAX_RECIPES:
        raise UsageError(
            f"--recipes {path}: must be a list of 1 to {_MAX_RECIPES} recipes, each "
            '{"name": …, "grouping": …, "num_groups": …, "images_per_group": …}'
        )
    listed, problems = list[Listed](), list[str]()
    for number, item in enumerate(items, 1):
        if malformed := list(_find_form_problems(item)):
            problems += [f"--recipes {path}: recipe {number}: {p}" for p in malformed]
            continue
        recipe = Listed(
            item.pop(_NAME),
            epochs=item.pop(_EPOCHS, None),
            draws=item.pop(_DRAWS, 1),
            flags={flag: _to_text(value) for flag, value in item.items()},
        )
        listed.append(recipe)
    if check:
        try:
            check(listed)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return listed


def _find_form_problems(item: object) -> Iterator[str]:
    if not isinstance(item, dict):
        yield 'is not an object; write {"name": …, "grouping": …}'
        return
    if not isinstance(item.get(_NAME), str):
        yield "has no name; give it one (a-z, 0-9 and _)"
    for key, most in ((_EPOCHS, MAX_EPOCHS), (_DRAWS, _MAX_DRAWS)):
        value = item.get(key, 1)
        if type(value) is not int or not 1 <= value <= most:
            yield f"{key} must be a whole number from 1 to {most}"
    for flag, value in item.items():
        listed = value if isinstance(value, list) else [value]
        if flag == "flags" or isinstance(value, dict):
            yield (
                f"{flag}: flags of build are keys of the recipe itself: "
                '{"name": …, "grouping": …}'
            )
        elif not all(isinstance(v, str | int | float) for v in listed):
            yield f"{flag} is neither text, a number, true or false, nor a list of them"


def _to_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_to_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def make_recipes(
    listed: Sequence[Listed], common: Common, *, source: str
) -> list[Recipe]:
    """Check recipes with the parser of the build job.

    Args:
      listed: names and flags of the recipes.
      common: defaults of all recipes.
      source: origin of the recipes, for messages.

    Raises:
      UsageError: lists the problems of all recipes.
    """
    checked: list[Recipe] = []
    problems = []
    seed = int(common.flags.get("seed", "0"))
    drawn = [(item.name, draw) for item in listed for draw in item.list_draws(seed)]
    names = [draw.name for _, draw in drawn]
    for base, draw in drawn:
        errors = [
            *_find_name_problems(draw.name, names),
            *_find_flag_problems(draw.flags),
        ]
        try:
            checked.append(_make(draw, base, common))
        except UsageError as error:
            errors += str(error).splitlines()
        problems += [f"{source}: {base}: {line}" for line in dict.fromkeys(errors)]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return checked


def _find_name_problems(name: str, names: Sequence[str]) -> Iterator[str]:
    if problem := formats.find_name_problem(name):
        yield problem
    if name in {FULL, HALVES}:
        yield f"{name} is reserved for a dataset of the study; give another name"
    if names.count(name) > 1:
        yield "two recipes have this name; rename one"


def _list_tables(method: str | None, sampler: str | None) -> tuple[str, ...]:
    """Return the tables that a grouping and a sampler require; () for unknown ones."""
    of_method = grouping.list_tables(method) if method in grouping.METHODS else ()
    of_sampler = sampling.list_tables(sampler) if sampler in sampling.SAMPLERS else ()
    return (*of_method, *of_sampler)


def _find_flag_problems(flags: Mapping[str, str]) -> Iterator[str]:
    for flag in flags:
        if flag in _STUDY_FLAGS:
            yield f"--{flag}: the study sets this flag for all recipes; leave it out"


def _make(listed: Listed, base: str, common: Common) -> Recipe:
    flags = listed.flags
    kept = {flag: value for flag, value in flags.items() if flag not in _STUDY_FLAGS}
    filled = dict(common.flags) | kept
    for table in _list_tables(filled.get("grouping"), filled.get("sampling")):
        if table in common.tables:
            filled.setdefault(table, common.tables[table])
    words = tuple(f"--{flag}={value}" for flag, value in sorted(filled.items()))
    options, options_of, _ = parse(
        BuildOptions,
        ["--input=index.parquet", *words],
        prog="",
        methods=method_options(),
        takes_beam_flags=False,
        finds_files=False,  # of this study, which makes them later
    )
    return Recipe(
        name=listed.name,
        base=base,
        draw=listed.draw,
        epochs=listed.epochs,
        flags=flags,
        words=words,
        options=options,
        grouping_options=options_of.get("grouping") or load_options(options.grouping),
        sampling_options=options_of["sampling"],
    )


def choose_sizes(num_classes: int, num_train: int) -> tuple[list[Size], str]:
    """Choose sizes that fit the input.

    Args:
      num_classes: number of classes of the input.
      num_train: number of training images of the input.

    Returns:
      The sizes of the presets, scaled to the input if one is too large, and a note.
    """
    official = [Size(*pair) for pair in presets.SIZES.values()]
    if all(s.num_groups <= num_classes and s.num_images <= num_train for s in official):
        return official, "sizes: those of the presets"
    scaled = []
    for size in official:
        num_groups = max(_MIN_GROUPS, round(size.num_groups * num_classes / _CLASSES))
        num_images = size.num_images * num_train // _IMAGES
        scaled.append(Size(num_groups, max(1, num_images // num_groups)))
    return list(dict.fromkeys(scaled)), (
        "sizes: the input is too small for the presets, so they are scaled: "
        f"N × {num_classes}/{_CLASSES} groups, at least {_MIN_GROUPS}; M so that the "
        "share of the training images is unchanged"
    )


def list_recipes(
    sizes: Sequence[Size], num_groups: Mapping[str, int | None]
) -> Iterator[Listed]:
    """Yield the name and flags of every combination of grouping, size and sampler.

    If a grouping fixes N, M is chosen to keep the size of the subset.

    Args:
      sizes: pairs of N and M.
      num_groups: the fixed N of each grouping; None if `--num_groups` sets it.
    """
    samplers = [name for name in sampling.SAMPLERS if not sampling.is_fixed(name)]
    samplers.sort(key=lambda name: name != sampling.DEFAULT)
    listed: dict[str, Mapping[str, str]] = {}
    for size in sizes:
        for method, n in num_groups.items():
            actual = Size(n, max(1, size.num_images // n)) if n else size
            flags = {
                "grouping": method,
                "images_per_group": str(actual.images_per_group),
            }
            if not n:
                flags["num_groups"] = str(actual.num_groups)
            name = f"{method}_n{actual.num_groups}_m{actual.images_per_group}"
            for sampler in samplers:
                if sampler == sampling.DEFAULT:
                    listed[name] = flags
                else:
                    listed[f"{name}_{sampler}"] = {**flags, "sampling": sampler}
    yield from (Listed(name, flags) for name, flags in listed.items())
