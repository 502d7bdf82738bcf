"""
Requests that make a task and may come twice, because the client never heard the first answer.

A client names such a request by a key of its own. The store keeps the key with what the request said, as a digest,
for a day: the same key with the same request means the task that is there; with another request it is a mistake.
"""

import attrs

KEPT_S = 24 * 3600.0
"""How long a key is known, in seconds of the wall clock."""


@attrs.frozen(kw_only=True)
class Creation:
    """
    The name a client gave to a request that makes a task, and the digest of what it said.
    """

    key: str
    digest: str
