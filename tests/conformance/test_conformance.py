"""
The corpus: every entry means to our parser what its data says, every rule has one, and so has every kind of error.
"""

from pathlib import Path
from typing import get_args

import pytest

from m3u8svc.hls.dateranges import MAX_TAGS
from m3u8svc.hls.keys import DRM_SYSTEMS, MAX_KEYS
from m3u8svc.hls.lines import MAX_BYTES, MAX_LINE_BYTES, MAX_LINES, Kind
from m3u8svc.hls.multivariant import MAX_RENDITIONS, MAX_VARIANTS
from m3u8svc.hls.parse import MAX_LINK_BYTES, MAX_MAPS, MAX_SEGMENTS
from m3u8svc.hls.steering import MAX_BYTES as MANIFEST_BYTES
from m3u8svc.hls.steering import MAX_CLONES
from tests.conformance.corpus import Entry, described, entries, expected

ENTRIES = entries()
DOCUMENT = (Path(__file__).parents[2] / "docs" / "hls.md").read_text("utf-8")
RULES = [
    *(f"G{number}" for number in range(1, 15)),
    *(f"S{number}" for number in range(1, 19)),
    *(f"L{number}" for number in range(1, 7)),
    *(f"M{number}" for number in range(1, 10)),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_playlist_means_what_the_entry_says(entry: Entry) -> None:
    """Segments, variants, renditions and errors, whole and strict."""
    assert expected(entry) == described(entry)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_an_entry(rule: str) -> None:
    """Each rule of the list that a parser decides."""
    assert any(entry.says["rule"] == rule and entry.name.startswith(f"{rule}-") for entry in ENTRIES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_documented(rule: str) -> None:
    """docs/hls.md says in short what we do about it."""
    assert f"\n| {rule} | " in DOCUMENT


def test_every_limit_and_system_is_documented() -> None:
    """The numbers of docs/hls.md are those of the code, and so are the names it says are refused."""
    numbers = [MAX_LINES, MAX_SEGMENTS, MAX_VARIANTS, MAX_RENDITIONS, MAX_KEYS, MAX_MAPS, MAX_TAGS, MAX_CLONES]
    megabytes = [MAX_BYTES, MAX_LINK_BYTES, MANIFEST_BYTES]
    limits = DOCUMENT.partition("## Limits")[2]
    for limit in [*(f"{number:,} " for number in numbers), *(f"{size >> 20} MiB" for size in megabytes)]:
        assert limit in limits
    assert f"{MAX_LINE_BYTES >> 10} KiB" in limits
    refused = DOCUMENT.partition("Refused by name: ")[2].partition("\n")[0]
    assert all(system in refused for system in DRM_SYSTEMS.values())


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_error_has_an_entry(kind: str) -> None:
    """No word of an error is without an example, and the README explains it."""
    assert any(entry.says.get("error", {}).get("kind") == kind for entry in ENTRIES)
    assert f"`{kind}`" in (Path(__file__).parent / "README.md").read_text("utf-8")


def test_entries_say_one_thing_and_name_nothing_unknown() -> None:
    """Each entry is about a media playlist, a multivariant playlist or an error, and has no words we would not read."""
    for entry in ENTRIES:
        assert 1 == len({"media", "multivariant", "error"} & entry.says.keys()), entry.name
        assert entry.says.keys() <= {"rule", "says", "url", "given", "media", "multivariant", "error", "warns"}
        assert entry.given.keys() <= {"definitions", "base_url", "key", "iv", "append_query", "steering_manifest"}
        assert entry.body or entry.name == "G3-empty"
