"""The one reader of a mailbox, while it has nothing to do."""

import asyncio


class Sleeper:
    """Sleeps until it is roused. One task at a time.

    Attributes:
        asleep: whether somebody is there to be roused.
    """

    __slots__ = ("_alarm", "_woken", "asleep")

    def __init__(self) -> None:
        self.asleep = False
        self._alarm: asyncio.Future[None] | None = None
        self._woken = False

    async def sleep(self) -> None:
        """Return when roused. A cancelled sleep loses nothing.

        Raises:
            RuntimeError: somebody sleeps here already.
        """
        if self._alarm is not None:
            raise RuntimeError("two tasks wait for one mailbox: a mailbox has one reader")
        self._alarm = asyncio.get_running_loop().create_future()
        self.asleep = True
        try:
            await self._alarm
        finally:
            self._alarm = None
            self.asleep = False

    def rouse(self) -> None:
        """Make the sleep that is under way return."""
        self.asleep = False
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    def wake(self) -> None:
        """Rouse, and remember it until `woken` is asked."""
        self._woken = True
        self.rouse()

    def woken(self) -> bool:
        """Return whether there was a `wake` since this was asked before."""
        woken, self._woken = self._woken, False
        return woken
