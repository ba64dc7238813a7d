"""The reference of the accept figure: an empty FastAPI route that does one Redis write."""

import os

import redis.asyncio
from fastapi import FastAPI, Request

app = FastAPI()
store = redis.asyncio.Redis.from_url(os.environ["THALWEG_REDIS_URL"])


@app.post("/v1/jobs", status_code=202)
async def write_once(request: Request) -> dict[str, str]:
    """Store the body under one key."""
    await store.set("bench:empty-route", await request.body())
    return {"status": "queued"}
