"""
The exception catalogue: what can go wrong, whose problem it is, what follows.

Every class has a stable `code` (API header ``X-Error-Code``, the task's ``err_code``), a `fault` that decides status,
log level and retry, its text in Chinese and English, and what the user can do about it (R-ERR-1). Fields are named in
the templates; raising without one of them is a `TypeError`, so that a test finds it. Texts name the thing and the
value; URLs are given whole and are redacted here, secrets never enter.
"""

import enum
import errno
import functools
import string
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from m3u8svc.redact import redact_text, redact_url
from m3u8svc.wording import Said

Language = Literal["zh", "en"]


class Fault(enum.Enum):
    """
    Whose problem an error is.
    """

    CALLER = "caller"  # the API client's or the user's: 4xx, never retried
    ORIGIN = "origin"  # the stream's server or its content
    PROXY = "proxy"
    PLUGIN = "plugin"
    OPERATOR = "operator"  # configuration, disk, permissions
    SERVICE = "service"  # ours


class M3u8svcError(Exception):
    """
    Base of everything we raise on purpose.
    """

    code: str = "internal"
    """Stable, one for each class; only an error that stands for another one takes over the code of that."""
    fault: ClassVar[Fault] = Fault.SERVICE
    zh: ClassVar[str] = "内部错误：{reason}"
    en: ClassVar[str] = "internal error: {reason}"
    todo_zh: ClassVar[str] = "这是程序的问题：请重试，若再次出现，请附上日志报告"
    todo_en: ClassVar[str] = "this is a mistake of ours: try again, and report it with the log if it comes back"
    """What the user can do about it, in one sentence without its full stop."""
    retriable: ClassVar[bool] = False
    """Whether trying the same request again may help."""
    holds: bool = False
    """Whether the task is paused with this reason, not failed: it is fine, and something outside is in the way."""
    attempts: int = 0
    """How many attempts it is the end of, where all that are worth it were made already; 0: who catches it decides."""

    def __init__(self, **fields: object) -> None:
        missing = {name for _, name, _, _ in string.Formatter().parse(self.zh + self.en) if name} - fields.keys()
        if missing:
            raise TypeError(f"{type(self).__name__} needs {sorted(missing)}")
        self.fields = fields
        super().__init__(self.text("en"))

    def text(self, language: Language = "zh") -> str:
        """
        One line for people, redacted.
        """
        fields = {name: _shown(name, value, language) for name, value in self.fields.items()}
        return redact_text((self.zh if language == "zh" else self.en).format_map(fields))

    @property
    def told(self) -> Said:
        """The same line in both languages."""
        return Said(self.text("zh"), self.text("en"))

    def advice(self, language: Language = "zh") -> str:
        """
        What the user can do about it.
        """
        return advice_on(self.code, language)


def _shown(name: str, value: object, language: Language) -> object:
    """
    A field as a text shows it: a URL without its secrets, what is known in both languages in the same one.
    """
    if isinstance(value, M3u8svcError):
        return value.text(language)
    if isinstance(value, Said):
        return value if language == "zh" else value.en
    return redact_url(str(value)) if name == "url" else value


# -- The caller's ----------------------------------------------------------------------------------------------------


class InvalidRequest(M3u8svcError):
    """
    A request body or query that does not say what we need. `problems` lists every wrong field at once, redacted.
    """

    code = "invalid_request"
    fault = Fault.CALLER
    zh = "解析请求失败：{problems}"
    en = "the request cannot be understood: {problems}"
    todo_zh = "按提示改正请求中的字段后再发送"
    todo_en = "correct the fields it names and send the request again"


class MissingTaskId(M3u8svcError):
    """PUT or DELETE without ``?id=``."""

    code = "missing_task_id"
    fault = Fault.CALLER
    zh = "任务ID不能为空"
    en = "the task id must not be empty"
    todo_zh = "在链接后加上 ?id=任务ID"
    todo_en = "add ?id= with the task's id"


class TaskNotFound(M3u8svcError):
    """No task has this id."""

    code = "task_not_found"
    fault = Fault.CALLER
    zh = "任务不存在"
    en = "there is no such task"
    todo_zh = "用 m3u8svc list 查看现有任务的 ID"
    todo_en = "look up the ids of the tasks with m3u8svc list"


class InvalidTransition(M3u8svcError):
    """A change of state that a task's life does not have, such as 已完成 -> 等待中."""

    code = "invalid_transition"
    fault = Fault.CALLER
    zh = "任务不能从“{current}”变为“{wanted}”"
    en = "a task cannot go from {current} to {wanted}"
    todo_zh = "先查看任务的状态，再执行该状态允许的操作"
    todo_en = "look at the task's state first, and ask for what that state allows"


class CannotRemake(M3u8svcError):
    """A wish that a task in this state cannot fulfil: to be made again, or other settings while it runs."""

    code = "cannot_remake"
    fault = Fault.CALLER
    zh = "无法执行：{reason}"
    en = "this cannot be done now: {reason}"
    todo_zh = "先暂停任务或等它结束，再重试"
    todo_en = "pause the task or wait for its end, then ask again"


class IdempotencyConflict(M3u8svcError):
    """A request that makes a task has the `Idempotency-Key` of another one that said something else."""

    code = "idempotency_conflict"
    fault = Fault.CALLER
    zh = "Idempotency-Key“{key}”已用于内容不同的请求"
    en = 'the Idempotency-Key "{key}" was used for another request'
    todo_zh = "为新的请求使用新的 Idempotency-Key"
    todo_en = "use a new Idempotency-Key for a new request"


class TooBusy(M3u8svcError):
    """As many requests of this kind wait for their turn as may (`limit`). `seconds` is when it may be better."""

    code = "too_busy"
    fault = Fault.CALLER
    zh = "现在太忙：已有 {limit} 个同类请求在等待，请 {seconds} 秒后再试"
    en = "too busy: {limit} requests of this kind are waiting, try again in {seconds} s"
    todo_zh = "过一会儿再发送"
    todo_en = "send it again in a while"

    @property
    def retry_after_s(self) -> int:
        """When to come back, in seconds."""
        return int(str(self.fields["seconds"]))


class TooManyTasks(M3u8svcError):
    """As many tasks wait, run or are paused as may (`limit`)."""

    code = "too_many_tasks"
    fault = Fault.CALLER
    zh = "任务过多：已有 {limit} 个未完成的任务"
    en = "too many tasks: {limit} are not finished yet"
    todo_zh = "等一些任务完成，或删除不需要的任务；上限为 [web] unfinished_tasks"
    todo_en = "wait until some are finished, or remove what is not needed; the limit is [web] unfinished_tasks"
    retry_after_s = 60
    """When to come back, in seconds."""


class CannotVerify(M3u8svcError):
    """A result that cannot be looked at: it is gone, elsewhere, or no file."""

    code = "cannot_verify"
    fault = Fault.CALLER
    zh = "无法校验：{path}（{reason}）"
    en = "cannot verify {path} ({reason})"
    todo_zh = "确认文件还在原处，否则重新下载"
    todo_en = "see whether the file is where it was; if it is gone, download it again"


class ReportNotFound(M3u8svcError):
    """A task without a report: it is not finished, or was finished by an earlier version."""

    code = "report_not_found"
    fault = Fault.CALLER
    zh = "任务还没有报告"
    en = "the task has no report yet"
    todo_zh = "等任务完成后再查看报告"
    todo_en = "ask again when the task is done"


class ResultNotReady(M3u8svcError):
    """The file of a task is wanted that is not finished."""

    code = "result_not_ready"
    fault = Fault.CALLER
    zh = "任务尚未完成，还没有结果文件"
    en = "the task is not finished: there is no result file yet"
    todo_zh = "等任务完成后再下载"
    todo_en = "ask again when the task is done"


class NoResultFile(M3u8svcError):
    """The result of a task is not one file on this machine."""

    code = "no_result_file"
    fault = Fault.CALLER
    zh = "没有可以发送的结果文件：{path}（{reason}）"
    en = "there is no result file to send: {path} ({reason})"
    todo_zh = "到所示位置取结果"
    todo_en = "get the result where it says it is"


class FileGone(M3u8svcError):
    """The result of a task is not there any more, or what has its name is not the file we made."""

    code = "file_gone"
    fault = Fault.CALLER
    zh = "结果文件已不在，或已被改动：{path}"
    en = "the result file is gone, or was changed: {path}"
    todo_zh = "若文件被移走，请移回原处；若要重新制作，请对任务执行“重新合并”"
    todo_en = "put it back if it was moved, or have the task made again (merge)"


class RangeNotSatisfiable(M3u8svcError):
    """``Range`` asks for what lies behind the end of a file."""

    code = "range_not_satisfiable"
    fault = Fault.CALLER
    zh = "请求的范围超出文件（共 {size} 字节）"
    en = "the range lies outside the file, which has {size} bytes"
    todo_zh = "按文件的实际大小请求"
    todo_en = "ask for bytes that the file has"


class NothingToWatch(M3u8svcError):
    """A task is to be played that neither runs nor has kept segments."""

    code = "nothing_to_watch"
    fault = Fault.CALLER
    zh = "任务没有在下载，现在没有可以播放的分片（{status}）"
    en = "the task does not run, so there are no segments to play now ({status})"
    todo_zh = "让任务继续后再播放"
    todo_en = "let the task go on, then play it"


class WatchTheFile(M3u8svcError):
    """The segments of a task that is finished are to be played, and are gone."""

    code = "watch_the_file"
    fault = Fault.CALLER
    zh = "任务已完成，分片没有保留；请直接播放结果文件（/api/tasks/file）"
    en = "the task is finished and its segments are not kept: play the file itself (/api/tasks/file)"
    todo_zh = "播放结果文件"
    todo_en = "play the result file"


class SegmentAbsent(M3u8svcError):
    """A segment is to be played that is not there, and will not come."""

    code = "segment_absent"
    fault = Fault.CALLER
    zh = "没有分片 {name}：{reason}"
    en = "there is no segment {name}: {reason}"
    todo_zh = "跳过这个分片继续播放"
    todo_en = "go on with the next segment"


class NotThereYet(M3u8svcError):
    """What is to be played did not come within the time that a request waits."""

    code = "not_there_yet"
    fault = Fault.CALLER
    zh = "还没有下载到：{what}"
    en = "not there yet: {what}"
    todo_zh = "稍后再请求"
    todo_en = "ask again a little later"


class NoPicture(M3u8svcError):
    """A picture is asked for of a segment that is there, and of which none can be made."""

    code = "no_picture"
    fault = Fault.CALLER
    zh = "分片 {name} 没有画面：{reason}"
    en = "there is no picture of segment {name}: {reason}"
    todo_zh = "换一个分片，或直接播放这一段"
    todo_en = "ask for another segment, or play it"


class SkipExpressionError(M3u8svcError):
    """`skip_ts_info` holds an item outside its grammar."""

    code = "bad_skip_expression"
    fault = Fault.CALLER
    zh = '解析跳过ts的表达式错误: parse expr part invalid "{item}"'
    en = 'the skip expression has an invalid item "{item}"'
    todo_zh = "改正跳过表达式，例如“1,92-100”"
    todo_en = "correct the skip expression, such as 1,92-100"


class SelectionError(M3u8svcError):
    """`variant`, `audio`, `subtitles` or `groups` that cannot be understood. `expected` is what could stand there."""

    code = "bad_selection"
    fault = Fault.CALLER
    zh = "第 {position} 个字符处的“{item}”无法理解，可以是：{expected}"
    en = 'at character {position}, "{item}" cannot be understood; it could be: {expected}'
    todo_zh = "按提示改正所指位置的内容"
    todo_en = "correct what stands at that place"


class BadCurlCommand(M3u8svcError):
    """A pasted curl command that no download can be made of. `problem` says why, and names no value."""

    code = "bad_curl_command"
    fault = Fault.CALLER
    zh = "无法使用这条 curl 命令：{problem}"
    en = "this curl command cannot be used: {problem}"
    todo_zh = "在浏览器开发者工具的“网络”面板中，对 m3u8 请求选择“复制为 cURL”，再完整粘贴"
    todo_en = "copy the request of the m3u8 as cURL in the network panel of the browser's tools, and paste all of it"


class UnsafePath(M3u8svcError):
    """A name or directory that would leave the places we may write to."""

    code = "unsafe_path"
    fault = Fault.CALLER
    zh = "{field} 不可用：{reason}（{value}）"
    en = "{field} cannot be used: {reason} ({value})"
    todo_zh = "换一个文件名或目录"
    todo_en = "choose another file name or directory"

    WHY: ClassVar[Mapping[str, str]] = {
        "无法解析该路径": "the path cannot be resolved",
        "创建任务后，路径中出现了符号链接": "a symbolic link has appeared in it since the task was created",
        "其中有本服务自己的文件": "files of the service itself are in it",
        "这是本服务自己的目录": "it is a directory of the service itself",
        "不在允许的保存目录中，见 docs/configuration.md 的 save_roots": (
            "it is not in a directory where files may be saved, see save_roots in docs/configuration.md"
        ),
        "是系统目录": "it is a directory of the system",
        "是用户的配置目录": "it is a directory of a user's configuration",
        "路径中有符号链接或“..”": "there is a symbolic link or “..” in it",
    }
    """What each Chinese `reason` is in English; what the system says stays as it is."""

    def text(self, language: Language = "zh") -> str:
        """One line for people, redacted."""
        if language == "zh":
            return super().text(language)
        fields = {name: _shown(name, value, language) for name, value in self.fields.items()}
        reason = str(fields.get("reason", ""))
        return redact_text(self.en.format_map({**fields, "reason": self.WHY.get(reason, reason)}))


class UnsupportedScheme(M3u8svcError):
    """Only http and https are fetched (data: for keys and init sections)."""

    code = "unsupported_scheme"
    fault = Fault.CALLER
    zh = "不支持的链接类型“{scheme}”：{url}"
    en = "unsupported URL scheme {scheme!r}: {url}"
    todo_zh = "使用 http 或 https 链接"
    todo_en = "use an http or https link"


class InvalidUrl(M3u8svcError):
    """Text that is not a URL we can request."""

    code = "invalid_url"
    fault = Fault.CALLER
    zh = "链接无效（{reason}）：{url}"
    en = "invalid URL ({reason}): {url}"
    todo_zh = "检查链接是否完整，然后重新添加"
    todo_en = "see that the link is whole, and add it again"


class ForbiddenAddress(M3u8svcError):
    """
    An address that requests may not go to (`tasks.reach`). `place` is the host and port, `zone` why it is refused.
    """

    code = "forbidden_address"
    fault = Fault.CALLER
    zh = "不允许连接 {place}（{zone}）：{url}"
    en = "connecting to {place} is not allowed ({zone}): {url}"
    todo_zh = '若信任该地址，请管理员把它加入 network.allow（见 docs/configuration.md）；元数据等地址和本服务自己的端口不能加入；用 fake-IP DNS（如 Clash）时所有链接都被拒绝，须加入 network.allow = ["198.18.0.0/15"]'  # noqa: E501
    todo_en = 'if the address is to be trusted, its place is in network.allow (docs/configuration.md); metadata services, link-local addresses and the ports of this service have none there; where a fake-IP DNS such as that of Clash answers, every link is refused without network.allow = ["198.18.0.0/15"]'  # noqa: E501

    WHY: ClassVar[Mapping[str, tuple[str, str]]] = {
        "private": (
            "内网地址，须在 network.allow 中放行",
            "it is on the local network, which takes an entry in network.allow",
        ),
        "loopback": (
            "本机地址，须在 network.allow 中放行",
            "it is this machine, which takes an entry in network.allow",
        ),
        "strict": (
            "严格模式下只允许公网地址和 network.allow 中的地址",
            "in strict mode only public addresses and those of network.allow are",
        ),
        "forbidden": ("永不连接这种地址", "no such address ever is"),
        "fake": (
            '像是 Clash 等代理程序的 fake-IP DNS 应答的地址，须在配置中放行：network.allow = ["198.18.0.0/15"]',
            "it looks like the answer of a fake-IP DNS, such as that of Clash, which takes "
            'network.allow = ["198.18.0.0/15"]',
        ),
        "own": ("本服务自己的端口", "it is a port of this service"),
    }
    """What `zone` says, in Chinese and English."""

    def text(self, language: Language = "zh") -> str:
        """One line for people, redacted."""
        fields = {name: _shown(name, value, language) for name, value in self.fields.items()}
        zone = str(self.fields["zone"])
        fields["zone"] = self.WHY.get(zone, (zone, zone))[language == "en"]
        return redact_text((self.zh if language == "zh" else self.en).format_map(fields))


# -- What is refused at the door, before anything reads the request ---------------------------------------------------


class WrongHost(M3u8svcError):
    """The Host header does not name an address we listen on: a name may have been rebound to it."""

    code = "wrong_host"
    fault = Fault.CALLER
    zh = "请求的主机名不是本服务的地址"
    en = "the host of the request is not an address of this service"
    todo_zh = (
        "在本机用 http://127.0.0.1:8080（端口见日志“listening on”），在其他机器用本机的数字地址和同一端口；"
        "其他名称（反向代理之后的一切名称）须写入配置 [web] hosts，如 nas.lan:8080"
    )
    todo_en = (
        "on its own machine use http://127.0.0.1:8080, with the port that the log names after 'listening on', on "
        "others its numeric address with that port; every other name, and every one behind a reverse proxy, belongs "
        "into [web] hosts of the configuration, such as nas.lan:8080"
    )


class ForeignOrigin(M3u8svcError):
    """Another site's page is asking."""

    code = "foreign_origin"
    fault = Fault.CALLER
    zh = "拒绝来自其他网站的请求"
    en = "requests from other sites' pages are refused"
    todo_zh = "从本服务自己的页面、命令行或不带 Origin 头的程序发送"
    todo_en = "send it from the service's own page, the command line, or a program that sends no Origin header"


class NotJson(M3u8svcError):
    """A body that does not say that it is JSON."""

    code = "not_json"
    fault = Fault.CALLER
    zh = "请求体必须是 application/json"
    en = "the body must be application/json"
    todo_zh = "加上请求头 Content-Type: application/json"
    todo_en = "add the header Content-Type: application/json"


class PathNotFound(M3u8svcError):
    """Nobody answers at this path."""

    code = "not_found"
    fault = Fault.CALLER
    zh = "路径不存在"
    en = "there is no such path"
    todo_zh = "检查地址；API 在 /api/ 下，见 docs/http-api.md"
    todo_en = "look at the address; the API is below /api/, see docs/http-api.md"


class MethodNotAllowed(M3u8svcError):
    """The path does not have this method; ``Allow`` says which it has."""

    code = "method_not_allowed"
    fault = Fault.CALLER
    zh = "方法不支持"
    en = "the method is not supported here"
    todo_zh = "使用响应头 Allow 列出的方法"
    todo_en = "use a method that the header Allow of the answer lists"


class BadHttp(M3u8svcError):
    """What was sent is no HTTP request."""

    code = "bad_http"
    fault = Fault.CALLER
    zh = "请求格式错误"
    en = "this is no valid HTTP request"
    todo_zh = "检查发送请求的程序或中间的代理"
    todo_en = "look at the program that sends it, or a proxy on the way"


class HeadersTooLarge(M3u8svcError):
    """Too many request headers, or too long ones."""

    code = "headers_too_large"
    fault = Fault.CALLER
    zh = "请求头过大"
    en = "the request's headers are too large"
    todo_zh = "减少请求头；任务的请求头写在请求体的 http_headers 中"
    todo_en = "send fewer headers; those of a task go into http_headers of the body"


class UnexpectedBody(M3u8svcError):
    """A body with a method that takes none."""

    code = "unexpected_body"
    fault = Fault.CALLER
    zh = "此请求不能带请求体"
    en = "this request cannot have a body"
    todo_zh = "不带请求体发送；参数写在链接的查询部分"
    todo_en = "send it without a body; what it asks for goes into the query"


class WebSocketOnly(M3u8svcError):
    """/ws/progress was asked for as if it were a page."""

    code = "websocket_only"
    fault = Fault.CALLER
    zh = "此地址只接受 WebSocket 连接"
    en = "only WebSocket connections work here"
    todo_zh = "用 WebSocket 客户端连接，或改用 GET /api/tasks"
    todo_en = "connect with a WebSocket client, or use GET /api/tasks"


class BadHandshake(M3u8svcError):
    """The headers of a WebSocket's request do not make one (RFC 6455, 4.2.1). `reason` names the one at fault."""

    code = "bad_handshake"
    fault = Fault.CALLER
    zh = "WebSocket 握手请求有误：{reason}"
    en = "this is not the handshake of a WebSocket: {reason}"
    todo_zh = "用 WebSocket 客户端连接（版本 13）"
    todo_en = "connect with a WebSocket client (version 13)"


class TooManyRequests(M3u8svcError):
    """More requests in a second than one may send (`per_s`). `seconds` is when the next may come."""

    code = "too_many_requests"
    fault = Fault.CALLER
    zh = "请求过于频繁（每秒最多 {per_s} 个），请 {seconds} 秒后再试"
    en = "too many requests (at most {per_s} in a second), try again in {seconds} s"
    todo_zh = "减慢请求；上限是配置 [web] 中的 requests_per_s 和 owner_requests_per_s，见 docs/configuration.md"
    todo_en = (
        "ask more slowly; the limits are requests_per_s and owner_requests_per_s of [web], see docs/configuration.md"
    )


class TooManySockets(M3u8svcError):
    """As many WebSockets are open as may."""

    code = "too_many_sockets"
    fault = Fault.CALLER
    zh = "连接数已达上限"
    en = "as many connections are open as may be"
    todo_zh = "关闭其他页面，或过一会儿再连接"
    todo_en = "close other pages, or connect again in a while"


class Unauthorized(M3u8svcError):
    """A request that does not say who sends it, where that is needed; or whose session is over."""

    code = "unauthorized"
    fault = Fault.CALLER
    zh = "需要令牌、密码或登录"
    en = "a token, a password or a login is needed"
    todo_zh = (
        "命令行用 --token-file 或 M3U8SVC_TOKEN 给出令牌，浏览器重新登录；令牌由 m3u8svc token create 生成，"
        "见 docs/http-api.md"
    )
    todo_en = (
        "give the command line a token with --token-file or M3U8SVC_TOKEN, log in again in a browser; m3u8svc token "
        "create makes tokens, see docs/http-api.md"
    )


class BadCredentials(M3u8svcError):
    """A token or password that is not one of ours."""

    code = "bad_credentials"
    fault = Fault.CALLER
    zh = "令牌无效，或用户名、密码不正确"
    en = "the token, or the user name or password, is wrong"
    todo_zh = "检查是否完整、是否已撤销（m3u8svc token list）"
    todo_en = "see that it is whole and was not revoked (m3u8svc token list)"


class Forbidden(M3u8svcError):
    """Somebody we know, who may not do this; `role` is the least that may."""

    code = "forbidden"
    fault = Fault.CALLER
    zh = "没有权限：此操作需要角色 {role}"
    en = "not allowed: this needs the role {role}"
    todo_zh = "使用有此角色的令牌或用户（m3u8svc token create --role），见 docs/configuration.md"
    todo_en = "use a token or user of that role (m3u8svc token create --role), see docs/configuration.md"


class TooManyFailures(M3u8svcError):
    """Too many wrong tokens or passwords came from this address, or from everywhere. `seconds` is when to come back."""

    code = "too_many_failures"
    fault = Fault.CALLER
    zh = "失败次数过多，请 {seconds} 秒后再试"
    en = "too many failures, try again in {seconds} s"
    todo_zh = "等待后再用正确的令牌或密码；正确的令牌始终有效"
    todo_en = "wait, then use the right token or password; a right token always works"

    @property
    def retry_after_s(self) -> int:
        """When to come back, in seconds."""
        return int(str(self.fields["seconds"]))


# -- The playlist's --------------------------------------------------------------------------------------------------


class PlaylistError(M3u8svcError):
    """A playlist that breaks a rule we cannot do without. `line` is 1-based, 0 when it is about the whole."""

    code = "bad_playlist"
    fault = Fault.ORIGIN
    zh = "播放列表第 {line} 行有误：{reason}"
    en = "line {line} of the playlist is wrong: {reason}"
    todo_zh = "用播放器打开该链接试试；若能播放，请报告此播放列表"
    todo_en = "try the link in a player; if it plays there, report this playlist"


class NotAPlaylist(PlaylistError):
    """The answer is no m3u8 and holds no link to one. A page of a server that is busy may be followed by the list."""

    code = "not_a_playlist"
    retriable = True
    zh = "未发现m3u8资源：{url}（{content_type}，开头为“{start}”）"
    en = "no m3u8 found at {url} ({content_type}, starts with {start!r})"
    todo_zh = "确认链接指向 m3u8；需要登录的页面请同时提供请求头"
    todo_en = "see that the link leads to an m3u8; where one must be logged in, give the request headers, too"


class PlaylistTooLarge(PlaylistError):
    """Over a limit of reliability.md 2.4."""

    code = "playlist_too_large"
    zh = "播放列表过大：{what} 超过 {limit}"
    en = "the playlist is too large: {what} is over {limit}"
    todo_zh = "这不像普通节目；请检查链接"
    todo_en = "this is not like an ordinary programme; look at the link again"


class PlaylistTooDeep(PlaylistError):
    """Multivariant playlists that lead to each other."""

    code = "playlist_too_deep"
    zh = "播放列表嵌套超过 {limit} 层：{url}"
    en = "playlists nest deeper than {limit}: {url}"
    todo_zh = "改用其中某个媒体播放列表的链接"
    todo_en = "use the link of one of the media playlists instead"


class NothingToDownload(PlaylistError):
    """No segment is left, after skipping or from the start."""

    code = "nothing_to_download"
    zh = "需要下载的文件为空"
    en = "there is nothing to download"
    todo_zh = "检查跳过表达式和分组选择，它们去掉了全部分片"
    todo_en = "look at the skip expression and the groups: they leave nothing"


class NoSuchVariant(PlaylistError):
    """No variant of the playlist is what the task wants."""

    code = "no_such_variant"
    zh = "没有符合“{wanted}”的码流；可选：{available}"
    en = 'no variant is "{wanted}"; there are: {available}'
    todo_zh = "从列出的码流中选一个"
    todo_en = "choose one of the variants it lists"


class UnsupportedEncryption(PlaylistError):
    """DRM, or a METHOD we cannot undo."""

    code = "unsupported_encryption"
    zh = "不支持的加密方式 {method}（{keyformat}），第 {line} 行"
    en = "unsupported encryption {method} ({keyformat}) on line {line}"
    todo_zh = "受 DRM 保护的节目无法下载；若已有密钥，请用 key 提供"
    todo_en = "a stream under DRM cannot be downloaded; if you have its key, give it as `key`"


class BadSteeringManifest(PlaylistError):
    """The answer of a steering server (EXT-X-CONTENT-STEERING) is not what it must be. The download goes on without."""

    code = "bad_steering_manifest"
    zh = "内容引导清单（Content Steering）有误：{reason}"
    en = "the content steering manifest is wrong: {reason}"
    todo_zh = "无需处理：下载会继续，只是不再切换线路"
    todo_en = "nothing: the download goes on without changing its source"


class LiveUnsupported(PlaylistError):
    """A playlist without ENDLIST that is still growing."""

    code = "live_unsupported"
    zh = "暂不支持直播流：播放列表仍在更新"
    en = "live streams are not supported yet: the playlist is still growing"
    todo_zh = "等直播结束后再下载回放"
    todo_en = "wait for the end of the broadcast and download the recording"


class SeparateAudio(PlaylistError):
    """The sound is in a playlist of its own, and the task's merger takes one stream: a silent film would be wrong."""

    code = "separate_audio_unsupported"
    zh = "该节目的音频（{name}）在单独的播放列表中，合并方式“{merger}”不支持，请改用“mp4”"
    en = "the audio ({name}) is in a playlist of its own, which the merger {merger!r} cannot take; use 'mp4'"
    todo_zh = "把合并方式改为 mp4"
    todo_en = "use the merger mp4"


class PlaylistChanged(PlaylistError):
    """A playlist read again that is not the one a task was planned by (R-INT-3)."""

    code = "playlist_changed"
    zh = "播放列表（{track}）与上次不同：{reason}"
    en = "the playlist ({track}) is not what it was: {reason}"
    todo_zh = "无需处理：不再对应的部分会重新下载；若这不是同一个节目，请用新链接另建任务"
    todo_en = "nothing: what does not fit any more is fetched again; if this is another programme, add it as a new task"


class NeedsUrl(M3u8svcError):
    """Signed links have expired and the task's own URL gives no new ones. What was fetched is kept."""

    code = "needs_url"
    fault = Fault.ORIGIN
    holds = True
    zh = "链接已过期，请提供新链接：{url}（{cause}）"
    en = "the link has expired, a new one is needed: {url} ({cause})"
    todo_zh = "取得新的播放链接，用 m3u8svc resume ID --url 链接（或 PUT 的 url 字段）提供，任务会接着下载"
    todo_en = "get a new link and give it with m3u8svc resume ID --url URL (or the url field of PUT); the task goes on"


class SkippedByStatus(M3u8svcError):
    """Segments left out by http.code= while the expression does not allow merging without them."""

    code = "skipped_by_status"
    fault = Fault.ORIGIN
    zh = "使用http.code跳过了{count}条ts记录，请自行合并"
    en = "{count} segments were skipped by http.code=; merge them yourself or add if-http.code-merge_ts"
    todo_zh = "在表达式中加上 if-http.code-merge_ts 后继续，或自行合并保留的分片"
    todo_en = "add if-http.code-merge_ts to the expression and resume, or merge the kept segments yourself"


# -- The wire --------------------------------------------------------------------------------------------------------


class FetchError(M3u8svcError):
    """One request that did not end in verified bytes."""

    code = "fetch_failed"
    fault = Fault.ORIGIN
    retriable = True
    zh = "请求失败：{url}（{reason}）"
    en = "request failed: {url} ({reason})"
    todo_zh = "稍后继续任务；已下载的分片会保留"
    todo_en = "resume the task later; what was fetched is kept"


class HttpStatusError(FetchError):
    """
    A status other than the one wanted. Fields `status` (int), `retry_after_s` (float or None) and `purpose`: what the
    request was for, by the names of `tasks.request.Purpose`.
    """

    code = "http_status"
    zh = "服务器返回 HTTP {status}：{url}"
    en = "the server answered HTTP {status}: {url}"
    todo_zh = "检查链接是否直接指向媒体，而不是需要登录或跳转的页面"
    todo_en = "see that the link leads to the media itself, not to a login or another page"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(str(self.fields["status"]))

    @property
    def of_segment(self) -> bool:
        """Whether the segment itself was answered so, and not its key, its init section or a playlist."""
        return self.fields.get("purpose", "segment") == "segment"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds the server asked us to wait, if it did."""
        value = self.fields.get("retry_after_s")
        return None if value is None else float(str(value))


class ClientStatusError(HttpStatusError):
    """400 to 499: the server says that it is about the request."""

    code = "http_4xx"
    todo_zh = "检查链接是否过期，以及是否需要请求头（Referer、Cookie），改正后继续任务"
    todo_en = "see whether the link has expired or needs headers (Referer, Cookie); mend that, then resume the task"


class ServerStatusError(HttpStatusError):
    """500 to 599: the server, or one behind it, has a problem."""

    code = "http_5xx"
    todo_zh = "服务器暂时有问题：稍后继续任务，已下载的分片会保留"
    todo_en = "the server has a problem of its own: resume the task later, what was fetched is kept"


def status_error(*, status: int, **fields: object) -> HttpStatusError:
    """
    The error that a status is; `fields` as `HttpStatusError` has them.
    """
    kinds = {4: ClientStatusError, 5: ServerStatusError}
    return kinds.get(status // 100, HttpStatusError)(status=status, **fields)


class ConnectError(FetchError):
    """No connection, for a reason that none of the following names, such as a TLS handshake that fails."""

    code = "connect_failed"
    zh = "无法连接：{url}（{reason}）"
    en = "cannot connect: {url} ({reason})"
    todo_zh = "检查网络和链接，然后继续任务"
    todo_en = "look at the network and the link, then resume the task"


class DnsFailed(ConnectError):
    """The host name has no address, or nobody answered who could know."""

    code = "dns_failed"
    todo_zh = "检查域名是否正确、本机 DNS 是否可用，然后继续任务"
    todo_en = "see that the host name is right and that DNS works on this machine, then resume the task"


class ConnectionRefused(ConnectError):
    """Nobody listens at that address and port."""

    code = "refused"
    todo_zh = "服务器没有在该端口提供服务：检查链接，或稍后继续任务"
    todo_en = "nothing listens at that port: look at the link, or resume the task later"


class ConnectionReset(ConnectError):
    """The connection ended before there was an answer."""

    code = "reset"
    todo_zh = "稍后继续任务；若一再出现，请减少下载线程数"
    todo_en = "resume the task later; if it comes back, use fewer download threads"


class Unreachable(ConnectError):
    """This machine has no way to that address."""

    code = "unreachable"
    todo_zh = "检查本机网络、路由和防火墙，然后继续任务"
    todo_en = "look at this machine's network, routes and firewall, then resume the task"


class TlsError(FetchError):
    """The server's certificate is not trusted. Never retried; `allow_insecure_https` is the user's decision."""

    code = "tls_untrusted"
    retriable = False
    zh = "HTTPS 证书不可信：{url}（{reason}）"
    en = "the HTTPS certificate is not trusted: {url} ({reason})"
    todo_zh = "检查本机时间和链接；若确实信任该服务器，可开启 allow_insecure_https"
    todo_en = "look at this machine's clock and the link; if you trust the server, allow_insecure_https is yours to set"


class FetchTimeout(FetchError):
    """It took too long; `seconds` is how long we waited."""

    code = "timeout"
    zh = "超时（{seconds} 秒）：{url}"
    en = "timed out ({seconds} s): {url}"
    todo_zh = "稍后继续任务；已下载的分片会保留"
    todo_en = "resume the task later; what was fetched is kept"


class ConnectTimeout(FetchTimeout):
    """No connection in time."""

    code = "timeout_connect"
    zh = "连接超时（{seconds} 秒）：{url}"
    en = "timed out while connecting ({seconds} s): {url}"
    todo_zh = "检查网络或换用代理，然后继续任务"
    todo_en = "look at the network or use a proxy, then resume the task"


class HeadersTimeout(FetchTimeout):
    """Connected, and no answer in time."""

    code = "timeout_headers"
    zh = "等待应答超时（{seconds} 秒）：{url}"
    en = "timed out waiting for an answer ({seconds} s): {url}"
    todo_zh = "服务器没有应答：稍后继续任务"
    todo_en = "the server does not answer: resume the task later"


class StallTimeout(FetchTimeout):
    """The body came to a stop, or so slowly that it might as well have (reliability.md 2.4)."""

    code = "timeout_stall"
    zh = "传输停滞（{seconds} 秒）：{url}"
    en = "the transfer stalled ({seconds} s): {url}"
    todo_zh = "连接太慢或中断：稍后继续任务，或减少下载线程数"
    todo_en = "the connection is too slow or has stalled: resume the task later, or use fewer download threads"


class TotalTimeout(FetchTimeout):
    """All of it, redirects included, took longer than allowed."""

    code = "timeout_total"
    zh = "传输总时间过长（{seconds} 秒）：{url}"
    en = "the transfer took too long in all ({seconds} s): {url}"
    todo_zh = "网速不足以按时取完：稍后继续任务，或选择较低的码流"
    todo_en = "the network is too slow for it: resume the task later, or choose a smaller variant"


class Truncated(FetchError):
    """Fewer bytes than announced."""

    code = "truncated"
    zh = "数据不完整：{url}（应为 {expected} 字节，实得 {got}）"
    en = "truncated: {url} (expected {expected} bytes, got {got})"
    todo_zh = "稍后继续任务；该分片会重新下载"
    todo_en = "resume the task later; that segment is fetched again"


class BodyTooLarge(FetchError):
    """More bytes than the limit for this kind of resource."""

    code = "body_too_large"
    retriable = False
    zh = "内容超过 {limit} 字节：{url}"
    en = "the body is over {limit} bytes: {url}"
    todo_zh = "检查链接：它指向的不像分片或播放列表；若是发给本服务的请求，请缩小请求体"
    todo_en = (
        "look at the link: what it leads to is no segment and no playlist; "
        "of a request to the service, make the body smaller"
    )


class BadResponse(FetchError):
    """An answer outside HTTP, or over the header limits."""

    code = "bad_response"
    zh = "响应无效：{url}（{reason}）"
    en = "invalid response: {url} ({reason})"
    todo_zh = "检查链接和代理，然后继续任务"
    todo_en = "look at the link and the proxy, then resume the task"


class BadByteRange(FetchError):
    """An answer to a Range request that holds other bytes than asked."""

    code = "bad_byterange"
    zh = "字节范围不符：{url}（{reason}）"
    en = "wrong byte range: {url} ({reason})"
    todo_zh = "稍后继续任务；若一再出现，说明服务器不支持范围请求"
    todo_en = "resume the task later; if it comes back, the server cannot serve parts of a file"


class DecompressionBomb(FetchError):
    """A compressed body that grows beyond reason."""

    code = "decompression_bomb"
    retriable = False
    zh = "压缩内容异常膨胀：{url}"
    en = "a compressed body grows beyond reason: {url}"
    todo_zh = "不要信任该链接"
    todo_en = "do not trust this link"


class RedirectError(FetchError):
    """Too many hops, or a hop that may not be followed."""

    code = "redirect_refused"
    retriable = False
    zh = "重定向被拒绝：{url}（{reason}）"
    en = "redirect refused: {url} ({reason})"
    todo_zh = "使用跳转之后的最终链接"
    todo_en = "use the link that the redirects lead to in the end"


class RetriesExhausted(M3u8svcError):
    """The task has used up the extra requests it may make (`limit`); `cause` is the last error."""

    code = "retries_exhausted"
    fault = Fault.ORIGIN
    zh = "重试次数已用完（{limit} 次）：{cause}"
    en = "all {limit} extra requests are used up: {cause}"
    todo_zh = "先按文中最后的原因处理（链接、密钥、请求头或代理），或等服务器恢复后继续任务；已下载的分片会保留"
    todo_en = "the text names the last cause: mend that (the link, the key, headers or the proxy), or resume the task when the server has recovered; what was fetched is kept"  # noqa: E501


# -- The proxy's -----------------------------------------------------------------------------------------------------


class ProxyError(M3u8svcError):
    """The proxy broke off or spoke nonsense. `proxy` says which one, without credentials, here and below."""

    code = "proxy_failed"
    fault = Fault.PROXY
    retriable = True
    zh = "代理 {proxy} 出错：{reason}"
    en = "the proxy {proxy} failed: {reason}"
    todo_zh = "检查代理，然后继续任务"
    todo_en = "look at the proxy, then resume the task"


class ProxyUnreachable(ProxyError):
    """No connection to the proxy: it may be back soon. Never a direct connection instead (5.6)."""

    code = "proxy_unreachable"
    zh = "无法连接代理 {proxy}：{reason}"
    en = "cannot connect to the proxy {proxy}: {reason}"
    todo_zh = "检查代理地址和端口、代理是否在运行，然后继续任务"
    todo_en = "see that the proxy runs and that its address and port are right, then resume the task"


class ProxyTargetUnreachable(ProxyError):
    """The proxy is there and says that it cannot connect to the target."""

    code = "proxy_target_unreachable"
    zh = "代理 {proxy} 无法连接 {target}：{reason}"
    en = "the proxy {proxy} cannot connect to {target}: {reason}"
    todo_zh = "换一个代理，或稍后继续任务"
    todo_en = "use another proxy, or resume the task later"


class ProxyRefused(ProxyError):
    """The proxy's rules forbid the target. Asking again would not change them."""

    code = "proxy_refused"
    retriable = False
    zh = "代理 {proxy} 拒绝连接 {target}：{reason}"
    en = "the proxy {proxy} refuses to connect to {target}: {reason}"
    todo_zh = "在代理的规则中允许该服务器，或换一个代理"
    todo_en = "allow the server in the proxy's rules, or use another proxy"


class ProxyAuthFailed(ProxyError):
    """Wrong or missing user name and password. Never retried: some proxies lock out who does."""

    code = "proxy_auth_failed"
    retriable = False
    zh = "代理 {proxy} 的用户名或密码不正确：{reason}"
    en = "the proxy {proxy} does not accept the user name and password: {reason}"
    todo_zh = "改正代理的用户名和密码，然后继续任务"
    todo_en = "correct the proxy's user name and password, then resume the task"


class ProxyUntrusted(ProxyError):
    """The certificate of an https proxy is not trusted; `allow_insecure_https` is the user's decision."""

    code = "proxy_tls_untrusted"
    retriable = False
    zh = "代理 {proxy} 的 HTTPS 证书不可信：{reason}"
    en = "the HTTPS certificate of the proxy {proxy} is not trusted: {reason}"
    todo_zh = "检查代理的证书；若确实信任它，可开启 allow_insecure_https"
    todo_en = "look at the proxy's certificate; if you trust it, allow_insecure_https is yours to set"


class ProxyUnsupported(M3u8svcError):
    """Settings that want a proxy and name none that can be used. Never a direct connection (5.6)."""

    code = "proxy_unsupported"
    fault = Fault.PROXY
    zh = "无法使用代理（{proxy_type}）：{reason}；任务未直接连接"
    en = "the {proxy_type} proxy cannot be used: {reason}; nothing was connected directly"
    todo_zh = "补全代理的类型、主机和端口，然后继续任务"
    todo_en = "give the proxy's type, host and port, then resume the task"


# -- A segment's -----------------------------------------------------------------------------------------------------


class SegmentError(M3u8svcError):
    """A segment whose bytes are not what they should be. `position` is 1-based."""

    code = "bad_segment"
    fault = Fault.ORIGIN
    retriable = True
    zh = "第 {position} 个分片有误：{reason}"
    en = "segment {position} is wrong: {reason}"
    todo_zh = "稍后继续任务，或用 skip_ts_info 跳过该分片"
    todo_en = "resume the task later, or leave the segment out with skip_ts_info"


class NotMedia(SegmentError):
    """HTML, JSON, text, nothing: no TS, fMP4, packed audio or WebVTT."""

    code = "not_media"
    zh = "第 {position} 个分片不是媒体数据（开头为“{start}”）"
    en = "segment {position} is not media (starts with {start!r})"
    todo_zh = "检查链接是否过期或需要请求头，然后继续任务"
    todo_en = "see whether the link has expired or needs headers, then resume the task"


class MissingInit(SegmentError):
    """An fMP4 segment without the init section (EXT-X-MAP) that says how to read it."""

    code = "missing_init"
    retriable = False
    zh = "第 {position} 个分片缺少初始化段（EXT-X-MAP）"
    en = "segment {position} has no init section (EXT-X-MAP)"
    todo_zh = "用播放器打开该链接试试；若能播放，请报告此播放列表"
    todo_en = "try the link in a player; if it plays there, report this playlist"


class DecryptError(SegmentError):
    """Length not a multiple of 16, or wrong padding: usually a wrong key."""

    code = "decrypt_failed"
    zh = "第 {position} 个分片解密失败：{reason}"
    en = "segment {position} cannot be decrypted: {reason}"
    todo_zh = "密钥可能不对：检查是否需要请求头，或用 key 提供密钥"
    todo_en = "the key may be wrong: see whether it needs headers, or give it as `key`"


class KeyInvalid(M3u8svcError):
    """A key resource that is not a 16-byte key."""

    code = "key_invalid"
    fault = Fault.ORIGIN
    retriable = True
    zh = "密钥无效：{url}（{reason}）"
    en = "invalid key: {url} ({reason})"
    todo_zh = "检查取密钥是否需要请求头（Cookie、Referer），或用 key 提供密钥"
    todo_en = "see whether the key needs headers (Cookie, Referer), or give it as `key`"


class SegmentFailed(M3u8svcError):
    """
    A segment was given up; `cause` is the last error, whose code it takes over: what can be done is about that. Its own
    code is that of tasks which failed under an earlier version.
    """

    code = "segment_failed"
    fault = Fault.ORIGIN
    zh = "下载ts文件错误: {name}: {cause}"
    en = "segment {name} could not be downloaded: {cause}"
    todo_zh = "稍后继续任务，或开启 allow_gaps 允许缺失"
    todo_en = "resume the task later, or let it have gaps with allow_gaps"

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)
        if isinstance(cause := fields["cause"], M3u8svcError):
            self.code, self.holds = cause.code, cause.holds


class SegmentSlow(M3u8svcError):
    """The end of a download waits for this segment for long. Only ever an incident: it may still come."""

    code = "segment_slow"
    fault = Fault.ORIGIN
    zh = "最后的分片 {name} 迟迟未到：{host}"
    en = "segment {name}, one of the last, takes long to come from {host}"
    todo_zh = "无需处理：会继续尝试；若长时间没有进展，可暂停后换时间继续"
    todo_en = "nothing: it is tried on; if there is no progress for long, pause the task and resume it another time"


# -- The merge's -----------------------------------------------------------------------------------------------------


class MergeError(M3u8svcError):
    """The merge ended without a verified file; the segments are kept."""

    code = "merge_failed"
    zh = "合并失败：{reason}"
    en = "merging failed: {reason}"
    todo_zh = "分片已保留：继续任务会再次合并"
    todo_en = "the segments are kept: resume the task to merge again"


class MergerDied(MergeError):
    """The child process ended by a signal, a limit or without a word."""

    code = "merger_died"
    zh = "合并进程意外退出（{how}），位置：第 {position} 个分片"
    en = "the merge process died ({how}) at segment {position}"
    todo_zh = "分片已保留：继续任务会再次合并；若一再出现，请附上日志报告"
    todo_en = "the segments are kept: resume the task to merge again, and report it with the log if it comes back"


class CheckpointLost(MergeError):
    """What a low-disk merge had written down is gone, and with it what was let go of."""

    code = "checkpoint_lost"
    zh = "低磁盘占用合并的检查点已丢失（{reason}）"
    en = "the checkpoint of the low-disk merge is lost ({reason})"
    todo_zh = "继续任务会重新下载缺少的分片"
    todo_en = "resume the task: what is missing is fetched again"


class MergeLost(MergeError):
    """A low-disk merge failed after segments were let go of."""

    code = "merge_lost"
    zh = "{cause}；低磁盘占用模式已删除 {count} 个分片，重试时须重新下载"
    en = "{cause}; low_disk has deleted {count} segments, which a retry must fetch again"
    todo_zh = "继续任务会重新下载已删除的分片；或关闭 low_disk"
    todo_en = "resume the task to fetch the deleted segments again, or do without low_disk"


class NoMedia(MergeError):
    """Nothing in the segments could be muxed."""

    code = "no_media"
    fault = Fault.ORIGIN
    zh = "合并失败：分片中没有可用的音视频"
    en = "no usable audio or video in the segments"
    todo_zh = "改用合并方式 ts 或 none 保留原始分片"
    todo_en = "keep the segments as they are with the merger ts or none"


class VerifyError(MergeError):
    """The muxed file does not hold what the playlist promised."""

    code = "verify_failed"
    zh = "合并结果校验失败：{reason}"
    en = "the merged file failed verification: {reason}"
    todo_zh = "分片已保留：继续任务会再次合并；若一再出现，请附上日志报告"
    todo_en = "the segments are kept: resume the task to merge again, and report it with the log if it comes back"


class SegmentsUnusable(MergeError):
    """Segments that are whole as files and yet no media that can be merged, also when they were fetched again."""

    code = "segments_unusable"
    fault = Fault.ORIGIN
    zh = "有 {count} 个分片重新下载后仍无法合并，任务未允许缺失（allow_gaps）；第一个是 {name}：{reason}"
    en = "{count} segments cannot be merged even when fetched again (see allow_gaps); the first is {name}: {reason}"
    todo_zh = "开启 allow_gaps 允许缺失后继续任务"
    todo_en = "let the task have gaps with allow_gaps, then resume it"


class SilentTrack(MergeError):
    """A chosen rendition of which nothing could be used: the film would be mute."""

    code = "silent_track"
    fault = Fault.ORIGIN
    zh = "音轨 {track} 中没有可用的声音，任务未允许缺失（allow_gaps）"
    en = "nothing of the audio track {track} could be used (see allow_gaps)"
    todo_zh = "选择其他音轨，或开启 allow_gaps 后继续任务"
    todo_en = "choose another audio track, or let the task have gaps with allow_gaps and resume it"


# -- The machine's ---------------------------------------------------------------------------------------------------


class DiskFull(M3u8svcError):
    """No space left on the device that holds `path`."""

    code = "disk_full"
    fault = Fault.OPERATOR
    holds = True
    zh = "磁盘空间不足：{path}"
    en = "no space left on the disk of {path}"
    todo_zh = "清理磁盘空间，任务会自动继续"
    todo_en = "free some space; the task goes on by itself"


class DiskError(M3u8svcError):
    """A directory or file the system does not let us use."""

    code = "disk_error"
    fault = Fault.OPERATOR
    zh = "文件操作失败：{path}（{reason}）"
    en = "file operation failed: {path} ({reason})"
    todo_zh = "检查该目录是否存在、可写，然后继续任务"
    todo_en = "see that the directory is there and can be written to, then resume the task"


class BadTokenFile(DiskError):
    """The file of the tokens is not the service's alone, or it is damaged: who may get in is not known."""

    code = "bad_token_file"
    zh = "令牌文件不可用：{path}（{reason}）"
    en = "the file of the tokens cannot be used: {path} ({reason})"
    todo_zh = "执行括号中的命令，使该文件只属于运行服务的用户；若文件已损坏，移走它并重新创建令牌；然后重新启动"
    todo_en = (
        "run the command it names, so that the file is that of the service's user alone; if it is damaged, move it "
        "away and make new tokens; then start again"
    )


class ReadOnlyDisk(DiskError):
    """The file system that holds `path` takes no writes: mounted read-only, or turned so after an error."""

    code = "disk_read_only"
    holds = True
    zh = "磁盘只读：{path}"
    en = "the disk of {path} is read-only"
    todo_zh = "以可写方式重新挂载该磁盘，任务会自动继续"
    todo_en = "mount the disk so that it can be written to; the task goes on by itself"


class DiskGone(DiskError):
    """The disk that held `path` is not there any more: unmounted, unplugged, or its server lost."""

    code = "disk_gone"
    holds = True
    zh = "磁盘已断开：{path}（{reason}）"
    en = "the disk of {path} is gone ({reason})"
    todo_zh = "重新连接或挂载该磁盘，任务会自动继续"
    todo_en = "connect or mount the disk again; the task goes on by itself"


class NoPermission(DiskError):
    """The user that the service runs as may not use `path`."""

    code = "no_permission"
    zh = "没有权限：{path}"
    en = "no permission for {path}"
    todo_zh = "让运行本服务的用户可以写入该目录，然后继续任务；或删除任务，换一个目录重新添加"
    todo_en = "let the service's user write to the directory and resume the task, or add it again with another one"


class TooManyFiles(DiskError):
    """This process, or the machine, has as many files and connections open as it may."""

    code = "too_many_files"
    retriable = True
    holds = True
    zh = "打开的文件过多（{reason}）：{path}"
    en = "too many open files ({reason}): {path}"
    todo_zh = "任务会自动继续；若一再出现，请提高可打开文件数的上限（ulimit -n）"
    todo_en = "the task goes on by itself; if it comes back, raise the limit of open files (ulimit -n)"


class NamesExhausted(M3u8svcError):
    """10,000 files of this name exist already."""

    code = "names_exhausted"
    fault = Fault.OPERATOR
    zh = "自动寻找文件名失败：{name}"
    en = "no free file name for {name}"
    todo_zh = "换一个文件名，或清理保存目录"
    todo_en = "choose another file name, or tidy up the directory"


class PublishError(M3u8svcError):
    """A storage could not take a finished file. What was downloaded is kept; resuming tries again."""

    code = "publish_failed"
    fault = Fault.OPERATOR
    zh = "保存结果失败：{reason}"
    en = "the result could not be stored: {reason}"
    todo_zh = "检查存储的设置，然后继续任务；已下载的内容会保留"
    todo_en = "look at the storage's settings, then resume the task; what was downloaded is kept"


class StoreError(M3u8svcError):
    """The database did not take or give what we asked."""

    code = "store_failed"
    zh = "数据库错误：{reason}"
    en = "the database failed: {reason}"
    todo_zh = "检查状态目录所在的磁盘和服务日志，然后重试"
    todo_en = "look at the disk of the state directory and at the service's log, then try again"


class StaleTask(StoreError):
    """Somebody changed the row since it was read (compare-and-set on `rev`)."""

    code = "stale_task"
    zh = "任务 {task_id} 已被其他操作修改"
    en = "task {task_id} was changed meanwhile"
    todo_zh = "重新读取任务后再试"
    todo_en = "read the task again and retry"


class DatabaseLocked(StoreError):
    """Another program keeps the database locked for longer than we wait (`seconds`)."""

    code = "db_locked"
    retriable = True
    zh = "数据库被占用（已等待 {seconds} 秒）"
    en = "the database is locked (waited {seconds} s)"
    todo_zh = "关闭占用数据库的其他程序，稍后重试"
    todo_en = "close the other program that uses the database, and try again in a moment"


class DatabaseDamaged(StoreError):
    """The database file is no database any more, or its pages contradict each other."""

    code = "db_damaged"
    fault = Fault.OPERATOR
    zh = "数据库已损坏：{path}（{reason}）"
    en = "the database is damaged: {path} ({reason})"
    todo_zh = "查看服务日志中自动备份恢复的结果"
    todo_en = "see in the service's log what was restored from the backup"


class DatabaseUnavailable(StoreError):
    """The database server does not answer, or ended the connection."""

    code = "db_unavailable"
    fault = Fault.OPERATOR
    retriable = True
    zh = "数据库服务器不可用：{reason}"
    en = "the database server is not available: {reason}"
    todo_zh = "启动数据库服务器或检查网络；服务会自动重连"
    todo_en = "start the database server or look at the network; the service connects again by itself"


class DatabaseRestored(StoreError):
    """
    The database was damaged and was put together again from a `backup` and the changes since. `kept` is the damaged
    file; this is said until it is moved away or removed. Either is "-" where there was none.
    """

    code = "db_restored"
    fault = Fault.OPERATOR
    zh = "数据库曾损坏（{reason}），已用备份（{backup}）和之后的更改恢复；损坏的文件：{kept}"
    en = "the database was damaged ({reason}) and was restored from a backup ({backup}) and the changes since; the damaged file: {kept}"  # noqa: E501
    todo_zh = "检查任务列表和磁盘；确认后移走或删除损坏的文件即可消除此提示"
    todo_en = "look at the list of tasks and at the disk; this is no longer said once the damaged file is moved away"

    def text(self, language: Language = "zh") -> str:
        """
        The same without what there was none of: a backup, a damaged file.
        """
        said = super().text(language)
        for without, instead in _NONE_OF[language] if "-" in (self.fields["kept"], self.fields["backup"]) else ():
            said = said.replace(without, instead)
        return said


_NONE_OF: dict[Language, tuple[tuple[str, str], ...]] = {
    "zh": (("；损坏的文件：-", ""), ("已用备份（-）和之后的更改恢复", "已用记录下来的更改恢复")),
    "en": (
        ("; the damaged file: -", ""),
        ("from a backup (-) and the changes since", "from the changes that were written down"),
    ),
}


class DatabaseFileLost(StoreError):
    """The file of the database was removed, or another one has its name, while the service has it open."""

    code = "db_file_lost"
    fault = Fault.OPERATOR
    zh = "数据库文件在服务运行时被删除或替换：{path}"
    en = "the file of the database was removed or replaced while the service runs: {path}"
    todo_zh = "移走占用该路径的其他文件，然后重启服务：会用备份恢复，任务不会丢失"
    todo_en = "move away what has its name now and restart the service: it is restored from the backup, with all tasks"


class ChangesLost(StoreError):
    """The database lacked changes that were committed: its log was lost. They were made again."""

    code = "db_changes_lost"
    fault = Fault.OPERATOR
    zh = "数据库缺少 {count} 个任务已提交的更改，已重新写入"
    en = "the database lacked committed changes of {count} tasks; they were made again"
    todo_zh = "检查状态目录所在的磁盘，不要删除数据库的 -wal 文件"
    todo_en = "look at the disk of the state directory, and never remove the -wal file of the database"


class BackupFailed(StoreError):
    """No backup of the database could be made. Those that are there stay."""

    code = "backup_failed"
    fault = Fault.OPERATOR
    zh = "无法备份数据库：{path}（{reason}）"
    en = "the database cannot be backed up: {path} ({reason})"
    todo_zh = "检查状态目录所在的磁盘空间和权限；服务会自动重试"
    todo_en = "look at the space and the permissions of the state directory; the service tries again by itself"


class HomeLocked(M3u8svcError):
    """Another process uses this state directory."""

    code = "home_locked"
    fault = Fault.OPERATOR
    zh = "状态目录已被另一个进程使用：{path}（pid {pid}）"
    en = "another process uses the state directory {path} (pid {pid})"
    todo_zh = "停止另一个进程，或用 --home 指定其他目录"
    todo_en = "stop the other process, or use another directory with --home"


# -- Configuration and plugins ---------------------------------------------------------------------------------------


class ConfigError(M3u8svcError):
    """The operator's settings are wrong: startup stops and names the key."""

    code = "bad_config"
    fault = Fault.OPERATOR
    zh = "配置有误：{where}：{reason}"
    en = "the configuration is wrong: {where}: {reason}"
    todo_zh = "改正配置文件中所指的项，然后重新启动"
    todo_en = "correct what it names in the configuration, then start again"


class CannotListen(ConfigError):
    """An address or a port that we are not given: another program has it, or it is not ours to take."""

    code = "cannot_listen"
    zh = "无法监听：{where}：{reason}"
    en = "cannot listen: {where}: {reason}"
    todo_zh = "停止占用该端口的程序，或用 --listen 换一个，如 tcp:8081:interface=127.0.0.1；1024 以下的端口需要特权"
    todo_en = (
        "stop the program that has that port, or name another with --listen, as tcp:8081:interface=127.0.0.1; "
        "ports below 1024 need privileges"
    )


class OpenWithoutAuth(ConfigError):
    """
    Other machines can reach us, and nothing says who may use it. `way` is the option that lets them in and its value,
    `opens` what that does (`OPENS`).
    """

    code = "open_without_auth"
    zh = "配置有误：{way} {opens}，但没有设置令牌或密码"
    en = "the configuration is wrong: {way} {opens}, and there is no token or password yet"
    todo_zh = (
        "先用 m3u8svc token create 生成令牌（同样的 --home），或在配置中加入 [[users]]；只在本机使用则监听 127.0.0.1 "
        "或 unix socket，不设 trusted_proxies；反向代理自己要求密码时，让它发送 Authorization: Bearer TOKEN"
        '（nginx：proxy_set_header Authorization "Bearer TOKEN";）'
    )
    todo_en = (
        "make a token first with m3u8svc token create (and the same --home), or add [[users]] to the configuration; to "
        "use it on this machine only, listen on 127.0.0.1 or a unix socket, without trusted_proxies; a reverse proxy "
        "that asks for passwords itself has to send Authorization: Bearer TOKEN (nginx: proxy_set_header Authorization "
        '"Bearer TOKEN";)'
    )

    OPENS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "listen": ("可以从其他机器访问", "can be reached from other machines"),
        "proxy": (
            "是反向代理，会带来其他人的请求",
            "is a reverse proxy, which brings requests of others",
        ),
    }
    """What `opens` says, in Chinese and English."""

    def text(self, language: Language = "zh") -> str:
        """One line for people, redacted."""
        template = self.zh if language == "zh" else self.en
        opens = str(self.fields["opens"])
        opens = self.OPENS.get(opens, (opens, opens))[language == "en"]
        return redact_text(template.format_map({**self.fields, "opens": opens}))


class NotConfigured(M3u8svcError):
    """A plugin says that it stays off, and why. Normal."""

    code = "not_configured"
    fault = Fault.OPERATOR
    zh = "插件未启用：{reason}"
    en = "the plugin stays off: {reason}"
    todo_zh = "若需要该插件，请按其说明配置"
    todo_en = "if you want the plugin, configure it as its README says"


class PluginError(M3u8svcError):
    """A plugin's hook raised, hung or answered nonsense."""

    code = "plugin_failed"
    fault = Fault.PLUGIN
    zh = "插件 {plugin} 的 {hook} 失败：{reason}"
    en = "hook {hook} of plugin {plugin} failed: {reason}"
    todo_zh = "更新或停用该插件，然后继续任务"
    todo_en = "update the plugin or turn it off, then resume the task"


class PluginUnavailable(M3u8svcError):
    """A task names a plugin that is off, broken, disabled or not there."""

    code = "plugin_unavailable"
    fault = Fault.OPERATOR
    zh = "任务需要的插件 {plugin} 不可用：{reason}"
    en = "the task needs the plugin {plugin}, which cannot be used: {reason}"
    todo_zh = "安装并启用该插件，然后继续任务"
    todo_en = "install the plugin and turn it on, then resume the task"


class NotOffered(M3u8svcError):
    """A task names a merger or storage that nobody offers (any more)."""

    code = "not_offered"
    fault = Fault.OPERATOR
    zh = "没有名为“{name}”的 {kind}；可用：{known}{hint}"
    en = 'nobody offers a {kind} called "{name}"; known: {known}{hint}'
    todo_zh = "从列出的名称中选一个，或安装提供它的插件"
    todo_en = "choose one of those it lists, or install the plugin that offers it"


class OptionError(M3u8svcError):
    """An option a plugin does not take: 400 naming the path."""

    code = "bad_option"
    fault = Fault.CALLER
    zh = "解析请求失败：{path}：{reason}"
    en = "{path}: {reason}"
    todo_zh = "按插件的说明改正该选项"
    todo_en = "correct the option as the plugin's README says"


_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.ESHUTDOWN)
"""What a network or plugged file system says whose other end is lost; FUSE says ENOTCONN."""


def from_os_error(error: OSError, path: object) -> DiskFull | DiskError | UnsafePath:
    """
    What a failed file operation means to the operator. Whoever follows no link is told of one by ELOOP.
    """
    reason = error.strerror or type(error).__name__
    if error.errno == errno.ELOOP:
        return UnsafePath(field="path", reason="路径中有符号链接或“..”", value=path)
    if error.errno in _FULL:
        return DiskFull(path=path)
    if error.errno in _GONE:
        return DiskGone(path=path, reason=reason)
    if error.errno == errno.EROFS:
        return ReadOnlyDisk(path=path, reason=reason)
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoPermission(path=path, reason=reason)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TooManyFiles(path=path, reason=reason)
    return DiskError(path=path, reason=reason)


@functools.lru_cache(maxsize=1000)
def advice_on(code: str, language: Language = "zh") -> str:
    """
    What the user can do about an error of the catalogue; "" for a code that is not in it, such as a plugin's.
    """
    for each in catalogue():
        if each.code == code:
            return each.todo_zh if language == "zh" else each.todo_en
    return ""


def catalogue() -> Iterator[type[M3u8svcError]]:
    """
    Every class of the catalogue, base first, in the order of this page.
    """
    todo: list[type[M3u8svcError]] = [M3u8svcError]
    while todo:
        each = todo.pop(0)
        yield each
        todo += each.__subclasses__()
