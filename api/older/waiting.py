"""A call is answered when it is done: until the hosts are as it wants them, as the ticks tell the store."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from api.conventions.wait import until
from api.services import Services


class Verdict(StrEnum):
    """How far it is."""

    DONE = "done"
    FAILED = "failed"
    GOES_ON = "goes on"


async def settled(services: Services, look: Callable[[], Verdict]) -> Verdict:
    """Look until it is done or failed; `Verdict.GOES_ON` if it is neither when the time is over.

    Args:
        services: Say how long.
        look: Looks at the store once; blocks.
    """
    last = Verdict.GOES_ON

    async def over() -> bool:
        nonlocal last
        last = await services.run(look)
        return last is not Verdict.GOES_ON

    await until(over, float(services.config.older_apis.timeout))
    return last
