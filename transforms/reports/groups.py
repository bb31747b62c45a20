"""Groups with their classes and images → the page that is read before building."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.figures import Series, draw_histogram
from transforms.grouping import table as groups
from transforms.grouping.table import LEFT_OUT, GroupTable
from transforms.reports import markup


@dataclass(frozen=True, kw_only=True)
class GroupCounts:
    """Images of one group; None where no input is known."""

    num_train: int | None = None
    num_validation: int | None = None
    num_set_aside: int = 0
    num_wanted: int | None = None

    @property
    def num_free(self) -> int | None:
        """Training images that are not set aside."""
        return None if self.num_train is None else self.num_train - self.num_set_aside

    @property
    def is_short(self) -> bool:
        """Whether the group cannot give what is wanted."""
        if self.num_free is None or self.num_wanted is None:
            return False
        return self.num_free < self.num_wanted


@dataclass(frozen=True, kw_only=True)
class GroupsPage:
    """All that the page tells."""

    title: str
    method: str
    table: GroupTable
    counts: Sequence[GroupCounts]  # by label
    facts: Sequence[tuple[str, object]]
    notes: Sequence[str] = ()
    quality: Mapping[str, Any] | None = None
    paths: Mapping[int, tuple[str, ...]] | None = None  # label → names from the root
    contact_sheet: bytes | None = None  # JPEG
    # Images by percent of difficulty, of all and of the chosen, where it decides.
    difficulty: Sequence[Series] = ()
    power: Sequence[tuple[str, str]] = ()  # what the validation images can tell


def measure_sizes(table: GroupTable) -> dict[str, float | int]:
    """Measure the sizes of groups, in classes, as groups.json records them."""
    sizes = [len(table.wnids(label)) for label in range(table.num_groups)]
    measured = groups.measure_sizes(sizes)._asdict()
    effective = round(measured.pop("effective_groups"), 1)
    return {**measured, "effective_num_groups": effective}


def make_page(content: GroupsPage) -> bytes:
    """Write the page."""
    return markup.page(content.title, _sections(content))


def _sections(content: GroupsPage) -> Iterator[str]:
    sizes = measure_sizes(content.table)
    yield f"<h1>{markup.escape(content.title)}</h1>"
    yield f'<p class="soft">{markup.escape(content.method)}</p>'
    spread = f"{sizes['smallest']} to {sizes['largest']}"
    if sizes["smallest"] == sizes["largest"]:
        spread = f"{sizes['smallest']}"
    yield markup.tiles([
        ("groups", sizes["num_groups"]),
        ("classes in groups", sizes["num_classes"]),
        ("classes in a group", spread),
        ("effective number of groups", sizes["effective_num_groups"]),
        *content.facts,
    ])
    if content.notes:
        yield markup.listing(markup.escape(note) for note in content.notes)
    if content.contact_sheet:
        data = base64.b64encode(content.contact_sheet).decode()
        yield (
            "<h2>Some images of each group</h2>"
            f'<img alt="contact sheet" src="data:image/jpeg;base64,{data}">'
        )
    if content.difficulty:
        caption = "Training images by difficulty, before and after"
        drawn = draw_histogram(content.difficulty, caption=caption)
        yield f"<h2>Difficulty, before and after</h2>{drawn}"
    if content.power:
        yield "<h2>What its validation images can tell</h2>"
        yield markup.tiles(content.power)
    yield "<h2>Groups</h2>" + _groups(content)
    if content.paths:
        yield "<h2>Where they stand in WordNet</h2>" + _tree(content)
    left_out = [row for row in content.table.rows if row.group == LEFT_OUT]
    if left_out:
        names = markup.listing(
            f"{markup.escape(row.name)} <code>{row.wnid}</code>" for row in left_out
        )
        yield "<h2>Left out</h2>" + markup.disclose(f"{len(left_out)} classes", names)


def _groups(content: GroupsPage) -> str:
    has_images = any(count.num_train is not None for count in content.counts)
    shares = (content.quality or {}).get("group_shares")
    columns = ["label#", "group", "classes#"]
    columns += ["train#", "validation#", "taken of what there is"] * has_images
    columns += ["captured confusion#"] * bool(shares)
    most = max((count.num_free or 0 for count in content.counts), default=0)
    rows = []
    for label, count in enumerate(content.counts):
        row = [str(label), *_classes(content.table, label)]
        if has_images:
            row += _images(count, most)
        if shares:
            row.append(f"{100 * shares[label]:.1f} %")
        rows.append(row)
    return markup.table(columns, rows)


def _classes(table: GroupTable, label: int) -> tuple[str, str]:
    rows = [row for row in table.rows if row.group == label]
    name = markup.escape(table.names[label])
    if len(rows) == 1:
        return f"{name} <code>{rows[0].wnid}</code>", "1"
    names = markup.listing(
        f"{markup.escape(row.name)} <code>{row.wnid}</code>" for row in rows
    )
    return markup.disclose(name, names), str(len(rows))


def _images(count: GroupCounts, most: int) -> tuple[str, str, str]:
    free, wanted = count.num_free or 0, count.num_wanted
    aside = f" − {count.num_set_aside}" if count.num_set_aside else ""
    validation = f"{count.num_validation}" + aside.replace("−", "+")
    share = free / max(most, 1) if wanted is None else wanted / max(free, 1)
    text = f"{free}" if wanted is None else f"{wanted} of {free}"
    drawn = markup.bar(share, is_short=count.is_short, label=f"{text} images")
    return f"{count.num_train}{aside}", validation, f"{text}{drawn}"


def _tree(content: GroupsPage) -> str:
    """Nest the groups below the names on their way from the root."""
    root: dict[str, Any] = {}
    for label, path in sorted((content.paths or {}).items(), key=lambda item: item[1]):
        node = root
        for name in path:
            node = node.setdefault(name, {})
        node.setdefault("", []).append(label)
    return f'<div class="tree">{_branch(root, content)}</div>'


def _branch(node: Mapping[str, Any], content: GroupsPage) -> str:
    parts = []
    for label in node.get("", ()):
        name = markup.escape(content.table.names[label])
        size = len(content.table.wnids(label))
        text = f'{label} · {name} <span class="soft">({size})</span>'
        parts.append(f'<div class="leaf">{text}</div>')
    for name, child in node.items():
        if name:
            inside = _branch(child, content)
            parts.append(markup.disclose(markup.escape(name), inside, is_open=True))
    return "".join(parts)
