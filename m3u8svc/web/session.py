"""
/api/session: log in with a token or a password, see who one is, log out. For browsers, which keep a cookie; programs
send their token with each request.
"""

from typing import Any  # Any: JSON values

from klein import Klein
from twisted.web.server import Request

from m3u8svc.access.credentials import MAX_CREDENTIAL_BYTES, Basic, Bearer, cookie_name
from m3u8svc.access.roles import Principal
from m3u8svc.access.sessions import LASTS_S
from m3u8svc.errors import InvalidRequest
from m3u8svc.web.channel import admission_of, client_behind
from m3u8svc.web.doorman import Doorman
from m3u8svc.web.errors import Answer, body_of, respond, success
from m3u8svc.web.strictjson import read_json
from m3u8svc.wording import Said

_WAYS = ({"token"}, {"user", "password"})


class SessionAPI:
    """
    The routes of logging in and out.
    """

    app = Klein()

    def __init__(self, doorman: Doorman, *, base_path: str) -> None:
        self._doorman = doorman
        self._path = base_path + "/"

    @app.route("/api/session", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """Who is asking."""
        return await respond(request, self._show(request))

    @app.route("/api/session", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """Log in."""
        return await respond(request, self._log_in(request, body_of(request)))

    @app.route("/api/session", methods=["DELETE"])
    async def delete(self, request: Request) -> bytes:
        """Log out."""
        return await respond(request, self._log_out(request))

    async def _show(self, request: Request) -> Answer:
        principal = admission_of(request).principal
        return success(_shown(principal) | {"login": self._doorman.insists})

    async def _log_in(self, request: Request, body: bytes) -> Answer:
        proof = await self._doorman.prove(parse_login(body), client_behind(request))
        cookie = self._cookie(request, self._doorman.log_in(proof), LASTS_S)
        return success(_shown(proof.principal) | {"login": True}, headers={"Set-Cookie": cookie})

    async def _log_out(self, request: Request) -> Answer:
        self._doorman.log_out(client_behind(request))
        return success({"status": "success"}, headers={"Set-Cookie": self._cookie(request, "", 0)})

    def _cookie(self, request: Request, value: str, lasts_s: int) -> str:
        client = client_behind(request)
        secure = "; Secure" if client.secure else ""
        name = cookie_name(client.headers["host"][0])
        return f"{name}={value}; Path={self._path}; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"


def parse_login(body: bytes) -> Bearer | Basic:
    """
    The credentials in a body: ``{"token": ...}`` or ``{"user": ..., "password": ...}``.

    Raises:
        InvalidRequest: it is neither; what was given is not repeated.
    """
    given: Any = read_json(body)
    if not isinstance(given, dict) or set(given) not in _WAYS:
        raise InvalidRequest(
            problems=Said(
                '必须是 {"token"} 或 {"user", "password"}', 'the body must be {"token"} or {"user", "password"}'
            )
        )
    for name, value in given.items():
        if not isinstance(value, str) or not 0 < len(value) <= MAX_CREDENTIAL_BYTES:
            raise InvalidRequest(
                problems=Said(
                    f"{name}: 必须是 1 到 {MAX_CREDENTIAL_BYTES} 个字符的文本",
                    f"{name}: must be a text of 1 to {MAX_CREDENTIAL_BYTES} characters",
                )
            )
    return Bearer(given["token"]) if "token" in given else Basic(given["user"], given["password"])


def _shown(principal: Principal | None) -> dict[str, Any]:
    return {} if principal is None else {"name": principal.name, "role": principal.role.value}
