"""Asking: one answer or one clear error, in time, and never a circle."""

import asyncio
from typing import Any

import pytest
from stage import SOON_S, Do, Player, Stage, in_virtual_time, player, settle

from l0actors.actors.actor import Actor, ActorContext, ActorDied, ActorRef, AskCycle, AskTimeout, AskUnhandled
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.bus.messages import DeadLetter
from l0actors.bus.overflow import MailboxFull


class Asker(Actor):
    """Asks another actor, in its handler, what it is asked; answers with what it hears or what it catches."""

    def __init__(self, peer: list[ActorRef], *, timeout_ms: float = 2000) -> None:
        self.peer = peer
        self.timeout_ms = timeout_ms

    async def receive(self, message: Do) -> Any:
        if message.what == "stop asking":
            return "asked"
        try:
            return await self.peer[0].ask(message, timeout_ms=self.timeout_ms)
        except Exception as error:
            return type(error).__name__


def two(*actors: Actor) -> Supervisor:
    """Return a supervisor of the actors `a`, `b`, ..."""
    return Supervisor(
        children=[ChildSpec(name=name, actor=each) for name, each in zip("abc", actors, strict=False)]
    )


@in_virtual_time
async def test_p18_an_ask_gives_what_receive_returns() -> None:
    """The answer is the handler's result, None included."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        assert await stage.ref("a").ask(Do(what="x"), timeout_ms=10) == "x"
        silent = ChildSpec(name="s", actor=lambda message: None)
        stage.root.add(silent)
        assert await stage.ref("s").ask(Do(what="x"), timeout_ms=10) is None


@pytest.mark.parametrize("timeout", [0, -1, None, float("inf")])
@in_virtual_time
async def test_p18_a_timeout_is_mandatory(timeout: Any) -> None:
    """An ask without an end is refused."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        with pytest.raises(ValueError, match="timeout_ms must be"):
            await stage.ref("a").ask(Do(what="x"), timeout_ms=timeout)
        with pytest.raises(TypeError):
            await stage.ref("a").ask(Do(what="x"))  # type: ignore[call-arg]


@in_virtual_time
async def test_p18_a_timeout_comes_on_time_and_the_late_reply_is_a_dead_letter() -> None:
    """The asker waits exactly so long; what the handler returns after that is accounted for."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        loop = asyncio.get_running_loop()
        with pytest.raises(AskTimeout, match="/top/a did not answer within 500 ms") as caught:
            await stage.ref("a").ask(Do(what="slow"), timeout_ms=500)
        assert loop.time() == pytest.approx(0.5)
        assert (caught.value.path, caught.value.timeout_ms) == ("/top/a", 500)
        assert isinstance(caught.value, TimeoutError)
        await asyncio.sleep(SOON_S)
        assert stage.lost() == {"late_reply": 1}


@in_virtual_time
async def test_p18_an_expired_ask_is_skipped_unhandled() -> None:
    """An ask that nobody waits for any more is not handled when its turn comes."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        stage.tell("a", "slow")
        with pytest.raises(AskTimeout):
            await stage.ref("a").ask(Do(what="x"), timeout_ms=500)
        await asyncio.sleep(SOON_S)
        assert notes == ["a+", "a:slow"]
        assert stage.lost() == {"unhandled": 1}


@in_virtual_time
async def test_p18_an_asker_that_is_cancelled_leaves_an_expired_ask() -> None:
    """Cancelling the asker cancels nothing in the target; what is not handled yet is skipped."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        first, second = (
            asyncio.ensure_future(stage.ref("a").ask(Do(what=what), timeout_ms=5000))
            for what in ("slow", "x")
        )
        await settle()
        first.cancel()
        second.cancel()
        await asyncio.sleep(5)
        assert notes == ["a+", "a:slow"]
        assert stage.lost() == {"late_reply": 1, "unhandled": 1}


@in_virtual_time
async def test_p18_a_target_that_crashes_over_the_ask_says_so_at_once() -> None:
    """The asker gets `ActorDied`; the exception itself is the supervisor's."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        with pytest.raises(ActorDied, match="/top/a died") as caught:
            await stage.ref("a").ask(Do(what="crash"), timeout_ms=5000)
        assert caught.value.path == "/top/a"
        assert asyncio.get_running_loop().time() == 0
        assert stage.lost() == {"crashed_while_handling": 1}
        assert await stage.ref("a").ask(Do(what="x"), timeout_ms=5000) == "x"  # it was restarted


@pytest.mark.parametrize("drain", [True, False])
@in_virtual_time
async def test_p18_a_target_that_is_dead_or_stopping_says_so_at_once(drain: bool) -> None:
    """Asking an actor that takes no more messages fails at once, and what it never handled too."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        ref = stage.ref("a")
        handled = asyncio.ensure_future(ref.ask(Do(what="slow"), timeout_ms=5000))
        queued = asyncio.ensure_future(ref.ask(Do(what="x"), timeout_ms=5000))
        await settle()
        ref.stop(drain=drain)
        with pytest.raises(ActorDied):
            await ref.ask(Do(what="x"), timeout_ms=5000)
        results = await asyncio.gather(handled, queued, return_exceptions=True)
        assert results[0] == "slow"
        assert results[1] == "x" if drain else isinstance(results[1], ActorDied)
        with pytest.raises(ActorDied):
            await ref.ask(Do(what="x"), timeout_ms=5000)
        assert asyncio.get_running_loop().time() == pytest.approx(1)


@in_virtual_time
async def test_p18_a_target_that_is_killed_or_given_up_says_so() -> None:
    """Also who waits for a handler that never ends learns of its death, stuck or not."""
    for what, after_s in (("hang", 0.1), ("deaf", 3.1)):
        async with Stage(Supervisor(children=[player("a", [])])) as stage:
            ref, loop = stage.ref("a"), asyncio.get_running_loop()
            since = loop.time()
            asked = asyncio.ensure_future(ref.ask(Do(what=what), timeout_ms=60_000))
            await settle()
            ref.stop(timeout_ms=100)
            with pytest.raises(ActorDied):
                await asked
            assert loop.time() - since == pytest.approx(after_s)
    await asyncio.sleep(3600)


@in_virtual_time
async def test_p18_a_target_between_two_incarnations_answers_after_its_restart() -> None:
    """A restart is no death: an ask that comes meanwhile waits in the mailbox."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        stage.tell("a", "crash")
        await settle()
        assert stage.child("a").state == "down"
        assert await stage.ref("a").ask(Do(what="x"), timeout_ms=1000) == "x"


@in_virtual_time
async def test_p18_an_ask_that_is_not_handled_says_what_is_not() -> None:
    """`NotImplemented` is an answer: the asker need not wait for its timeout, and the actor lives."""
    async with Stage(Supervisor(children=[ChildSpec(name="a", actor=Actor)])) as stage:
        with pytest.raises(AskUnhandled, match="/top/a does not handle Do"):
            await stage.ref("a").ask(Do(what="x"), timeout_ms=1000)
        assert stage.lost() == {"unhandled": 1}
        assert stage.ref("a").alive


@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
@in_virtual_time
async def test_p18_an_ask_that_has_no_room_says_so(overflow: Any) -> None:
    """An ask that a full mailbox refuses or drops fails with `MailboxFull`: the target is not dead."""
    async with Stage(Supervisor(children=[player("a", [], capacity=1, overflow=overflow)])) as stage:
        ref = stage.ref("a")
        ref.suspend()
        first = asyncio.ensure_future(ref.ask(Do(what="x"), timeout_ms=1000))
        second = asyncio.ensure_future(ref.ask(Do(what="y"), timeout_ms=1000))
        await settle()
        dropped, kept = (first, second) if overflow == "drop_oldest" else (second, first)
        with pytest.raises(MailboxFull, match="/top/a is full"):
            await dropped
        ref.resume()
        assert await kept in ("x", "y")


@in_virtual_time
async def test_p18_asking_oneself_raises() -> None:
    """An actor that asks itself in its handler would wait for ever."""
    peer: list[ActorRef] = []
    async with Stage(two(Asker(peer))) as stage:
        peer.append(stage.ref("a"))
        assert await stage.ref("a").ask(Do(what="x"), timeout_ms=5000) == "AskCycle"
        assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_p18_asking_in_a_circle_raises() -> None:
    """A asks B, which asks C, which asks A: the last one is told."""
    peers: list[list[ActorRef]] = [[], [], []]
    async with Stage(two(*(Asker(peer) for peer in peers))) as stage:
        for peer, name in zip(peers, "bca", strict=True):
            peer.append(stage.ref(name))
        assert await stage.ref("a").ask(Do(what="x"), timeout_ms=5000) == "AskCycle"
        assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_p18_two_actors_that_ask_each_other_do_not_wait_for_ever() -> None:
    """A asks B while B asks A: the second one raises, and so the first one gets its answer."""
    peers: list[list[ActorRef]] = [[], []]
    async with Stage(two(*(Asker(peer) for peer in peers))) as stage:
        for peer, name in zip(peers, "ba", strict=True):
            peer.append(stage.ref(name))
        asks = [stage.ref(name).ask(Do(what="stop asking"), timeout_ms=9) for name in "ab"]
        assert await asyncio.gather(*asks) == ["asked", "asked"]
        crossed = [stage.ref(name).ask(Do(what=f"from {name}"), timeout_ms=5000) for name in "ab"]
        answers = await asyncio.gather(*crossed)
        assert "AskCycle" in answers
        assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_p18_a_chain_of_asks_is_no_circle() -> None:
    """Waiting for somebody who waits for somebody else is fine, and so is asking again afterwards."""
    peers: list[list[ActorRef]] = [[], []]
    async with Stage(two(Asker(peers[0]), Asker(peers[1]), Player("c", []))) as stage:
        peers[0].append(stage.ref("b"))
        peers[1].append(stage.ref("c"))
        for _ in range(3):
            assert await stage.ref("a").ask(Do(what="slow"), timeout_ms=5000) == "slow"
        assert [stage.child(name).waiting_for for name in "ab"] == [None, None]


@in_virtual_time
async def test_p18_a_task_of_an_actor_may_ask_that_actor() -> None:
    """What an actor's own task asks it is no circle: the actor goes on meanwhile."""

    class Patient(Actor):
        async def on_start(self, context: ActorContext) -> None:
            self.context = context
            self.answers: list[Any] = []

        async def receive(self, message: Do) -> str:
            if message.what == "begin":
                self.task = asyncio.ensure_future(self.ask())
            return message.what

        async def ask(self) -> None:
            self.answers.append(await self.context.ref.ask(Do(what="x"), timeout_ms=100))

    patient = Patient()
    async with Stage(two(patient)) as stage:
        stage.tell("a", "begin")
        await settle()
        assert patient.answers == ["x"]


@in_virtual_time
async def test_p18_a_cycle_is_an_error_that_names_the_way_out() -> None:
    """The error says what to do instead."""
    error = AskCycle("/top/a")
    assert "use tell, or ask from a task" in str(error)
    assert error.path == "/top/a"


@in_virtual_time
async def test_p4_what_is_asked_is_dead_lettered_as_itself() -> None:
    """A dead letter of an ask names the message that was asked, not its envelope."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        letters = stage.bus.subscribe(DeadLetter)
        with pytest.raises(ActorDied):
            await stage.ref("a").ask(Do(what="crash"), timeout_ms=1000)
        letters.close()
        [letter] = [message async for message in letters]
        assert isinstance(letter, DeadLetter)
        assert letter.message_type == "Do"
