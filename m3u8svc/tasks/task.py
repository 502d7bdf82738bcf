"""
A task as values: what was asked (`TaskSpec`), where it stands (`Task`, `Progress`). Immutable; change = `attrs.evolve`.

Field names of `Settings` are those of the API (api-seed.txt), so that one name is used from the request to the row.
Times are seconds since the epoch, UTC.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs


class Status(enum.Enum):
    """
    The five public states; the values are the API's words.
    """

    WAITING = "等待中"
    DOWNLOADING = "下载中"
    PAUSED = "已暂停"
    COMPLETED = "已完成"
    FAILED = "失败"


class Phase(enum.Enum):
    """
    Finer than the state: the origin's five phases (origin-semantics 2.7), and "" outside them.
    """

    NONE = ""
    SNIFF = "sniff"
    PLAYLIST = "playlist"
    DOWNLOAD = "download"
    ANALYSE = "analyse"
    MERGE = "merge"


PROXY_TYPES = ("none", "http", "https", "socks5")
PARAM_CHANGES = ("keep", "split")
MAX_THREADS = 1000


@attrs.frozen(kw_only=True)
class Settings:
    """
    The advanced settings of a task, and the system settings: the same fields. An empty `save_location` or
    `temp_directory` means the service's default; `download_threads` 0 means automatic.
    """

    save_location: str = ""
    temp_directory: str = ""
    download_threads: int = 0
    skip_ts_info: str = ""
    keep_ts_files: bool = False
    no_merge_ts: bool = False
    log_skipped_ts: bool = False
    allow_insecure_https: bool = False
    proxy_type: str = "none"
    proxy_host: str = ""
    proxy_port: int = 0
    proxy_username: str = attrs.field(default="", repr=False)
    proxy_password: str = attrs.field(default="", repr=False)
    use_server_file_time: bool = False
    debug_log: bool = False

    @property
    def wants_proxy(self) -> bool:
        """Whether requests must go through a proxy, and never directly."""
        return self.proxy_type not in ("", "none")


SETTING_NAMES: tuple[str, ...] = tuple(field.name for field in attrs.fields(Settings))


@attrs.frozen(kw_only=True)
class Extensions:
    """
    What a request may say beyond the seed; always applies, whatever `advanced` says (DESIGN 6). `plugins` holds the
    options of each plugin that the request names, as the plugin accepted them.

    Selection: `variant` "best", "worst" or an expression (`hls.select`); `audio` "" (the one that goes with the
    variant), "all" or languages; `subtitles` "none", "all" or languages; `groups` "" or numbers of groups to keep.
    Overrides of the playlist: `key`, `iv`, `append_query`, `base_url` (`hls.overrides`).
    `header_hosts` are those that secret-looking headers go to besides the submitted site (`tasks.headers`).
    The result: `subtitle_files` kinds of side-cars, `on_param_change` "keep" or "split", `report` a file of its own.
    `limit_rate` is how many bytes per second may arrive for it, 0 any number; it can change while the task runs.
    """

    merger: str = "mp4"
    storage: str = "disk"
    faststart: bool = False
    allow_gaps: bool = False
    variant: str = "best"
    audio: str = ""
    subtitles: str = "none"
    subtitle_files: str = "vtt"
    groups: str = ""
    key: str = attrs.field(default="", repr=False)
    iv: str = attrs.field(default="", repr=False)
    append_query: str = attrs.field(default="", repr=False)
    base_url: str = attrs.field(default="", repr=False)
    on_param_change: str = "keep"
    low_disk: bool = False
    report: bool = False
    header_hosts: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    limit_rate: int = 0
    plugins: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)  # Any: each plugin's own JSON


LIVE_NAMES = frozenset({"limit_rate"})
"""The extensions that can change while their task runs."""


@attrs.frozen(kw_only=True)
class SystemSettings:
    """
    What a task gets where its request says nothing: the settings, and of the extensions those that can be a default.

    Besides, the limits of rate of the service, in bytes per second, 0 for none: `limit_rate` of all tasks together,
    where `limit_schedule` (`tasks.schedule`) says nothing else, and `limit_rate_per_host`.
    """

    settings: Settings = attrs.field(factory=Settings)
    merger: str = "mp4"
    storage: str = "disk"
    variant: str = "best"
    audio: str = ""
    subtitles: str = "none"
    subtitle_files: str = "vtt"
    on_param_change: str = "keep"
    low_disk: bool = False
    report: bool = False
    header_hosts: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    plugins: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)  # Any: each plugin's own JSON
    limit_rate: int = 0
    limit_rate_per_host: int = 0
    limit_schedule: str = ""

    @property
    def limits(self) -> dict[str, Any]:  # Any: int or str by name
        """The limits of the service, by name."""
        return {name: getattr(self, name) for name in LIMIT_NAMES}

    @property
    def extensions(self) -> dict[str, Any]:  # Any: str, bool or dict by name
        """What an extension is where a request does not say it, by name."""
        return {name: getattr(self, name) for name in DEFAULT_NAMES}


LIMIT_NAMES = ("limit_rate", "limit_rate_per_host", "limit_schedule")
"""The limits that system settings have."""
DEFAULT_NAMES: tuple[str, ...] = tuple(
    each.name for each in attrs.fields(SystemSettings) if each.name not in ("settings", *LIMIT_NAMES)
)
"""The extensions that system settings have."""


@attrs.frozen(kw_only=True)
class TaskSpec:
    """
    One validated request: what to download, under which name, how. `headers` is empty unless `use_http_headers`.
    `settings` is the effective snapshot, system settings already merged in.
    """

    url: str = attrs.field(repr=False)
    filename: str
    headers: Mapping[str, tuple[str, ...]] = attrs.field(factory=lambda: MappingProxyType({}), repr=False)
    advanced: bool = False
    settings: Settings = attrs.field(factory=Settings)
    extensions: Extensions = attrs.field(factory=Extensions)
    warnings: tuple[str, ...] = ()
    """What in the request was accepted but had no effect, for the answer."""
    playlist_bytes: int = 0
    """How large the playlist is that came with the request; the store has its text (`Store.playlist_text`)."""

    @property
    def has_playlist(self) -> bool:
        """Whether the playlist came with the request, and is not fetched."""
        return self.playlist_bytes > 0

    @property
    def address(self) -> str:
        """Where the task begins: its URL, or what the links of a playlist without URL are relative to."""
        return self.url or self.extensions.base_url


@attrs.frozen(kw_only=True)
class Progress:
    """
    How far a task is, as numbers and as the origin's status bar. `percent` 0..100 never goes back; `speed` is bytes/s;
    `eta_s` None when unknown.
    """

    percent: int = 0
    phase: Phase = Phase.NONE
    status_bar: str = ""
    speed: float = 0.0
    eta_s: float | None = None
    segments_done: int = 0
    segments_total: int = 0
    size_bytes: int = 0
    """Bytes of finished segments."""


@attrs.frozen(kw_only=True)
class CompanionFile:
    """
    A file beside the result, as it is kept with the task: `output` is where it was published, "" until then, and
    `staged` the hidden path it waits at; `output_id` is its identity, as for the result.
    """

    suffix: str
    output_id: str
    output: str = ""
    staged: str = ""


@attrs.frozen(kw_only=True)
class Again:
    """
    A finished task is to be made again (`tasks.again`): `kind` "merge" or "repair", `paused` while it shall wait. The
    rest is of the new result, from the moment it is about to be published: as in `Task` of the old one.
    """

    kind: str
    paused: bool = False
    output_id: str = ""
    companions: tuple[CompanionFile, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: str = ""


@attrs.frozen(kw_only=True)
class Incident:
    """
    Something that went wrong with a task: when (epoch seconds), the error's code and its text in Chinese and English,
    which segment it was about ("" for none), after how many attempts, at which URL (redacted), and how often in a row.
    """

    at: float
    code: str
    text: str
    segment: str = ""
    attempt: int = 1
    url: str = ""
    count: int = 1
    text_en: str = ""


@attrs.frozen(kw_only=True)
class Task:
    """
    One task at one moment. `rev` grows with every stored change (compare-and-set). It waits by `priority`, higher
    first, then by `place`, lower first; that of a new task is its creation. `held` is why the service itself paused it,
    an error's code: "" for one that the user paused or that is not paused.
    `output` is the published file or directory, "" until then; `output_id` its (device, inode, size) so that a later
    delete removes only what we made (R-DEL-1).
    """

    id: str
    spec: TaskSpec
    status: Status = Status.WAITING
    rev: int = 0
    err_code: str = ""
    err_msg: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    completed_at: float | None = None
    size: int = 0
    output: str = ""
    output_id: str = ""
    companions: tuple[CompanionFile, ...] = ()
    warnings: tuple[str, ...] = ()
    progress: Progress = attrs.field(factory=Progress)
    deleting: bool = False
    """Set by DELETE until the work directory is gone; a restart finishes it. Such a task is invisible."""
    missing: str = ""
    """What the result lacks, in one line for people; "" when it lacks nothing."""
    again: Again | None = None
    priority: int = 0
    place: float = 0.0
    held: str = ""
    err_url: str = ""
    """The URL that `err_code` is about, redacted; "" where it is about none."""
    incidents: tuple[Incident, ...] = ()
    """The last `tasks.incidents.KEPT` of them, oldest first."""
    mounts: tuple[str, ...] = ()
    """Where the disks of its directories were mounted when it started last (`tasks.reserve`)."""

    @property
    def needs_work(self) -> bool:
        """Whether a finished task's segments in its work directory are still of use: to fill its holes."""
        return self.again is not None or bool(self.missing and self.spec.extensions.allow_gaps)

    def options_for(self, plugin: str) -> Mapping[str, Any]:  # Any: a plugin's options are its own JSON
        """The part of the request meant for one plugin, empty where it named none."""
        return MappingProxyType(dict(self.spec.extensions.plugins.get(plugin, {})))


@attrs.frozen(kw_only=True)
class TaskDraft:
    """
    A valid request before the system settings are known. `given` holds only the setting fields the request names,
    `extensions` only the extensions.
    """

    url: str = attrs.field(repr=False)
    filename: str
    headers: Mapping[str, tuple[str, ...]] = attrs.field(factory=lambda: MappingProxyType({}), repr=False)
    advanced: bool = False
    given: Mapping[str, Any] = attrs.field(
        factory=lambda: MappingProxyType({}), repr=False
    )  # Any: str, int or bool by name
    # Any: str, bool or dict by name
    extensions: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}), repr=False)
    playlist: str = attrs.field(default="", repr=False)
    warnings: tuple[str, ...] = ()
    priority: int = 0

    def spec(self, system: SystemSettings) -> TaskSpec:
        """
        The task this becomes under these system settings: a snapshot (DESIGN 6). Not advanced: the system settings
        alone; advanced: the request's fields over them. Options of one plugin are taken as a whole.
        """
        extensions = Extensions(**{**system.extensions, **self.extensions})
        return TaskSpec(
            url=self.url,
            filename=self.filename,
            headers=self.headers,
            advanced=self.advanced,
            settings=attrs.evolve(system.settings, **self.given) if self.advanced else system.settings,
            extensions=attrs.evolve(extensions, plugins={**system.plugins, **extensions.plugins}),
            warnings=self.warnings,
            playlist_bytes=len(self.playlist.encode()),
        )


@attrs.frozen(kw_only=True)
class TaskChange:
    """
    What a PUT asks for; None = leave it. `given` and `extensions` hold what is to be set, by name.
    """

    status: Status | None = None
    given: Mapping[str, Any] = attrs.field(
        factory=lambda: MappingProxyType({}), repr=False
    )  # Any: str, int or bool by name
    extensions: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}))  # Any: str or bool by name
    again: str = ""
    """"merge" or "repair": make the finished task again; "" leaves it."""
    url: str = attrs.field(default="", repr=False)
    """Where the same stream is to be had from now on (`tasks.source`); "" leaves it."""
    priority: int | None = None
    position: int = 0
    """Where it is to stand among the waiting tasks of its priority, from 1 (`tasks.queue`); 0 leaves it there."""
    warnings: tuple[str, ...] = ()
    """What in the request was accepted but had no effect, for the answer."""
