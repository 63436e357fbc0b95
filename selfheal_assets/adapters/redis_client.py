"""Open Redis as Feast opens it: its words of the address in, a client out. Never a server of its own choice."""

from typing import Any


def redis_client(words: str) -> Any:
    """A `redis.Redis` that the caller closes; nothing is sent yet. `words`: Feast's form of the address."""
    from feast.infra.online_stores.redis import RedisOnlineStore
    from redis import Redis

    nodes, settings = RedisOnlineStore._parse_connection_string(words)
    return Redis(host=nodes[0]["host"], port=int(nodes[0]["port"]), **settings)
