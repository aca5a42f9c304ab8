"""Claims: of two executions one gets it, and a dead one keeps nobody out."""

import ast
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import milvus_vault
from milvus_vault.claims import CLAIM, DIED, RUNNING, Claim, ClaimHeldError, Claims, check_owner, end_work
from milvus_vault.errors import RunTakenOverError, StorageUnavailableError
from milvus_vault.model.names import attempt_of
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

BUCKET = "backups"
KEY = "team/.runs/backup-nightly/claim.json"

BEGUN_AT = datetime.now(UTC) + timedelta(days=1)
"""Later than each claim of these tests: none was taken since, but where a test says so."""

ENDED = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE", "GONE"]


class FakeExecutions:
    """Executions with the statuses that a test gives them; `RUNNING` where it gives none."""

    def __init__(self, **statuses: str) -> None:
        """Give executions their statuses, by ARN."""
        self.statuses = statuses
        self.asked: list[str] = []

    def status(self, execution_arn: str) -> str:
        """Return the status of an execution."""
        self.asked.append(execution_arn)
        return self.statuses.get(execution_arn, "RUNNING")


class GoneExecutions:
    """Executions of which Step Functions knows none."""

    def status(self, execution_arn: str) -> str:  # noqa: ARG002 - the port's signature
        """Return GONE."""
        return "GONE"


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty bucket."""
    return InMemoryObjectStore(BUCKET)


def claims(store: InMemoryObjectStore, arn: str, **statuses: str) -> Claims:
    """Return the claims of an execution, which sees others with these statuses."""
    return Claims(store, FakeExecutions(**statuses), BUCKET, execution_arn=arn, run=f"run-of-{arn}")


def holder(store: InMemoryObjectStore, key: str = KEY) -> str:
    """Return the execution that a claim names."""
    return Claim.model_validate_json(store.get(BUCKET, key)).execution_arn


def test_a_claim_that_nobody_has_is_taken(store: InMemoryObjectStore) -> None:
    before = datetime.now(UTC)
    assert claims(store, "me").take(KEY) is None
    claim = Claim.model_validate_json(store.get(BUCKET, KEY))
    assert (claim.execution_arn, claim.run) == ("me", "run-of-me")
    assert before <= claim.claimed_at <= datetime.now(UTC)


def test_taking_it_again_is_fine_and_asks_for_nobody(store: InMemoryObjectStore) -> None:
    claims(store, "me").take(KEY)
    executions = FakeExecutions()
    again = Claims(store, executions, BUCKET, execution_arn="me", run="run-of-me").take(KEY)
    assert again is not None
    assert again.execution_arn == "me"
    assert executions.asked == []


@pytest.mark.parametrize("status", ["RUNNING", "UNKNOWN"])
def test_a_claim_is_held_by_an_execution_that_runs_or_may_run(store: InMemoryObjectStore, status: str) -> None:
    claims(store, "other").take(KEY)
    with pytest.raises(ClaimHeldError) as caught:
        claims(store, "me", other=status).take(KEY)
    assert caught.value.holder.execution_arn == "other"
    assert (caught.value.key, caught.value.status) == (KEY, status)
    assert holder(store) == "other"


@pytest.mark.parametrize(("status", "is_taken"), [("RUNNING", False), ("UNKNOWN", True)])
def test_only_one_that_nobody_can_be_asked_about_is_taken_over_for_its_age(
    store: InMemoryObjectStore, status: str, *, is_taken: bool
) -> None:
    claims(store, "other").take(KEY)
    try:
        claims(store, "me", other=status).take(KEY, lambda: True)
    except ClaimHeldError:
        assert not is_taken
    assert holder(store) == ("me" if is_taken else "other")


@pytest.mark.parametrize("status", ENDED)
def test_a_claim_of_an_execution_that_ended_is_taken_over_and_told(store: InMemoryObjectStore, status: str) -> None:
    claims(store, "dead").take(KEY)
    previous = claims(store, "me", dead=status).take(KEY)
    assert previous is not None
    assert (previous.execution_arn, previous.run) == ("dead", "run-of-dead")
    assert holder(store) == "me"


def test_what_died_ended_without_success_and_does_not_run() -> None:
    assert set(ENDED) > DIED
    assert {"SUCCEEDED", "GONE"} & DIED == set()
    assert {"RUNNING", "UNKNOWN"} == RUNNING


def test_of_two_that_take_over_at_once_the_slower_finds_it_held(store: InMemoryObjectStore) -> None:
    claims(store, "dead").take(KEY)
    faster, slower = claims(store, "faster", dead="FAILED"), claims(store, "slower", dead="FAILED")
    puts = 0

    def overtake(operation: str, _bucket: str, _key: str) -> None:
        # The slower one's first put finds the key taken; ahead of its second, which replaces, the faster one is done.
        nonlocal puts
        puts += operation == "put"
        if puts == 2:
            store.before = lambda *_: None
            faster.take(KEY)

    store.before = overtake
    with pytest.raises(ClaimHeldError) as caught:
        slower.take(KEY)
    assert caught.value.holder.execution_arn == "faster"
    assert holder(store) == "faster"


def test_a_claim_that_vanishes_while_it_is_looked_at_is_taken(store: InMemoryObjectStore) -> None:
    claims(store, "other").take(KEY)

    def vanish(operation: str, _bucket: str, _key: str) -> None:
        if operation == "get":
            store.before = lambda *_: None
            store.delete(BUCKET, [KEY])

    store.before = vanish
    assert claims(store, "me").take(KEY) is None
    assert holder(store) == "me"


def test_only_what_was_free_before_is_given_back(store: InMemoryObjectStore) -> None:
    claims(store, "other").take("held")
    claims(store, "dead").take("left")
    mine = claims(store, "me", dead="ABORTED")
    mine.take("free")
    mine.take("left")
    with pytest.raises(ClaimHeldError):
        mine.take("held")
    mine.give_back()
    assert set(store.buckets[BUCKET]) == {"held", "left"}
    assert (holder(store, "held"), holder(store, "left")) == ("other", "me")


def test_what_was_given_back_is_not_given_back_twice(store: InMemoryObjectStore) -> None:
    mine = claims(store, "me")
    mine.take(KEY)
    mine.give_back()
    claims(store, "other").take(KEY)
    mine.give_back()
    assert holder(store) == "other"


def test_giving_back_nothing_asks_nothing_of_the_store(store: InMemoryObjectStore) -> None:
    claims(store, "me").give_back()
    assert store.requests.total() == 0


class TestManyAtOnce:
    """Two executions, of which each was faster at some of the claims that both want."""

    @pytest.fixture
    def waits(self) -> list[float]:
        """What was waited, in seconds."""
        return []

    @pytest.mark.parametrize("seen", [1, 3])
    def test_the_first_of_them_gets_what_the_other_gives_back(
        self, store: InMemoryObjectStore, waits: list[float], seen: int
    ) -> None:
        first, second = claims(store, "first"), claims(store, "second")
        second.take("b")

        def pause(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == seen:
                second.give_back()

        first.take_all("abc", BEGUN_AT, pause)

        assert len(waits) == seen
        assert [holder(store, key) for key in "abc"] == ["first"] * 3

    def test_the_second_of_them_is_refused_at_once(self, store: InMemoryObjectStore, waits: list[float]) -> None:
        claims(store, "first").take("b")
        with pytest.raises(ClaimHeldError):
            claims(store, "second").take_all("abc", BEGUN_AT, waits.append)
        assert waits == []

    def test_the_first_is_refused_in_the_end_where_the_other_goes_on(
        self, store: InMemoryObjectStore, waits: list[float]
    ) -> None:
        claims(store, "second").take("b")
        with pytest.raises(ClaimHeldError):
            claims(store, "first").take_all("b", BEGUN_AT, waits.append)
        assert sum(waits) == 10

    def test_the_first_is_refused_where_the_other_has_done_it_meanwhile(
        self, store: InMemoryObjectStore, waits: list[float]
    ) -> None:
        """What it has restored is not replaced by one that was to run at the same time, even if that may replace."""
        executions = FakeExecutions()
        first = Claims(store, executions, BUCKET, execution_arn="first", run="x")
        claims(store, "second").take("b")

        def pause(seconds: float) -> None:
            waits.append(seconds)
            executions.statuses["second"] = "SUCCEEDED"

        with pytest.raises(ClaimHeldError) as caught:
            first.take_all("abc", BEGUN_AT, pause)

        assert (caught.value.key, caught.value.status, len(waits)) == ("b", "SUCCEEDED", 1)
        assert holder(store, "b") == "second"

    @pytest.mark.parametrize("me", ["first", "third"])
    def test_one_that_looks_only_when_the_other_is_done_is_refused_as_well(
        self, store: InMemoryObjectStore, waits: list[float], me: str
    ) -> None:
        """It began before the other took its claim."""
        begun_at = datetime.now(UTC)
        claims(store, "second").take("b")
        with pytest.raises(ClaimHeldError) as caught:
            claims(store, me, second="SUCCEEDED").take_all("abc", begun_at, waits.append)
        assert (caught.value.key, caught.value.status, waits) == ("b", "SUCCEEDED", [])

    @pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
    def test_one_that_begins_when_the_other_is_done_takes_over(self, store: InMemoryObjectStore, status: str) -> None:
        claims(store, "second").take("b")
        claims(store, "third", second=status).take_all("abc", datetime.now(UTC), lambda _: None)
        assert [holder(store, key) for key in "abc"] == ["third"] * 3

    def test_the_first_takes_over_from_one_that_died_meanwhile(self, store: InMemoryObjectStore) -> None:
        executions = FakeExecutions()
        first = Claims(store, executions, BUCKET, execution_arn="first", run="x")
        claims(store, "second").take("b")

        first.take_all("abc", BEGUN_AT, lambda _: executions.statuses.update(second="ABORTED"))

        assert [holder(store, key) for key in "abc"] == ["first"] * 3

    def test_one_that_has_begun_long_ago_is_not_waited_for(
        self, store: InMemoryObjectStore, waits: list[float]
    ) -> None:
        claimed = Claim(execution_arn="second", run="x", claimed_at=datetime.now(UTC) - timedelta(minutes=3))
        store.put(BUCKET, "b", claimed.model_dump_json().encode())
        with pytest.raises(ClaimHeldError):
            claims(store, "first").take_all("abc", BEGUN_AT, waits.append)
        assert waits == []

    @given(
        wanted=st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=2, max_size=4),
        turns=st.randoms(use_true_random=False),
    )
    def test_of_those_that_want_the_same_one_wins(self, wanted: list[set[str]], turns: Random) -> None:
        """Whatever the order of their takes: all that win are disjoint, and who loses meets one that won."""
        store = InMemoryObjectStore(BUCKET)
        won = _take_in_turns(store, wanted, turns)

        assert all(wanted[one].isdisjoint(wanted[other]) for one, other in combinations(won, 2))
        assert won
        for one in range(len(wanted)):
            if all(wanted[one].isdisjoint(wanted[other]) for other in range(len(wanted)) if other != one):
                assert one in won


def _take_in_turns(store: InMemoryObjectStore, wanted: Sequence[set[str]], turns: Random) -> list[int]:
    """Let executions take what they want, a key at a time, in an order of chance, and return which got all."""

    won: list[int] = []
    ended: set[int] = set()
    refused: set[int] = set()

    def step(one: int, left: list[str]) -> None:
        """Take the next key. Who is to wait is asked again at its next turn, for as long as others go on."""

        def pause(_: float) -> None:
            raise TimeoutError

        if one in refused:
            actors[one].give_back()
            ended.add(one)
            return
        try:
            actors[one].take_all(left[:1], BEGUN_AT, pause)
        except TimeoutError:
            return
        except ClaimHeldError:
            refused.add(one)
            return
        del left[0]
        if not left:
            won.append(one)
            ended.add(one)

    actors = [claims(store, f"execution-{one}") for one in range(len(wanted))]
    left = [turns.sample(sorted(keys), len(keys)) for keys in wanted]
    # In each round everybody takes one of five keys, is refused or gives back. After forty all wait for winners.
    for _ in range(40):
        for one in turns.sample(range(len(wanted)), len(wanted)):
            if one not in ended:
                step(one, left[one])
    return won


def test_the_holder_is_told_with_its_status(store: InMemoryObjectStore) -> None:
    assert claims(store, "me").holder(KEY) is None
    claims(store, "other").take(KEY)
    found = claims(store, "me", other="TIMED_OUT").holder(KEY)
    assert found is not None
    assert (found[0].execution_arn, found[1]) == ("other", "TIMED_OUT")


@pytest.mark.parametrize("body", [b"", b"{}", b"not JSON"])
def test_a_claim_that_cannot_be_read_is_never_taken_over(store: InMemoryObjectStore, body: bytes) -> None:
    store.put(BUCKET, KEY, body)
    # GONE is what Step Functions' answer to anything that is no ARN comes to.
    with pytest.raises(ClaimHeldError, match="unreadable"):
        Claims(store, GoneExecutions(), BUCKET, execution_arn="me", run="mine").take(KEY)
    assert store.get(BUCKET, KEY) == body


def test_a_store_that_does_not_answer_is_not_taken_for_a_free_claim(store: InMemoryObjectStore) -> None:
    claims(store, "other").take(KEY)

    def fail(operation: str, _bucket: str, _key: str) -> None:
        if operation == "get":
            msg = "no answer"
            raise StorageUnavailableError(msg)

    store.before = fail
    with pytest.raises(StorageUnavailableError):
        claims(store, "me").take(KEY)


@pytest.mark.parametrize("odd", [b"", b"{}", b'{"execution_arn": "other"}'])
def test_a_claim_of_a_run_of_ones_own_is_held_by_nobody_else(store: InMemoryObjectStore, odd: bytes) -> None:
    assert claims(store, "me").take_own(KEY) is None
    assert holder(store) == "me"
    with pytest.raises(RunTakenOverError, match="is held by me, and not by other"):
        claims(store, "other").take_own(KEY)
    store.put(BUCKET, KEY, odd)
    with pytest.raises(RunTakenOverError, match=r"is held by \(unreadable claim\)"):
        claims(store, "me").take_own(KEY)


def test_nobody_takes_a_claim_without_a_word_for_whoever_finds_it_held() -> None:
    package = Path(milvus_vault.__file__).parent
    unheard = [
        f"{path.name}:{call.lineno}"
        for path in package.rglob("*.py")
        if path.name != "claims.py"
        for call in _takes_of_claims(ast.parse(path.read_text()))
    ]
    assert unheard == []


def _takes_of_claims(tree: ast.AST) -> list[ast.Call]:
    """Return the calls by which something called claims takes any, but those where ClaimHeldError is caught."""
    heard = {
        id(node)
        for caught in ast.walk(tree)
        if isinstance(caught, ast.Try)
        and any(isinstance(h.type, ast.Name) and h.type.id == ClaimHeldError.__name__ for h in caught.handlers)
        for statement in caught.body
        for node in ast.walk(statement)
    }
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"take", "take_all"}
        and "claims" in ast.unparse(node.func.value).lower()
        and id(node) not in heard
    ]


def test_that_such_calls_are_found() -> None:
    assert _takes_of_claims(ast.parse("claims.take(key)"))
    assert _takes_of_claims(ast.parse("claims.take_all(keys)"))
    assert _takes_of_claims(ast.parse("try:\n    claims.take(key)\nexcept ValueError:\n    pass"))
    assert not _takes_of_claims(ast.parse("try:\n    claims.take(key)\nexcept ClaimHeldError:\n    pass"))


MINE = "arn:aws:states:eu-west-1:1:execution:restore:mine"


@pytest.fixture
def run(store: InMemoryObjectStore) -> Workspace:
    """A run that the execution `mine` has claimed."""
    found = Workspace(store, BUCKET, "team", "restore-x-1")
    found.write(CLAIM, Claim(execution_arn=MINE, run=found.run, claimed_at=datetime.now(UTC)))
    return found


def test_once_an_execution_cleans_up_its_other_functions_stop(run: Workspace) -> None:
    check_owner(run, attempt_of(MINE))
    for _ in range(2):
        end_work(run, attempt_of(MINE))
        check_owner(run, attempt_of(MINE), cleans_up=True)
        with pytest.raises(RunTakenOverError, match=r"has ended and cleans up restore-x-1"):
            check_owner(run, attempt_of(MINE))


def test_the_next_execution_of_a_run_that_was_cleaned_up_works(run: Workspace, store: InMemoryObjectStore) -> None:
    end_work(run, attempt_of(MINE))
    claims(store, "arn:next", **{MINE: "FAILED"}).take(run.key(CLAIM))
    check_owner(run, attempt_of("arn:next"))
    with pytest.raises(RunTakenOverError, match="has taken over"):
        check_owner(run, attempt_of(MINE), cleans_up=True)


def test_who_has_lost_a_run_ends_nobodys_work(run: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Claim(execution_arn="arn:theirs", run=run.run, claimed_at=datetime.now(UTC))

    def write_too_late(*_: object) -> bool:
        run.write(CLAIM, theirs)
        return False

    monkeypatch.setattr(InMemoryObjectStore, "put_if_unchanged", write_too_late)
    with pytest.raises(RunTakenOverError):
        end_work(run, attempt_of(MINE))
    assert run.read(CLAIM, Claim) == theirs


def test_a_run_that_nobody_claims_has_no_work_to_end(store: InMemoryObjectStore) -> None:
    unclaimed = Workspace(store, BUCKET, "team", "restore-y-1")
    end_work(unclaimed, attempt_of(MINE))
    assert list(unclaimed.names()) == []
