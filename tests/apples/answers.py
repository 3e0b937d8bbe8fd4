"""Connectors that read answers wrongly, or make delivery do what it must not, with the check that must say so."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from apples.good import SECRET, Crm, Tokens, accepted
from apples.requests import APPLES, Apple, caught_by
from levada.batch import Batch
from levada.destination import Auth, Credential, Request, Response, Talk
from levada.errors import AuthError
from levada.outcome import DELIVERED, Outcome, Outcomes

Entries = list[dict[str, Any]]


# How it reads answers.


@caught_by("check_accepted_records_are_delivered")
class DeliversTheFirst(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        return super().matched(batch, taken[:1], failed)


@caught_by("check_a_single_record_is_delivered")
class NeedsTwo(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        return super().matched(batch, taken, failed) if len(batch) > 1 else batch.unknown("one only")


@caught_by("check_identifiers_are_kept")
class ForgetsTheIds(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        return replace(super().matched(batch, taken, failed), identifiers={})


@caught_by("check_identifiers_are_kept")
class ShiftsTheIds(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        found = super().matched(batch, taken, failed)
        size = len(batch)
        return replace(found, identifiers={(index + 1) % size: each for index, each in found.identifiers.items()})


@caught_by("check_a_refused_request_delivers_nothing")
class IgnoresRefusals(Crm):
    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return batch.delivered()


@caught_by("check_a_refused_request_delivers_nothing")
class SaysNothing(Crm):
    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return batch.refused("")


@caught_by("check_a_poison_record_is_found_by_halving")
@caught_by("check_a_refused_request_delivers_nothing")
class RejectsThemAll(Crm):
    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return batch.rejected(words)


@caught_by("check_a_refused_record_alone_is_rejected")
class DoubtsASingleRecord(Crm):
    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return batch.unknown(words) if len(batch) == 1 else batch.refused(words)


@caught_by("check_too_large_is_halved")
class RejectsWhatIsTooLarge(Crm):
    def read_refusal(self, batch: Batch, answer: Response) -> Outcomes:
        return batch.rejected("too large") if answer.status == 413 else super().read_refusal(batch, answer)


@caught_by("check_every_refusal_is_one")
class TakesUnprocessableForDone(Crm):
    def read_refusal(self, batch: Batch, answer: Response) -> Outcomes:
        return batch.delivered() if answer.status == 422 else super().read_refusal(batch, answer)


@caught_by("check_one_refused_record_is_named")
class BlamesTheNext(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        found = super().matched(batch, taken, failed)
        return Outcomes(DELIVERED, {(index + 1) % len(batch): each for index, each in found.exceptions.items()})


@caught_by("check_an_unreadable_answer_is_unknown")
class BelievesAnyOk(Crm):
    def read(self, batch: Batch, answer: Response) -> Outcomes:
        found = super().read(batch, answer)
        return batch.delivered() if answer.ok and found.common.reason == "the answer cannot be read" else found


@caught_by("check_an_unreadable_answer_is_unknown")
class FallsOverAnswers(Crm):
    def read(self, batch: Batch, answer: Response) -> Outcomes:
        if answer.ok:
            answer.json()
        return super().read(batch, answer)


@caught_by("check_a_web_page_is_no_receipt")
class LooksAtTheStatusAlone(Crm):
    def read(self, batch: Batch, answer: Response) -> Outcomes:
        return batch.delivered() if answer.ok else self.read_refusal(batch, answer)


@caught_by("check_a_cut_answer_vouches_for_nothing")
class ReadsWhatThereIs(Crm):
    def read(self, batch: Batch, answer: Response) -> Outcomes:
        if not answer.ok:
            return self.read_refusal(batch, answer)
        return batch.delivered() if answer.body.startswith(b"{") else batch.unknown("no JSON")


@caught_by("check_an_answer_to_fewer_records_delivers_no_more")
class TakesTheRestForTaken(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        found = super().matched(batch, taken, failed)
        return replace(found, common=DELIVERED)


class ByPlace(Crm):
    """Reads entries by their order, whatever they name."""

    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        entries = [(each, True) for each in taken] + [(each, False) for each in failed]
        said = {
            index: DELIVERED if good else Outcome("rejected", str(each.get("message", "no")))
            for index, (each, good) in enumerate(entries[: len(batch)])
        }
        return batch.outcomes(said, common=Outcome("unknown"))


@caught_by("check_an_answer_to_more_records_is_not_trusted_by_place", by_name=False, by_value=False)
@caught_by("check_doubled_entries_refuse_nothing", by_name=False, by_value=False)
class ByPlaceWhateverTheNumber(ByPlace):
    pass


@caught_by("check_an_answer_to_more_records_is_not_trusted_by_place")
class RejectsOddAnswers(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        odd = len(taken) + len(failed) > len(batch)
        return batch.rejected("odd") if odd else super().matched(batch, taken, failed)


@caught_by("check_doubled_entries_refuse_nothing")
class RejectsDoubles(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        doubled = len({each["number"] for each in taken}) < len(taken)
        return batch.rejected("doubled") if doubled else super().matched(batch, taken, failed)


@caught_by("check_a_foreign_refusal_is_nobodys")
class BlamesTheFirst(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        found = super().matched(batch, taken, failed)
        rows = [row["number"] for row in batch.records]
        strange = any(each["number"] not in rows for each in failed)
        return replace(found, exceptions={**found.exceptions, 0: Outcome("rejected", "no")}) if strange else found


@caught_by("check_a_reordered_answer_misplaces_no_refusal", accepted=accepted)
class ByOrderOfItsRefusals(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        said: dict[int, Outcome] = {}
        rows = [row["number"] for row in batch.records]
        left = [row for row in rows if row not in [each["number"] for each in failed]]
        for place, each in enumerate(taken):
            expected = left[place] if place < len(left) else None
            right = each["number"] == expected
            said[place if right else len(batch) - 1] = DELIVERED if right else Outcome("rejected", "out of order")
        for each in failed:
            said.setdefault(rows.index(each["number"]), Outcome("rejected", str(each["message"])))
        return batch.outcomes(said)


@caught_by("check_a_contradiction_delivers_nothing")
class BelievesTheBetter(Crm):
    def matched(self, batch: Batch, taken: Entries, failed: Entries) -> Outcomes:
        found = super().matched(batch, taken, failed)
        good = {each["number"] for each in taken}
        sure = {n: DELIVERED for n, row in enumerate(batch.records) if row["number"] in good}
        return replace(found, exceptions={**found.exceptions, **sure})


@caught_by("check_a_redirect_is_unknown")
class RefusesARedirect(Crm):
    def read_refusal(self, batch: Batch, answer: Response) -> Outcomes:
        return batch.refused("moved") if answer.status // 100 == 3 else super().read_refusal(batch, answer)


@caught_by("check_a_redirect_is_not_followed")
class FollowsARedirect(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        answer = yield self.request(batch)
        if answer.status == 307:
            answer = yield replace(self.request(batch), url=answer.headers["location"])
        return self.read(batch, answer)


@caught_by("check_a_conversation_can_be_dropped")
class CannotLetGo(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        with contextlib.suppress(GeneratorExit):
            answer = yield self.request(batch)
            return self.read(batch, answer)
        yield self.request(batch)
        return batch.unknown("dropped")


@caught_by("check_it_never_asks_without_end")
class AsksForEver(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        answer = yield self.request(batch)
        while answer.status == 202:
            answer = yield Request("GET", "/state", safe=True, after_seconds=1)
        return self.read(batch, answer)


@caught_by("check_long_words_are_shortened")
class QuotesTheNovel(Crm):
    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return Outcomes(Outcome("rejected", words), attributed=len(batch) == 1)


# What it makes delivery do.


@caught_by("check_a_throttled_request_comes_again_the_same")
class WithAKeyForEachSending(Crm):
    count = itertools.count()

    def request(self, batch: Batch) -> Request:
        return replace(super().request(batch), sign=lambda now: {"Idempotency-Key": str(next(self.count))})


@dataclass(frozen=True)
class RemembersItsToken(Tokens):
    kept: list[Credential] = field(default_factory=list, repr=False)

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        if not self.kept:
            self.kept.append((yield from super().sign_in(kept)))
        return self.kept[0]


@caught_by("check_an_expired_credential_is_renewed_once")
class RenewsNothing(Crm):
    def __init__(self) -> None:
        self._auth = RemembersItsToken()

    @property
    def auth(self) -> Auth | None:
        return self._auth


@dataclass(frozen=True)
class Silent(Tokens):
    """Keeps its secret to itself."""

    def secrets(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class InDisguise(Tokens):
    """Signs with another form of its secret, which it does not name."""

    refreshes: bool = False

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        yield from ()
        return Credential(headers={"X-Key": SECRET[::-1]})


@caught_by("check_every_secret_is_named")
class NamesAnotherForm(Crm):
    @property
    def auth(self) -> Auth | None:
        return InDisguise()


@caught_by("check_every_secret_is_named")
class NamesNoSecret(Crm):
    @property
    def auth(self) -> Auth | None:
        return Silent()


@caught_by("check_an_echoed_secret_is_not_shown")
class TellsTheIdsOfSecrets(Crm):
    """Takes the words of a refusal for the tool's id of the record, which nobody masks."""

    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return Outcomes(Outcome("rejected", "no"), attributed=len(batch) == 1, identifiers={0: words})


@dataclass(frozen=True)
class SignsItsSigningIn(Tokens):
    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        talk = super().sign_in(kept)
        answer = yield replace(next(talk), anonymous=False)
        with contextlib.suppress(StopIteration):
            talk.send(answer)
        return Credential(headers={"Authorization": "Bearer " + "t" * 40})


@caught_by("check_signing_in_gives_a_credential")
class NeedsACredentialForOne(Crm):
    @property
    def auth(self) -> Auth | None:
        return SignsItsSigningIn()


@dataclass(frozen=True)
class QuotesTheRefusal(Tokens):
    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        body = urlencode({"client_secret": self.secret}).encode()
        answer = yield Request("POST", "/token", body=body, safe=True, anonymous=True)
        if not answer.ok or b"access_token" not in answer.body:
            raise AuthError(f"no token: {answer.text}")
        return Credential(headers={"Authorization": f"Bearer {answer.json()['access_token']}"})


@caught_by("check_a_refused_sign_in_shows_no_secret")
class RepeatsWhatTheToolSays(Crm):
    @property
    def auth(self) -> Auth | None:
        return QuotesTheRefusal()


@dataclass(frozen=True)
class TakesAnything(Tokens):
    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        body = urlencode({"client_secret": self.secret}).encode()
        answer = yield Request("POST", "/token", body=body, safe=True, anonymous=True)
        try:
            token = answer.json().get("access_token")
        except ValueError:
            raise AuthError("no token") from None
        return Credential(headers={"Authorization": f"Bearer {token}"})


@caught_by("check_a_failed_sign_in_is_no_credential")
class SignsInAsNobody(Crm):
    @property
    def auth(self) -> Auth | None:
        return TakesAnything()


@caught_by("check_it_leaves_the_network_to_delivery")
class AsksByItself(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        with contextlib.suppress(Exception):
            socket.create_connection(("127.0.0.1", 9))
        return (yield from super().deliver(batch))


@caught_by("check_it_leaves_waiting_to_delivery")
class SleepsByItself(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        answer = yield self.request(batch)
        time.sleep(0)
        return self.read(batch, answer)


@caught_by("check_nothing_happens_before_it_is_asked")
class BeginsAtOnce(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        with contextlib.suppress(Exception):
            socket.create_connection(("127.0.0.1", 9))
        return super().deliver(batch)


@caught_by("check_nothing_happens_before_it_is_asked")
class ReturnsAtOnce(Crm):
    def deliver(self, batch: Batch) -> Any:
        return batch.delivered()


__all__ = ["APPLES", "Apple"]
