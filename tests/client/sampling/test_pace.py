"""When previews are due."""

from mos_client.sampling.pace import PreviewPace


def previewed(pace: PreviewPace, *, steps: int, step: float, preview: float) -> int:
    """Previews of a run whose steps and previews take so many seconds; how many."""
    now, made = 0.0, 0
    for number in range(1, steps + 1):
        now += step
        if pace.due(number, now):
            pace.shown(now, now + preview)
            now, made = now + preview, made + 1
    return made


def test_cheap_previews_come_every_so_many_steps() -> None:
    assert previewed(PreviewPace(4, 0.1), steps=20, step=1.0, preview=0.1) == 5
    assert previewed(PreviewPace(4), steps=20, step=1.0, preview=9.0) == 5


def test_costly_previews_take_no_more_than_their_share() -> None:
    made = previewed(PreviewPace(4, 0.1), steps=400, step=1.0, preview=3.0)
    assert 1 < made <= 1 + 0.1 * 400 / 3.0


def test_none_is_due_where_none_is_wanted() -> None:
    assert previewed(PreviewPace(None, 0.1), steps=20, step=1.0, preview=0.1) == 0
