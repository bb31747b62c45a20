"""Check CITATION.cff against the keys and values of CFF 1.2.0."""

import re
import tomllib
from pathlib import Path

import yaml

import transforms

ROOT = Path(__file__).parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
# https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema.json
REQUIRED = {"authors", "cff-version", "message", "title"}
KNOWN = REQUIRED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "preferred-citation", "references", "repository",
    "repository-artifact", "repository-code", "type", "url", "version",
}  # fmt: skip
PERSON = {"affiliation", "alias", "email", "family-names", "given-names", "orcid"}
REFERENCE = {
    "authors", "doi", "end", "issue", "journal", "start", "title", "type", "volume",
    "year",
}  # fmt: skip


def test_citation_file_is_valid():
    assert set(CITATION) >= REQUIRED
    assert set(CITATION) <= KNOWN
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in {"software", "dataset"}
    assert CITATION["version"] == transforms.__version__
    assert all(set(author) == {"name"} for author in CITATION["authors"])
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"])
    for reference in CITATION["references"]:
        assert {"authors", "title", "type"} <= set(reference) <= REFERENCE
        assert all(set(author) <= PERSON for author in reference["authors"])


def test_citation_agrees_with_the_changelog_and_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["title"] == project["name"]
    assert CITATION["license"] == project["license"]
    headings = re.findall(
        "^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == CITATION["version"]
