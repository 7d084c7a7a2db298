"""The sink that drives `on_event`: the messages of sessions, told as observability events."""

import copy
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from l0actors.actors.actor import Actor
from l0actors.bus.messages import Lagged, Message, SessionEnded, SessionStarted
from l0actors.logs import log
from l0actors.observability.catalogue import OBSERVED, ObservabilityEvent, SessionEvents


class ObservabilitySink(Actor):
    """Calls `on_event` with each observability event of the sessions that it hears of.

    It runs in its own task: an `on_event` that is slow delays its own next event and nothing else. A
    session is told from its start on; of one that was under way before, only the end.

    Args:
        on_event: called with each `ObservabilityEvent`, one at a time; sync or async. What it raises is
            logged, and the next event follows.
        meta: added to the `meta` of every event, where the event's own keys win. It is copied here, once.

    Raises:
        ValueError: `meta` cannot be copied.
    """

    subscribes = OBSERVED

    def __init__(
        self, on_event: Callable[[ObservabilityEvent], Any], *, meta: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._on_event = on_event
        self._meta = _copied(meta)
        self._sessions: dict[str, SessionEvents] = {}

    async def receive(self, message: Message) -> None:
        """Tell what happened."""
        if isinstance(message, Lagged):
            log.warning("on_event is too slow: events are missing", missed=message.missed)
            return
        for event in self._events(message):
            await self._tell(event)

    def _events(self, message: Message) -> list[ObservabilityEvent]:
        events = self._sessions.get(message.session)
        if events is None:
            if not isinstance(message, (SessionStarted, SessionEnded)):
                return []
            events = self._sessions[message.session] = SessionEvents()
        if isinstance(message, SessionEnded):
            del self._sessions[message.session]
        return events.observe(message)

    async def _tell(self, event: ObservabilityEvent) -> None:
        if self._meta:
            event = msgspec.structs.replace(event, meta={**self._meta, **event.meta})
        try:
            told = self._on_event(event)
            if inspect.isawaitable(told):
                await told
        except Exception as error:
            log.warning(
                "on_event raised", error=type(error).__name__, type=event.type.value, session=event.stream_id
            )


def _copied(meta: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(meta))
    except Exception as error:
        raise ValueError(f"meta must be data that can be copied: {type(error).__name__}: {error}") from error
