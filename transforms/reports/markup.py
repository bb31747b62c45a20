"""Text and numbers → pieces of an HTML page, and the page around them."""

import html
from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #fff; --ink: #23211e;
  --soft: #6d6962; --line: #e4e0d9; --bar: #3b7dd8; --bar-soft: #d5e3f7; --bad: #b3401f;
  --bad-soft: #fbe9e2; }
@media (prefers-color-scheme: dark) { :root { --paper: #191817; --card: #232120;
  --ink: #eceae6; --soft: #a09b93; --line: #3a3734; --bar: #6ea8f5;
  --bar-soft: #2b3a50; --bad: #f2906f; --bad-soft: #43291f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .75rem; }
p { margin: .25rem 0 .75rem; } .soft { color: var(--soft); }
.tiles { display: grid; gap: .75rem; margin: 1.25rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.25;
  overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: .85rem; }
table { width: 100%; border-collapse: collapse; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); }
th { border-top: 0; color: var(--soft); font-weight: 600; font-size: .85rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; }
.bar { position: relative; min-width: 8rem; height: .7rem; margin: .4rem 0;
  background: var(--bar-soft); border-radius: .35rem; overflow: hidden; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--bar); }
.bar.short i { background: var(--bad); }
details summary { cursor: pointer; }
details ul { margin: .4rem 0 .4rem 1.1rem; padding: 0; }
.tree details { margin-left: 1.1rem; } .tree > details { margin-left: 0; }
.leaf { margin-left: 2.1rem; }
code, .mono { font: .85em/1.4 ui-monospace, Menlo, Consolas, monospace; }
img { max-width: 100%; height: auto; border-radius: .6rem; background: #fff; }
@media (max-width: 40rem) { body { padding: 1.25rem .8rem 3rem; }
  th, td { padding: .4rem .45rem; } .bar { min-width: 4rem; } }
"""


def escape(text: object) -> str:
    """Make text safe to stand in a page."""
    return html.escape(str(text))


def page(title: str, sections: Iterable[str], *, style: str = "") -> bytes:
    """Put sections into a page; `style` is what it needs beyond the common one."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    ).encode()


def tiles(facts: Iterable[tuple[str, object]]) -> str:
    """Show (what, value) pairs as tiles."""
    shown = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for what, value in facts
    )
    return f'<div class="tiles">{shown}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table of cells that are HTML already; numbers stand right.

    A column whose name ends in "#" holds numbers.
    """
    kinds = [' class="number"' if name.endswith("#") else "" for name in columns]
    head = "".join(
        f"<th{kind}>{escape(name.rstrip('#'))}</th>"
        for name, kind in zip(columns, kinds, strict=True)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{k}>{cell}</td>" for cell, k in zip(row, kinds, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table></div>"
    )


def bar(share: float, *, is_short: bool = False, label: str = "") -> str:
    """Draw a share of a whole, in [0, 1]."""
    kind = "bar short" if is_short else "bar"
    width = 100 * min(max(share, 0), 1)
    return (
        f'<div class="{kind}" role="img" aria-label="{escape(label)}">'
        f'<i style="width:{width:.1f}%"></i></div>'
    )


def disclose(summary: str, content: str, *, is_open: bool = False) -> str:
    """Hide content (HTML) behind a summary (HTML)."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{summary}</summary>{content}</details>"


def listing(items: Iterable[str]) -> str:
    """Make a list of items that are HTML already."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"
