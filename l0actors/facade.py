"""One call, one stream: `l0()` and its small helpers."""

from typing import Any

from l0actors.options import L0Options
from l0actors.session import L0Result
from l0actors.system import ActorSystem, open_in_default_system, options_from


async def l0(
    options: L0Options | None = None, /, *, system: ActorSystem | None = None, **fields: Any
) -> L0Result:
    """Open a reliable stream; it returns as soon as the session runs.

        result = await l0(stream=lambda: client.chat.completions.create(..., stream=True))
        async for event in result:
            ...

    Args:
        options: what is asked for; or give its fields as keyword arguments.
        system: the actor system to run in. Default: the running loop's own, which starts on first use and
            leaves nothing behind when its last session ends.
        **fields: fields of `L0Options`; with `options` they replace that one's.

    Raises:
        ValueError: a bad value, named in the message.
        TypeError: a field that does not exist.
        L0Error: `FEATURE_NOT_ENABLED`, for what this version does not have.
    """
    wanted = options_from(options, fields)
    return await open_in_default_system(wanted) if system is None else system.open(wanted)


async def get_text(result: L0Result) -> str:
    """Wait for the end of `result` and return its text: `result.text()` as a function."""
    return await result.text()
