"""The emulated stores' fixtures, and how long the attacks are."""

from tests.stores.conftest import (  # noqa: F401
    faulty,
    google,
    google_address,
    set_variable,
)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=50, help="how many builds are killed")
