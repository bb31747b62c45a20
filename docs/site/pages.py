"""Make the pages of the site that are not in docs/: README and the API reference.

The reference has one page per package of `transforms`, and one for the jobs.
"""

import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[2]


def write_readme() -> None:
    """Copy README.md, with links that are relative to docs/."""
    text = (ROOT / "README.md").read_text().replace("](docs/", "](")
    outside = (
        r"\]\((?!\w+:|#)((?:deploy|transforms|examples)(?:/[^)]+)?"
        r"|CONTRIBUTING\.md|CHANGELOG\.md)\)"
    )
    text = re.sub(r"\[([^\]]+)" + outside, r"\1 (`\2`)", text)
    with mkdocs_gen_files.open("index.md", "w") as page:
        page.write(text)


def list_modules(folder: Path) -> list[str]:
    """List the modules below a folder, packages first."""
    modules = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules.append(name)
    return sorted(modules)


def write_reference(name: str, modules: list[str]) -> str:
    """Write the page of a package; returns its path."""
    path = f"reference/{name}.md"
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(f"# {name}\n\n")
        page.writelines(f"::: {module}\n\n" for module in modules)
    return path


def main() -> None:
    """Write all pages and the list of them."""
    write_readme()
    pages = {"pipelines": list_modules(ROOT / "pipelines")}
    for path in sorted((ROOT / "transforms").iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            pages[f"transforms.{path.name}"] = list_modules(path)
        elif path.suffix == ".py" and path.stem != "__init__":
            pages.setdefault("transforms", []).append(f"transforms.{path.stem}")
    lines = ["# API reference\n\n"]
    for name, modules in sorted(pages.items()):
        path = write_reference(name, modules)
        lines.append(f"- [{name}]({Path(path).name})\n")
    with mkdocs_gen_files.open("reference/index.md", "w") as page:
        page.writelines(lines)


main()
