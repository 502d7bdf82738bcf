"""
The exception catalogue: what can go wrong, whose problem it is, what follows.

Every class has a stable `code` (API header ``X-Error-Code``, the task's ``err_code``), a `fault` that decides status,
log level and retry, and its text in Chinese and English. Fields are named in the templates; raising without one of
them is a `TypeError`, so that a test finds it. Texts name the thing and the value; URLs are given whole and are
redacted here, secrets never enter.
"""

import enum
import errno
import string
from collections.abc import Iterator
from typing import ClassVar, Literal

from m3u8svc.redact import redact_text, redact_url

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

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.SERVICE
    zh: ClassVar[str] = "内部错误：{reason}"
    en: ClassVar[str] = "internal error: {reason}"
    retriable: ClassVar[bool] = False
    """Whether trying the same request again may help."""

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


def _shown(name: str, value: object, language: Language) -> object:
    """
    A field as a text shows it: a URL without its secrets, another error in the same language.
    """
    if isinstance(value, M3u8svcError):
        return value.text(language)
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


class MissingTaskId(M3u8svcError):
    """PUT or DELETE without ``?id=``."""

    code = "missing_task_id"
    fault = Fault.CALLER
    zh = "任务ID不能为空"
    en = "the task id must not be empty"


class TaskNotFound(M3u8svcError):
    """No task has this id."""

    code = "task_not_found"
    fault = Fault.CALLER
    zh = "任务不存在"
    en = "there is no such task"


class InvalidTransition(M3u8svcError):
    """A change of state that a task's life does not have, such as 已完成 -> 等待中."""

    code = "invalid_transition"
    fault = Fault.CALLER
    zh = "任务不能从“{current}”变为“{wanted}”"
    en = "a task cannot go from {current} to {wanted}"


class CannotRemake(M3u8svcError):
    """A wish that a task in this state cannot fulfil: to be made again, or other settings while it runs."""

    code = "cannot_remake"
    fault = Fault.CALLER
    zh = "无法执行：{reason}"
    en = "this cannot be done now: {reason}"


class CannotVerify(M3u8svcError):
    """A result that cannot be looked at: it is gone, elsewhere, or no file."""

    code = "cannot_verify"
    fault = Fault.CALLER
    zh = "无法校验：{path}（{reason}）"
    en = "cannot verify {path} ({reason})"


class ReportNotFound(M3u8svcError):
    """A task without a report: it is not finished, or was finished by an earlier version."""

    code = "report_not_found"
    fault = Fault.CALLER
    zh = "任务还没有报告"
    en = "the task has no report yet"


class SkipExpressionError(M3u8svcError):
    """`skip_ts_info` holds an item outside its grammar."""

    code = "bad_skip_expression"
    fault = Fault.CALLER
    zh = '解析跳过ts的表达式错误: parse expr part invalid "{item}"'
    en = 'the skip expression has an invalid item "{item}"'


class SelectionError(M3u8svcError):
    """`variant`, `audio`, `subtitles` or `groups` that cannot be understood. `expected` is what could stand there."""

    code = "bad_selection"
    fault = Fault.CALLER
    zh = "第 {position} 个字符处的“{item}”无法理解，可以是：{expected}"
    en = 'at character {position}, "{item}" cannot be understood; it could be: {expected}'


class UnsafePath(M3u8svcError):
    """A name or directory that would leave the places we may write to."""

    code = "unsafe_path"
    fault = Fault.CALLER
    zh = "{field} 不可用：{reason}（{value}）"
    en = "{field} cannot be used: {reason} ({value})"


class UnsupportedScheme(M3u8svcError):
    """Only http and https are fetched (data: for keys and init sections)."""

    code = "unsupported_scheme"
    fault = Fault.CALLER
    zh = "不支持的链接类型“{scheme}”：{url}"
    en = "unsupported URL scheme {scheme!r}: {url}"


class InvalidUrl(M3u8svcError):
    """Text that is not a URL we can request."""

    code = "invalid_url"
    fault = Fault.CALLER
    zh = "链接无效（{reason}）：{url}"
    en = "invalid URL ({reason}): {url}"


# -- The playlist's --------------------------------------------------------------------------------------------------


class PlaylistError(M3u8svcError):
    """A playlist that breaks a rule we cannot do without. `line` is 1-based, 0 when it is about the whole."""

    code = "bad_playlist"
    fault = Fault.ORIGIN
    zh = "播放列表第 {line} 行有误：{reason}"
    en = "line {line} of the playlist is wrong: {reason}"


class NotAPlaylist(PlaylistError):
    """The answer is no m3u8 and holds no link to one."""

    code = "not_a_playlist"
    zh = "未发现m3u8资源：{url}（{content_type}，开头为“{start}”）"
    en = "no m3u8 found at {url} ({content_type}, starts with {start!r})"


class PlaylistTooLarge(PlaylistError):
    """Over a limit of reliability.md 2.4."""

    code = "playlist_too_large"
    zh = "播放列表过大：{what} 超过 {limit}"
    en = "the playlist is too large: {what} is over {limit}"


class PlaylistTooDeep(PlaylistError):
    """Multivariant playlists that lead to each other."""

    code = "playlist_too_deep"
    zh = "播放列表嵌套超过 {limit} 层：{url}"
    en = "playlists nest deeper than {limit}: {url}"


class NothingToDownload(PlaylistError):
    """No segment is left, after skipping or from the start."""

    code = "nothing_to_download"
    zh = "需要下载的文件为空"
    en = "there is nothing to download"


class NoSuchVariant(PlaylistError):
    """No variant of the playlist is what the task wants."""

    code = "no_such_variant"
    zh = "没有符合“{wanted}”的码流；可选：{available}"
    en = 'no variant is "{wanted}"; there are: {available}'


class UnsupportedEncryption(PlaylistError):
    """DRM, or a METHOD we cannot undo."""

    code = "unsupported_encryption"
    zh = "不支持的加密方式 {method}（{keyformat}），第 {line} 行"
    en = "unsupported encryption {method} ({keyformat}) on line {line}"


class BadSteeringManifest(PlaylistError):
    """The answer of a steering server (EXT-X-CONTENT-STEERING) is not what it must be. The download goes on without."""

    code = "bad_steering_manifest"
    zh = "内容引导清单（Content Steering）有误：{reason}"
    en = "the content steering manifest is wrong: {reason}"


class LiveUnsupported(PlaylistError):
    """A playlist without ENDLIST that is still growing."""

    code = "live_unsupported"
    zh = "暂不支持直播流：播放列表仍在更新"
    en = "live streams are not supported yet: the playlist is still growing"


class SeparateAudio(PlaylistError):
    """The sound is in a playlist of its own, and the task's merger takes one stream: a silent film would be wrong."""

    code = "separate_audio_unsupported"
    zh = "该节目的音频（{name}）在单独的播放列表中，合并方式“{merger}”不支持，请改用“mp4”"
    en = "the audio ({name}) is in a playlist of its own, which the merger {merger!r} cannot take; use 'mp4'"


class SkippedByStatus(M3u8svcError):
    """Segments left out by http.code= while the expression does not allow merging without them."""

    code = "skipped_by_status"
    fault = Fault.ORIGIN
    zh = "使用http.code跳过了{count}条ts记录，请自行合并"
    en = "{count} segments were skipped by http.code=; merge them yourself or add if-http.code-merge_ts"


# -- The wire --------------------------------------------------------------------------------------------------------


class FetchError(M3u8svcError):
    """One request that did not end in verified bytes."""

    code = "fetch_failed"
    fault = Fault.ORIGIN
    retriable = True
    zh = "请求失败：{url}（{reason}）"
    en = "request failed: {url} ({reason})"


class HttpStatusError(FetchError):
    """
    A status other than the one wanted. Fields `status` (int), `retry_after_s` (float or None) and `purpose`: what the
    request was for, by the names of `tasks.request.Purpose`.
    """

    code = "http_status"
    zh = "服务器返回 HTTP {status}：{url}"
    en = "the server answered HTTP {status}: {url}"

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


class ConnectError(FetchError):
    """No connection: refused, unreachable, reset before an answer, name not found."""

    code = "connect_failed"
    zh = "无法连接：{url}（{reason}）"
    en = "cannot connect: {url} ({reason})"


class TlsError(FetchError):
    """The server's certificate is not trusted. Never retried; `allow_insecure_https` is the user's decision."""

    code = "tls_untrusted"
    retriable = False
    zh = "HTTPS 证书不可信：{url}（{reason}）"
    en = "the HTTPS certificate is not trusted: {url} ({reason})"


class FetchTimeout(FetchError):
    """`what` is connect, headers, silence or total; `seconds` how long we waited."""

    code = "timeout"
    zh = "超时（{what}，{seconds} 秒）：{url}"
    en = "timed out ({what}, {seconds} s): {url}"


class Truncated(FetchError):
    """Fewer bytes than announced."""

    code = "truncated"
    zh = "数据不完整：{url}（应为 {expected} 字节，实得 {got}）"
    en = "truncated: {url} (expected {expected} bytes, got {got})"


class BodyTooLarge(FetchError):
    """More bytes than the limit for this kind of resource."""

    code = "body_too_large"
    retriable = False
    zh = "内容超过 {limit} 字节：{url}"
    en = "the body is over {limit} bytes: {url}"


class BadResponse(FetchError):
    """An answer outside HTTP, or over the header limits."""

    code = "bad_response"
    zh = "响应无效：{url}（{reason}）"
    en = "invalid response: {url} ({reason})"


class BadByteRange(FetchError):
    """An answer to a Range request that holds other bytes than asked."""

    code = "bad_byterange"
    zh = "字节范围不符：{url}（{reason}）"
    en = "wrong byte range: {url} ({reason})"


class DecompressionBomb(FetchError):
    """A compressed body that grows beyond reason."""

    code = "decompression_bomb"
    retriable = False
    zh = "压缩内容异常膨胀：{url}"
    en = "a compressed body grows beyond reason: {url}"


class RedirectError(FetchError):
    """Too many hops, or a hop that may not be followed."""

    code = "redirect_refused"
    retriable = False
    zh = "重定向被拒绝：{url}（{reason}）"
    en = "redirect refused: {url} ({reason})"


# -- The proxy's -----------------------------------------------------------------------------------------------------


class ProxyError(M3u8svcError):
    """The proxy broke off or spoke nonsense. `proxy` says which one, without credentials, here and below."""

    code = "proxy_failed"
    fault = Fault.PROXY
    retriable = True
    zh = "代理 {proxy} 出错：{reason}"
    en = "the proxy {proxy} failed: {reason}"


class ProxyUnreachable(ProxyError):
    """No connection to the proxy: it may be back soon. Never a direct connection instead (5.6)."""

    code = "proxy_unreachable"
    zh = "无法连接代理 {proxy}：{reason}"
    en = "cannot connect to the proxy {proxy}: {reason}"


class ProxyTargetUnreachable(ProxyError):
    """The proxy is there and says that it cannot connect to the target."""

    code = "proxy_target_unreachable"
    zh = "代理 {proxy} 无法连接 {target}：{reason}"
    en = "the proxy {proxy} cannot connect to {target}: {reason}"


class ProxyRefused(ProxyError):
    """The proxy's rules forbid the target. Asking again would not change them."""

    code = "proxy_refused"
    retriable = False
    zh = "代理 {proxy} 拒绝连接 {target}：{reason}"
    en = "the proxy {proxy} refuses to connect to {target}: {reason}"


class ProxyAuthFailed(ProxyError):
    """Wrong or missing user name and password. Never retried: some proxies lock out who does."""

    code = "proxy_auth_failed"
    retriable = False
    zh = "代理 {proxy} 的用户名或密码不正确：{reason}"
    en = "the proxy {proxy} does not accept the user name and password: {reason}"


class ProxyUntrusted(ProxyError):
    """The certificate of an https proxy is not trusted; `allow_insecure_https` is the user's decision."""

    code = "proxy_tls_untrusted"
    retriable = False
    zh = "代理 {proxy} 的 HTTPS 证书不可信：{reason}"
    en = "the HTTPS certificate of the proxy {proxy} is not trusted: {reason}"


class ProxyUnsupported(M3u8svcError):
    """Settings that want a proxy and name none that can be used. Never a direct connection (5.6)."""

    code = "proxy_unsupported"
    fault = Fault.PROXY
    zh = "无法使用代理（{proxy_type}）：{reason}；任务未直接连接"
    en = "the {proxy_type} proxy cannot be used: {reason}; nothing was connected directly"


# -- A segment's -----------------------------------------------------------------------------------------------------


class SegmentError(M3u8svcError):
    """A segment whose bytes are not what they should be. `position` is 1-based."""

    code = "bad_segment"
    fault = Fault.ORIGIN
    retriable = True
    zh = "第 {position} 个分片有误：{reason}"
    en = "segment {position} is wrong: {reason}"


class NotMedia(SegmentError):
    """HTML, JSON, text, nothing: no TS, fMP4, packed audio or WebVTT."""

    code = "not_media"
    zh = "第 {position} 个分片不是媒体数据（开头为“{start}”）"
    en = "segment {position} is not media (starts with {start!r})"


class MissingInit(SegmentError):
    """An fMP4 segment without the init section (EXT-X-MAP) that says how to read it."""

    code = "missing_init"
    retriable = False
    zh = "第 {position} 个分片缺少初始化段（EXT-X-MAP）"
    en = "segment {position} has no init section (EXT-X-MAP)"


class DecryptError(SegmentError):
    """Length not a multiple of 16, or wrong padding: usually a wrong key."""

    code = "decrypt_failed"
    zh = "第 {position} 个分片解密失败：{reason}"
    en = "segment {position} cannot be decrypted: {reason}"


class KeyInvalid(M3u8svcError):
    """A key resource that is not a 16-byte key."""

    code = "key_invalid"
    fault = Fault.ORIGIN
    retriable = True
    zh = "密钥无效：{url}（{reason}）"
    en = "invalid key: {url} ({reason})"


class SegmentFailed(M3u8svcError):
    """A segment was given up; `cause` is the last error."""

    code = "segment_failed"
    fault = Fault.ORIGIN
    zh = "下载ts文件错误: {name}: {cause}"
    en = "segment {name} could not be downloaded: {cause}"


# -- The merge's -----------------------------------------------------------------------------------------------------


class MergeError(M3u8svcError):
    """The merge ended without a verified file; the segments are kept."""

    code = "merge_failed"
    zh = "合并失败：{reason}"
    en = "merging failed: {reason}"


class MergerDied(MergeError):
    """The child process ended by a signal, a limit or without a word."""

    code = "merger_died"
    zh = "合并进程意外退出（{how}），位置：第 {position} 个分片"
    en = "the merge process died ({how}) at segment {position}"


class CheckpointLost(MergeError):
    """What a low-disk merge had written down is gone, and with it what was let go of."""

    code = "checkpoint_lost"
    zh = "低磁盘占用合并的检查点已丢失（{reason}）"
    en = "the checkpoint of the low-disk merge is lost ({reason})"


class MergeLost(MergeError):
    """A low-disk merge failed after segments were let go of."""

    code = "merge_lost"
    zh = "{cause}；低磁盘占用模式已删除 {count} 个分片，重试时须重新下载"
    en = "{cause}; low_disk has deleted {count} segments, which a retry must fetch again"


class NoMedia(MergeError):
    """Nothing in the segments could be muxed."""

    code = "no_media"
    fault = Fault.ORIGIN
    zh = "合并失败：分片中没有可用的音视频"
    en = "no usable audio or video in the segments"


class VerifyError(MergeError):
    """The muxed file does not hold what the playlist promised."""

    code = "verify_failed"
    zh = "合并结果校验失败：{reason}"
    en = "the merged file failed verification: {reason}"


class SegmentsUnusable(MergeError):
    """Segments that are whole as files and yet no media that can be merged, also when they were fetched again."""

    code = "segments_unusable"
    fault = Fault.ORIGIN
    zh = "有 {count} 个分片重新下载后仍无法合并，任务未允许缺失（allow_gaps）；第一个是 {name}：{reason}"
    en = "{count} segments cannot be merged even when fetched again (see allow_gaps); the first is {name}: {reason}"


class SilentTrack(MergeError):
    """A chosen rendition of which nothing could be used: the film would be mute."""

    code = "silent_track"
    fault = Fault.ORIGIN
    zh = "音轨 {track} 中没有可用的声音，任务未允许缺失（allow_gaps）"
    en = "nothing of the audio track {track} could be used (see allow_gaps)"


# -- The machine's ---------------------------------------------------------------------------------------------------


class DiskFull(M3u8svcError):
    """No space left on the device that holds `path`."""

    code = "disk_full"
    fault = Fault.OPERATOR
    zh = "磁盘空间不足：{path}"
    en = "no space left on the disk of {path}"


class DiskError(M3u8svcError):
    """A directory or file the system does not let us use."""

    code = "disk_error"
    fault = Fault.OPERATOR
    zh = "文件操作失败：{path}（{reason}）"
    en = "file operation failed: {path} ({reason})"


class NamesExhausted(M3u8svcError):
    """10,000 files of this name exist already."""

    code = "names_exhausted"
    fault = Fault.OPERATOR
    zh = "自动寻找文件名失败：{name}"
    en = "no free file name for {name}"


class PublishError(M3u8svcError):
    """A storage could not take a finished file. What was downloaded is kept; resuming tries again."""

    code = "publish_failed"
    fault = Fault.OPERATOR
    zh = "保存结果失败：{reason}"
    en = "the result could not be stored: {reason}"


class StoreError(M3u8svcError):
    """The database did not take or give what we asked."""

    code = "store_failed"
    zh = "数据库错误：{reason}"
    en = "the database failed: {reason}"


class StaleTask(StoreError):
    """Somebody changed the row since it was read (compare-and-set on `rev`)."""

    code = "stale_task"
    zh = "任务 {task_id} 已被其他操作修改"
    en = "task {task_id} was changed meanwhile"


class HomeLocked(M3u8svcError):
    """Another process uses this state directory."""

    code = "home_locked"
    fault = Fault.OPERATOR
    zh = "状态目录已被另一个进程使用：{path}（pid {pid}）"
    en = "another process uses the state directory {path} (pid {pid})"


# -- Configuration and plugins ---------------------------------------------------------------------------------------


class ConfigError(M3u8svcError):
    """The operator's settings are wrong: startup stops and names the key."""

    code = "bad_config"
    fault = Fault.OPERATOR
    zh = "配置有误：{where}：{reason}"
    en = "the configuration is wrong: {where}: {reason}"


class NotConfigured(M3u8svcError):
    """A plugin says that it stays off, and why. Normal."""

    code = "not_configured"
    fault = Fault.OPERATOR
    zh = "插件未启用：{reason}"
    en = "the plugin stays off: {reason}"


class PluginError(M3u8svcError):
    """A plugin's hook raised, hung or answered nonsense."""

    code = "plugin_failed"
    fault = Fault.PLUGIN
    zh = "插件 {plugin} 的 {hook} 失败：{reason}"
    en = "hook {hook} of plugin {plugin} failed: {reason}"


class PluginUnavailable(M3u8svcError):
    """A task names a plugin that is off, broken, disabled or not there."""

    code = "plugin_unavailable"
    fault = Fault.OPERATOR
    zh = "任务需要的插件 {plugin} 不可用：{reason}"
    en = "the task needs the plugin {plugin}, which cannot be used: {reason}"


class NotOffered(M3u8svcError):
    """A task names a merger or storage that nobody offers (any more)."""

    code = "not_offered"
    fault = Fault.OPERATOR
    zh = "没有名为“{name}”的 {kind}；可用：{known}{hint}"
    en = 'nobody offers a {kind} called "{name}"; known: {known}{hint}'


class OptionError(M3u8svcError):
    """An option a plugin does not take: 400 naming the path."""

    code = "bad_option"
    fault = Fault.CALLER
    zh = "解析请求失败：{path}：{reason}"
    en = "{path}: {reason}"


def from_os_error(error: OSError, path: object) -> DiskFull | DiskError:
    """
    What a failed file operation means to the operator.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(path=path)
    return DiskError(path=path, reason=error.strerror or type(error).__name__)


def catalogue() -> Iterator[type[M3u8svcError]]:
    """
    Every class of the catalogue, base first, in the order of this page.
    """
    todo: list[type[M3u8svcError]] = [M3u8svcError]
    while todo:
        each = todo.pop(0)
        yield each
        todo += each.__subclasses__()
