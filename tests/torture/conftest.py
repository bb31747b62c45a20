"""Fixtures of emulated stores, and the length of the attacks."""

import pytest

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request):
    """Print the observations at the end of the session."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=50, help="builds that are killed")
    parser.addoption("--cases", type=int, default=500, help="random inputs and recipes")
    parser.addoption("--requests", type=int, default=10_000, help="of a failing store")
