"""The emulated stores' fixtures, and how long the attacks are."""

from tests.stores.conftest import (  # noqa: F401
    faulty,
    google,
    google_address,
    set_variable,
)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=50, help="builds that are killed")
    parser.addoption("--cases", type=int, default=500, help="random inputs and recipes")
    parser.addoption("--requests", type=int, default=10_000, help="of a failing store")
