from collections.abc import Iterator

import pytest
from serving import Explorer, served
from story import HOSPITALS, Story, troubled_study

HOSTILE = "<script>alert(1)</script>"
REVERSED = "Bre\u202emen\n\x1b[31m"


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """Five hospitals, two of them with hostile names; a finished study, one that drains a budget, one that runs."""
    story = Story(names=(*HOSPITALS[:3], HOSTILE, REVERSED))
    troubled_study(story, 24)
    troubled_study(story, 9, epsilon=4.0)
    story.remove(story.sites[4], f"{HOSTILE} & \u202e")
    running = story.propose(6)
    story.play_round(running)
    story.commit(running, story.sites[0])
    with served(story, tmp_path_factory.mktemp("explorer")) as running_service:
        yield running_service
