"""A whole service, shared by the tests that do not end it."""

from collections.abc import Iterator

import pytest

from tests.thalweg_service.running import Service, Start, starting, until


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers, leases of a second."""
    with starting() as start:
        service = Service(start(tmp_path_factory.mktemp("service"), "--workers", "2"))
        until(lambda: len(service.workers()) == 2, 180.0)
        yield service
        service.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a service of the test's own, which ends with it."""
    with starting() as found:
        yield found
