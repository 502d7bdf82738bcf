"""
What the command line says, in the user's language: the catalogue of its messages and help texts.

Texts of the service itself are not here: they are shown as they come. Help texts are read when a command's module is
imported, everything else when it is said.
"""

import os
from collections.abc import Mapping

import attrs

from m3u8svc.errors import Language
from m3u8svc.wording import in_english


def language(environ: Mapping[str, str] = os.environ) -> Language:
    """
    zh where the locale says so, else en: the first of the three variables that is set decides, as POSIX has it.
    """
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if locale := environ.get(name):
            return "zh" if locale.lower().startswith("zh") else "en"
    return "en"


def in_language(text: str) -> str:
    """
    A text in the user's language, if it is in both.
    """
    return in_english(text) if language() == "en" else str(text)


@attrs.frozen(kw_only=True)
class Phrase:
    """
    One message in both languages; names in braces are filled in when it is said.
    """

    zh: str
    en: str

    def said(self, **fields: object) -> str:
        """
        The message in the user's language.
        """
        return (self.zh if language() == "zh" else self.en).format_map(fields)


# -- The program -----------------------------------------------------------------------------------------------------

PROGRAM = Phrase(
    zh="下载 HLS（m3u8）流，得到一个校验过、可以播放的 MP4。",
    en="Download HLS (m3u8) streams into one verified, playable MP4 each.",
)
EXIT_STATUSES = Phrase(
    zh="退出状态：0 成功；1 服务拒绝请求或任务失败；2 命令行有误；3 该地址没有服务；130 被 Ctrl-C 中断。",
    en="Exit status: 0 success, 1 the service refused or a task failed, 2 the command line is wrong, "
    "3 no service at that address, 130 interrupted by Ctrl-C.",
)
PLAIN_STATUSES = Phrase(
    zh="退出状态：0 成功；2 命令行有误。", en="Exit status: 0 success, 2 the command line is wrong."
)
SERVE_STATUSES = Phrase(
    zh="退出状态：0 被信号停止；1 不能启动；2 命令行或配置有误；75 状态目录已被另一个服务使用。",
    en="Exit status: 0 stopped by a signal, 1 it cannot start, 2 the command line or the configuration is wrong, "
    "75 another service uses the state directory.",
)
EXAMPLES = Phrase(zh="例子：", en="Examples:")
ERROR = Phrase(zh="错误：{text}", en="Error: {text}")
WARNING = Phrase(zh="注意：{text}", en="Warning: {text}")

# What click says by itself on help pages; its names are the keys.
CLICK: Mapping[str, Phrase] = {
    "Usage: ": Phrase(zh="用法：", en="Usage: "),
    "Options": Phrase(zh="选项", en="Options"),
    "Commands": Phrase(zh="命令", en="Commands"),
    "Show this message and exit.": Phrase(zh="显示这个说明。", en="Show this message and exit."),
    "Show the version and exit.": Phrase(zh="显示版本。", en="Show the version and exit."),
}

# What click says of a wrong command line, and what that is in Chinese; the first that matches.
CLICK_ERRORS: tuple[tuple[str, str], ...] = (
    (r"No such command (?P<name>'.*')\.(?: \(?Did you mean.*)?", "没有命令 {name}"),
    (r"No such option:? (?P<name>\S+?)\.?(?: \(?(?:Did you mean|Possible options).*)?", "没有选项 {name}"),
    (r"Missing command\.", "缺少命令"),
    (r"Missing argument (?P<name>'.*')\.", "缺少参数 {name}"),
    (r"Missing option (?P<name>'.*')\.", "缺少选项 {name}"),
    (r"Option (?P<name>'.*') requires an argument\.", "选项 {name} 需要一个值"),
    (r"Option (?P<name>'.*') does not take a value\.", "选项 {name} 没有值"),
    (r"Got unexpected extra arguments? \((?P<name>.*)\)", "多余的参数：{name}"),
    (
        r"Invalid value for (?P<name>'.*?'): '(?P<value>.*)' is not a valid integer(?: range)?\.",
        "{name} 的值“{value}”不是整数",
    ),
    (
        r"Invalid value for (?P<name>'.*?'): (?P<value>\S+) is not in the range (?P<range>.*)\.",
        "{name} 的值 {value} 不在 {range} 之内",
    ),
    (r"Invalid value for (?P<name>'.*?'|[^\s:]+): (?P<value>.*)", "{name} 的值无效：{value}"),
)
TRY_HELP = Phrase(zh="用“{command} --help”查看说明。", en="Try '{command} --help' for help.")

# -- Commands --------------------------------------------------------------------------------------------------------

SERVE = Phrase(zh="在前台运行服务", en="Run the service in the foreground.")
GET = Phrase(zh="不用服务，直接下载一个流", en="Download one stream without a service.")
DEMO = Phrase(zh="不用网络，看一次完整的下载", en="See a whole download, without a network.")
ADD = Phrase(zh="添加下载任务，输出任务 ID", en="Add a download; prints its id.")
LIST = Phrase(zh="列出任务", en="List the tasks.")
SHOW = Phrase(zh="显示一个任务", en="Show one task.")
PAUSE = Phrase(zh="暂停任务", en="Pause tasks.")
RESUME = Phrase(zh="继续任务，重试失败的任务", en="Go on with paused tasks, try failed ones again.")
MOVE = Phrase(zh="改变任务在队列中的位置", en="Move tasks in the queue.")
PRIORITY = Phrase(zh="设定任务的优先级", en="Set the priority of tasks.")
REMOVE = Phrase(zh="删除任务，保留已完成的文件", en="Remove tasks; finished files are kept.")
VERIFY = Phrase(zh="校验一个文件或任务的结果", en="Check a file, or a task's result.")
REPAIR = Phrase(zh="补齐任务缺失的分片，重新合并", en="Fetch what a result lacks and merge again.")
WATCH = Phrase(zh="实时观看任务", en="Watch the tasks live.")

CURL = Phrase(zh="用浏览器复制的 curl 命令添加任务", en="Add a download by a copied curl command.")
CURL_HELP = Phrase(
    zh="用浏览器“复制为 cURL”得到的命令添加任务，带上它的请求头、Cookie 和代理。在该命令前加上 m3u8svc 即可；"
    "也可以把整条命令作为一个带引号的参数，或用 - 从标准输入读取（Windows 命令提示符的格式也可以）。"
    "本命令的选项写在 curl 的选项之前。",
    en="Add the download of a curl command, as the network panel of a browser copies it: with its headers, cookies and "
    "proxy. Put m3u8svc before it, or give all of it as one quoted argument, or - to read it from the standard input, "
    "where the quoting of the Windows command prompt works too. Our own options come before curl's.",
)
CURL_GET_OPTION = Phrase(zh="不用服务，直接下载到当前目录。", en="Download it here, without a service.")
CURL_SHOW_OPTION = Phrase(
    zh="只显示它对应的任务（JSON，含密码）。", en="Only print the task it comes to, as JSON, with its secrets."
)
EXPLAIN = Phrase(zh="解释错误代码，说明怎么办", en="Explain error codes, and what to do.")
EXPLAIN_HELP = Phrase(
    zh="解释错误代码：谁的问题，意思是什么，怎么办；不写代码则列出全部。",
    en="Explain error codes: whose problem it is, what it means, what to do; all of them in short where none is named.",
)
EXPLAIN_MORE = Phrase(zh="详细说明：m3u8svc explain CODE", en="More about one: m3u8svc explain CODE")
NO_CODE = Phrase(
    zh="没有错误代码“{code}”，全部代码见 m3u8svc explain", en="{code!r} is no error code; all: m3u8svc explain"
)
NO_CODE_BUT = Phrase(zh="没有错误代码“{code}”，是不是：{near}", en="{code!r} is no error code; there are: {near}")
CODE_HOLDS = Phrase(
    zh="任务会暂停（held）而不算失败，原因消失后自动继续，或等待你处理。",
    en="The task is paused (held), not failed: something outside is in the way.",
)
CODE_RETRIED = Phrase(zh="出现之前已经重试过。", en="Requests were tried again before this was said.")
WHOSE: Mapping[str, Phrase] = {
    "caller": Phrase(zh="请求的问题", en="about the request"),
    "origin": Phrase(zh="流或其服务器的问题", en="about the stream or its server"),
    "proxy": Phrase(zh="代理的问题", en="about the proxy"),
    "plugin": Phrase(zh="插件的问题", en="about a plugin"),
    "operator": Phrase(zh="这台机器或其配置的问题", en="about this machine or its configuration"),
    "service": Phrase(zh="服务自己的问题", en="about the service itself"),
}
COMPLETION = Phrase(zh="输出 shell 自动补全脚本", en="Print the script for shell completion.")
COMPLETION_HELP = Phrase(
    zh="输出让 bash、zsh 或 fish 补全命令、选项、状态、错误代码和任务 ID 的脚本。",
    en="Print the script that lets bash, zsh or fish complete commands, options, states, error codes and task ids.",
)
GET_HELP = Phrase(
    zh="把每个 URL 处的流下载为一个校验过的文件。中断后再输入同一行，会从中断处继续。",
    en="Download the stream at each URL into one verified file. Typed again after an interruption, the same line goes "
    "on where it stopped.",
)
SOURCE_HELP = Phrase(
    zh="URL 也可以是本地的播放列表文件，或 - 表示从标准输入读取；其中的相对链接需要 --base-url。",
    en="URL may be a playlist in a local file, or - for the standard input; relative links in it need --base-url.",
)
GET_STATUSES = Phrase(
    zh="退出状态：0 所有文件已在且校验过；1 有失败的；2 命令行或列表有误，什么也没有下载；"
    "75 同一个下载正在进行；130 被 Ctrl-C 中断。",
    en="Exit status: 0 every file is there and verified, 1 one failed, 2 the command line or the list is wrong and "
    "nothing was begun, 75 the same download is running, 130 interrupted.",
)
SERVE_HELP = Phrase(
    zh="在前台运行服务。按 Ctrl-C 停止，下次启动会从中断处继续。",
    en="Run the service in the foreground. Ctrl-C stops it; the next start goes on where it was.",
)
DEMO_HELP = Phrase(
    zh="生成一个 12 秒的加密 HLS 流，在本机提供，用真正的服务和 REST API 下载，并说出 MP4 在哪里。"
    "不需要网络，也不需要另外安装任何东西；临时文件全部删除。",
    en="Make an encrypted HLS stream of 12 seconds, serve it on this machine, download it through the real service "
    "and its REST API, and say where the MP4 is. Needs no network and nothing else installed; everything temporary "
    "is removed.",
)
REMOVE_HELP = Phrase(
    zh="删除任务及其未完成的分片。已完成的文件会保留，除非使用 --files。",
    en="Remove tasks and their unfinished segments. Finished files are kept, unless --files is given.",
)
MOVE_HELP = Phrase(
    zh="把等待中的任务移到同优先级任务的最前（first）、最后（last）或第 N 个。正在下载的任务不受影响。",
    en="Put a waiting task before (first), behind (last) or at position N of those of its priority. What downloads "
    "goes on.",
)
PRIORITY_HELP = Phrase(
    zh="优先级高的任务先开始，-100 到 100，默认 0。正在下载的任务不会为此让位。",
    en="Tasks of a higher priority start first: -100 to 100, by default 0. What downloads goes on.",
)
WATCH_HELP = Phrase(
    zh="每秒刷新一次的任务表；给出 ID 时只看这一个任务。按 Ctrl-C 离开，任务继续进行。",
    en="A table of the tasks, fresh every second; with an ID only that task. Ctrl-C leaves; the tasks go on.",
)
PLAN = Phrase(zh="看看会下载什么，不下载", en="Show what would be downloaded, without doing it.")
PLAN_HELP = Phrase(
    zh="只读取播放列表，列出码流、音轨、字幕、分组、时长和估计大小，以及选项会选中哪些（✓）。"
    "不写 --server 时不需要服务。",
    en="Read the playlists only, and list variants, sound, subtitles, groups, duration and estimated size, and what "
    "the options would choose (✓). Needs no service unless --server names one.",
)
PLAN_STATUSES = Phrase(
    zh="退出状态：0 可以下载；1 不能；2 命令行有误；3 该地址没有服务；130 被 Ctrl-C 中断。",
    en="Exit status: 0 it can be downloaded, 1 it cannot, 2 the command line is wrong, 3 no service at that address, "
    "130 interrupted.",
)
PLAN_SERVER_OPTION = Phrase(
    zh="让这个服务来看（用它的网络和设置）。", en="Let this service look, with its network and settings."
)
PLAN_JSON_OPTION = Phrase(zh="输出 JSON。", en="Print JSON.")
ID_HELP = Phrase(
    zh="ID 可以只写开头，只要不会混淆。", en="An ID may be shortened to its start, if that is unambiguous."
)

PLUGINS = Phrase(zh="列出服务的插件及其状态。", en="List the plugins of a service and how each fares.")

TOKEN = Phrase(zh="生成、列出、撤销访问令牌", en="Make, list and revoke access tokens.")
TOKEN_HELP = Phrase(
    zh="管理访问令牌。服务运行与否都可以；对运行中的服务立即生效。有了第一个令牌，所有请求都需要令牌、密码或登录。",
    en="Access tokens, whether the service runs or not; a running one sees changes at once. From the first token on, "
    "every request needs a token, a password or a login.",
)
TOKEN_STATUSES = Phrase(
    zh="退出状态：0 成功；1 失败；2 命令行有误。", en="Exit status: 0 success, 1 failed, 2 the command line is wrong."
)
TOKEN_CREATE_HELP = Phrase(
    zh="生成一个令牌并输出到标准输出。只显示这一次，服务只保存它的散列值。",
    en="Make a token and print it on standard output. It is shown only now: the service keeps a hash of it.",
)
TOKEN_LIST_HELP = Phrase(zh="列出令牌的名称、角色和生成时间。", en="List the tokens: name, role, when it was made.")
TOKEN_REVOKE_HELP = Phrase(
    zh="撤销令牌；用它登录的会话也随之结束。", en="Revoke a token; sessions that logged in with it end."
)
TRUSTED_PROXY_OPTION = Phrase(
    zh="反向代理的地址、网段或 unix，相信其 X-Forwarded 请求头；可重复。",
    en='Address, network or "unix" of a reverse proxy whose X-Forwarded headers are believed; repeatable.',
)
BASE_PATH_OPTION = Phrase(
    zh="反向代理在此路径下提供本服务，如 /m3u8。", en="Path below which a reverse proxy serves us, such as /m3u8."
)
TOKEN_NAME_OPTION = Phrase(
    zh="令牌的名称，如设备名；默认为 token-N。", en="What it is called, such as the device; token-N by default."
)
ROLE_OPTION = Phrase(
    zh="reader 只能查看；user 还能管理任务；admin 还能修改设置。",
    en="reader may look, user may also manage tasks, admin may also change settings.",
)
TOKEN_MADE = Phrase(
    zh="令牌 {name}（{role}）已生成，只显示这一次：", en="The token {name} ({role}) is made, and shown only now:"
)
TOKEN_REVOKED = Phrase(zh="{name} 已撤销", en="{name} is revoked")
NO_TOKENS = Phrase(zh="没有令牌。用 m3u8svc token create 生成。", en="No tokens. Make one with: m3u8svc token create")
TOKEN_REFUSALS: Mapping[str, Phrase] = {
    "bad": Phrase(
        zh="名称“{name}”不可用：1 到 64 个字母、数字或 _，其后还可以有 . @ + -",
        en='"{name}" cannot be a name: 1 to 64 letters, digits or _, and behind the first . @ + - too',
    ),
    "taken": Phrase(zh="已有名为 {name} 的令牌", en="there is a token named {name}"),
    "unknown": Phrase(
        zh="没有名为 {name} 的令牌（见 m3u8svc token list）",
        en="there is no token named {name} (see m3u8svc token list)",
    ),
    "full": Phrase(zh="令牌太多，请先撤销不用的：{name}", en="there are too many tokens, revoke some first: {name}"),
}
PASSWORD = Phrase(zh="生成配置文件用的密码散列", en="Make the hash of a password for the configuration.")
PASSWORD_HELP = Phrase(
    zh="输入密码（两次，或从标准输入读取），输出其 scrypt 散列，供配置文件的 [[users]] 使用。",
    en="Ask for a password (twice, or read it from standard input) and print its scrypt hash, for [[users]] of the "
    "configuration file.",
)
PASSWORD_PROMPT = Phrase(zh="密码", en="Password")
PASSWORD_LENGTH = Phrase(zh="密码应为 {least} 到 256 个字符", en="the password must be {least} to 256 characters long")
DOCTOR = Phrase(zh="检查这台机器、这个安装和配置", en="Look for what may be wrong here.")
DOCTOR_HELP = Phrase(
    zh="检查这台机器、这个安装和配置：媒体进程的隔离、文件权限、数据库、限制、磁盘、端口、版本。"
    "服务运行时也可以使用，不改变任何东西。",
    en="Look at this machine, this installation and its configuration: the box of the muxing child, permissions of "
    "files, the database, limits, disks, ports, versions. Works while the service runs, and changes nothing.",
)
DOCTOR_STATUSES = Phrase(
    zh="退出状态：0 没有问题（可以有注意事项）；1 有问题；2 命令行有误。",
    en="Exit status: 0 no problem (there may be warnings), 1 a problem, 2 the command line is wrong.",
)
DOCTOR_LOG_OPTION = Phrase(zh="服务的日志，用于 --bundle。", en="The service's log, for --bundle.")
BUNDLE_OPTION = Phrase(
    zh="另存一个可以发给别人的 zip：检查结果、版本、去掉密码的配置和日志。",
    en="Also write a zip to send to somebody: findings, versions, configuration and log without secrets.",
)
BUNDLE_WRITTEN = Phrase(zh="已写入 {path}", en="wrote {path}")
BUNDLE_FAILED = Phrase(zh="不能写入或读取 {path}：{reason}", en="cannot write or read {path}: {reason}")
FINDINGS: Mapping[str, Phrase] = {
    "ok": Phrase(zh="[正常]", en="[ok]     "),
    "warning": Phrase(zh="[注意]", en="[warning]"),
    "problem": Phrase(zh="[问题]", en="[problem]"),
}

# -- Options ---------------------------------------------------------------------------------------------------------

SERVER_OPTION = Phrase(zh="服务的地址。", en="Address of the service.")
TOKEN_OPTION = Phrase(
    zh="访问令牌；本机其他用户可能看到命令行，用 --token-file 或环境变量更好。",
    en="Access token; other users of the machine may see a command line, a file or the environment hides it.",
)
TOKEN_FILE_OPTION = Phrase(zh="内容为访问令牌的文件。", en="File that holds the access token.")
JSON_OPTION = Phrase(zh="原样输出服务返回的 JSON。", en="Print the service's JSON.")
NEW_URL_OPTION = Phrase(
    zh="原链接过期时的新链接，指向同一节目；已下载的分片继续使用。",
    en="A new link to the same stream, when the old one has expired; what was fetched is used.",
)
ACTION_JSON_OPTION = Phrase(zh="以 JSON 输出每个任务的结果。", en="Print what became of each task as JSON.")
WATCH_JSON_OPTION = Phrase(zh="任务每次变化输出一行 JSON。", en="A line of JSON whenever a task changes.")
WATCH_TOTAL = Phrase(
    zh="下载中 {downloading} · 等待中 {waiting} · 已完成 {completed} · 失败 {failed} · {rate}",
    en="{downloading} downloading · {waiting} waiting · {completed} completed · {failed} failed · {rate}",
)
ONE_ID_FOR_URL = Phrase(zh="--url 只能用于一个任务", en="--url goes with one task")
NAME_OPTION = Phrase(zh="文件名；不写则由链接得出。", en="File name; derived from the URL if not given.")
HEADER_OPTION = Phrase(zh="请求头，可重复。", en="A request header; repeatable.")
THREADS_OPTION = Phrase(zh="最多连接数；0 为自动。", en="Connections at most; 0 finds out by itself.")
SKIP_OPTION = Phrase(zh="要跳过的分片，如 '1,92-100'。", en="Segments to leave out, such as '1,92-100'.")
SAVE_DIR_OPTION = Phrase(
    zh="保存目录，在服务所在的机器上；相对路径仅用于本机的服务。",
    en="Where to save, on the service's machine; relative only with a service on this one.",
)
INSECURE_OPTION = Phrase(zh="接受不可信的 HTTPS 证书。", en="Accept HTTPS certificates nobody vouches for.")
KEEP_TS_OPTION = Phrase(zh="保留分片。", en="Keep the segments beside the file.")
NO_MERGE_OPTION = Phrase(zh="只下载分片，不合并为 MP4。", en="Keep the segments only; make no MP4.")
PROXY_OPTION = Phrase(
    zh="http://、https://、socks5:// 或 socks5h:// 代理；用户名和密码中的特殊字符用百分号编码。",
    en="http://, https://, socks5:// or socks5h:// proxy; percent-encode what is special in user and password.",
)
MERGER_OPTION = Phrase(
    zh="合并方式：mp4、ts、none，或插件提供的名称。", en="How to merge: mp4, ts, none, or what a plugin offers."
)
STORAGE_OPTION = Phrase(zh="存到哪里：disk，或插件提供的名称。", en="Where to store: disk, or what a plugin offers.")
PLUGIN_OPTION = Phrase(
    zh="使用插件及其选项，如 skip-ads.mode=auto，可重复。",
    en="Use a plugin, with an option, such as skip-ads.mode=auto; repeatable.",
)
VARIANT_OPTION = Phrase(
    zh="码流：best（默认）、worst、720p、1080p60、audio_only，或条件，如 'height<=1080 codec~avc1'；"
    "用 / 写出备选，如 'height=1080 codec=hevc / 720p / best'。字段：height width res bandwidth fps codec range lang "
    "name；运算符：= != < <= > >= ~（包含）。先用 m3u8svc plan URL 看有哪些。",
    en="Which variant: best (default), worst, 720p, 1080p60, audio_only, or conditions such as 'height<=1080 "
    "codec~avc1'; alternatives after a /, as in 'height=1080 codec=hevc / 720p / best'. Fields: height width res "
    "bandwidth fps codec range lang name; operators: = != < <= > >= ~ (contains). 'm3u8svc plan URL' lists them.",
)
AUDIO_OPTION = Phrase(
    zh="音轨：语言（en、pt-BR）或名称，逗号分隔，或 all；默认用播放列表推荐的。",
    en="Sound: languages (en, pt-BR) or names, or all; the playlist's own choice by default.",
)
SUBTITLES_OPTION = Phrase(
    zh="字幕：语言或名称，逗号分隔，或 all；默认不要。", en="Subtitles: languages or names, or all; none by default."
)
SUBTITLE_FILES_OPTION = Phrase(
    zh="字幕另存为：vtt（默认）、srt、vtt,srt 或 none。",
    en="Files for subtitles beside the video: vtt (default), srt, vtt,srt or none.",
)
GROUPS_OPTION = Phrase(
    zh="只保留这些组（两个 DISCONTINUITY 之间为一组），如 1,3-5；编号见 m3u8svc plan。",
    en="Keep only these groups (stretches between discontinuities), such as 1,3-5; 'm3u8svc plan' numbers them.",
)
KEY_OPTION = Phrase(
    zh="AES 密钥，32 位十六进制或 base64；代替播放列表中的密钥。",
    en="AES key, 32 hexadecimal digits or base64, in place of the playlist's.",
)
IV_OPTION = Phrase(zh="IV，十六进制；代替播放列表中的。", en="IV in hexadecimal, in place of the playlist's.")
APPEND_QUERY_OPTION = Phrase(
    zh="加到每个链接上的参数，如 token=abc；* 表示播放列表链接自己的参数。",
    en="Query to add to every link, such as token=abc; * for that of the playlist's own URL.",
)
BASE_URL_OPTION = Phrase(zh="播放列表中的相对链接以此为准。", en="What relative links of the playlist are relative to.")
HEADER_HOSTS_OPTION = Phrase(
    zh="除链接所在站点外，还可接收 Cookie 等机密请求头的主机，如 cdn.example,*.cdn.example。",
    en="Hosts besides the link's site that get Cookie and other secret headers, such as cdn.example,*.cdn.example.",
)
LIMIT_RATE_OPTION = Phrase(
    zh="速率上限（字节/秒），如 500K、2M（K=1024）；0 不限速。",
    en="At most so many bytes per second, such as 500K or 2M (K is 1024); 0 is no limit.",
)
PRIORITY_OPTION = Phrase(
    zh="优先级，-100 到 100，高的先开始。[默认：0]", en="Priority, -100 to 100: the higher start first. [default: 0]"
)
ALLOW_GAPS_OPTION = Phrase(
    zh="下载不了的分片留空，不算失败。", en="Leave a hole for a segment that cannot be had, instead of failing."
)
SPLIT_OPTION = Phrase(
    zh="编码参数变化时另起一个文件。", en="Begin another file where the stream's coding parameters change."
)
LOW_DISK_OPTION = Phrase(
    zh="合并后立即删除分片，少占磁盘；合并失败则要重新下载。",
    en="Delete segments as soon as they are merged: less disk, but a failed merge fetches again.",
)
FASTSTART_OPTION = Phrase(zh="把索引放在 MP4 开头。", en="Put the index at the beginning of the MP4.")
REPORT_OPTION = Phrase(
    zh="在结果旁写 <名称>.report.json：每个分片的来历。",
    en="Write <name>.report.json beside the result: what became of each segment.",
)
STATUS_OPTION = Phrase(
    zh="只列出这种状态的任务：{names}，也可用中文。", en="Only tasks in this state: {names}; Chinese works too."
)
SEARCH_OPTION = Phrase(
    zh="只列出名称、链接或 ID 含有此文本的任务。", en="Only tasks whose name, URL or id has this in it."
)
SORT_OPTION = Phrase(zh="按此排序；默认按创建时间。", en="In this order; by default that of their creation.")
REVERSE_OPTION = Phrase(zh="倒序。", en="The other way round.")
LIMIT_OPTION = Phrase(zh="最多列出这么多个。", en="At most so many.")
FILES_OPTION = Phrase(zh="连同已完成的文件一起删除。", en="Remove the finished files too.")
UNTIL_DONE_OPTION = Phrase(
    zh="没有进行中的任务时结束；看到任务失败则退出状态为 1。",
    en="End when no task is active; the status is 1 if one was seen to fail.",
)
OUTPUT_OPTION = Phrase(
    zh="要生成的文件（.mp4 或 .ts），如 'films/{{host}}/{{name}}.{{ext}}'。字段：{{name}}（链接或列表中的"
    "名称）{{host}} {{date}}（今天）{{height}}（所选码流的高度，未知为 NA）{{ext}}（mp4）{{index}}（序号）；"
    "{{{{ 和 }}}} 是花括号本身。不写则由链接得出名称，存到当前目录。",
    en="The file to make (.mp4 or .ts), such as 'films/{{host}}/{{name}}.{{ext}}'. Fields: {{name}} (of "
    "the URL, or in the list), {{host}}, {{date}} (today), {{height}} (of the chosen variant, NA if unknown), {{ext}} "
    "(mp4), {{index}} (its number); {{{{ and }}}} are braces. By default named by the URL, in the current directory.",
)
BATCH_OPTION = Phrase(
    zh="文件，每行“链接 文件名”（文件名可省略），# 开头为注释；- 为标准输入。依次下载，最后汇总。",
    en="A file with a line 'url name' for each download, the name if you like; # begins a comment, - is the standard "
    "input. One after the other, with a summary at the end.",
)
DRY_RUN_OPTION = Phrase(
    zh="只看会下载什么（同 m3u8svc plan）以及文件名。",
    en="Only show what would be downloaded, as plan does, and the name of the file.",
)
GET_JSON_OPTION = Phrase(
    zh="标准输出为 JSON 行：进度（progress）、注意（warning）、结果（done、failed）、汇总（summary）。",
    en="Lines of JSON on standard output: progress, warning, then done or failed, and a summary of many.",
)
HOME_OPTION = Phrase(zh="状态目录。", en="Directory for state.")
QUIET_OPTION = Phrase(zh="只说错误。", en="Say nothing but errors.")
LISTEN_OPTION = Phrase(
    zh="监听的 Twisted 端点，可重复。[默认：tcp:8080:interface=127.0.0.1]",
    en="Twisted endpoint to listen on; repeatable. [default: tcp:8080:interface=127.0.0.1]",
)
SERVE_SAVE_DIR_OPTION = Phrase(
    zh="完成的文件默认存到哪里。[默认：~/Downloads/m3u8svc]",
    en="Where finished files go by default. [default: ~/Downloads/m3u8svc]",
)
MAX_ACTIVE_OPTION = Phrase(zh="同时下载的任务数。[默认：3]", en="How many tasks download at once. [default: 3]")
MAX_CONNECTIONS_OPTION = Phrase(
    zh="同时请求的总数上限。[默认：256]", en="How many requests at once, in all. [default: 256]"
)
MAX_PER_HOST_OPTION = Phrase(
    zh="对同一主机同时请求的上限。[默认：64]", en="How many requests at once to one host. [default: 64]"
)
DATABASE_OPTION = Phrase(zh="数据库地址。[默认：状态目录中的 SQLite]", en="Database URL. [default: SQLite in --home]")
NETWORK_MODE_OPTION = Phrase(
    zh="请求可以去哪里：auto、local 或 strict。[默认：auto]",
    en="Where requests may go: auto, local or strict. [default: auto]",
)
ALLOW_OPTION = Phrase(
    zh="任何模式下都允许请求的地址、网段或主机名，如 192.168.1.20:8080；可多次给出。",
    en="Address, network or name that requests may go to in any mode, such as 192.168.1.20:8080; several times.",
)
LOG_FILE_OPTION = Phrase(
    zh="日志写入此文件而不是标准输出；满 10 MiB 换新，最多保留 10 个。",
    en="Log to this file instead of standard output; a new one every 10 MiB, 10 are kept.",
)
NO_PLUGINS_OPTION = Phrase(zh="不加载任何已安装的插件。", en="Start without any installed plugin.")
TRACE_HOOKS_OPTION = Phrase(
    zh="在日志中记录对插件的每次调用及其结果。", en="Log every call of a plugin's hook and its answer."
)
CONFIG_OPTION = Phrase(zh="配置文件（TOML），选项优先于它。", en="Configuration file (TOML); options win over it.")
KEEP_OPTION = Phrase(zh="MP4 保存到的目录。[默认：{default}]", en="Directory for the MP4. [default: {default}]")

# -- Bad input -------------------------------------------------------------------------------------------------------

BAD_SERVER = Phrase(
    zh="服务地址应写作 http://主机:端口（{reason}）", en="a service's address is written http://host:port ({reason})"
)
NOT_A_URL = Phrase(zh="不是有效的链接", en="not a valid URL")
NOT_HTTP = Phrase(zh="只能是 http 或 https", en="only http and https")
NO_HOST = Phrase(zh="缺少主机", en="no host")
HAS_MORE = Phrase(
    zh="不能含有 ? 或 #，用户名须与密码一起写", en="no ? or # in it, and a user name only with a password"
)
BAD_TOKEN = Phrase(zh="不是令牌", en="this is no token")
BAD_TOKEN_FILE = Phrase(zh="--token-file：{file}：{reason}", en="--token-file: {file}: {reason}")
BAD_HEADER = Phrase(zh="请求头应写作 '名称: 值'", en="a header is written 'Name: value'")
BAD_PROXY = Phrase(
    zh="代理应写作 http://[用户:密码@]主机:端口，或 https://、socks5://；特殊字符用百分号编码",
    en="a proxy is written http://[user:password@]host:port, or https://, socks5://; percent-encode what is special",
)
OTHER_SOCKS = Phrase(zh="只支持 SOCKS5：socks5:// 或 socks5h://", en="only SOCKS5 works: socks5:// or socks5h://")
BAD_PROXY_USER = Phrase(
    zh="代理的用户名或密码含有控制字符，或超过 255 字节",
    en="the proxy's user name or password holds control characters or is over 255 bytes long",
)
BAD_PLUGIN_OPTION = Phrase(
    zh="“{value}”应写作 插件 或 插件.选项=值", en="{value!r} should be PLUGIN or PLUGIN.OPTION=VALUE"
)
BAD_CHOICE = Phrase(zh="不是有效的值", en="not a valid value")
BAD_AUDIO = Phrase(zh="不能没有声音；应为语言、名称或 all", en="there must be sound: languages, names or all")
BAD_KEY = Phrase(
    zh="密钥应为 32 位十六进制数，或 16 字节的 base64", en="a key is 32 hexadecimal digits, or base64 of 16 bytes"
)
BAD_IV = Phrase(zh="IV 应为最多 32 位十六进制数", en="an IV is at most 32 hexadecimal digits")
BAD_APPEND_QUERY = Phrase(zh="参数应写作 a=b&c=d，或 *", en="a query is written a=b&c=d, or * for the playlist's own")
BAD_BASE_URL = Phrase(zh="应以 http:// 或 https:// 开头", en="must begin with http:// or https://")
BAD_HEADER_HOSTS = Phrase(
    zh="应写作 cdn.example、cdn.example:8443 或 *.cdn.example，以逗号分隔",
    en="must be hosts such as cdn.example, cdn.example:8443 or *.cdn.example, separated by commas",
)
BAD_LIMIT_RATE = Phrase(
    zh="应写作 500K、2M 或 0，至少 1024 字节/秒", en="must be like 500K or 2M, at least 1024 bytes per second, or 0"
)
BAD_SOURCE = Phrase(
    zh="{value} 既不是 http 链接，也不是能读的文件（{reason}）",
    en="{value} is neither an http URL nor a file that can be read ({reason})",
)
ADDRESS_HINT = Phrase(zh="；若是网址，写 {url}", en="; if it is an address, write {url}")
BAD_PLAYLIST = Phrase(
    zh="不是播放列表：应为以 #EXTM3U 开头的 UTF-8 文本，最多 {limit} 字节",
    en="no playlist: that is UTF-8 text which begins with #EXTM3U, of at most {limit} bytes",
)
DEGRADED = Phrase(zh="注意：{text} [{code}]；{advice}", en="note: {text} [{code}]; {advice}")
BAD_PLACE = Phrase(
    zh="“{value}”不是位置，可用：first、last 或从 1 开始的数字",
    en="{value!r} is no place; there are: first, last, or a number from 1",
)
BAD_STATUS = Phrase(zh="“{value}”不是状态，可用：{names}", en="{value!r} is no state; there are: {names}")
AMBIGUOUS_ID = Phrase(zh="“{given}”不明确，可能是：{ids}", en="{given!r} is ambiguous; it could be: {ids}")

# -- The service -----------------------------------------------------------------------------------------------------

NO_SERVICE = Phrase(
    zh="{server} 没有服务（{reason}）。用 m3u8svc serve 启动，或用 --server 指定地址。",
    en="no service at {server} ({reason}). Start one with: m3u8svc serve, or name its address with --server.",
)
CLOSED = Phrase(
    zh="{server} 关闭了连接（{reason}）。服务可能正在停止，或连接过多：过一会儿再试。",
    en="{server} closed the connection ({reason}). The service may be stopping, or have too many connections: try "
    "again in a while.",
)
NOT_OURS = Phrase(
    zh="{server} 上的不是 m3u8svc（{reason}）。用 --server 指定它的地址，或用 m3u8svc serve 启动。",
    en="what answers at {server} is not m3u8svc ({reason}). Name its address with --server, or start one with: "
    "m3u8svc serve.",
)
CUT_SHORT = Phrase(zh="回答中断", en="its answer was cut short")
TIMED_OUT = Phrase(zh="{seconds} 秒内没有回答", en="no answer within {seconds} s")
TOO_LARGE = Phrase(zh="回答超过 {limit} 字节", en="an answer over {limit} bytes")
NOT_JSON = Phrase(zh="HTTP {status}，不是 JSON", en="HTTP {status}, not JSON")
WRONG_SHAPE = Phrase(zh="回答中的 {name} 不对", en="a wrong {name} in its answer")
PAUSED = Phrase(zh="{id} 已暂停", en="{id} paused")
RESUMED = Phrase(zh="{id} 已继续", en="{id} resumed")
MOVED = Phrase(zh="{id} 已移动", en="{id} moved")
PRIORITY_SET = Phrase(zh="{id} 的优先级已设定", en="{id} has its priority")
REMOVED = Phrase(zh="{id} 已删除", en="{id} removed")

# -- verify and repair -----------------------------------------------------------------------------------------------

VERIFY_HELP = Phrase(
    zh="逐包读取（并解码）FILE，或让服务校验任务 ID 的结果：结构、采样表、包数、时长、音画差；"
    "旁边有 <名称>.report.json 时也与它比较；"
    "分成多个文件的结果（<名称>.p2.mp4……）一并校验。没有问题时退出状态为 0，否则为 1。",
    en="Read (and decode) FILE packet by packet, or let the service check the result of the task ID: its structure, "
    "sample tables, packets, durations and A/V drift, and whether it is what <name>.report.json beside it says; "
    "with it the further files of a split result, <name>.p2.mp4 and so on. "
    "Exit status 0 when nothing is wrong, else 1.",
)
QUICK_OPTION = Phrase(zh="只读取，不解码", en="Read every packet but decode none.")
REPAIR_HELP = Phrase(
    zh="让服务下载任务 ID 的结果中缺失的分片，然后重新合并。任务保持“已完成”，原文件保留到新文件发布为止。",
    en="Let the service fetch the segments that the result of the task ID lacks, and merge again. The task stays "
    "completed, and the old file stays until the new one is there.",
)
REPAIRING = Phrase(zh="{id} 正在修复；用 m3u8svc watch 观看", en="{id} is being repaired; see m3u8svc watch")
BAD_REPORT = Phrase(zh="{path} 不是报告，无法比较", en="{path} is no report, so nothing can be compared with it")
VERIFY_COLUMNS = (
    Phrase(zh="轨道", en="Track"),
    Phrase(zh="内容", en="Holds"),
    Phrase(zh="时长（秒）", en="Seconds"),
    Phrase(zh="包/采样", en="Packets/samples"),
    Phrase(zh="解码帧", en="Frames decoded"),
)
VERIFY_LENGTH = Phrase(zh="时长 {seconds:.3f} 秒，{size:,} 字节", en="{seconds:.3f} s, {size:,} bytes")
VERIFY_DRIFT = Phrase(
    zh="画面比音频晚结束 {seconds:+.3f} 秒",
    en="the picture ends {seconds:+.3f} s after the sound",
)
VERIFY_REPORT = Phrase(zh="报告：{text}", en="report: {text}")
VERIFY_OK = Phrase(zh="{file}：没有问题", en="{file}: nothing is wrong")
VERIFY_BAD = Phrase(zh="{file}：有问题", en="{file}: not as it should be")
PROBLEMS: Mapping[str, Phrase] = {
    "broken": Phrase(zh="结构损坏：{got}", en="its structure is broken: {got}"),
    "no_tracks": Phrase(zh="没有任何轨道", en="it has no track"),
    "packets": Phrase(
        zh="轨道 {track}：应有 {expected} 个包，读到 {got} 个",
        en="track {track}: {expected} packets expected, {got} read",
    ),
    "missing": Phrase(zh="文件不存在", en="the file is not there"),
    "fewer": Phrase(
        zh="报告共有 {expected} 个 {kind} 包，文件中只有 {got} 个",
        en="the report says {expected} packets of {kind} in all, there are {got}",
    ),
    "decode": Phrase(zh="轨道 {track}：{got} 个包无法解码", en="track {track}: {got} packets cannot be decoded"),
    "order": Phrase(zh="轨道 {track}：{got} 处时间倒退", en="track {track}: time runs backwards at {got} places"),
    "size": Phrase(
        zh="报告为 {expected} 字节，文件为 {got} 字节", en="the report says {expected} bytes, the file has {got}"
    ),
    "duration": Phrase(
        zh="报告为 {expected} 秒，文件为 {got} 秒", en="the report says {expected} s, the file has {got} s"
    ),
}

# -- get -------------------------------------------------------------------------------------------------------------

GET_DONE = Phrase(zh="{path}（{size:,} 字节，已校验）", en="{path} ({size:,} bytes, verified)")
GET_THERE = Phrase(zh="已经有了：{path}", en="already there: {path}")
GET_FAILED = Phrase(zh="失败 [{code}]：{text}", en="failed [{code}]: {text}")
GET_INTERRUPTED = Phrase(zh="已中断；再输入同一行即可继续", en="interrupted; type the same line again to go on")
NOTHING_TO_GET = Phrase(zh="缺少参数 'URL'（或 -i FILE）", en="Missing argument 'URL' (or -i FILE).")
EMPTY_BATCH = Phrase(zh="--input 的文件中没有链接", en="there is no URL in the file of --input")
BAD_BATCH = Phrase(zh="不能读取 {file}（{reason}）", en="cannot read {file} ({reason})")
BATCH_LINE = Phrase(zh="第 {line} 行", en="line {line}:")
BATCH_SUMMARY = Phrase(
    zh="共 {total} 个：成功 {done}，失败 {failed}", en="{total} in all: {done} done, {failed} failed"
)
ONE_NAME_FOR_MANY = Phrase(
    zh="多个下载需要不同的文件名：应含 {{name}} 或 {{index}}",
    en="several downloads need several names: {{name}} or {{index}} has to be in it",
)
NO_SUCH_USER = Phrase(zh="{path}：没有这个用户", en="{path}: there is no such user")
OUTPUT_IS_DIRECTORY = Phrase(zh="{path} 是目录", en="{path} is a directory")
GET_NOT_BEGUN = Phrase(zh="没有开始", en="not begun")
WOULD_BE = Phrase(zh="文件：{path}", en="File: {path}")
GET_LOCKED = Phrase(zh="同一个下载正在另一个进程中进行", en="the same download is running in another process")
BAD_OUTPUT_NAME = Phrase(
    zh="文件名不能为空，不能含有控制字符，也不能超过 {limit} 字节",
    en="a file name is not empty, has no control characters and at most {limit} bytes",
)
GET_NO_STATE = Phrase(zh="状态目录不可用：{reason}", en="the state directory cannot be used: {reason}")
NO_STANDARD_OUTPUT = Phrase(
    zh="不能写到标准输出：写出要生成的文件，如 film.mp4",
    en="there is no output to the standard output: name the file to make, such as film.mp4",
)
CALLED_MP4 = Phrase(
    zh="文件将是 {name}：不能生成 {suffix}，可以是 .mp4 或 .ts",
    en="the file is called {name}: {suffix} cannot be made; .mp4 and .ts can",
)
BAD_OUTPUT = Phrase(zh="不能生成 {suffix}，可以是 .mp4 或 .ts", en="{suffix} cannot be made; .mp4 and .ts can")

GET_ADVICE: Mapping[str, Phrase] = {
    "invalid_url": Phrase(
        zh="检查链接是否完整，再用完整的链接输入这一行", en="see that the link is whole, and type the line with that"
    ),
    "forbidden_address": Phrase(
        zh="若信任该地址，直接把它的链接写在命令行上；元数据等地址永不连接；用 fake-IP DNS（如 Clash）时请用 --proxy，"
        "或使用服务和 network.allow（见 docs/configuration.md）",
        en="if the address is to be trusted, type the link that leads to it itself; metadata services and link-local "
        "addresses are never reached; where a fake-IP DNS such as that of Clash answers, use --proxy, or the service "
        "with network.allow (docs/configuration.md)",
    ),
    "unsupported_encryption": Phrase(
        zh="受 DRM 保护的节目无法下载；若已有密钥，请用 --key 提供",
        en="a stream under DRM cannot be downloaded; if you have its key, give it with --key",
    ),
    "separate_audio_unsupported": Phrase(
        zh="让文件名以 .mp4 结尾（-o film.mp4）", en="name a file that ends in .mp4 (-o film.mp4)"
    ),
    "playlist_changed": Phrase(
        zh="无需处理：不再对应的部分会重新下载；若这不是同一个节目，请用 -o 换一个文件名",
        en="nothing: what does not fit any more is fetched again; if this is another programme, name another file (-o)",
    ),
    "needs_url": Phrase(zh="取得新的播放链接，用它输入这一行", en="get a new link, and type the line with that"),
    "skipped_by_status": Phrase(
        zh="在 --skip 的表达式中加上 if-http.code-merge_ts 后再输入这一行，或自行合并保留的分片",
        en="type the line with if-http.code-merge_ts in the expression of --skip, or merge the kept segments yourself",
    ),
    "fetch_failed": Phrase(
        zh="稍后再输入同一行；已下载的分片会保留", en="type the same line again later; what was fetched is kept"
    ),
    "http_4xx": Phrase(
        zh="检查链接是否过期，以及是否需要请求头（--header 'Referer: …'、Cookie），改正后再输入这一行",
        en="see whether the link has expired or needs headers (--header 'Referer: …', Cookie); mend that, and type the "
        "line again",
    ),
    "http_5xx": Phrase(
        zh="服务器暂时有问题：稍后再输入同一行，已下载的分片会保留",
        en="the server has a problem of its own: type the same line again later, what was fetched is kept",
    ),
    "connect_failed": Phrase(
        zh="检查网络和链接，再输入同一行", en="look at the network and the link, and type the same line again"
    ),
    "dns_failed": Phrase(
        zh="检查域名是否正确、本机 DNS 是否可用，再输入同一行",
        en="see that the host name is right and that DNS works on this machine, and type the same line again",
    ),
    "refused": Phrase(
        zh="服务器没有在该端口提供服务：检查链接，或稍后再输入同一行",
        en="nothing listens at that port: look at the link, or type the same line again later",
    ),
    "reset": Phrase(
        zh="稍后再输入同一行；若一再出现，请减少连接数（--threads）",
        en="type the same line again later; if it comes back, use fewer connections (--threads)",
    ),
    "unreachable": Phrase(
        zh="检查本机网络、路由和防火墙，再输入同一行",
        en="look at this machine's network, routes and firewall, and type the same line again",
    ),
    "tls_untrusted": Phrase(
        zh="检查本机时间和链接；若确实信任该服务器，可加上 --insecure",
        en="look at this machine's clock and the link; if you trust the server, --insecure is yours to give",
    ),
    "timeout": Phrase(
        zh="稍后再输入同一行；已下载的分片会保留", en="type the same line again later; what was fetched is kept"
    ),
    "timeout_connect": Phrase(
        zh="检查网络或换用代理（--proxy），再输入这一行",
        en="look at the network or use a proxy (--proxy), and type the line again",
    ),
    "timeout_headers": Phrase(
        zh="服务器没有应答：稍后再输入同一行", en="the server does not answer: type the same line again later"
    ),
    "timeout_stall": Phrase(
        zh="连接太慢或中断：稍后再输入同一行，或减少连接数（--threads）",
        en="the connection is too slow or has stalled: type the same line again later, or use fewer connections "
        "(--threads)",
    ),
    "timeout_total": Phrase(
        zh="网速不足以按时取完：稍后再输入同一行，或选择较低的码流（--variant）",
        en="the network is too slow for it: type the same line again later, or choose a smaller variant (--variant)",
    ),
    "truncated": Phrase(
        zh="稍后再输入同一行；该分片会重新下载", en="type the same line again later; that segment is fetched again"
    ),
    "body_too_large": Phrase(
        zh="检查链接：它指向的不像分片或播放列表",
        en="look at the link: what it leads to is no segment and no playlist",
    ),
    "bad_response": Phrase(
        zh="检查链接和代理，再输入同一行", en="look at the link and the proxy, and type the same line again"
    ),
    "bad_byterange": Phrase(
        zh="稍后再输入同一行；若一再出现，说明服务器不支持范围请求",
        en="type the same line again later; if it comes back, the server cannot serve parts of a file",
    ),
    "retries_exhausted": Phrase(
        zh="先按文中最后的原因处理（链接、密钥、请求头或代理），或等服务器恢复，再输入同一行；已下载的分片会保留",
        en="the text names the last cause: mend that (the link, the key, headers or the proxy), or wait until the "
        "server has recovered, and type the same line again; what was fetched is kept",
    ),
    "proxy_failed": Phrase(zh="检查代理，再输入同一行", en="look at the proxy, and type the same line again"),
    "proxy_unreachable": Phrase(
        zh="检查代理地址和端口（--proxy）、代理是否在运行，再输入这一行",
        en="see that the proxy runs and that its address and port are right (--proxy), and type the line again",
    ),
    "proxy_target_unreachable": Phrase(
        zh="换一个代理（--proxy），或稍后再输入同一行",
        en="use another proxy (--proxy), or type the same line again later",
    ),
    "proxy_auth_failed": Phrase(
        zh="改正 --proxy 中的用户名和密码，再输入这一行",
        en="correct the user name and password in --proxy, and type the line again",
    ),
    "proxy_tls_untrusted": Phrase(
        zh="检查代理的证书；若确实信任它，可加上 --insecure",
        en="look at the proxy's certificate; if you trust it, --insecure is yours to give",
    ),
    "proxy_unsupported": Phrase(
        zh="补全 --proxy 的类型、主机和端口，再输入这一行",
        en="give the proxy's type, host and port with --proxy, and type the line again",
    ),
    "bad_segment": Phrase(
        zh="稍后再输入同一行，或用 --skip 跳过该分片",
        en="type the same line again later, or leave the segment out with --skip",
    ),
    "not_media": Phrase(
        zh="检查链接是否过期或需要请求头（--header），再输入这一行",
        en="see whether the link has expired or needs headers (--header), and type the line again",
    ),
    "decrypt_failed": Phrase(
        zh="密钥可能不对：检查是否需要请求头（--header），或用 --key 提供密钥",
        en="the key may be wrong: see whether it needs headers (--header), or give it with --key",
    ),
    "key_invalid": Phrase(
        zh="检查取密钥是否需要请求头（Cookie、Referer），或用 --key 提供密钥",
        en="see whether the key needs headers (Cookie, Referer), or give it with --key",
    ),
    "segment_failed": Phrase(
        zh="稍后再输入同一行，或加上 --allow-gaps 允许缺失",
        en="type the same line again later, or let the film have gaps with --allow-gaps",
    ),
    "segment_slow": Phrase(
        zh="无需处理：会继续尝试；若长时间没有进展，可按 Ctrl-C，换时间再输入同一行",
        en="nothing: it is tried on; if there is no progress for long, press Ctrl-C and type the same line again "
        "another time",
    ),
    "merge_failed": Phrase(
        zh="分片已保留：再输入同一行会再次合并",
        en="the segments are kept: type the same line again to merge once more",
    ),
    "merger_died": Phrase(
        zh="分片已保留：再输入同一行会再次合并；若一再出现，请报告",
        en="the segments are kept: type the same line again to merge once more, and report it if it comes back",
    ),
    "checkpoint_lost": Phrase(
        zh="再输入同一行会重新下载缺少的分片", en="type the same line again: what is missing is fetched again"
    ),
    "merge_lost": Phrase(
        zh="再输入同一行会重新下载已删除的分片；或不用 --low-disk",
        en="type the same line again to fetch the deleted segments once more, or do without --low-disk",
    ),
    "no_media": Phrase(
        zh="让文件名以 .ts 结尾（-o film.ts），或用 --keep-ts 保留原始分片",
        en="name a file that ends in .ts (-o film.ts), or keep the segments as they are with --keep-ts",
    ),
    "verify_failed": Phrase(
        zh="分片已保留：再输入同一行会再次合并；若一再出现，请报告",
        en="the segments are kept: type the same line again to merge once more, and report it if it comes back",
    ),
    "segments_unusable": Phrase(
        zh="加上 --allow-gaps 允许缺失，再输入这一行",
        en="let the film have gaps with --allow-gaps, and type the line again",
    ),
    "silent_track": Phrase(
        zh="用 --audio 选择其他音轨，或加上 --allow-gaps 后再输入这一行",
        en="choose another audio track with --audio, or let the film have gaps with --allow-gaps, and type the line "
        "again",
    ),
    "disk_full": Phrase(
        zh="清理磁盘空间，再输入同一行；已下载的分片会保留",
        en="free some space, and type the same line again; what was fetched is kept",
    ),
    "disk_error": Phrase(
        zh="检查该目录是否存在、可写，再输入同一行",
        en="see that the directory is there and can be written to, and type the same line again",
    ),
    "disk_read_only": Phrase(
        zh="以可写方式重新挂载该磁盘，再输入同一行；或用 -o 换一个目录",
        en="mount the disk so that it can be written to, and type the same line again; or name another place (-o)",
    ),
    "disk_gone": Phrase(
        zh="重新连接或挂载该磁盘，再输入同一行", en="connect or mount the disk again, and type the same line again"
    ),
    "no_permission": Phrase(
        zh="用 -o 换一个可以写入的目录，或取得写入权限后再输入同一行",
        en="name a place that you may write to (-o DIR/FILE), or get the right to write there, and type the same line "
        "again",
    ),
    "too_many_files": Phrase(
        zh="提高可打开文件数的上限（ulimit -n），或减少连接数（--threads），再输入这一行",
        en="raise the limit of open files (ulimit -n) or use fewer connections (--threads), and type the line again",
    ),
    "publish_failed": Phrase(
        zh="再输入同一行；已下载的内容会保留", en="type the same line again; what was downloaded is kept"
    ),
}
"""What to do after `get` failed, by code, where the catalogue's advice is for who has a service."""

# -- Tables ----------------------------------------------------------------------------------------------------------

STATUSES: Mapping[str, Phrase] = {
    "等待中": Phrase(zh="等待中", en="waiting"),
    "下载中": Phrase(zh="下载中", en="downloading"),
    "已暂停": Phrase(zh="已暂停", en="paused"),
    "已完成": Phrase(zh="已完成", en="completed"),
    "失败": Phrase(zh="失败", en="failed"),
}
"""By the API's word."""

COLUMN_ID = Phrase(zh="ID", en="ID")
COLUMN_STATUS = Phrase(zh="状态", en="Status")
COLUMN_PROGRESS = Phrase(zh="进度", en="Progress")
COLUMN_SPEED = Phrase(zh="速度", en="Speed")
COLUMN_LEFT = Phrase(zh="剩余", en="Left")
COLUMN_NAME = Phrase(zh="名称", en="Name")
ROW_DETAIL = Phrase(zh="详情", en="Detail")
ROW_SEGMENTS = Phrase(zh="分片", en="Segments")
ROW_SIZE = Phrase(zh="大小", en="Size")
ROW_FILE = Phrase(zh="文件", en="File")
ROW_URL = Phrase(zh="链接", en="URL")
ROW_CREATED = Phrase(zh="创建", en="Created")
ROW_COMPLETED = Phrase(zh="完成", en="Completed")
ROW_ERROR = Phrase(zh="错误", en="Error")
ROW_ADVICE = Phrase(zh="怎么办", en="What to do")
ROW_INCIDENT = Phrase(zh="经过", en="Incident")
ROW_QUEUE = Phrase(zh="排队", en="In the queue")
ROW_PRIORITY = Phrase(zh="优先级", en="Priority")
ADVICE = Phrase(zh="怎么办：{text}", en="What to do: {text}")
HELD = Phrase(zh="已挂起", en="held")
"""Paused by the service itself."""
ROW_WARNING = Phrase(zh="注意", en="Warning")
BYTES = Phrase(zh="{count:,} 字节", en="{count:,} bytes")
NO_TASKS = Phrase(zh="没有任务。用 m3u8svc add URL 添加。", en="No tasks. Add one with: m3u8svc add URL")
COLUMN_PLUGIN = Phrase(zh="插件", en="Plugin")
COLUMN_VERSION = Phrase(zh="版本", en="Version")
COLUMN_FAILURES = Phrase(zh="失败/调用", en="Failures/calls")
COLUMN_REASON = Phrase(zh="说明", en="Reason")
PLUGIN_STATES: Mapping[str, Phrase] = {
    "active": Phrase(zh="启用", en="active"),
    "off": Phrase(zh="关闭", en="off"),
    "broken": Phrase(zh="损坏", en="broken"),
    "disabled": Phrase(zh="已停用", en="disabled"),
}
NO_PLUGINS = Phrase(zh="没有安装插件。", en="No plugins are installed.")
OFFERS = Phrase(zh="可用的 merger：{mergers}；storage：{storages}", en="Mergers: {mergers}; storages: {storages}")
MORE_TASKS = Phrase(zh="还有 {count} 个任务", en="and {count} more")

PLAN_VARIANTS = Phrase(zh="码流", en="Variants")
PLAN_RENDITIONS = Phrase(zh="音轨和字幕", en="Sound and subtitles")
PLAN_GROUPS = Phrase(zh="分组", en="Groups")
COLUMN_SIZE = Phrase(zh="尺寸", en="Size")
COLUMN_RATE = Phrase(zh="码率", en="Rate")
COLUMN_FPS = Phrase(zh="帧率", en="fps")
COLUMN_RANGE = Phrase(zh="动态范围", en="Range")
COLUMN_CODECS = Phrase(zh="编码", en="Codecs")
COLUMN_TYPE = Phrase(zh="类型", en="Type")
COLUMN_LANGUAGE = Phrase(zh="语言", en="Language")
COLUMN_NOTES = Phrase(zh="备注", en="Notes")
COLUMN_NUMBER = Phrase(zh="编号", en="No.")
COLUMN_POSITIONS = Phrase(zh="分片", en="Segments")
COLUMN_START = Phrase(zh="开始", en="Start")
COLUMN_DURATION = Phrase(zh="时长", en="Duration")
COLUMN_SKIPPED = Phrase(zh="跳过", en="Skipped")
COLUMN_ADDRESS = Phrase(zh="链接", en="Address")
ROW_ENCRYPTION = Phrase(zh="加密", en="Encryption")
ROW_SKIPPED = Phrase(zh="跳过", en="Skipped")
ROW_TRACKS = Phrase(zh="轨道", en="Tracks")
NOTE_DEFAULT = Phrase(zh="默认", en="default")
NOTE_FORCED = Phrase(zh="强制", en="forced")
NOTE_INSIDE = Phrase(zh="在码流内", en="inside the variant")
PLAN_SEGMENTS = Phrase(zh="{count} 个，跳过 {skipped}，缺失 {gaps}", en="{count}, {skipped} skipped, {gaps} missing")
PLAN_BYTES = Phrase(zh="约 {size}", en="about {size}")
MORE_GROUPS = Phrase(zh="还有 {count} 组（用 --json 查看全部）", en="and {count} more groups (all with --json)")

# -- The demo --------------------------------------------------------------------------------------------------------

DEMO_STREAM = Phrase(
    zh="正在生成一个 {seconds} 秒的 HLS 流（H.264 + AAC，AES-128 加密）……",
    en="Making an HLS stream of {seconds} s (H.264 + AAC, encrypted with AES-128) …",
)
DEMO_DOWNLOAD = Phrase(
    zh="服务已在 {server} 启动。POST {server}/api/tasks ……",
    en="The service runs at {server}. POST {server}/api/tasks …",
)
DEMO_DONE = Phrase(zh="MP4 在这里：{path}", en="Here is the MP4: {path}")
DEMO_FACTS = Phrase(zh="{size:,} 字节，{duration:.1f} 秒，{tracks}", en="{size:,} bytes, {duration:.1f} s, {tracks}")
DEMO_TRACK = Phrase(zh="{kind} {codec}（{packets} 个包）", en="{kind} {codec} ({packets} packets)")
DEMO_NEXT = Phrase(
    zh="下一步：m3u8svc get URL，或 m3u8svc serve 然后 m3u8svc add URL",
    en="Next: m3u8svc get URL, or m3u8svc serve and then m3u8svc add URL",
)
DEMO_NO_DIRECTORY = Phrase(zh="不能写入 {path}（{reason}）", en="cannot write to {path} ({reason})")
DEMO_NO_STREAM = Phrase(zh="生成演示流失败：{reason}", en="the demo's stream could not be made: {reason}")
DEMO_NO_START = Phrase(zh="服务没有启动：{reason}", en="the service did not start: {reason}")
DEMO_FAILED = Phrase(zh="下载失败：{reason} [{code}]", en="the download failed: {reason} [{code}]")
DEMO_SLOW = Phrase(zh="{seconds} 秒内没有完成：{reason}", en="not done within {seconds} s: {reason}")
DEMO_UNREADABLE = Phrase(zh="{path} 不能读取：{reason}", en="{path} cannot be read: {reason}")
