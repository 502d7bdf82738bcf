"""
Twenty thousand wounded playlists of the corpus: each is read or refused by name, quickly.

A plain loop, since Hypothesis would take minutes of its own. The seed changes from run to run and is printed when one
fails; ``M3U8SVC_SEED`` repeats a run.
"""

import random
import time

import pytest

from m3u8svc.errors import NothingToDownload, PlaylistError
from m3u8svc.hls.overrides import Overrides, override_playlist
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_download
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist
from m3u8svc.hls.steering import alternatives
from tests import seeds
from tests.conformance.corpus import entries
from tests.conformance.wounds import WOUNDS, wounded

SEED = seeds.seed(seeds.OTHERS)
COUNT = 20_000
STRETCHES = 10
SLOW_S = 1.0
URL = "https://cdn.example/vod/1/index.m3u8?t=a%22%2Cb&x=&bad=%ff&a=%7B$a%7D"
BODIES = [entry.text for entry in entries() if entry.body]


@pytest.mark.parametrize("stretch", range(STRETCHES))
def test_a_wounded_playlist_is_read_or_refused_by_name(stretch: int) -> None:
    """Nothing but a PlaylistError comes out, with a text in both languages, within a second of CPU."""
    dice = random.Random(f"{SEED}/{stretch}")
    read = refused = 0
    for number in range(COUNT // STRETCHES):
        body = wounded(dice, BODIES)
        where = f"M3U8SVC_SEED={SEED}, stretch {stretch}, number {number}: {body!r}"
        begun = time.process_time()
        try:
            _use(body, dice)
            read += 1
        except PlaylistError as error:
            refused += 1
            _show(error, where)
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}\n{where}")
        assert time.process_time() - begun < SLOW_S, where
    # Wounds that always kill, or never do, would test one half only.
    assert read > 0.2 * COUNT / STRETCHES and refused > 0.2 * COUNT / STRETCHES, (SEED, read, refused)


@pytest.mark.parametrize("wound", WOUNDS, ids=lambda wound: wound.__name__)
def test_every_wound_changes_something(wound) -> None:
    """A way to break that does nothing would count for one all the same."""
    dice = random.Random(1)
    assert sum(wound(dice, body, BODIES) != body for body in BODIES) > len(BODIES) / 2


def _use(body: bytes, dice: random.Random) -> None:
    """
    Everything that is done with a playlist before anything is fetched.
    """
    key = bytes(16) if dice.random() < 0.2 else None
    url = URL if dice.random() < 0.9 else ""
    playlist = parse_playlist(body, url, definitions={"a": "x", "token": '"{$a}\n'}, key_given=key is not None)
    _show(playlist)
    playlist = override_playlist(playlist, Overrides(key=key, append_query="*"))
    if isinstance(playlist, MediaPlaylist):
        _check_media(playlist)
    else:
        _check_multivariant(playlist)


def _show(value: object, where: str = "") -> None:
    """Whatever is kept can be shown, stored and encoded."""
    repr(value).encode()
    if isinstance(value, PlaylistError):
        assert "\n" not in value.text("zh") + value.text("en"), where
        value.text("zh").encode()
        assert value.code in ("not_a_playlist", "playlist_too_large", "unsupported_encryption") or (
            value.fields["kind"] and value.fields["line"] and "tag" in value.fields
        ), where


def _check_media(playlist: MediaPlaylist) -> None:
    for segment in playlist.segments:
        assert segment.uri.startswith(("http://", "https://"))
        assert (segment.key is None) == (segment.iv is None)
        assert segment.iv is None or len(segment.iv) == 16
        assert 0 <= segment.duration_s < 1e8 and segment.start_s < float("inf")
        "".join((segment.uri, segment.title, *segment.marks)).encode()
    try:
        plan = plan_download(playlist, {})
    except NothingToDownload:
        return
    assert len(plan.jobs) + len(plan.absent) == len(playlist.segments)


def _check_multivariant(playlist: MasterPlaylist) -> None:
    for variant in playlist.variants:
        assert variant.uri.startswith(("http://", "https://"))
        assert variant not in alternatives(playlist, variant)
        repr(variant).encode()
