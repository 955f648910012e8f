"""The Python client: assigns in process, keeps events durable until the service has them.

    client = Client("http://127.0.0.1:8000", data="/var/lib/shop/switchpoint")
    choice = client.assign(user_id, {"country": "US"}, experiment="home-ranker")
    ...                                       # show what choice.variant says
    client.expose(choice)
    client.track("purchase", user_id, {"amount": 12.5})

Assignments come from a snapshot that is refreshed in the background and kept on disk, and equal the
server's. Events are on disk (a SQLite file) when `track` returns and leave it once the service answered for
each of them, so a killed process or an absent service loses nothing. Nothing here raises into the host for
a fault of the platform: control is served, the fault is logged. No web framework, no numerics.
"""

from switchpoint.router.client.client import Choice, Client

__all__ = ["Choice", "Client"]
