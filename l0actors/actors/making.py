"""What an actor may be made of: an object, a class, another factory, or a function."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from l0actors.actors.actor import Actor


class FunctionActor(Actor):
    """Makes an actor of a plain or async function that takes a message."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    async def receive(self, message: Any) -> Any:
        """Call the function, and await what it returns if that can be awaited."""
        result = self._function(message)
        return await result if inspect.isawaitable(result) else result


def maker(target: object) -> Callable[[], Actor]:
    """Return a function that makes the actor for each incarnation.

    An actor object is started again as it is; a class or another zero-argument factory makes a fresh
    one; a function of one argument becomes a `FunctionActor`.

    Raises:
        ValueError: `target` is none of these.
    """
    if isinstance(target, Actor):
        return lambda: target
    if isinstance(target, type):
        if not issubclass(target, Actor):
            _refuse(target)
        return _made_by(target)
    if not callable(target):
        _refuse(target)
    return (lambda: FunctionActor(target)) if takes_a_message(target) else _made_by(target)


def takes_a_message(target: object) -> bool:
    """Return whether `target` is a function of one message, and no actor or factory of one."""
    return callable(target) and not isinstance(target, (Actor, type)) and not _is_factory(target)


def _is_factory(target: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    return not any(p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD for p in parameters)


def _made_by(factory: Callable[[], Any]) -> Callable[[], Actor]:
    def make() -> Actor:
        actor = factory()
        if not isinstance(actor, Actor):
            _refuse(actor)
        return actor

    return make


def _refuse(target: object) -> NoReturn:
    raise ValueError(
        f"an actor must be an Actor, an Actor class, a zero-argument factory of one, "
        f"or a function of one message, got {target!r}"
    )
