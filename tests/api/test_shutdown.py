"""The application ends whole: nothing that it has begun beside its requests goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import httpx2
import pytest
from fastapi import FastAPI

from api.app import lifespan
from api.keys.gate import Caller, Gate
from api.services.dependencies import Services
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, digest_of, new_key_id
from core.settings import Settings
from core.store.redis.keys import RedisKeys
from tests.api.actors import make_app

Begin = Callable[[FastAPI, KeyRecord, str], Awaitable[None]]


@pytest.fixture
def keys(settings: Settings) -> Iterator[RedisKeys]:
    made = RedisKeys(settings.redis_url, settings.namespace)
    yield made
    made.disconnect()


async def _asked(app: FastAPI, token: str) -> None:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        reply = await client.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 200, reply.text


async def use_of_a_key(app: FastAPI, _key: KeyRecord, token: str) -> None:
    await _asked(app, token)


async def look_for_a_key(app: FastAPI, _key: KeyRecord, token: str) -> None:
    gate: Gate = app.state.gate
    await _left(gate.find(_digest(token)))


async def watch_over_a_key(app: FastAPI, key: KeyRecord, token: str) -> None:
    gate: Gate = app.state.gate
    stream = gate.watching(Caller(key, _digest(token)), lambda: None)
    stream.__enter__()
    app.state.stream = stream  # broken off without leaving
    await asyncio.sleep(0)


async def piece_for_several_streams(app: FastAPI, _key: KeyRecord, _token: str) -> None:
    services: Services = app.state.services

    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    await _left(services.hub.shared(("a piece",), never))


def _digest(token: str) -> str:
    digest = digest_of(token)
    assert digest is not None
    return digest


async def _left(asking: Awaitable[object]) -> None:
    """Ask, and go away before there is an answer."""
    asker = asyncio.ensure_future(asking)
    await asyncio.sleep(0)
    asker.cancel()
    await asyncio.gather(asker, return_exceptions=True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "begin", [use_of_a_key, look_for_a_key, watch_over_a_key, piece_for_several_streams]
)
async def test_nothing_goes_on_after_the_end(
    settings: Settings, keys: RedisKeys, begin: Begin
) -> None:
    key = KeyRecord(new_key_id(), "acme", ("read",), rfc3339(utc_now()))
    token = keys.create(key)
    app = make_app(settings)
    before = asyncio.all_tasks()
    async with lifespan(app):
        await begin(app, key, token)
        assert len(asyncio.all_tasks() - before) > 3  # beside the three that each application has
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_a_use_is_noted_although_the_application_ends(
    settings: Settings, keys: RedisKeys
) -> None:
    token = keys.create(KeyRecord(new_key_id(), "acme", ("read",), rfc3339(utc_now())))
    app = make_app(settings)
    async with lifespan(app):
        await _asked(app, token)
    assert keys.list()[0].last_used_at is not None
