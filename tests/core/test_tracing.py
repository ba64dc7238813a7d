"""Spans as a real receiver gets them, and `traceparent` headers."""

import subprocess
import sys

import pytest

from core.tracing import Tracing, traceparent_in, tracing_of
from tests.trace_receiver import Receiver, receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "text",
    [
        PARENT,
        f"00-{TRACE}-b7ad6b7169203331-00",
    ],
)
def test_a_traceparent_of_the_standard_is_kept(text: str) -> None:
    assert traceparent_in(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        f"01-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{PARENT}-more",
        f"{PARENT}\n",
        f" {PARENT}",
    ],
)
def test_another_one_is_ignored(text: str) -> None:
    assert traceparent_in(text) is None


def sending_to(monkeypatch: pytest.MonkeyPatch, found: Receiver) -> Tracing:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
    made = tracing_of("api", {"OTEL_EXPORTER_OTLP_ENDPOINT": found.address})
    assert made is not None
    return made


def test_a_child_hangs_below_its_parent_in_the_same_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as found:
        tracing = sending_to(monkeypatch, found)
        first = tracing.start("first", "server", PARENT)
        second = tracing.start("second", "consumer", first.traceparent)
        second.note(job_id="job_1", absent=None, http__route="/v1/jobs")
        second.end("it was lost")
        first.rename("renamed")
        first.end()
        tracing.close()
        spans = found.wait_for("renamed", "second")
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert spans["renamed"].parent_id == "b7ad6b7169203331"
    assert spans["second"].parent_id == spans["renamed"].span_id
    assert spans["second"].attributes == {"thalweg.job_id": "job_1", "http.route": "/v1/jobs"}
    assert spans["second"].failed
    assert not spans["renamed"].failed
    assert spans["second"].service == "thalweg-api"


def test_without_a_parent_a_trace_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as found:
        tracing = sending_to(monkeypatch, found)
        span = tracing.start("alone", "server", None)
        span.end()
        tracing.close()
        assert found.wait_for("alone")["alone"].parent_id == ""
    assert traceparent_in(span.traceparent) == span.traceparent


def test_what_the_caller_does_not_sample_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as found:
        tracing = sending_to(monkeypatch, found)
        span = tracing.start("silent", "server", f"{PARENT[:-2]}00")
        span.end()
        tracing.close()
        assert found.spans == []
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-00")


NOTHING_IMPORTED = """
import sys
from core.tracing import tracing_of
assert tracing_of("api", {}) is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_without_an_address_nothing_is_traced_or_imported() -> None:
    subprocess.run([sys.executable, "-c", NOTHING_IMPORTED], check=True, timeout=60)
