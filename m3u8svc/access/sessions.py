"""
Who has logged in with a browser. In memory: a restart ends all sessions. Pure; time is an argument.
"""

from collections.abc import Sequence

import attrs

from m3u8svc.access.roles import Principal
from m3u8svc.access.tokens import TokenRecord, digest_of

LASTS_S = 7 * 24 * 3600
MAX_SESSIONS = 256
MAX_OF_ONE = 32
"""Of one principal: whoever logs in over and over ends his own sessions, and not those of others."""


@attrs.frozen(kw_only=True)
class Session:
    """
    One login. `token` is the digest of the token it was made with, "" with a password.
    """

    principal: Principal
    token: str = attrs.field(default="", repr=False)
    ends_at: float


class Sessions:
    """
    The sessions by the digest of their id, oldest first. When there are too many, of one or of all, the oldest of those
    ends.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def open(self, session_id: str, principal: Principal, now: float, *, token: str = "") -> None:
        """
        Begin a session under an id that nobody can guess.
        """
        self._forget(now)
        his = [name for name, session in self._sessions.items() if session.principal == principal]
        if len(his) >= MAX_OF_ONE:
            del self._sessions[his[0]]
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = Session(principal=principal, token=token, ends_at=now + LASTS_S)
        self._sessions[digest_of(session_id)] = session

    def find(self, session_id: str, now: float, tokens: Sequence[TokenRecord]) -> Principal | None:
        """
        Whose session this is. One made with a token that was revoked is none.
        """
        session = self._sessions.get(digest_of(session_id))
        if session is None or session.ends_at <= now:
            return None
        if session.token and all(record.digest != session.token for record in tokens):
            return None
        return session.principal

    def close(self, session_id: str) -> None:
        """
        End it.
        """
        self._sessions.pop(digest_of(session_id), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _forget(self, now: float) -> None:
        self._sessions = {name: session for name, session in self._sessions.items() if session.ends_at > now}
