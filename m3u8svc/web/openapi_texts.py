"""
What the description of the API says in words, in English: of each field of a request or an answer, by its name. A name
means the same wherever it is used.
"""

from collections.abc import Mapping
from typing import Any  # Any: JSON values

from m3u8svc.errors import DatabaseLocked, RangeNotSatisfiable, TooManyRequests

ABOUT = """\
Give it the address of an HLS (m3u8) stream, get back one verified MP4.

Bodies are `application/json` in UTF-8: at most 32 levels deep, integers within ±2^53, no name twice in an object, no
NaN, no NUL, no half of a surrogate pair. Unknown fields are ignored and named in `warnings` of the answer.

An error is one JSON string, in Chinese, such as `"任务不存在"`; its stable code is in the header `X-Error-Code`, the
same text in English in `X-Error-Text-En` (percent-encoded UTF-8). Another method than those of a path is a 405
`method_not_allowed` with `Allow`, another path a 404 `not_found`; a request that is no HTTP, or whose connection is
not wanted, may find the connection closed.

Lengths of texts count bytes of UTF-8 where the service checks them; `maxLength` here is the same number of
characters, which is never less.
"""

FIELDS: Mapping[str, str] = {
    "url": "The m3u8 address, or a page that links to one; http or https. In a new task it may be empty beside "
    "`playlist`; in a change it is another link to the same stream.",
    "filename": "The result's name: one path component; `film` and `film.mp4` mean the same file. Empty: taken from "
    "the URL. An existing file is never overwritten.",
    "use_http_headers": "Whether `http_headers` is used.",
    "http_headers": "Header name to list of values (a bare string is one value), sent with playlists, keys and "
    "segments. Those that look like credentials go only to the site of `url`.",
    "header_hosts": "Hosts that headers which look like credentials may go to besides the site of `url`: a list, or a "
    "text with commas.",
    "advanced": "Whether the settings of this request count. Without it those of the system do, and a proxy in the "
    "request is refused.",
    "save_location": "Directory of the result, absolute or `~/…`. Empty: the service's own choice.",
    "temp_directory": "Where segments wait meanwhile. Empty: `.m3u8svc` in `save_location`.",
    "download_threads": "Connections at most; 0 is automatic.",
    "skip_ts_info": "Segments to leave out, such as `1,92-100` or `time:00:01:00-00:02:00`.",
    "keep_ts_files": "Keep the decrypted segments beside the result.",
    "no_merge_ts": "No MP4, only the directory of segments.",
    "log_skipped_ts": "Write a file that lists what was left out.",
    "allow_insecure_https": "Accept certificates that nobody vouches for.",
    "proxy_type": "What kind of proxy to use; empty is `none`.",
    "proxy_host": "Host name or address of the proxy; needed unless `proxy_type` is `none`.",
    "proxy_port": "Port of the proxy; needed, and not 0, unless `proxy_type` is `none`.",
    "proxy_username": "Whom to be at the proxy.",
    "proxy_password": 'The password there. Shown as `"***"`, which means "unchanged" where it is sent back.',
    "use_server_file_time": "The result gets the time that the server says the first segment has.",
    "debug_log": "Write `<name>.debug.log` beside the result.",
    "merger": "What makes the file.",
    "storage": "What keeps the file.",
    "plugins": "Plugin name to its options.",
    "variant": "Which variant of a multivariant playlist: `best`, `worst`, `720p`, or an expression.",
    "audio": "Which sound: empty is the playlist's own choice; languages or names such as `en,fr`; `all`.",
    "subtitles": "Which subtitles: `none`, languages or names, `all`.",
    "subtitle_files": "Files to write of each subtitle track: `vtt`, `srt`, `vtt,srt`, `none`.",
    "on_param_change": "Where coding parameters change: go on in the same file, or begin another.",
    "low_disk": "Delete segments as soon as they are safe in the result.",
    "report": "Write `<name>.report.json` beside the result.",
    "priority": "Of the tasks that wait, those of a higher priority start first.",
    "faststart": "Put the index at the beginning of the MP4.",
    "allow_gaps": "A segment that cannot be had leaves a named hole instead of failing the task.",
    "groups": "Numbers of the groups between discontinuities to keep, such as `1,3-5`. Empty: all.",
    "key": 'The AES key of the stream, as 32 hexadecimal digits or base64. Shown as `"***"`.',
    "iv": 'The IV that goes with it, in hexadecimal. Shown as `"***"`.',
    "append_query": "A query to append to every link, `a=b&c=d`; `*` or true: that of the playlist's own link.",
    "base_url": "What relative links of the playlist are relative to, in place of its address.",
    "playlist": "The text of a playlist, beginning with `#EXTM3U`, in place of fetching `url`. It is not shown again.",
    "command": "A curl command, in the quoting of bash or of the Windows command prompt.",
    "default_save_location": "What an empty `save_location` stands for. Sent back, it is ignored.",
    "status": "The state of the task. A change may ask for 等待中 (go on) and 已暂停 (pause).",
    "queue": "Where the task is to stand among those of its priority that wait, from 1.",
    "limit_rate": "Bytes per second that may arrive at most, 0 for no limit: of a task, also while it runs; among the "
    "settings, of all tasks together, where `limit_schedule` says nothing else.",
    "limit_rate_per_host": "Bytes per second that may arrive from each host at most, 0 for no limit.",
    "limit_schedule": "Rates of all tasks together by the service's local time: entries such as `Mon-Fri 08:00-18:00 "
    "2M`, joined by `;`, of which the first that holds counts.",
    "merge": "Make the file of a finished task again.",
    "repair": "Fetch what the result of a finished task lacks, then make the file again.",
}
"""Fields that a request may have."""

SHOWN: Mapping[str, str] = {
    "id": "The task.",
    "size": "Bytes of the result; 0 until it is done.",
    "progress": "Percent of the whole task; it never goes back.",
    "status_bar": "One line for people, such as `[3/5]下载ts 速度 5.09 MB/s, 剩余时间 00:07`.",
    "err_msg": "What went wrong, in Chinese; absent where nothing did.",
    "created_at": "When it was created.",
    "updated_at": "When it changed last.",
    "completed_at": "When it was done; absent unless the state is 已完成.",
    "header_map": "The headers that the task sends: name to values.",
    "advanced_settings": "The settings that the task has.",
    "phase": "What is being done.",
    "speed": "Bytes per second.",
    "eta": "Seconds that are left; null (in a message of the WebSocket: absent) where that is not known.",
    "segments_done": "Segments that are there.",
    "segments_total": "Segments that are wanted.",
    "bytes": "Bytes of the segments that are there.",
    "err_code": "The stable code of `err_msg`; empty where there is none.",
    "err_msg_en": "`err_msg` in English.",
    "err_url": "The link it is about, without its query.",
    "err_advice": "What can be done about it, in Chinese.",
    "err_advice_en": "What can be done about it, in English.",
    "held": "Why the service itself paused the task, an error's code; empty where it did not.",
    "output": "Where the result is.",
    "again": "What is being done to a finished task once more.",
    "warnings": "What there is to say about it, in Chinese.",
    "warnings_en": "`warnings` in English; what an earlier version said stays as it is.",
    "playlist_bytes": "How large the playlist was that came with the request.",
    "queue_position": "Where the task stands among those that wait, from 1; null where it does not wait.",
    "incidents": "The last things that went wrong, oldest first.",
}
"""Further fields of a task and of its messages."""

INCIDENT: Mapping[str, str] = {
    "at": "When.",
    "code": "The error's code.",
    "text": "What went wrong, in Chinese.",
    "text_en": "What went wrong, in English.",
    "segment": "Which segment; empty for none.",
    "attempt": "After how many attempts.",
    "url": "At which URL, without its query.",
    "count": "How often in a row.",
    "advice": "What can be done about it, in Chinese.",
    "advice_en": "What can be done about it, in English.",
}
LIVE: Mapping[str, str] = {
    "speeds": "Bytes in each of the last seconds, oldest first; none of a task that does not run.",
    "hosts": "The hosts that the task asks or waits for now.",
    "log": "Its last lines, oldest first, as long as they are known.",
    "incidents": SHOWN["incidents"],
}
STANDING: Mapping[str, str] = {
    "host": "The host, with its port where the link names one, and the proxy on the way to it.",
    "connections": "Requests of the task that are under way there.",
    "limit": "How many requests are made there at once at most, of all tasks together.",
    "paused_for": "For how many seconds nobody asks it; null where somebody may.",
}
LINE: Mapping[str, str] = {
    "at": "When, in seconds since the epoch.",
    "level": "How much it matters.",
    "text": "What happened, in Chinese; about single requests in English.",
    "text_en": "What happened, in English.",
}
COUNTS: Mapping[str, str] = {
    "total": "All tasks.",
    "state": "Tasks of this state.",
    "limit_rate": "Bytes per second that may arrive at most now, of all tasks together; 0 for no limit.",
    "disk": "The disks that tasks write to, each once.",
}
DISK: Mapping[str, str] = {
    "path": "A directory on it.",
    "free": "Bytes of it that tasks may have; null while it does not say.",
    "total": "Bytes of it; null while it does not say.",
}
OUTLINE: Mapping[str, str] = {
    "status": "Always `success`.",
    "duration": "Seconds of what would be downloaded.",
    "estimated_bytes": "How much that is; null where nothing says it.",
    "segments": "Counts of segments of the main playlist.",
    "encryption": "How segments are encrypted.",
    "variants": "The variants of the multivariant playlist.",
    "renditions": "Its renditions.",
    "tracks": "The media playlists that would be downloaded.",
    "groups": "The stretches between discontinuities.",
    "warnings": "What there is to say about the stream, in Chinese.",
    "warnings_en": "`warnings` in English.",
}
SEGMENTS: Mapping[str, str] = {
    "tracks": "The media playlists that are downloaded, the main one first; none before they were read.",
    "groups": "The stretches of the main playlist between two discontinuities.",
    "kind": "What it holds.",
    "name": "Its name in the playlist; empty where there is none.",
    "total": "How many segments it has.",
    "states": "A letter for each segment, in order: `.` waiting, `f` in flight, `d` done, `r` done after a retry, `s` "
    "skipped, `x` failed or missing.",
    "number": "From 1.",
    "first": "Its first segment, from 1.",
    "last": "Its last segment.",
    "duration": "Seconds.",
    "kept": "Whether any of it is wanted.",
    "picture": "The segment that GET /api/tasks/picture shows; null: none is there, or 1,000 groups are before it.",
}
PLUGIN: Mapping[str, str] = {
    "name": "The plugin's name.",
    "state": "Whether it works.",
    "version": "Of the distribution.",
    "distribution": "What it was installed as.",
    "reason": "Why it does not work; empty where it does.",
    "warnings": "What there is to say about it.",
    "hooks": "Hook to what it did since the start.",
}
REASON: Mapping[str, str] = {
    "code": "The error's code.",
    "text": "What is wrong, in Chinese.",
    "text_en": "What is wrong, in English.",
    "advice": "What can be done about it, in Chinese.",
    "advice_en": "What can be done about it, in English.",
    "since": "Since when.",
}
SANDBOX: Mapping[str, str] = {
    "level": "How much of it there is.",
    "missing": "What of it this machine has not.",
    "landlock_abi": "Which Landlock keeps files from it; 0 for none.",
    "seccomp": "Whether system calls are kept from it.",
    "seen": "Whether a child has said so; before, it is what the kernel offers.",
}

STATUSES: Mapping[int, tuple[str, str]] = {
    400: ("The request is wrong; the text names every wrong field.", "解析请求失败：filename: 缺少必填字段"),
    401: ("Nobody knows who is asking.", "需要令牌、密码或登录"),
    403: ("Another site's page is asking, or the role of who asks does not allow it.", "拒绝来自其他网站的请求"),
    404: ("There is no such task, or no such file.", "任务不存在"),
    409: ("The task has no file that could be sent, now or at all.", "任务尚未完成，还没有结果文件"),
    413: ("The body is too large.", "请求体过大"),
    415: ("A body that is not `application/json`.", "请求体必须是 application/json"),
    416: (
        "The range has no byte of the file; `Content-Range` says how many there are.",
        RangeNotSatisfiable(size=1_048_576).text(),
    ),
    421: ("`Host` is not an address of the service.", "请求的主机名不是本服务的地址"),
    429: (
        "Too much at once, or too much that was wrong; `Retry-After` says when to come back.",
        TooManyRequests(per_s=50, seconds=1).text(),
    ),
    431: ("Too many headers, or too long ones.", "请求头过大"),
    500: ("A failure of the service; the log has the reason.", "服务器内部错误"),
    503: (
        "Not now: the database or a disk is busy or away, or what is wanted is yet to come.",
        DatabaseLocked(seconds=5).text(),
    ),
}
"""What each status of an error means, and a text such an answer has."""

EXAMPLES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "NewTask": {
        "A link and a name": {"url": "https://example.com/index.m3u8", "filename": "film"},
        "With headers": {
            "url": "https://example.com/index.m3u8",
            "filename": "film",
            "use_http_headers": True,
            "http_headers": {"Referer": ["https://example.com/watch"], "User-Agent": ["Mozilla/5.0"]},
        },
        "With settings of its own": {
            "url": "https://example.com/index.m3u8",
            "filename": "film",
            "advanced": True,
            "download_threads": 8,
            "skip_ts_info": "1,92-100",
            "variant": "height<=1080 / best",
            "subtitles": "en",
            "limit_rate": 2_000_000,
        },
        "Through a proxy": {
            "url": "https://example.com/index.m3u8",
            "filename": "film",
            "advanced": True,
            "proxy_type": "socks5",
            "proxy_host": "proxy.example",
            "proxy_port": 1080,
        },
        "From the text of a playlist": {
            "url": "",
            "filename": "film",
            "playlist": "#EXTM3U\n#EXTINF:6,\nhttps://example.com/1.ts\n#EXT-X-ENDLIST\n",
        },
    },
    "TaskChange": {
        "Pause": {"status": "已暂停"},
        "Go on": {"status": "等待中"},
        "Before others, and no faster than 2 MB/s": {"priority": 5, "limit_rate": 2_000_000},
        "The first in the queue": {"queue": "first"},
        "Another link to the same stream": {"url": "https://example.com/index.m3u8?token=new"},
    },
    "NewSettings": {
        "As they come": {},
        "Slow by day": {"limit_schedule": "Mon-Fri 08:00-18:00 2M", "limit_rate_per_host": 5_000_000},
        "A proxy for everything": {"proxy_type": "http", "proxy_host": "proxy.example", "proxy_port": 3128},
    },
    "CurlCommand": {
        "As a browser copies it": {
            "command": "curl 'https://example.com/index.m3u8' -H 'Referer: https://example.com/watch' --insecure"
        },
    },
    "Login": {
        "A token": {"token": "a token made by m3u8svc token create"},
        "A password": {"user": "me", "password": "correct horse"},
    },
}
"""Bodies that are taken as they stand, by the name of their shape and what they are for. Tests send each of them."""
