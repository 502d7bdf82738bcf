"""
What the child says, as it goes over the pipe.
"""

import json
from pathlib import Path

from m3u8svc.mux.protocol import Fault, Outbox
from m3u8svc.wording import Said


def test_texts_go_in_both_languages(tmp_path: Path) -> None:
    """The English beside the Chinese; what is known in one language goes once."""
    with open(tmp_path / "reports", "wb") as file:
        outbox = Outbox(file.fileno())
        outbox.warn("main", 3, Said("空文件", "an empty file"))
        outbox.lost("main", 3, Said("空文件", "an empty file"))
        outbox.failed(Fault.UNSUPPORTED, Said("不支持", "not supported"))
        outbox.failed(Fault.DISK_ERROR, "Input/output error", number=5)
    warned, lost, refused, failed = map(json.loads, (tmp_path / "reports").read_bytes().splitlines())
    assert ("空文件", "an empty file") == (warned["text"], warned["text_en"])
    assert ("空文件", "an empty file") == (lost["reason"], lost["reason_en"])
    assert ("不支持", "not supported") == (refused["reason"], refused["reason_en"])
    assert ("Input/output error", False) == (failed["reason"], "reason_en" in failed)
    assert [warned, lost] == outbox.lasting
