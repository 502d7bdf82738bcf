"""
M8: the steering manifest, clones, and the list to fail over by.
"""

import json
from typing import Any

import pytest

from m3u8svc.errors import BadSteeringManifest, PlaylistError, PlaylistTooLarge
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist
from m3u8svc.hls.steering import PathwayClone, SteeringManifest, alternatives, parse_steering_manifest, with_clones

URL = "https://steer.example/live/manifest.json?video=1"
MASTER = """#EXTM3U
#EXT-X-CONTENT-STEERING:SERVER-URI="/s",PATHWAY-ID="A"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="en",LANGUAGE="en",STABLE-RENDITION-ID="r",URI="https://a.example/en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="muxed"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="other",NAME="no",URI="https://a.example/no.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="aac",NAME="fr",URI="https://a.example/fr.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="aac",SUBTITLES="aac",CLOSED-CAPTIONS="cc",PATHWAY-ID="A"
https://a.example/v.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="other"
https://z.example/v.m3u8
"""


def manifest(**fields: Any) -> dict[str, Any]:
    """A valid manifest with `fields` in it; None takes one away."""
    whole = {"VERSION": 1, "PATHWAY-PRIORITY": ["A", "B"]} | {name.replace("_", "-"): v for name, v in fields.items()}
    return {name: value for name, value in whole.items() if value is not None}


def clone(**replacement: Any) -> dict[str, Any]:
    return {"ID": "C", "BASE-ID": "A", "URI-REPLACEMENT": {n.replace("_", "-"): v for n, v in replacement.items()}}


def read(document: object) -> SteeringManifest:
    return parse_steering_manifest(json.dumps(document), URL)


def master() -> MasterPlaylist:
    playlist = parse_playlist(MASTER, "https://m.example/master.m3u8")
    assert isinstance(playlist, MasterPlaylist)
    return playlist


def test_M8_a_manifest_is_read() -> None:
    """All of its fields; links are relative to the manifest."""
    document = manifest(
        TTL=12,
        RELOAD_URI="next.json",
        PATHWAY_CLONES=[
            clone(
                HOST="c.example:8443",
                PARAMS={"t": "x y"},
                PER_VARIANT_URIS={"v": "/v.m3u8"},
                PER_RENDITION_URIS={"r": "https://h.example/r.m3u8"},
            )
        ],
        NEW={"unknown": True},
    )
    assert read(document) == SteeringManifest(
        ttl_s=12.0,
        reload_uri="https://steer.example/live/next.json",
        priority=("A", "B"),
        clones=(
            PathwayClone(
                id="C",
                base_id="A",
                host="c.example:8443",
                params={"t": "x y"},
                variant_uris={"v": "https://steer.example/v.m3u8"},
                rendition_uris={"r": "https://h.example/r.m3u8"},
            ),
        ),
    )


def test_M8_defaults() -> None:
    """Five minutes, the same URI again, no clones; bytes and text are alike."""
    expected = SteeringManifest(ttl_s=300.0, reload_uri="", priority=("A", "B"), clones=())
    assert expected == parse_steering_manifest(json.dumps(manifest()).encode(), URL)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "清单不是对象"),
        (None, "清单不是对象"),
        (manifest(VERSION=None), "VERSION 不是 1"),
        (manifest(VERSION=2), "VERSION 不是 1"),
        (manifest(VERSION="1"), "VERSION 不是 1"),
        (manifest(VERSION=True), "VERSION 不是 1"),
        (manifest(VERSION=1.0), "VERSION 不是 1"),
        (manifest(TTL="60"), "TTL 不是有效的秒数"),
        (manifest(TTL=True), "TTL 不是有效的秒数"),
        (manifest(TTL=0), "TTL 不是有效的秒数"),
        (manifest(TTL=-1), "TTL 不是有效的秒数"),
        (manifest(TTL=10**400), "TTL 不是有效的秒数"),
        (manifest(RELOAD_URI=""), "RELOAD-URI 不是非空字符串"),
        (manifest(RELOAD_URI=1), "RELOAD-URI 不是非空字符串"),
        (manifest(RELOAD_URI="file:x"), "RELOAD-URI 不是可用的链接：file:x"),
        (manifest(PATHWAY_PRIORITY=None), "PATHWAY-PRIORITY 不是数组"),
        (manifest(PATHWAY_PRIORITY="A"), "PATHWAY-PRIORITY 不是数组"),
        (manifest(PATHWAY_PRIORITY=[]), "PATHWAY-PRIORITY 为空或有重复"),
        (manifest(PATHWAY_PRIORITY=["A", "A"]), "PATHWAY-PRIORITY 为空或有重复"),
        (manifest(PATHWAY_PRIORITY=["A", 1]), "PATHWAY-PRIORITY 的一项 不是非空字符串"),
        (manifest(PATHWAY_PRIORITY=["\ud800"]), "PATHWAY-PRIORITY 的一项 含有无效的字符"),
        (manifest(PATHWAY_CLONES={}), "PATHWAY-CLONES 不是数组"),
        (manifest(PATHWAY_CLONES=["C"]), "PATHWAY-CLONES 的一项 不是对象"),
        (manifest(PATHWAY_CLONES=[clone()] * 101), "PATHWAY-CLONES 超过 100 个"),
        (manifest(PATHWAY_CLONES=[clone() | {"ID": ""}]), "PATHWAY-CLONES 的 ID 不是非空字符串"),
        (manifest(PATHWAY_CLONES=[clone() | {"BASE-ID": None}]), "BASE-ID 不是非空字符串"),
        (manifest(PATHWAY_CLONES=[clone() | {"URI-REPLACEMENT": None}]), "URI-REPLACEMENT 不是对象"),
        (manifest(PATHWAY_CLONES=[clone(HOST=1)]), "HOST 不是非空字符串"),
        (manifest(PATHWAY_CLONES=[clone(HOST="h/x")]), "HOST 无效：h/x"),
        (manifest(PATHWAY_CLONES=[clone(HOST="user@h")]), "HOST 无效：user@h"),
        (manifest(PATHWAY_CLONES=[clone(HOST="h:99999")]), "HOST 无效：h:99999"),
        (manifest(PATHWAY_CLONES=[clone(PARAMS=[])]), "PARAMS 不是对象"),
        (manifest(PATHWAY_CLONES=[clone(PARAMS={"a": 1})]), "PARAMS 不是由字符串组成的对象"),
        (manifest(PATHWAY_CLONES=[clone(PARAMS={"": "1"})]), "PARAMS 不是由字符串组成的对象"),
        (
            manifest(PATHWAY_CLONES=[clone(PER_VARIANT_URIS={"v": "data:,x"})]),
            "PER-VARIANT-URIS 不是可用的链接：data:,x",
        ),
    ],
)
def test_M8_a_manifest_that_is_none_is_refused(document: object, reason: str) -> None:
    """Types are strict, and the error says what is wrong with what."""
    with pytest.raises(BadSteeringManifest) as caught:
        read(document)
    assert isinstance(caught.value, PlaylistError)
    assert f"内容引导清单（Content Steering）有误：{reason}" == caught.value.text()
    assert caught.value.text("en").isascii()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe{", b"[" * 200_000, b'{"VERSION": NaN}', b'{"TTL": Infinity}', b"9" * 100_000, "\ufeff{}"],
)
def test_M8_what_is_no_json_is_refused(body: bytes | str) -> None:
    """Cut off, undecodable, nested without end, numbers without end, what is no JSON at all."""
    with pytest.raises(BadSteeringManifest) as caught:
        parse_steering_manifest(body, URL)
    assert "不是有效的 JSON" in caught.value.text()


def test_M8_a_manifest_has_a_size() -> None:
    """A megabyte is no list of pathways."""
    with pytest.raises(BadSteeringManifest, match="1048576"):
        parse_steering_manifest(b" " * (1024 * 1024 + 1), URL)


def test_M8_a_clone_has_renditions_of_its_own() -> None:
    """Those of the groups its base uses, under other names, by host, parameters or stable id; captions stay."""
    document = manifest(
        PATHWAY_CLONES=[clone(HOST="c.example", PER_RENDITION_URIS={"r": "https://own.example/en.m3u8"})]
    )
    whole = with_clones(master(), read(document))
    made = whole.variants[-1]
    assert (made.pathway_id, made.uri) == ("C", "https://c.example/v.m3u8")
    assert (made.audio_group, made.subtitles_group, made.closed_captions) == ("aac/C", "aac/C", "cc")
    assert [(each.type, each.group_id, each.name, each.uri) for each in whole.renditions[4:]] == [
        ("AUDIO", "aac/C", "en", "https://own.example/en.m3u8"),
        ("AUDIO", "aac/C", "muxed", None),
        ("SUBTITLES", "aac/C", "fr", "https://c.example/fr.m3u8"),
    ]
    assert whole.variants[:2] == master().variants


def test_M8_a_clone_has_pictures_of_its_own() -> None:
    """Renditions of all three kinds go with it, each of the group of its kind."""
    media = "".join(
        f'#EXT-X-MEDIA:TYPE={kind},GROUP-ID="{group}",NAME="{kind} {group}",URI="https://a.example/{kind}{group}"\n'
        for kind in ("AUDIO", "VIDEO", "SUBTITLES")
        for group in ("a", "v", "s")
    )
    text = (
        f'{media}#EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID="A",AUDIO="a",VIDEO="v",SUBTITLES="s"\nhttps://a.example/x\n'
    )
    playlist = parse_playlist("#EXTM3U\n" + text, "https://m.example/")
    assert isinstance(playlist, MasterPlaylist)
    whole = with_clones(playlist, read(manifest(PATHWAY_CLONES=[clone(HOST="c.example")])))
    made = whole.variants[-1]
    assert ("a/C", "v/C", "s/C") == (made.audio_group, made.video_group, made.subtitles_group)
    assert [("AUDIO", "a/C"), ("VIDEO", "v/C"), ("SUBTITLES", "s/C")] == [
        (each.type, each.group_id) for each in whole.renditions[9:]
    ]


def test_M8_alternatives_of_a_clone_lead_back() -> None:
    """Whichever is in use, the others are the list; variants without a pathway are on the default one."""
    whole = with_clones(master(), read(manifest(PATHWAY_CLONES=[clone(HOST="c.example")])))
    assert [each.uri for each in alternatives(whole, whole.variants[-1])] == ["https://a.example/v.m3u8"]
    assert whole.variants[1].pathway_id == "."


def test_M8_parameters_replace_those_of_the_same_name() -> None:
    """What stands in a query stays but for those named; names and values are encoded."""
    text = MASTER.replace("https://a.example/v.m3u8", "https://a.example/v.m3u8?t=0&keep&t=1")
    playlist = parse_playlist(text, "https://m.example/")
    assert isinstance(playlist, MasterPlaylist)
    document = manifest(PATHWAY_CLONES=[clone(PARAMS={"t": "ä&b", "a=": "1"})])
    (found,) = alternatives(playlist, playlist.variants[0], read(document))
    assert "https://a.example/v.m3u8?keep&a%3D=1&t=%C3%A4%26b" == found.uri


def test_M8_clones_cannot_multiply_without_end() -> None:
    """A thousand variants times a hundred clones is too much."""
    lines = "".join(f'#EXT-X-STREAM-INF:BANDWIDTH={i},PATHWAY-ID="A"\nhttps://a.example/{i}\n' for i in range(1000))
    playlist = parse_playlist("#EXTM3U\n" + lines, "https://m.example/")
    assert isinstance(playlist, MasterPlaylist)
    many = [clone(HOST="c.example") | {"ID": f"C{number}"} for number in range(100)]
    with pytest.raises(PlaylistTooLarge):
        with_clones(playlist, read(manifest(PATHWAY_CLONES=many)))


def test_secrets_stay_out_of_reprs() -> None:
    """Links and parameters may hold tokens."""
    document = manifest(
        RELOAD_URI="next?token=s3cret",
        PATHWAY_CLONES=[clone(PARAMS={"token": "s3cret"}, PER_VARIANT_URIS={"v": "/v?token=s3cret"})],
    )
    assert "s3cret" not in repr(read(document))
