"""
Who is there, and may they? The effects around `access`: it knows the tokens, users and sessions of now, waits, counts
failures, and has passwords compared off the reactor's thread.

Without tokens and users, and with nothing but this machine listening, everybody is the owner. Once there is one, or a
listener that others can reach, everybody must show who they are, on every listener: a proxy or another user of the
machine comes over loopback too. That stays so until the service is started again.

A right token is never held up: nobody can guess one, so there is nothing to limit. A password is looked at only while
its address may still be wrong.
"""

import hmac
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.access import passwords
from m3u8svc.access.credentials import Basic, Bearer, Cookies, Headers, Shown, cookie_name, shown_by
from m3u8svc.access.failures import Failures
from m3u8svc.access.forwarding import Client
from m3u8svc.access.passwords import User
from m3u8svc.access.roles import OWNER, Action, Principal, Thing, is_allowed, least_role
from m3u8svc.access.sessions import Sessions
from m3u8svc.access.tokens import TokenRecord, find
from m3u8svc.errors import BadCredentials, Forbidden, M3u8svcError, TooManyFailures, Unauthorized
from m3u8svc.redact import escape_controls
from m3u8svc.waiting import InThread
from m3u8svc.web.gate import Refusal
from m3u8svc.web.permissions import wanted

FAILURE_S = 1.0
"""A wrong token or password is answered so long after it came, whatever was wrong about it."""
REMEMBERED = 64
REMEMBERED_S = 300.0
"""Clients send a password with each request: one that was right is not compared by scrypt again for a while."""
REALM = "m3u8svc"


@attrs.frozen(kw_only=True)
class Admission:
    """
    A request may go on: whose it is, None for a stranger's, and whether that still holds, for what goes on for long.
    """

    principal: Principal | None
    holds: Callable[[], bool] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Proof:
    """
    Somebody showed a right token, whose digest is `token`, or a right password.
    """

    principal: Principal
    token: str = attrs.field(default="", repr=False)


Verdict = Admission | Refusal
STRANGER = Admission(principal=None, holds=lambda: True)


class Doorman:
    """
    The one who judges each request. `tokens` answers those of now.
    """

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        tokens: Callable[[], Sequence[TokenRecord]] = tuple,
        users: Sequence[User] = (),
        in_thread: InThread = deferToThread,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._users = {user.name: user for user in users}
        self._in_thread = in_thread
        self._insists = bool(users)
        self._complaint = ""
        self._failures = Failures()
        self._sessions = Sessions()
        self._turn = DeferredSemaphore(1)
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, tuple[float, User]] = OrderedDict()
        self._checks: dict[bytes, list[Deferred[User | None]]] = {}

    # -- Whether it matters --

    @property
    def can_admit(self) -> bool:
        """Whether there is a token or a user at all."""
        return bool(self._users or self._known_tokens())

    @property
    def insists(self) -> bool:
        """Whether everybody must show who they are."""
        if not self._insists and self.can_admit:
            self._insists = True
            self.log.warn("from now on every request needs a token, a password or a login")
        return self._insists

    def insist(self) -> None:
        """
        Others can reach us: from now on everybody must.
        """
        self._insists = True

    # -- Judging --

    def judge(self, method: str, path: str, client: Client) -> Verdict | Deferred[Verdict]:
        """
        Whether a request may go on; at once where that needs no waiting.
        """
        if not self.insists:
            return Admission(principal=OWNER, holds=lambda: not self.insists)
        action, thing = wanted(method, path)
        shown = self.shown_by(client)
        known = self._recognised(shown)
        if known is None and is_allowed(None, action, thing):
            return STRANGER
        if known is not None:
            return _admitted(known, action, thing)
        if isinstance(shown, Bearer | Basic):
            return Deferred.fromCoroutine(self._judge(shown, client, action, thing))
        return self._unauthorized(Unauthorized(), client.headers)

    async def _judge(self, shown: Bearer | Basic, client: Client, action: Action, thing: Thing | None) -> Verdict:
        try:
            proof = await self.prove(shown, client)
        except TooManyFailures as error:
            return too_many(error)
        except BadCredentials as error:
            return self._unauthorized(error, client.headers)
        return _admitted(Admission(principal=proof.principal, holds=lambda: True), action, thing)

    def shown_by(self, client: Client) -> Shown:
        """
        What a request shows of who sends it.
        """
        return shown_by(client.headers, cookie_name((*client.headers.get("host", ()), "")[0]))

    def _recognised(self, shown: Shown) -> Admission | None:
        """
        Whose credentials these are, of those that nobody can guess.
        """
        tokens = self._known_tokens()
        if isinstance(shown, Bearer):
            record = find(tokens, shown.token)
            return None if record is None else Admission(principal=_bearer(record), holds=lambda: self._knows(record))
        if isinstance(shown, Cookies):
            for value in shown.values:
                if (principal := self._session(value)) is not None:
                    return Admission(principal=principal, holds=lambda: self._session(value) is not None)  # noqa: B023  # returned at once
        return None

    def _session(self, value: str) -> Principal | None:
        return self._sessions.find(value, self._clock.seconds(), self._known_tokens())

    def _knows(self, record: TokenRecord) -> bool:
        return any(each.digest == record.digest for each in self._known_tokens())

    def _known_tokens(self) -> Sequence[TokenRecord]:
        """
        The tokens there are. A file that cannot be read holds none, and is no reason to let everybody in.
        """
        try:
            records = self._tokens()
        except M3u8svcError as error:
            self._insists = True
            if (complaint := error.text("en")) != self._complaint:
                self._complaint = complaint
                self.log.error("no token is accepted: {code} {reason}", code=error.code, reason=complaint)
            return ()
        self._complaint = ""
        return records

    def _unauthorized(self, error: M3u8svcError, headers: Headers) -> Refusal:
        challenges = ", ".join(_challenges(headers, passwords=bool(self._users)))
        return _refusal(401, error, headers=(("WWW-Authenticate", challenges),))

    # -- Tokens and passwords --

    async def prove(self, shown: Bearer | Basic, client: Client) -> Proof:
        """
        Who shows this.

        Raises:
            BadCredentials: it is wrong; said after a second.
            TooManyFailures: so much was wrong lately that it is not looked at.
        """
        if isinstance(shown, Bearer) and (record := find(self._known_tokens(), shown.token)) is not None:
            return Proof(principal=_bearer(record), token=record.digest)
        began = self._clock.seconds()
        if (wait_s := self._failures.wait_s(client.address, began)) > 0:
            raise TooManyFailures(seconds=math.ceil(wait_s))
        if isinstance(shown, Basic) and (user := await self._user(shown, client, began)) is not None:
            return Proof(principal=Principal(name=user.name, role=user.role))
        if isinstance(shown, Bearer):
            self._failures.begin(client.address, began)
        self.log.warn(
            "wrong token or password from {address}", address=escape_controls(client.address) or "unix socket"
        )
        await deferLater(self._clock, max(0.0, began + FAILURE_S - self._clock.seconds()))
        raise BadCredentials()

    async def _user(self, shown: Basic, client: Client, began: float) -> User | None:
        """
        The user with this password. The same one shown by several requests at once is one attempt.
        """
        key = hmac.digest(self._key, f"{shown.user}\0{shown.password}".encode("utf-8", "surrogatepass"), sha256)
        until, user = self._right.get(key, (0.0, None))
        if user is not None and began < until:
            return user
        if key in self._checks:
            return await self._waiter(key)
        self._failures.begin(client.address, began)
        self._checks[key] = []
        waiter = self._waiter(key)
        known = self._users.get(shown.user)
        kept = passwords.NOBODYS if known is None else known.password
        check: Deferred[bool] = self._turn.run(self._in_thread, passwords.is_right, shown.password, kept)
        check.addBoth(self._checked, key, known)
        if (found := await waiter) is not None:
            self._failures.forgive(client.address, began)
        return found

    def _waiter(self, key: bytes) -> "Deferred[User | None]":
        waiter: Deferred[User | None] = Deferred()
        self._checks[key].append(waiter)
        return waiter

    def _checked(self, result: bool | Failure, key: bytes, user: User | None) -> None:
        waiters = self._checks.pop(key)
        if isinstance(result, Failure):
            for waiter in waiters:
                waiter.errback(result)
            return
        found = user if result else None
        if found is not None:
            self._right[key] = (self._clock.seconds() + REMEMBERED_S, found)
            while len(self._right) > REMEMBERED:
                self._right.popitem(last=False)
        for waiter in waiters:
            waiter.callback(found)

    # -- Sessions --

    def log_in(self, proof: Proof) -> str:
        """
        Begin a session; what the cookie holds.
        """
        session_id = secrets.token_urlsafe(32)
        self._sessions.open(session_id, proof.principal, self._clock.seconds(), token=proof.token)
        return session_id

    def log_out(self, client: Client) -> None:
        """
        End the session of a request.
        """
        shown = self.shown_by(client)
        for value in shown.values if isinstance(shown, Cookies) else ():
            self._sessions.close(value)


def too_many(error: TooManyFailures) -> Refusal:
    """
    The answer to who was wrong too often.
    """
    return _refusal(429, error, headers=(("Retry-After", str(error.fields["seconds"])),))


def _admitted(known: Admission, action: Action, thing: Thing | None) -> Verdict:
    if is_allowed(known.principal, action, thing):
        return known
    return _refusal(403, Forbidden(role=least_role(action, thing).value))


def _bearer(record: TokenRecord) -> Principal:
    return Principal(name=record.name, role=record.role)


def _challenges(headers: Headers, *, passwords: bool) -> list[str]:
    """
    What a 401 asks for. A browser that reads "Basic" opens a window of its own before the page hears of it, so it is
    asked only of what is none.
    """
    browser = any(name.startswith("sec-fetch-") for name in headers) or any(
        agent.startswith("Mozilla/") for agent in headers.get("user-agent", ())
    )
    basic = passwords and not browser and "origin" not in headers
    return [f'Bearer realm="{REALM}"', *([f'Basic realm="{REALM}", charset="UTF-8"'] if basic else [])]


def _refusal(status: int, error: M3u8svcError, *, headers: tuple[tuple[str, str], ...] = ()) -> Refusal:
    return Refusal(status=status, message=error.text(), english=error.text("en"), code=error.code, headers=headers)
