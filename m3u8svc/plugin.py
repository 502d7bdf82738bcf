"""
The public import for plugin authors: the marker, the values hooks see and give, the errors they may raise.

Everything an author needs is here, and nothing else of m3u8svc is promised (docs/stability.md).
"""

from m3u8svc.errors import (
    ConfigError,
    DiskError,
    DiskFull,
    M3u8svcError,
    MergeError,
    NotConfigured,
    OptionError,
    PublishError,
)
from m3u8svc.hls.fingerprint import Signature
from m3u8svc.hls.playlist import (
    ByteRange,
    ContentSteering,
    DateRange,
    InitSection,
    Key,
    MasterPlaylist,
    MediaPlaylist,
    Rendition,
    Segment,
    Variant,
)
from m3u8svc.hookspecs import hookimpl
from m3u8svc.offerings import (
    Companion,
    Fetch,
    Gap,
    MediaFile,
    MergeJob,
    MergeProgress,
    Merger,
    MergeResult,
    Note,
    Part,
    Published,
    SegmentGroup,
    SegmentOutcome,
    Services,
    Skip,
    Storage,
    TrackInfo,
)
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import FailureDecision, GiveUp, Retry, SkipSegment
from m3u8svc.tasks.task import Extensions, Progress, Settings, Status, Task, TaskSpec
from m3u8svc.waiting import settled
from m3u8svc.wording import Said

__all__ = [
    "ByteRange",
    "Companion",
    "ConfigError",
    "ContentSteering",
    "DateRange",
    "DiskError",
    "DiskFull",
    "Extensions",
    "FailureDecision",
    "Fetch",
    "Gap",
    "GiveUp",
    "InitSection",
    "Key",
    "M3u8svcError",
    "MasterPlaylist",
    "MediaFile",
    "MediaPlaylist",
    "MergeError",
    "MergeJob",
    "MergeProgress",
    "MergeResult",
    "Merger",
    "NotConfigured",
    "Note",
    "OptionError",
    "Part",
    "Progress",
    "PublishError",
    "Published",
    "Purpose",
    "Rendition",
    "Request",
    "Retry",
    "Said",
    "Segment",
    "SegmentGroup",
    "SegmentOutcome",
    "Services",
    "Settings",
    "Signature",
    "Skip",
    "SkipSegment",
    "Status",
    "Storage",
    "Task",
    "TaskSpec",
    "TrackInfo",
    "Variant",
    "hookimpl",
    "settled",
]
