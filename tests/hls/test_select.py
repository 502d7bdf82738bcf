"""
Which variant and which renditions a task wants.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.errors import NoSuchVariant, NothingToDownload, SelectionError
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist
from m3u8svc.hls.select import (
    LONGEST,
    Chosen,
    choose,
    choose_audio,
    choose_subtitles,
    is_audio_only,
    parse_languages,
    parse_subtitle_files,
    parse_variant_choice,
    variant_text,
)
from m3u8svc.testing.playlists import RenditionLine, VariantLine, master_playlist


def master(*variants: VariantLine, renditions: tuple[RenditionLine, ...] = ()) -> MasterPlaylist:
    playlist = parse_playlist(master_playlist(variants, renditions=renditions), "http://h/m.m3u8")
    assert isinstance(playlist, MasterPlaylist)
    return playlist


AVC, HEVC, SOUND = "avc1.64001f,mp4a.40.2", "hvc1.2.4.L123,mp4a.40.2", "mp4a.40.2"
LADDER = (
    VariantLine(uri="240", bandwidth=300_000, resolution=(426, 240), frame_rate=25, codecs=AVC, audio="fr"),
    VariantLine(uri="sound", bandwidth=96_000, codecs=SOUND, audio="en"),
    VariantLine(uri="720", bandwidth=2_500_000, resolution=(1280, 720), frame_rate=29.97, codecs=AVC, audio="en"),
    VariantLine(uri="720hevc", bandwidth=1_500_000, resolution=(1280, 720), frame_rate=30, codecs=HEVC, audio="en"),
    VariantLine(uri="1080", bandwidth=5_000_000, resolution=(1920, 1080), frame_rate=30, codecs=AVC, video="source"),
    VariantLine(uri="1080p60", bandwidth=7_000_000, resolution=(1920, 1080), frame_rate=59.94, codecs=AVC),
    VariantLine(
        uri="2160",
        bandwidth=16_000_000,
        resolution=(3840, 2160),
        frame_rate=60,
        codecs="dvh1.05.06,ec-3",
        video_range="PQ",
    ),
)
GROUPS = (
    RenditionLine(group="en", name="English", language="en-US", uri="a/en"),
    RenditionLine(group="fr", name="Français", language="fra", uri="a/fr"),
    RenditionLine(group="source", name="1080p30 (source)", type="VIDEO"),
)


def chosen(expression: str, *variants: VariantLine) -> str:
    playlist = master(*(variants or LADDER), renditions=GROUPS)
    return choose(playlist, parse_variant_choice(expression)).uri.removeprefix("http://h/")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", "2160"),
        ("best", "2160"),
        ("BEST", "2160"),
        ("worst", "240"),
        ("720", "720"),
        ("720p", "720"),
        ("1080p", "1080p60"),
        ("1080p60", "1080p60"),
        ("1080p30", "1080"),
        ("1280x720", "720"),
        ("4k", "2160"),
        ("2k", "1080p60"),
        ("2500k", "720"),
        ("audio_only", "sound"),
        ("audio-only", "sound"),
        ("height<=1080", "1080p60"),
        ("height <= 1080", "1080p60"),
        ("height<1080", "720"),
        ("height>=720 worst", "720hevc"),
        ("worst height>=720", "720hevc"),
        ("height>720 worst", "1080"),
        ("height=720 codec~avc1", "720"),
        ("height=720 codec=hevc", "720hevc"),
        ("height=720 codec=hvc1", "720hevc"),
        ("height=720 codec!=h264", "720hevc"),
        ("height=720 codec!~avc", "720hevc"),
        ("codec=hvc1|dvh1", "2160"),
        ("codec=hvc1.2.*", "720hevc"),
        ("codec=ac-3|ec-3", "2160"),
        ("height!=2160", "1080p60"),
        ("height=240|720", "720"),
        ("width<=1280", "720"),
        ("bandwidth<3M", "720"),
        ("bandwidth<2500k", "720hevc"),
        ("bandwidth<=2.5M", "720"),
        ("bandwidth>=0.005G worst", "1080"),
        ("bandwidth<200k", "sound"),
        ("fps>=50 worst", "1080p60"),
        ("fps=60 height<2160", "1080p60"),
        ("range=HDR10", "2160"),
        ("range=PQ|HLG", "2160"),
        ("range=HDR", "2160"),
        ("range=dv", "2160"),
        ("range=SDR", "1080p60"),
        ("range!=SDR", "2160"),
        ("lang=fr", "240"),
        ("lang=en", "720"),
        ("lang=eng worst", "720hevc"),
        ("lang=français", "240"),
        ("name~source", "1080"),
        ('name="1080p30 (source)"', "1080"),
        ("height=4320 / height=480 / worst", "240"),
        ("height=1080 codec~hvc1 / height<=1080 / best", "1080p60"),
        # as others are used to
        ("b", "2160"),
        ("w", "240"),
        ("bv*+ba/b", "2160"),
        ("bv+ba worst", "240"),
        ("bestvideo+bestaudio/best", "2160"),
        ("bestvideo[ext=mp4]+bestaudio[ext=m4a]/best[ext=mp4]/best", "2160"),
        ("best[height<=720]", "720"),
        ("bv*[height<=720][fps<=30]+ba/b", "720"),
        ("bv[vcodec^=avc1][height<=?1080]", "1080p60"),
        ("[height<=?720]", "720"),
        ("ba", "sound"),
        ("tbr<3000", "720"),
        ('res="1920*1080":codecs=avc1:for=worst', "1080"),
        ('res="3840*"', "2160"),
        ('frame="60*":for=worst', "1080p60"),
        ("bwMin=800:bwMax=2000", "720hevc"),
        ("range=PQ:for=best", "2160"),
    ],
)
def test_an_expression_means_a_variant(expression: str, expected: str) -> None:
    """What people write, each in the words of the tool they know."""
    assert expected == chosen(expression)


def test_an_upright_film_has_its_size_by_the_shorter_side() -> None:
    """720p of a telephone is 720x1280."""
    tall = [VariantLine(uri=f"{w}", bandwidth=w, resolution=(w, w * 16 // 9)) for w in (360, 720, 1080)]
    assert "720" == chosen("720p", *tall)


def test_what_a_playlist_does_not_say_meets_no_condition() -> None:
    """But "!=", and what is written with "?"."""
    unknown, small = VariantLine(uri="unknown", bandwidth=9), VariantLine(uri="small", bandwidth=1, resolution=(4, 2))
    assert "small" == chosen("height<=720", unknown, small)
    assert "unknown" == chosen("height<=?720", unknown, small)
    assert "unknown" == chosen("height!=2", unknown, small)
    assert "unknown" == chosen("codec!=hevc", unknown, small)
    assert "unknown" == chosen("codec=?hevc", unknown, small)
    with pytest.raises(NoSuchVariant):
        chosen("codec=avc1", unknown, small)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("avc1*", True), ("*", True), ("a*c*1", True), ("*vc*", True), ("avc1*c1", False), ("a*v*v*1", False)],
)
def test_a_pattern_fits_whole_texts(pattern: str, fits: bool) -> None:
    """No character of a text is counted twice."""
    one = VariantLine(uri="one", codecs="avc1")
    assert fits is (one.uri == chosen(f"codec={pattern} / best", one, VariantLine(uri="two", bandwidth=2**40)))


def test_no_match_lists_what_there_is() -> None:
    """Somebody who sees it can write the next one."""
    with pytest.raises(NoSuchVariant) as caught:
        chosen("height=480 / 100p", LADDER[0], LADDER[1], LADDER[6])
    assert (
        "没有符合“height=480 / 100p”的码流；可选：426x240 25fps 300k avc1.64001f,mp4a.40.2; 96k mp4a.40.2 audio_only; "
        "3840x2160 60fps 16000k PQ dvh1.05.06,ec-3"
    ) == caught.value.text()


def test_a_long_list_of_variants_is_cut() -> None:
    """A hostile playlist does not make a huge message."""
    with pytest.raises(NoSuchVariant) as caught:
        chosen("h=1", *(VariantLine(uri=f"{n}", bandwidth=n * 1000, codecs="x" * 500) for n in range(1, 100)))
    assert len(caught.value.text()) < 5000
    assert caught.value.text().endswith("; …")


@pytest.mark.parametrize(
    ("expression", "position", "item"),
    [
        ("hight<=720", 1, "hight"),
        ("best hight<=720", 6, "hight"),
        ("720 / foo", 7, "foo"),
        ("height<=abc", 9, "abc"),
        ("height~720", 7, "~"),
        ("codec<3", 6, "<"),
        ("height<=720|1080", 9, "720|1080"),
        ("height<=", 9, ""),
        ("720//best", 5, "/"),
        ("/best", 1, "/"),
        ("best/", 6, ""),
        ("for=both", 1, "for=both"),
        ("codec~=avc.*", 7, "="),
        ("bv+bv", 4, "bv"),
        ("bv+ba[abr>100]", 7, "abr"),
        ("bv+ba[height>100]", 7, "height>100"),
        ("bwMin<3", 6, "<"),
        ("bests", 1, "bests"),
        ("1", 1, "1"),
        ("=720", 1, "=720"),
        ("<script>", 1, "<script>"),
        (" ,", 1, ","),
        ("a\x1bb", 1, "a\\x1bb"),
    ],
)
def test_what_cannot_be_understood_is_named(expression: str, position: int, item: str) -> None:
    """With its place, counted from 1."""
    with pytest.raises(SelectionError) as caught:
        parse_variant_choice(expression)
    assert (position, item) == (caught.value.fields["position"], caught.value.fields["item"])


def test_a_long_expression_is_refused() -> None:
    """And one at the limit takes no time."""
    with pytest.raises(SelectionError):
        parse_variant_choice("best " * 201)
    start = time.process_time()
    pattern = "codec=" + "*a" * 490
    with pytest.raises(NoSuchVariant):
        chosen(pattern, *(VariantLine(uri=f"{n}", codecs="a" * 489) for n in range(100)))
    assert time.process_time() - start < 2


@given(st.text(alphabet="best/720pk<=!~[]+*|: \"'heightcodec.?^$x×", max_size=40))
def test_any_text_is_a_choice_or_a_selection_error(text: str) -> None:
    """Never another error, whatever stands there; and what was read can be asked for."""
    try:
        choice = parse_variant_choice(text)
    except SelectionError as error:
        assert 1 <= int(str(error.fields["position"])) <= len(text) + 1
        return
    try:
        assert choose(master(*LADDER), choice) in master(*LADDER).variants
    except NoSuchVariant:
        return


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ([("a", 1, None, ""), ("b", 3, None, ""), ("c", 2, None, "")], "b"),
        ([("a", 1, (640, 360), ""), ("b", 1, (1280, 720), "")], "b"),
        ([("a", 1, (640, 360), ""), ("b", 1, (640, 360), "")], "a"),
        ([("a", 9, None, SOUND), ("b", 1, None, AVC)], "b"),
        ([("a", 9, None, SOUND), ("b", 1, None, "")], "b"),
        ([("a", 1, None, SOUND), ("b", 2, None, SOUND)], "b"),
        ([("a", 1, None, AVC), ("b", 2, (640, 360), SOUND)], "b"),
    ],
)
def test_M9_the_best_variant(variants: list[tuple[str, int, tuple[int, int] | None, str]], expected: str) -> None:
    """BANDWIDTH, then size, then order; sound alone only when there is nothing else."""
    lines = [VariantLine(uri=uri, bandwidth=bw, resolution=size, codecs=codecs) for uri, bw, size, codecs in variants]
    assert f"http://h/{expected}" == choose(master(*lines), parse_variant_choice("best")).uri


def test_the_worst_variant_has_a_picture_where_one_has() -> None:
    """M9 holds for "worst" too: sound alone is taken when nothing else is there."""
    assert "240" == chosen("worst")
    assert "sound" == chosen("worst", LADDER[1])


def test_no_variant_is_nothing_to_download() -> None:
    """A list of renditions alone."""
    with pytest.raises(NothingToDownload):
        choose(master(renditions=(RenditionLine(group="a", name="x"),)), parse_variant_choice("best"))


def test_a_variant_in_words() -> None:
    """Also one the playlist says nothing of."""
    first, second = master(LADDER[5], VariantLine(uri="x", bandwidth=None)).variants
    assert "1920x1080 59.94fps 7000k avc1.64001f,mp4a.40.2" == variant_text(first)
    assert "?" == variant_text(second)
    assert not is_audio_only(second)


# -- Renditions ------------------------------------------------------------------------------------------------------

ENGLISH = RenditionLine(group="g", name="English", language="en-US", uri="en", default=True)
BRITISH = RenditionLine(group="g", name="British", language="en-GB", uri="gb", autoselect=True)
COMMENTS = RenditionLine(group="g", name="Director's words", language="en", uri="comments")
FRENCH = RenditionLine(group="g", name="Français", language="fra", uri="fr")
INSIDE = RenditionLine(group="g", name="Deutsch", language="de")
OTHER = RenditionLine(group="x", name="other", language="es", uri="es", default=True)
ALL = (ENGLISH, BRITISH, COMMENTS, FRENCH, INSIDE, OTHER)
AVAILABLE = "en-US (English); en-GB (British); en (Director's words); fra (Français); de (Deutsch)"


def audio(wanted: str, *renditions: RenditionLine, variant: VariantLine | None = None) -> Chosen:
    playlist = master(variant or VariantLine(uri="v", audio="g"), renditions=renditions or ALL)
    return choose_audio(playlist, playlist.variants[0], parse_languages(wanted))


def names(chosen: Chosen) -> list[str]:
    return [each.name for each in chosen.renditions]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", ["English"]),
        ("en", ["Director's words"]),  # the tag is the wanted one exactly
        ("eng", ["Director's words"]),
        ("en-us", ["English"]),
        ("en-GB", ["British"]),
        ("fr,en-US", ["Français", "English"]),
        ("en-US,fr", ["English", "Français"]),
        ("fre", ["Français"]),
        ("français", ["Français"]),
        ("director's words,de", ["Director's words", "Deutsch"]),
        ("en-US,eng-US,English", ["English"]),
        ("all", ["English", "British", "Director's words", "Français", "Deutsch"]),
        ("fr,all", ["Français", "English", "British", "Director's words", "Deutsch"]),
    ],
)
def test_M4_the_audio_of_a_variant(wanted: str, expected: list[str]) -> None:
    """The wanted ones of its own group in the order they are wanted, each once."""
    found = audio(wanted)
    assert (expected, ()) == (names(found), found.warnings)


def test_M4_the_audio_nobody_chose() -> None:
    """DEFAULT, else AUTOSELECT, else the first of the group."""
    assert ["English"] == names(audio("", FRENCH, BRITISH, ENGLISH))
    assert ["British"] == names(audio("", FRENCH, BRITISH))
    assert ["Français"] == names(audio("", OTHER, FRENCH))
    assert [] == names(audio("", OTHER))
    assert [] == names(audio("", ENGLISH, variant=VariantLine(uri="v")))


def test_one_language_spoken_by_several() -> None:
    """DEFAULT first, then AUTOSELECT, then the order of the list."""
    plain = RenditionLine(group="g", name="5.1", language="en", uri="51")
    stereo = RenditionLine(group="g", name="2.0", language="en", uri="20", autoselect=True)
    default = RenditionLine(group="g", name="4.0", language="en", uri="40", default=True)
    assert ["4.0"] == names(audio("en", plain, stereo, default))
    assert ["2.0"] == names(audio("en", plain, stereo))
    assert ["5.1"] == names(audio("en", plain))
    assert ["5.1"] == names(audio("5.1", plain, stereo, default))
    described = RenditionLine(
        group="g",
        name="AD",
        language="en",
        uri="ad",
        default=True,
        characteristics="public.accessibility.describes-video",
    )
    assert ["5.1"] == names(audio("en", described, plain))
    assert ["AD"] == names(audio("en", described))


def test_audio_that_is_not_there_falls_back_with_a_warning() -> None:
    """It names what is there."""
    found = audio("ja,ko")
    assert ["English"] == names(found)
    assert (f"没有音轨“ja、ko”；可选：{AVAILABLE}",) == found.warnings
    found = audio("ja,fr")
    assert ["Français"] == names(found)
    assert (f"没有音轨“ja”；可选：{AVAILABLE}",) == found.warnings


def test_a_variant_without_a_group_has_what_it_has() -> None:
    """A wanted language is told to be nowhere."""
    found = audio("en", ENGLISH, variant=VariantLine(uri="v"))
    assert Chosen(warnings=("没有音轨“en”；可选：无",)) == found
    assert Chosen() == audio("all", ENGLISH, variant=VariantLine(uri="v"))


def test_audio_without_a_uri_is_inside_the_variant() -> None:
    """And so is a rendition that is the variant itself."""
    assert [None] == [each.uri for each in audio("de").renditions]
    same = RenditionLine(group="g", name="same", language="en", uri="v", default=True)
    assert [None] == [each.uri for each in audio("en", same).renditions]


def test_an_audio_only_variant_needs_no_rendition() -> None:
    """Its own sound is what was asked for; another language is taken when it is wanted."""
    alone = VariantLine(uri="v", audio="g", codecs=SOUND)
    assert [] == names(audio("", variant=alone))
    assert ["Français"] == names(audio("fr", variant=alone))


def test_the_audio_that_goes_with_a_variant() -> None:
    """The one there is without a wish."""
    playlist = master(VariantLine(uri="v", audio="g"), VariantLine(uri="w"), renditions=ALL)
    [found] = choose_audio(playlist, playlist.variants[0], parse_languages("")).renditions
    assert "English" == found.name
    assert () == choose_audio(playlist, playlist.variants[1], parse_languages("")).renditions


def subtitles(wanted: str, group: str = "s") -> Chosen:
    lines = (
        RenditionLine(type="SUBTITLES", group="s", name="forced", language="en", uri="f", forced=True, default=True),
        RenditionLine(type="SUBTITLES", group="s", name="English", language="en", uri="en"),
        RenditionLine(type="SUBTITLES", group="s", name="Português", language="pt-BR", uri="pt"),
        RenditionLine(type="SUBTITLES", group="t", name="other", language="en", uri="t"),
        RenditionLine(type="AUDIO", group="s", name="audio", language="en", uri="a"),
    )
    playlist = master(VariantLine(uri="v", subtitles=group), renditions=lines)
    return choose_subtitles(playlist, playlist.variants[0], parse_languages(wanted))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("none", []),
        ("", []),
        ("en", ["English"]),
        ("pt", ["Português"]),
        ("por,en", ["Português", "English"]),
        ("forced", ["forced"]),
        ("all", ["forced", "English", "Português"]),
    ],
)
def test_the_subtitles_of_a_variant(wanted: str, expected: list[str]) -> None:
    """None unless they are wanted; whole ones before those of foreign words only."""
    found = subtitles(wanted)
    assert (expected, ()) == (names(found), found.warnings)


def test_subtitles_that_are_not_there_are_a_warning() -> None:
    """The others are taken, the task goes on."""
    found = subtitles("ja,en")
    assert ["English"] == names(found)
    assert ("没有字幕“ja”；可选：en (forced); en (English); pt-BR (Português)",) == found.warnings


def test_a_variant_that_names_no_subtitles_has_all_there_are() -> None:
    """Many lists forget the attribute."""
    assert ["forced", "English", "Português", "other"] == names(subtitles("all", group=""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("vtt", "vtt"), ("SRT", "srt"), ("srt, vtt", "vtt,srt"), ("none", "none"), ("", "none"), ("vtt,vtt", "vtt")],
)
def test_kinds_of_subtitle_files(text: str, expected: str) -> None:
    """In one form, whatever was written."""
    assert expected == parse_subtitle_files(text)


@pytest.mark.parametrize(("text", "position"), [("ass", 1), ("vtt,ass", 5), ("none,vtt", 1), ("vtt,", 5)])
def test_kinds_of_subtitle_files_nobody_writes(text: str, position: int) -> None:
    """With their place."""
    with pytest.raises(SelectionError) as caught:
        parse_subtitle_files(text)
    assert position == caught.value.fields["position"]


@pytest.mark.parametrize("text", ["en,", ",en", "en,,fr", "en,none", "a\x07"])
def test_a_list_of_languages_with_holes_is_refused(text: str) -> None:
    """Also "none" among others."""
    with pytest.raises(SelectionError):
        parse_languages(text)


def test_a_wrong_language_is_named_by_its_place() -> None:
    """Counted from 1 in what was written."""
    with pytest.raises(SelectionError) as caught:
        parse_languages("en, fr,none")
    assert 8 == caught.value.fields["position"]


def test_a_list_of_languages_that_is_too_long_is_named_where_it_is_cut() -> None:
    """What stands at the first character too many is shown."""
    with pytest.raises(SelectionError) as caught:
        parse_languages("e" * LONGEST + "no further")
    assert (LONGEST + 1, "no further") == (caught.value.fields["position"], caught.value.fields["item"])


def test_all_languages_in_any_case() -> None:
    """It is one word, however it is written, and counts once."""
    assert ("en", "all") == parse_languages("en,ALL,all").items
