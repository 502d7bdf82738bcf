"""
The judgement, without service or network: what is left out of which playlist, and what never is.
"""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3u8svc_skip_ads.options import Chosen, Options
from m3u8svc_skip_ads.stretches import MAJORITY, Cut, Stretch, cut
from m3u8svc_skip_ads.verdict import Sign, Verdict, analyse, next_question

from m3u8svc.plugin import InitSection, Segment, SegmentGroup, Signature

AUTO = Options(mode="auto")
FILM, ADVERT, OTHER = (Signature(video=f"h264:{name}", audio="aac:1") for name in ("film", "advert", "other"))
SIGNATURES = {"film": FILM, "advert": ADVERT, "other": OTHER, "broken": Signature()}


@attrs.frozen
class Piece:
    """
    Segments of two seconds behind a discontinuity: how many, where, by which encoder, behind which marks.
    """

    count: int
    encoder: str = "film"
    path: str = "http://cdn.example/film/seg{}.ts"
    marks: tuple[str, ...] = ()
    joined: bool = False


def film(count: int, **more: object) -> Piece:
    """A stretch of the programme."""
    return Piece(count, **more)  # type: ignore[arg-type]


def advert(count: int = 3, **more: object) -> Piece:
    """An advert of another encoder."""
    return Piece(count, **{"encoder": "advert"} | more)  # type: ignore[arg-type]


def groups_of(pieces: list[Piece]) -> tuple[SegmentGroup, ...]:
    """What the hook is given for this playlist; the encoder of a segment is its title here."""
    groups: list[list[Segment]] = []
    position = 1
    for piece in pieces:
        if not piece.joined or not groups:
            groups.append([])
        for index in range(piece.count):
            groups[-1].append(
                Segment(
                    position=position,
                    number=position - 1,
                    uri=piece.path.format(position),
                    duration_s=2.0,
                    start_s=2.0 * (position - 1),
                    title=piece.encoder,
                    marks=piece.marks if index == 0 else (),
                )
            )
            position += 1
    return tuple(
        SegmentGroup(discontinuity_sequence=index, segments=tuple(group), look=_never)
        for index, group in enumerate(groups)
    )


async def _never(group: SegmentGroup) -> Signature:
    raise AssertionError("the pure core looks into nothing")


def judged(pieces: list[Piece], options: Options = AUTO) -> tuple[Verdict, list[int]]:
    """The verdict once every question is answered, and the numbers of the groups that were looked into."""
    found = cut(groups_of(pieces))
    known: dict[int, Signature] = {}
    while (stretch := next_question(found, known, options)) is not None:
        assert stretch.number not in known, "asked twice"
        known[stretch.number] = SIGNATURES[stretch.segments[0].title]
    return analyse(found, known, options), [*known]


def dropped(pieces: list[Piece], options: Options = AUTO) -> list[int]:
    """The numbers of groups of which something is left out."""
    return [each.stretch.number for each in judged(pieces, options)[0].findings if each.dropped]


ELSEWHERE = "http://ads.example/spot/{}.ts"
OUT, IN = ("#EXT-X-CUE-OUT",), ("#EXT-X-CUE-IN",)
SHARDS = [Piece(4, path="http://{}.cdn.example/film/seg{{}}.ts".format("a" if n % 3 else "b")) for n in range(12)]

CASES = {
    "three adverts of another encoder": (
        [film(10), advert(), film(12), advert(), film(10), advert(), film(10)],
        [2, 4, 6],
    ),
    "an advert before and one behind": ([advert(), film(30), advert()], [1, 3]),
    "adverts one behind the other": ([film(20), advert(2), advert(2, encoder="other"), film(20)], [2, 3]),
    "an advert of another path": ([film(20), advert(path=ELSEWHERE, encoder="film"), film(20)], [2]),
    "another path and encoder, no splice": (
        [film(20), advert(path=ELSEWHERE, joined=True), film(20, joined=True)],
        [2],
    ),
    "another path alone": (
        [film(20), advert(path=ELSEWHERE, encoder="film", joined=True), film(20, joined=True)],
        [],
    ),
    "a splice alone": ([film(20), advert(encoder="film"), film(20)], []),
    "another encoder that cannot be read": ([film(20), advert(encoder="broken"), film(20)], []),
    "marks alone": ([film(20), advert(encoder="film", joined=True, marks=OUT), film(20, joined=True, marks=IN)], [2]),
    "marks without an end": ([film(20), advert(encoder="film", joined=True, marks=OUT), film(20, joined=True)], []),
    "two halves of two encoders": ([film(20), film(20, encoder="other")], []),
    "many parts of two encoders": ([film(10 + n, encoder=["film", "other"][n % 2]) for n in range(8)], []),
    "two thirds and one third": ([film(40), film(20, encoder="other", path=ELSEWHERE)], []),
    "a splice at every segment": ([film(1, encoder=["film", "other"][n % 4 == 0]) for n in range(40)], []),
    "two hosts by turns": (SHARDS, []),
    "two hosts by turns, spliced, other encoder": (
        [attrs.evolve(piece, encoder="film" if "a." in piece.path else "other") for piece in SHARDS],
        [1, 4, 7, 10],
    ),
    "too long for an advert": ([film(2000), advert(151), film(2000)], []),
    "as long as an advert may be": ([film(2000), advert(150), film(2000)], [2]),
    "directories that differ in numbers only": (
        [
            film(20, path="http://x/20240501/{}.ts"),
            advert(encoder="film", path="http://x/20230310/{}.ts"),
            film(20, path="http://x/20240501/{}.ts"),
        ],
        [2],
    ),
    "directories that count": (
        [
            *(film(6, path=f"http://x/part{number}/{{}}.ts", joined=True) for number in range(6)),
            advert(encoder="film", path=ELSEWHERE),
            *(film(12, path=f"http://x/part{number}/{{}}.ts") for number in range(6, 8)),
        ],
        [2],
    ),
    "names that are hashes": (
        [
            *(film(1, path=f"http://x/f/{3 * number:x}f2a9c0{number:02x}e.ts", joined=True) for number in range(9, 30)),
            advert(encoder="film", path=ELSEWHERE),
            film(20, path="http://x/f/7b21f0{}a3.ts"),
        ],
        [2],
    ),
    "one segment only": ([film(1)], []),
    "a name for every segment": (
        [film(20, path="http://x/{0}/" + "abc.ts"), advert(encoder="film"), film(20, path="http://x/{0}/z.ts")],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_adverts_are_left_out_and_nothing_else(name: str) -> None:
    """Two signs are an advert, one is not; what has no majority, or is no small part, is the programme."""
    pieces, expected = CASES[name]
    assert expected == dropped(pieces)


def test_reason_names_group_times_and_signs() -> None:
    """People read in the task which group it was, when, and why."""
    verdict, _ = judged([film(5), film(30), advert(), film(30)])
    assert {"广告（第 3 组）：01:10–01:16，短插播、不同编码参数"} == {skip.reason for skip in verdict.skips}
    english = {"advert (group 3): 01:10–01:16, a short splice, other encoder settings"}
    assert english == {skip.reason.en for skip in verdict.skips}
    assert [36, 37, 38] == [skip.position for skip in verdict.skips]


def test_times_over_an_hour_show_hours() -> None:
    """A long programme's adverts can be found by their times."""
    verdict, _ = judged([film(1850), advert(), film(10)])
    assert "1:01:40–1:01:46" in verdict.skips[0].reason


# -- Modes and limits ------------------------------------------------------------------------------------------------


PLAIN = [film(10), advert(), film(20), advert(path=ELSEWHERE), film(10)]
MARKED = [film(20), advert(joined=True, encoder="film", marks=OUT), film(20, joined=True, marks=IN), advert(), film(20)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(mode="auto"), [2, 4]),
        (Options(mode="marks"), [2]),
        (Options(mode="off"), []),
        (Options(mode="auto", keep=Chosen(groups=frozenset({2, 4}))), []),
        (Options(mode="off", drop=Chosen(groups=frozenset({1}))), [1]),
        (Options(mode="off", drop=Chosen(groups=frozenset({1, 2})), keep=Chosen(groups=frozenset({1}))), [2]),
        (Options(mode="off", drop=Chosen(ranges=((1, 1), (21, 22)))), [1, 2]),
        (Options(mode="off", regex="seg2[1-3][.]ts$"), [2]),
        (Options(mode="auto", max_signatures=0), [2]),
        (Options(mode="auto", max_share=0.05), [2]),
        (Options(mode="auto", max_share=0.0), []),
    ],
)
def test_options_choose_what_is_left_out(options: Options, expected: list[int]) -> None:
    """Marks, judgement, names and expressions each act when asked, and `keep` wins over all of them."""
    assert expected == dropped(MARKED, options)


def test_keep_of_positions_saves_part_of_a_group() -> None:
    """A group may be kept in part."""
    verdict, _ = judged(PLAIN, attrs.evolve(AUTO, keep=Chosen(ranges=((12, 12),))))
    assert [11, 13, 34, 35, 36] == [skip.position for skip in verdict.skips]


def test_share_over_the_limit_warns_and_keeps() -> None:
    """More than max_share is never left out: the tier that would do it is not used, and that is said."""
    verdict, _ = judged(PLAIN, attrs.evolve(AUTO, max_share=0.1))
    assert [] == verdict.skips
    (warning,) = verdict.warnings
    assert "what is judged an advert would be 13% of the duration, over max_share 10%: kept" == warning.en
    assert "判断为广告的部分占总时长的 13%，超过 max_share 10%，因此保留" == warning.zh


def test_expression_over_the_limit_stops_the_tiers_behind_it() -> None:
    """An expression that matches everything leaves nothing out, and nothing is judged on top of it."""
    verdict, _ = judged(PLAIN, attrs.evolve(AUTO, regex="."))
    assert [] == verdict.skips
    assert "what the request names" in verdict.warnings[0].en
    assert verdict.warnings[0].zh.startswith("请求指定的部分占总时长的 100%")


def test_groups_that_are_not_there_are_told() -> None:
    """A group number of another playlist is not passed over in silence."""
    verdict, _ = judged([film(3)], Options(drop=Chosen(groups=frozenset({7}))))
    (warning,) = verdict.warnings
    assert "the request names groups that are not there: 7 (there are 1)" == warning.en
    assert "请求指定的组不存在：7（共 1 组）" == warning.zh


def test_missing_majority_is_told() -> None:
    """When the programme's encoder cannot be known, people read that it was not judged by."""
    pieces = [film(10 + n, encoder=f"{'film' if n % 2 else 'other'}") for n in range(12)] + [film(40, encoder="advert")]
    verdict, asked = judged(pieces)
    assert asked
    (warning,) = verdict.warnings
    assert "no encoder is known to have 60% of the duration: encoder settings are not judged" == warning.en
    assert "没有一种编码参数占到总时长的 60%，不按编码参数判断" == warning.zh


# -- Questions -------------------------------------------------------------------------------------------------------


def test_no_more_is_asked_than_allowed() -> None:
    """The limit ends the questions in the middle of the doubts too."""
    assert ([4], [3, 1]) == (
        dropped(PLAIN, attrs.evolve(AUTO, max_signatures=2)),
        judged(PLAIN, attrs.evolve(AUTO, max_signatures=2))[1],
    )


def test_what_is_marked_is_not_asked_about() -> None:
    """The playlist has said what it is."""
    pieces = [film(20), advert(marks=OUT), film(20, marks=IN)]
    assert ([2], []) == (dropped(pieces), judged(pieces)[1])


def test_segments_without_durations_count() -> None:
    """Where no durations are told, a share is one of segments."""
    groups = [
        attrs.evolve(group, segments=tuple(attrs.evolve(each, duration_s=0.0) for each in group.segments))
        for group in groups_of([film(6), film(4)])
    ]
    for share, expected in ((0.4, 4), (0.3, 0)):
        options = Options(drop=Chosen(groups=frozenset({2})), max_share=share)
        assert expected == len(analyse(cut(groups), {}, options).skips)


def test_nobody_is_asked_without_a_doubt() -> None:
    """A playlist without splices or other paths costs nothing."""
    assert [] == judged([film(50)])[1]


def test_longest_is_asked_first_then_doubts_by_path_then_length() -> None:
    """The programme must be known first; then the biggest doubt."""
    pieces = [
        film(9),
        advert(2),
        film(80),
        advert(4),
        film(9, joined=False),
        advert(3, path=ELSEWHERE, joined=True),
        film(9, joined=True),
    ]
    assert [3, 6, 1, 4, 2] == judged(pieces)[1]


def test_same_first_segment_is_one_case() -> None:
    """The same advert shown twice is looked into once, and left out twice."""
    spot = advert(3, path="http://cdn.example/film/seg9000.ts")
    pieces = [film(30), spot, film(30), spot, film(30)]
    assert [2, 4] == dropped(pieces)
    assert 3 == len(judged(pieces)[1])


def test_same_init_section_is_one_case() -> None:
    """Of fMP4 the init section tells the encoder: all that share one are asked about once."""
    groups = groups_of([film(30), advert(), film(30), advert(), film(30)])
    init = {"film": InitSection(uri="http://x/film.mp4"), "advert": InitSection(uri="http://x/ad.mp4")}
    found = cut(
        [
            attrs.evolve(group, segments=tuple(attrs.evolve(each, init=init[each.title]) for each in group.segments))
            for group in groups
        ]
    )
    known: dict[int, Signature] = {}
    while (stretch := next_question(found, known, AUTO)) is not None:
        known[stretch.number] = SIGNATURES[stretch.segments[0].title]
    assert 2 == len(known)
    assert [2, 4] == [each.stretch.number for each in analyse(found, known, AUTO).findings if each.dropped]


def test_path_found_innocent_is_not_asked_about_again() -> None:
    """A second host that serves the programme too costs one look, not one for each of its turns."""
    pieces = [
        Piece(6 if n % 3 else 2, path="http://{}.x/seg{{}}.ts".format("a" if n % 3 else "b"), joined=True)
        for n in range(30)
    ]
    verdict, asked = judged(pieces)
    foreign = {each.stretch.number for each in verdict.findings if each.stretch.foreign}
    assert 10 == len(foreign)
    assert 1 == len(foreign & set(asked))
    assert [] == verdict.skips


def test_questions_end_when_no_majority_can_come() -> None:
    """With the answers that are left no encoder can reach its majority: nobody is asked for nothing."""
    pieces = [film(5) for _ in range(40)] + [film(12)]
    assert [] == judged(pieces, attrs.evolve(AUTO, max_signatures=4))[1]


# -- Laws ------------------------------------------------------------------------------------------------------------

pieces_lists = st.lists(
    st.builds(
        Piece,
        count=st.integers(1, 12),
        encoder=st.sampled_from([*SIGNATURES]),
        path=st.sampled_from([film(1).path, ELSEWHERE, "http://cdn.example/part{}/a.ts", "http://[/{}.ts"]),
        marks=st.sampled_from([(), OUT, IN, ("#EXT-X-CUE-OUT:4",), ("#EXT-X-CUE-OUT:DURATION=1e9",), (*IN, *OUT)]),
        joined=st.booleans(),
    ),
    max_size=12,
)
choices = st.builds(
    Chosen,
    groups=st.frozensets(st.integers(1, 14), max_size=4),
    ranges=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), max_size=2).map(tuple),
)
options_values = st.builds(
    Options,
    mode=st.sampled_from(["auto", "marks", "off"]),
    max_share=st.floats(0, 1),
    max_signatures=st.integers(0, 8),
    regex=st.sampled_from(["", "ads", "seg1"]),
    drop=st.one_of(st.just(Chosen()), choices),
    keep=st.one_of(st.just(Chosen()), choices),
)


def _programme(found: Cut) -> tuple[str, str]:
    """The pattern and the encoder that have the majority; "" without one."""
    total = sum(each.weight_s for each in found.stretches)
    result = []
    for value_of in (lambda each: each.pattern, _video):
        sums: dict[str, float] = {}
        for each in found.stretches:
            sums[value_of(each)] = sums.get(value_of(each), 0) + each.weight_s
        best = max(sums, key=sums.__getitem__, default="")
        result.append(best if best and sums[best] >= MAJORITY * total else "")
    return result[0], result[1]


def _video(stretch: Stretch) -> str:
    return SIGNATURES[stretch.segments[0].title].video


@given(pieces=pieces_lists, options=options_values)
def test_law_the_majority_is_never_judged_an_advert(pieces: list[Piece], options: Options) -> None:
    """What is of the programme's path and encoder is left out only if asked for or marked."""
    verdict, _ = judged(pieces, attrs.evolve(options, regex="", drop=Chosen()))
    pattern, video = _programme(cut(groups_of(pieces)))
    for finding in verdict.findings:
        if finding.dropped and not finding.stretch.mark:
            assert len(finding.signs) >= 2
            assert not (finding.stretch.pattern == pattern and video == _video(finding.stretch))


@given(pieces=pieces_lists, options=options_values)
def test_law_never_more_than_the_share(pieces: list[Piece], options: Options) -> None:
    """Whatever is asked, marked or judged: max_share holds."""
    verdict, _ = judged(pieces, options)
    count = sum(piece.count for piece in pieces)
    assert len(verdict.skips) <= options.max_share * count + 1e-6


@given(pieces=pieces_lists, options=options_values)
def test_law_keep_wins(pieces: list[Piece], options: Options) -> None:
    """Nothing that is named in keep is left out."""
    verdict, _ = judged(pieces, options)
    for finding in verdict.findings:
        assert not [each for each in finding.dropped if options.keep.has(finding.stretch.number, each)]


@given(pieces=pieces_lists, options=options_values)
def test_law_everything_left_out_is_there_and_has_a_reason(pieces: list[Piece], options: Options) -> None:
    """Each skip is one segment of the playlist, once, with a reason that names its group."""
    verdict, asked = judged(pieces, options)
    positions = [skip.position for skip in verdict.skips]
    assert sorted(set(positions)) == positions
    assert set(positions) <= set(range(1, sum(piece.count for piece in pieces) + 1))
    for finding in verdict.findings:
        for reason in finding.dropped.values():
            assert f"第 {finding.stretch.number} 组" in reason and reason.partition("，")[2]
    assert len(asked) <= options.max_signatures


@given(pieces=pieces_lists)
def test_law_a_cut_loses_nothing(pieces: list[Piece]) -> None:
    """The stretches are the playlist, in order, numbered from 1."""
    found = cut(groups_of(pieces))
    positions = [position for stretch in found.stretches for position in stretch.positions]
    assert [*range(1, sum(piece.count for piece in pieces) + 1)] == positions
    assert [*range(1, len(found.stretches) + 1)] == [stretch.number for stretch in found.stretches]


def test_signs_have_names_people_read() -> None:
    """The README explains each sign by the word that stands in a reason."""
    assert ["短插播", "不同路径", "不同编码参数"] == [sign.value for sign in Sign]
