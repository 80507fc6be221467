"""What the queue promises is proved by the suite of the project that it is for; the rest is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from notification import ConfigurationError, MessageQueue, open_queue
from queues.conformance import MakeQueue, QueueConformance


class TestMaildirQueue(QueueConformance):
    """Opened by URL, so that the suite can open it in other processes, too, and kill those."""

    lease = 0.6

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        def make(**options: object) -> MessageQueue:
            query = "&".join(f"{name}={value}" for name, value in options.items())
            return open_queue(f"maildir:///{tmp_path}?{query}")

        return make

    async def inject(self, queue: MessageQueue, raw: bytes) -> None:
        """What another program may drop into the directory."""
        assert queue.url is not None
        self.dropped = getattr(self, "dropped", 0) + 1
        new = Path(queue.url.path) / queue.url.name / "new"
        last = max((path.name for path in new.iterdir()), default="0").partition(",")[0]
        (new / f"{last}.{self.dropped},0").write_bytes(raw)


async def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    """They are not ours, so they neither count nor get in the way."""
    async with open_queue(f"maildir:///{tmp_path}") as queue:
        new = tmp_path / "events" / "new"
        (new / "README").write_text("no event")
        (new / "directory,0").mkdir()
        (new / "link,0").symlink_to(new / "README")
        assert await queue.size() == 0


@pytest.mark.parametrize("url", ["maildir://host/path", "maildir://", "maildir:///d?queue=..", "maildir:///d?leese=3"])
def test_an_address_that_is_wrong_is_refused(url: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigurationError):
        open_queue(url)
