"""Find the published subsets whose classes are those of a dataset, or the nearest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from transforms.labels import class_lists, classes
from transforms.labels.class_lists import PublishedSubset
from transforms.records import cut_lines

_WHOLE = "imagenet"


@dataclass(frozen=True, kw_only=True)
class Match:
    """A published subset compared with the classes of a dataset.

    Attributes:
      subset: the published subset.
      missing: wnids of the subset that the dataset lacks, ascending.
      extra: wnids of the dataset that the subset lacks, ascending.
      similarity: number of common classes / number of classes in either, 0 to 1.
      has_same_groups: whether the dataset groups the common classes as the subset
        does; without groups, every class is its own group.
    """

    subset: PublishedSubset
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    similarity: float
    has_same_groups: bool

    @property
    def is_exact(self) -> bool:
        """Whether the classes are equal."""
        return not (self.missing or self.extra)


def compare(group_of: Mapping[str, str]) -> list[Match]:
    """Compare classes with all published subsets and ImageNet; the nearest first.

    Args:
      group_of: the group of each wnid; its own wnid if the dataset has no groups.
    """
    matches = [_compare(group_of, subset) for subset in _list_subsets()]
    return sorted(
        matches, key=lambda m: (-m.similarity, not m.has_same_groups, m.subset.name)
    )


def _list_subsets() -> Iterator[PublishedSubset]:
    yield PublishedSubset(
        name=_WHOLE,
        title="ImageNet (ILSVRC 2012), all classes",
        aliases=(),
        source="",
        group_of={info.wnid: info.wnid for info in classes.load_classes()},
    )
    yield from map(
        class_lists.load_subset, (*class_lists.NAMES, *class_lists.GROUPED_NAMES)
    )


def _compare(group_of: Mapping[str, str], subset: PublishedSubset) -> Match:
    held, published = set(group_of), set(subset.group_of)
    common = held & published
    pairs = {(group_of[wnid], subset.group_of[wnid]) for wnid in common}
    # The groups agree if each has one counterpart.
    ours, theirs = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    return Match(
        subset=subset,
        missing=tuple(sorted(published - held)),
        extra=tuple(sorted(held - published)),
        similarity=len(common) / max(len(held | published), 1),
        has_same_groups=len(pairs) == len(ours) == len(theirs),
    )


def describe(group_of: Mapping[str, str]) -> list[str]:
    """Return lines that name the subset, or the nearest ones and the differences.

    Args:
      group_of: the group of each wnid; its own wnid if the dataset has no groups.
    """
    matches = compare(group_of)
    count = f"{len(group_of)} classes"
    if exact := [match for match in matches if match.is_exact]:
        return [line for match in exact for line in _describe_exact(match, group_of)]
    nearest = matches[0]
    if not nearest.similarity:
        return [f"{count}, none of them among the {len(classes.load_classes())}"]
    lines = [f"{count}, which are not those of a known subset; the nearest are:"]
    for match in matches[:3]:
        num_published = len(match.subset.group_of)
        lines.append(
            f"  {_name(match)}: has {num_published - len(match.missing)} of its "
            f"{num_published} classes, and {len(match.extra)} others"
        )
    lines.append(f"differences from {nearest.subset.name}:")
    for sign, wnids in (("-", nearest.missing), ("+", nearest.extra)):
        shown = (f"  {sign} {_show(wnid)}" for wnid in wnids)
        lines += cut_lines(shown, more=f"  {sign} {{}} more")
    return lines


def _describe_exact(match: Match, group_of: Mapping[str, str]) -> Iterator[str]:
    subset = match.subset
    yield f"{_name(match)}: the same {len(group_of)} classes; {subset.title}"
    num_groups = len(set(group_of.values()))
    if not match.has_same_groups and num_groups < len(group_of):
        yield (
            f"  in {num_groups} groups of its own, not the {subset.num_groups} of "
            f"{subset.name}"
        )
    if subset.name != _WHOLE:
        yield f"  source: {subset.source}"
        yield f"  build it with --preset {subset.name}"


def _name(match: Match) -> str:
    aliases = match.subset.aliases
    also = f" (also {', '.join(aliases)})" if aliases else ""
    return f"{match.subset.name}{also}"


def _show(wnid: str) -> str:
    name = classes.display_name(wnid)
    return f"{wnid} {name if name != wnid else '(not one of the 1000)'}"
