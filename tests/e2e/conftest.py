"""The whole service as a user has it: `thalweg serve` with two workers, spoken to over HTTP."""

from collections.abc import Iterator

import pytest

from tests.e2e.client import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), workers=2) as running:
        yield running
