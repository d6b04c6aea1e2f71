"""A lease has one holder at a time: against a real server over a socket, with answers that are lost on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.integration.buckets import Buckets, unique
from tests.servers.proxy import Answer, DropAnswer, FaultProxy, Freeze
from tfops.adapters import lease as leases
from tfops.adapters.hosts import is_dead
from tfops.adapters.lease import (
    Holder,
    Lease,
    LeaseDocument,
    LeaseView,
    Request,
    force_release,
    held_error,
    hold_lease,
    holder,
    read_lease,
)
from tfops.adapters.s3 import Bucket
from tfops.errors import Exit, FailedError, LockedError, TfopsError, VerificationError

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Takes a lease, says so, and never lets go.
TAKER = """
import sys, time
from datetime import UTC, datetime
from tfops.adapters.lease import Request, hold_lease, holder
from tfops.adapters.s3 import Bucket
from tfops.adapters.s3_session import BucketPlace
endpoint, name, key = sys.argv[1:]
environ = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
bucket = Bucket(BucketPlace(bucket=name, endpoint=endpoint, use_path_style=True), environ=lambda: environ)
me = holder(run_id="r-dead", command="sync", since=datetime.now(UTC))
wanted = Request(stack="prod", holder=me, ttl_seconds=600, grace_seconds=600, wait_seconds=0)
with hold_lease(bucket, key, wanted) as lease:
    lease.begin_apply()
    print(lease.epoch, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def bucket(buckets: Buckets) -> Bucket:
    return buckets.open()


@pytest.fixture
def key() -> str:
    return f"{unique()}/prod/lease.json"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks more often than in real life."""
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.05)


def request(run_id: str = "r-1", **fields: Any) -> Request:
    given = {
        "stack": "prod",
        "holder": holder(run_id=run_id, command="sync", since=SINCE),
        "ttl_seconds": 60.0,
        "grace_seconds": 60.0,
        "wait_seconds": 0.0,
    }
    return Request(**{**given, **fields})


def take(bucket: Bucket, key: str, **fields: Any) -> Lease:
    """A lease whose holder stands still: nothing renews it."""
    return leases._acquire(bucket, key, request(**fields))


def view(bucket: Bucket, key: str) -> LeaseView:
    found = read_lease(bucket, key, stack="prod")
    assert found is not None
    return found


def refusal(action: Callable[[], object], kind: type[TfopsError] = LockedError) -> str:
    """The message of a refusal, which names the stack and says what to do."""
    with pytest.raises(kind) as refused:
        action()
    (problem,) = refused.value.problems
    assert problem.stack == "prod"
    assert problem.hint
    assert problem.code in ("lock.held", "lock.lost", "lock.unknown")
    return problem.message


def is_held(bucket: Bucket, key: str) -> bool:
    try:
        with hold_lease(bucket, key, request("r-probe")):
            return False
    except LockedError:
        return True


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def wait_until_older_than(bucket: Bucket, key: str, seconds: float) -> None:
    wait_for(lambda: view(bucket, key).age_seconds > seconds)


def held_as(bucket: Bucket, key: str) -> leases.LeaseDocument:
    """What lies there, but for the number that makes each renewal differ."""
    return msgspec.structs.replace(view(bucket, key).document, renewal=0)


class TestHolding:
    def test_a_stack_that_was_never_held_has_no_lease(self, bucket, key):
        assert read_lease(bucket, key, stack="prod") is None

    def test_while_it_is_held_it_says_by_whom(self, bucket, key):
        with hold_lease(bucket, key, request("r-7")) as lease:
            found = view(bucket, key).document
            assert found == lease.document
            assert (found.holder.run_id, found.holder.pid, found.holder.since) == ("r-7", os.getpid(), SINCE)
            assert (found.released, found.applying) == (False, False)
            assert not is_dead(found.holder.process)

    def test_it_is_free_at_once_when_it_is_given_back(self, bucket, key):
        for _ in range(2):
            with hold_lease(bucket, key, request()):
                assert is_held(bucket, key)
        assert view(bucket, key).is_free

    def test_it_is_given_back_after_an_error_too(self, bucket, key):
        with pytest.raises(ZeroDivisionError), hold_lease(bucket, key, request()):
            raise ZeroDivisionError
        assert not is_held(bucket, key)

    def test_what_was_applied_under_it_is_over_when_it_is_given_back(self, bucket, key):
        with hold_lease(bucket, key, request()) as lease:
            lease.begin_apply()
            assert view(bucket, key).document.applying
        assert not view(bucket, key).document.applying
        assert not is_held(bucket, key)

    def test_each_taking_raises_the_epoch_by_one(self, bucket, key):
        epochs = []
        for _ in range(4):
            with hold_lease(bucket, key, request()) as lease:
                epochs.append(lease.epoch)
                lease.begin_apply()
                lease.check()
        assert epochs == [1, 2, 3, 4]

    def test_two_stacks_have_two_leases(self, bucket, key):
        with hold_lease(bucket, key, request()), hold_lease(bucket, f"{key}-other", request()) as other:
            assert other.epoch == 1

    @pytest.mark.slow
    def test_it_is_renewed_in_the_background_for_as_long_as_it_is_held(self, bucket, key):
        with hold_lease(bucket, key, request(ttl_seconds=1.0)) as lease:
            for _ in range(7):
                time.sleep(0.5)
                assert view(bucket, key).age_seconds <= 1.0
                assert is_held(bucket, key)
            lease.check()
            assert not lease.lost.is_set()
        assert lease.epoch == 1

    def test_nothing_renews_it_any_more_once_it_is_given_back(self, bucket, key):
        with hold_lease(bucket, key, request(ttl_seconds=0.3)):
            assert any(thread.name == "lease prod" for thread in threading.enumerate())
        wait_for(lambda: not any(thread.name == "lease prod" for thread in threading.enumerate()))
        etag = view(bucket, key).etag
        time.sleep(0.5)
        assert view(bucket, key).etag == etag

    def test_checking_a_fresh_lease_asks_nobody(self, buckets, proxy, key):
        lease = take(buckets.open(endpoint=proxy.endpoint), key)
        proxy.clear()
        for _ in range(20):
            lease.check()
        assert proxy.count() == 0

    def test_checking_one_that_is_half_over_renews_it(self, bucket, key):
        lease = take(bucket, key, ttl_seconds=4.0)
        time.sleep(2.1)
        lease.check()
        assert view(bucket, key).age_seconds <= 1.0

    def test_the_clock_of_this_machine_plays_no_role(self, bucket, key, monkeypatch):
        real = time.time
        for hours in (-48, 48):
            monkeypatch.setattr(time, "time", lambda hours=hours: real() + hours * 3600)
            with hold_lease(bucket, key, request(ttl_seconds=2.0)) as lease:
                assert -1.0 <= view(bucket, key).age_seconds <= 2.0
                assert is_held(bucket, key)
                lease.check()
            assert not is_held(bucket, key)


class TestOpenApplies:
    """A lease also says whether an apply began that nobody has settled: one look tells it to the next run."""

    def test_a_run_that_applied_nothing_leaves_nothing_open(self, bucket, key):
        with hold_lease(bucket, key, request()) as lease:
            assert not lease.document.open
        assert not view(bucket, key).document.open

    def test_an_apply_is_open_until_it_is_settled(self, bucket, key):
        with hold_lease(bucket, key, request()) as lease:
            lease.begin_apply()
            assert view(bucket, key).document.open
            lease.settled()
        assert not view(bucket, key).document.open

    def test_an_apply_that_was_not_settled_stays_open_through_every_later_holder(self, bucket, key):
        with hold_lease(bucket, key, request()) as lease:
            lease.begin_apply()
        for _ in range(2):
            assert (view(bucket, key).document.open, view(bucket, key).document.applying) == (True, False)
            with hold_lease(bucket, key, request()) as lease:
                assert lease.document.open
        with hold_lease(bucket, key, request()) as lease:
            lease.settled()
        assert not view(bucket, key).document.open

    def test_a_person_who_frees_it_does_not_settle_the_apply(self, bucket, key):
        take(bucket, key).begin_apply()
        assert force_release(bucket, key, view(bucket, key))
        assert (view(bucket, key).document.open, view(bucket, key).document.applying) == (True, False)


class TestWaiting:
    def test_who_finds_it_held_is_told_by_whom_and_for_how_long(self, bucket, key):
        with hold_lease(bucket, key, request("r-1")):
            message = refusal(lambda: take(bucket, key))
        me = holder(run_id="r-1", command="sync", since=SINCE)
        who = f"tfops sync, process {os.getpid()} on {me.host} since 2026-03-01T12:00:00+00:00 (run r-1)"
        assert message.startswith(f"prod: locked by {who}, valid for another ")
        assert message.endswith(" s unless renewed")

    def test_that_ends_the_run_as_locked(self, bucket, key):
        take(bucket, key)
        with pytest.raises(LockedError) as refused:
            take(bucket, key)
        assert refused.value.exit_code is Exit.LOCKED
        assert refused.value.problems[0].code == "lock.held"

    def test_who_waits_gets_it_as_soon_as_it_is_given_back(self, bucket, key):
        first = take(bucket, key)
        told: list[str] = []

        def hear(who: str) -> None:
            told.append(who)
            threading.Timer(0.3, first.release).start()

        with hold_lease(bucket, key, request("r-2", wait_seconds=30, on_wait=hear)) as lease:
            assert lease.epoch == 2
        assert told == [str(first.document.holder)]

    def test_waiting_ends_at_its_time(self, bucket, key):
        take(bucket, key)
        begun = time.monotonic()
        refusal(lambda: take(bucket, key, wait_seconds=0.5))
        assert 0.5 <= time.monotonic() - begun < 10

    def test_a_stop_ends_the_waiting_early(self, bucket, key):
        take(bucket, key)
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        refusal(lambda: take(bucket, key, wait_seconds=60, is_stopped=stop.is_set))
        assert time.monotonic() - begun < 20

    def test_a_free_one_is_given_even_without_any_patience(self, bucket, key):
        assert take(bucket, key, is_stopped=lambda: True).epoch == 1


def race(buckets: Buckets, key: str, work: Callable[[Bucket], None], count: int = 8) -> list[BaseException]:
    """`work` in that many threads, let go at the same moment, each with connections of its own; what they raised."""
    barrier, errors = threading.Barrier(count), []

    def run(bucket: Bucket) -> None:
        barrier.wait(30)
        try:
            work(bucket)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(buckets.open(make=not number),)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


class TestRaces:
    def test_of_eight_who_want_a_new_one_exactly_one_has_it(self, buckets, key):
        won: list[int] = []
        errors = race(buckets, key, lambda bucket: won.append(take(bucket, key).epoch))
        assert won == [1]
        assert [type(error) for error in errors] == [LockedError] * 7

    def test_of_eight_who_want_one_that_was_given_back_exactly_one_has_it(self, buckets, bucket, key):
        take(bucket, key).release()
        won: list[int] = []
        errors = race(buckets, key, lambda bucket: won.append(take(bucket, key).epoch))
        assert won == [2]
        assert [type(error) for error in errors] == [LockedError] * 7

    @pytest.mark.slow
    def test_of_eight_who_find_one_expired_exactly_one_has_it(self, buckets, bucket, key):
        take(bucket, key, ttl_seconds=1.0)
        wait_until_older_than(bucket, key, 1.0)
        won: list[int] = []
        race(buckets, key, lambda bucket: won.append(take(bucket, key).epoch))
        assert won == [2]

    @pytest.mark.slow
    def test_eight_who_wait_for_it_have_it_one_after_the_other(self, buckets, key):
        inside, seen, epochs = [], [], []

        def work(bucket: Bucket) -> None:
            with hold_lease(bucket, key, request(wait_seconds=100)) as lease:
                inside.append(lease.epoch)
                seen.append(len(inside))
                time.sleep(0.05)
                lease.check()
                inside.remove(lease.epoch)
                epochs.append(lease.epoch)

        assert race(buckets, key, work) == []
        assert seen == [1] * 8
        assert epochs == list(range(1, 9))


class TestExpiry:
    """Whoever stands still loses it, and learns that before it writes."""

    @pytest.fixture
    def former(self, bucket: Bucket, key: str) -> Lease:
        return take(bucket, key, run_id="r-former", ttl_seconds=1.0)

    @pytest.fixture
    def present(self, bucket: Bucket, key: str, former: Lease) -> Iterator[Lease]:
        """Another run's, which took it over."""
        wait_until_older_than(bucket, key, 1.0)
        with hold_lease(bucket, key, request("r-present")) as lease:
            yield lease

    def test_one_that_is_not_renewed_is_taken_over_with_the_next_epoch(self, former, present):
        assert (former.epoch, present.epoch) == (1, 2)

    def test_its_former_holder_is_told_before_it_writes(self, former, present):
        message = refusal(former.check)
        assert message.startswith("prod: another run took the lease over from epoch 1")
        assert former.lost.is_set()
        assert former.error().exit_code is Exit.LOCKED

    def test_its_former_holder_never_has_it_again(self, bucket, key, former, present):
        refusal(former.check)
        present.release()
        refusal(former.check)
        refusal(former.begin_apply)
        assert view(bucket, key).document.token == present.document.token

    def test_giving_it_back_late_does_not_harm_the_next_holder(self, bucket, key, former, present):
        former.release()
        assert view(bucket, key).document == present.document
        assert is_held(bucket, key)
        present.check()

    def test_beginning_to_apply_late_does_not_harm_the_next_holder(self, bucket, key, former, present):
        refusal(former.begin_apply)
        assert view(bucket, key).document == present.document

    def test_what_renews_it_in_the_background_finds_out_as_well(self, former, present):
        thread = threading.Thread(target=former.keep, daemon=True)
        thread.start()
        assert former.lost.wait(10)
        former.release()
        thread.join(10)
        present.check()

    def test_one_whose_object_was_removed_is_lost(self, buckets, bucket, key):
        lease = take(bucket, key, ttl_seconds=1.0)
        buckets.delete(key)
        time.sleep(0.6)
        refusal(lease.check)
        lease.release()
        assert read_lease(bucket, key, stack="prod") is None

    def test_a_holder_that_wakes_up_in_time_is_not_overrun_by_who_saw_it_sleep(self, bucket, key):
        sleeper = take(bucket, key, ttl_seconds=1.0)
        wait_until_older_than(bucket, key, 1.0)
        seen = view(bucket, key)
        sleeper._renew()
        sleeper.check()
        assert leases._take(bucket, key, seen, request("r-taker")) is None

    @pytest.mark.slow
    def test_while_a_terraform_may_write_it_is_not_taken_before_the_grace_is_over(self, bucket, key):
        lease = take(bucket, key, ttl_seconds=1.0, grace_seconds=3.0)
        lease.begin_apply()
        wait_until_older_than(bucket, key, 1.0)
        message = refusal(lambda: take(bucket, key))
        assert "not renewed for " in message
        assert "its Terraform may still run for up to " in message
        with hold_lease(bucket, key, request(wait_seconds=30)) as next_:
            assert next_.epoch == 2
        refusal(lease.check)

    @pytest.mark.parametrize(
        ("age", "applying", "released", "free"),
        [
            (0.0, False, False, False),
            (60.0, False, False, False),
            (60.1, False, False, True),
            (60.1, True, False, False),
            (160.0, True, False, False),
            (160.1, True, False, True),
            (0.0, False, True, True),
            (0.0, True, True, True),
        ],
    )
    def test_it_is_free_when_it_was_given_back_or_its_time_is_over(self, age, applying, released, free):
        document = LeaseDocument(
            epoch=1,
            token="t",
            holder=holder(run_id="r", command="sync", since=SINCE),
            ttl_seconds=60.0,
            grace_seconds=100.0,
            applying=applying,
            released=released,
        )
        seen = LeaseView(document=document, etag='"e"', age_seconds=age)
        assert seen.is_free is free
        assert seen.expires_in_seconds == pytest.approx(60.0 - age)


class TestDeadHolders:
    """A run that was killed is proven dead on its own host; then nobody need wait, if its Terraform is dead too."""

    @pytest.fixture
    def killed(self, buckets: Buckets, bucket: Bucket, key: str) -> str:
        argv = [sys.executable, "-c", TAKER, buckets.server.endpoint, "tests", key]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "1\n"
            process.kill()
        return key

    def test_a_killed_holders_lease_is_taken_at_once_although_it_was_applying(self, bucket, killed):
        assert view(bucket, killed).document.applying
        with hold_lease(bucket, killed, request()) as lease:
            assert lease.epoch == 2

    def test_it_is_asked_whether_its_terraform_is_dead_too(self, bucket, killed):
        asked: list[Holder] = []
        with hold_lease(bucket, killed, request(make_sure=lambda dead: asked.append(dead) or True)):
            pass
        assert [(dead.run_id, dead.command) for dead in asked] == [("r-dead", "sync")]

    def test_as_long_as_its_terraform_lives_nobody_takes_it(self, bucket, killed):
        message = refusal(lambda: take(bucket, killed, make_sure=lambda dead: False))
        assert "(run r-dead)" in message
        assert view(bucket, killed).document.epoch == 1

    def test_who_waits_has_it_as_soon_as_that_is_dead(self, bucket, killed):
        answers = iter([False, False, True])
        wanted = request(wait_seconds=30, make_sure=lambda dead: next(answers))
        with hold_lease(bucket, killed, wanted) as lease:
            assert lease.epoch == 2

    def test_the_apply_of_a_dead_run_is_open_for_the_next_one(self, bucket, killed):
        with hold_lease(bucket, killed, request()) as lease:
            assert lease.document.open

    def test_a_living_holder_is_not_asked_after(self, bucket, key):
        with hold_lease(bucket, key, request()):
            refusal(lambda: take(bucket, key, make_sure=lambda dead: pytest.fail("asked")))

    @pytest.mark.parametrize(
        "changes",
        [{"boot": "another boot"}, {"boot": None}, {"started": None}],
        ids=["elsewhere", "no boot", "no time"],
    )
    def test_of_one_that_is_not_ours_to_see_nothing_is_proven(self, bucket, key, changes):
        gone = {"pid": 2**22 + 1, "started": 1, **changes}
        stranger = msgspec.structs.replace(holder(run_id="r-far", command="sync", since=SINCE), **gone)
        take(bucket, key, holder=stranger)
        assert is_held(bucket, key)


class TestForce:
    """A person says that the holder is dead."""

    def test_it_is_free_at_once_and_the_next_epoch_follows(self, bucket, key):
        lease = take(bucket, key)
        lease.begin_apply()
        assert force_release(bucket, key, view(bucket, key)) is True
        assert take(bucket, key).epoch == 2

    def test_a_holder_that_lives_all_the_same_learns_of_it(self, bucket, key):
        with hold_lease(bucket, key, request(ttl_seconds=0.9)) as lease:
            assert force_release(bucket, key, view(bucket, key))
            assert lease.lost.wait(10)
            refusal(lease.check)
        assert view(bucket, key).document.released

    def test_one_that_changed_since_it_was_looked_at_is_left_alone(self, bucket, key):
        lease = take(bucket, key)
        seen = view(bucket, key)
        lease.begin_apply()
        assert force_release(bucket, key, seen) is False
        lease.check()

    def test_one_that_was_renewed_since_it_was_looked_at_is_left_alone(self, bucket, key):
        lease = take(bucket, key)
        seen = view(bucket, key)
        lease._renew()
        assert force_release(bucket, key, seen) is False

    def test_a_holder_without_a_lease_any_more_says_until_when_its_terraform_may_run(self, bucket, key):
        document = take(bucket, key).document
        late = LeaseView(document=msgspec.structs.replace(document, applying=True), etag='"e"', age_seconds=100.0)
        (problem,) = held_error(late, "prod").problems
        assert "not renewed for 100 s; its Terraform may still run for up to 20 s" in problem.message
        assert "tfops lock release prod --reason" in problem.hint


def documents() -> dict[str, bytes]:
    me = holder(run_id="r", command="sync", since=SINCE)
    good = msgspec.to_builtins(LeaseDocument(epoch=1, token="t", holder=me, ttl_seconds=1.0, grace_seconds=1.0))
    return {
        "empty": b"",
        "no json": b"{",
        "null": b"null",
        "list": b"[]",
        "nothing in it": b"{}",
        "no text": b"\xff\xfe",
        "newer schema": msgspec.json.encode({**good, "schema": "tfops.lease/v2"}),
        "unknown field": msgspec.json.encode({**good, "surprise": 1}),
        "epoch is text": msgspec.json.encode({**good, "epoch": "1"}),
        "no holder": msgspec.json.encode({name: value for name, value in good.items() if name != "holder"}),
        "terraform's lock": b'{"ID":"2ac3c48b","Operation":"OperationTypeApply","Who":"root@vm"}',
    }


class TestUnknown:
    @pytest.mark.parametrize("name", documents())
    def test_a_lease_that_cannot_be_read_is_neither_free_nor_taken(self, buckets, bucket, key, name):
        data = documents()[name]
        buckets.put(key, data)
        for action in (lambda: read_lease(bucket, key, stack="prod"), lambda: take(bucket, key, wait_seconds=60)):
            message = refusal(action, VerificationError)
            assert key in message
        assert buckets.data(key) == data

    def test_that_is_a_failed_verification(self, buckets, bucket, key):
        buckets.put(key, b"{")
        with pytest.raises(VerificationError) as refused:
            take(bucket, key)
        assert (refused.value.exit_code, refused.value.problems[0].code) == (Exit.UNVERIFIED, "lock.unknown")

    def test_of_a_holder_that_says_more_than_we_know_the_rest_is_read(self, buckets, bucket, key):
        """A field that a later version adds for people does not lock an older one out."""
        take(bucket, key)
        document = msgspec.json.decode(buckets.data(key))
        document["holder"]["mood"] = "fine"
        buckets.put(key, msgspec.json.encode(document))
        assert view(bucket, key).document.holder.run_id == "r-1"


class TestLostAnswers:
    """The server did what it was told, and nobody heard."""

    @pytest.fixture
    def through(self, buckets: Buckets, proxy: FaultProxy) -> Bucket:
        return buckets.open(endpoint=proxy.endpoint)

    def test_one_that_was_taken_without_an_answer_is_ours(self, through, proxy, bucket, key):
        dropped = proxy.fault(("PUT", key), DropAnswer())
        lease = take(through, key)
        assert (dropped.hits, lease.epoch) == (1, 1)
        assert held_as(bucket, key) == lease.document

    def test_a_renewal_without_an_answer_is_one(self, through, proxy, bucket, key):
        lease = take(through, key)
        dropped = proxy.fault(("PUT", key), DropAnswer())
        lease.begin_apply()
        lease.check()
        assert dropped.hits == 1
        assert view(bucket, key).document.applying

    def test_one_whose_proof_is_lost_as_well_is_recognised_the_next_time(self, through, proxy, bucket, key):
        lease = take(through, key, ttl_seconds=2.0)
        faults = [proxy.fault((method, key), DropAnswer()) for method in ("PUT", "HEAD")]
        lease.begin_apply()
        assert [fault.hits for fault in faults] == [1, 1]
        time.sleep(1.1)
        lease.check()
        assert not lease.lost.is_set()
        assert held_as(bucket, key) == lease.document

    def test_giving_back_without_an_answer_frees_it(self, through, proxy, bucket, key):
        with hold_lease(through, key, request()):
            proxy.fault(("PUT", key), DropAnswer())
        assert not is_held(bucket, key)

    def test_a_taking_that_the_server_refused_is_no_taking(self, through, proxy, bucket, key):
        proxy.fault(("PUT", key), Answer(403))
        with pytest.raises(FailedError) as refused:
            take(through, key)
        assert refused.value.problems[0].code == "store.denied"
        assert read_lease(bucket, key, stack="prod") is None


@contextmanager
def held_through(proxy: FaultProxy, buckets: Buckets, key: str, **fields: Any) -> Iterator[Lease]:
    with hold_lease(buckets.open(endpoint=proxy.endpoint), key, request(**fields)) as lease:
        try:
            yield lease
        finally:
            proxy.heal()
            proxy.thaw()
            proxy.up()


class TestServerGone:
    @pytest.mark.slow
    def test_terraform_is_told_to_stop_at_three_quarters_and_writing_ends_with_the_lease(self, buckets, proxy, key):
        with held_through(proxy, buckets, key, ttl_seconds=4.0) as lease:
            begun = time.monotonic()
            proxy.down()
            lease.check()
            assert lease.lost.wait(20)
            assert 2.0 <= time.monotonic() - begun < 10
            wait_for(lambda: time.monotonic() - begun > 4.1)
            with pytest.raises(FailedError) as refused:
                lease.check()
            (problem,) = refused.value.problems
            assert (problem.code, problem.stack) == ("lock.lost", "prod")
            assert "out of reach" in problem.message
            assert "tfops sync prod" in problem.hint

    @pytest.mark.slow
    def test_a_server_that_comes_back_in_time_has_done_no_harm(self, buckets, proxy, bucket, key):
        with held_through(proxy, buckets, key, ttl_seconds=4.0) as lease:
            proxy.down()
            time.sleep(1.5)
            proxy.up()
            time.sleep(3.0)
            assert not lease.lost.is_set()
            lease.check()
            assert is_held(bucket, key)

    @pytest.mark.slow
    def test_a_server_that_comes_back_late_finds_the_same_holder_if_nobody_took_it(self, buckets, proxy, bucket, key):
        lease = take(buckets.open(endpoint=proxy.endpoint), key, ttl_seconds=1.0)
        proxy.down()
        time.sleep(1.5)
        with pytest.raises(FailedError):
            lease.check()
        proxy.up()
        lease.check()
        assert held_as(bucket, key) == lease.document

    @pytest.mark.slow
    def test_terraform_is_told_in_time_also_where_the_server_only_stops_answering(self, buckets, proxy, key):
        with held_through(proxy, buckets, key, ttl_seconds=8.0) as lease:
            proxy.fault(("*", key), Freeze(60), times=None)
            assert lease.lost.wait(8.0)

    @pytest.mark.slow
    def test_one_that_cannot_be_given_back_is_told_and_ends_nobodys_run(self, buckets, proxy, bucket, key):
        told: list[TfopsError] = []
        with hold_lease(buckets.open(endpoint=proxy.endpoint), key, request(on_unreleased=told.append)):
            proxy.down()
        assert [error.problems[0].code for error in told] == ["store.unreachable"]
        assert is_held(bucket, key)

    def test_a_server_out_of_reach_is_no_free_lease(self, buckets, proxy, key):
        proxy.down()
        with pytest.raises(FailedError) as refused:
            take(buckets.open(endpoint=proxy.endpoint).with_patience(leases.HURRIED), key)
        assert refused.value.problems[0].code == "store.unreachable"


def test_a_killed_process_leaves_its_lease_behind_for_others_to_see(buckets, bucket, key):
    argv = [sys.executable, "-c", TAKER, buckets.server.endpoint, "tests", key]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        alive = view(bucket, key).document.holder.process
        assert (alive.pid, is_dead(alive)) == (process.pid, False)
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: is_dead(alive))
    assert not view(bucket, key).document.released
