"""What time makes of a case: its lights (时限灯), urges (催办), supervision (督办) by the hub."""

from dataclasses import replace

from alerts.calendar_rows import load_calendar
from alerts.case import Move
from alerts.clock_rows import load_clocks, save_clocks
from alerts.clocks import tick
from alerts.dossier import Dossier


async def tick_clocks(dossier: Dossier) -> None:
    """Let time pass over the clocks of a case, and write what came of it.

    Args:
        dossier: The case, locked.
    """
    conn, now = dossier.conn, dossier.now
    clocks = await load_clocks(conn, dossier.case.case_no)
    calendar = await load_calendar(conn, now)
    after = list(clocks)
    for place, clock in enumerate(clocks):
        if clock.timer_at is None or clock.timer_at > now:
            continue
        ticked = tick(clock, now, calendar)
        after[place] = ticked.clock
        detail = {"clock": clock.clock, "light": ticked.clock.light, "due_at": clock.due_at}
        if ticked.lit:
            dossier.noted(Move("light_changed", clock.light, ticked.clock.light), detail)
        if ticked.urges:
            dossier.case = replace(dossier.case, urge_count=dossier.case.urge_count + 1)
            state = dossier.case.state
            dossier.noted(Move("urged", state, state, ticked.clock.light), detail)
        if ticked.level > dossier.case.supervise_level:
            before = str(dossier.case.supervise_level)
            dossier.case = replace(dossier.case, supervise_level=ticked.level)
            dossier.noted(Move("supervised", before, str(ticked.level), "overdue"), detail)
    await save_clocks(conn, clocks, after)
    await dossier.save()
