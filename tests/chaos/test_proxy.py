"""The way to Redis does what the attacks believe it does."""

from __future__ import annotations

import pytest
import redis

from tests.chaos.proxy import Proxy, scripts


@pytest.fixture
def client(proxy: Proxy) -> redis.Redis:
    return redis.Redis.from_url(proxy.url, socket_timeout=0.5, retry=None)


def test_each_disturbance(proxy: Proxy, client: redis.Redis) -> None:
    assert client.ping()
    proxy.set("error:MOVED 1 127.0.0.1:7001", scripts)
    assert client.set("kept", 1)
    with pytest.raises(redis.exceptions.MovedError):
        client.eval("return 1", 0)
    proxy.set("hole")
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.set("drop", lambda request: b"INCR" in request)
    with pytest.raises(redis.ConnectionError):
        client.incr("kept")
    proxy.set("pass")
    assert client.get("kept") == b"2"  # it had arrived
    proxy.set("garble")
    with pytest.raises(redis.RedisError):
        client.ping()
