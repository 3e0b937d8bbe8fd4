"""Jobs: a tool that answers "I am on it" is asked until it has ended, and then what became of each record."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from levada.batch import Batch
from levada.destination import Response, Talk
from levada.destinations.answers import Reader
from levada.destinations.json_places import MISSING, answer_words, document, look, read_json, same, steps, text_at
from levada.destinations.language import Action, Job
from levada.destinations.questions import RequestDeclaration
from levada.destinations.request_maker import Address, Values, address, record_of
from levada.outcome import Outcomes
from levada.template import Names
from levada.wording import plural


@dataclass(frozen=True, slots=True)
class JobTalk:
    """A verb's job, made ready."""

    job: Job
    status: Address
    reader: Reader
    results: Address | None = None

    def follow(self, batch: Batch, answer: Response) -> Talk[Outcomes]:
        """Poll the job that `answer` names, and read its results. A job still running at the end is unknown."""
        number = text_at(document(answer), self.job.id)
        if not number:
            return batch.unknown("the answer names no job")
        values = Values(record_of(batch, 0, addressed=False), {"job": number})
        for _ in range(self.job.polls_max):
            state = yield self.status.request(values, safe=True, after_seconds=self.job.every_seconds)
            found = document(state)
            if not state.ok or found is MISSING:
                return batch.unknown(f"job {number}: {answer_words(state)}")
            value = look(found, self.job.until.path)
            if any(same(value, each) for each in self.job.until.failed):
                return batch.refused(answer_words(state, self.reader.reading.message), code="job_failed")
            if any(same(value, each) for each in self.job.until.done):
                return (yield from self._read(batch, number, values, state))
        return batch.unknown(f"job {number} is still running after {plural(self.job.polls_max, 'poll')}")

    def _read(self, batch: Batch, number: str, values: Values, state: Response) -> Talk[Outcomes]:
        if self.results is None or self.job.results is None:
            return self.reader.read(batch, state)
        answer = yield self.results.request(values, safe=True)
        if not answer.ok:
            return batch.unknown(f"the results of job {number}: {answer_words(answer)}")
        try:
            found = _rows(answer, self.job.results.format)
        except ValueError:
            return batch.unknown(f"the results of job {number} cannot be read")
        return replace(self.reader.of_document(batch, answer, found), request_id=answer.request_id)


def _rows(answer: Response, written_as: str) -> Any:
    """The results as JSON values; cells of a CSV are text."""
    match written_as:
        case "json_lines":
            return [read_json(line) for line in answer.body.splitlines() if line.strip()]
        case "csv":
            text = answer.body.decode("utf-8-sig")
            rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
            header = rows[0] if rows else []
            if any(len(row) != len(header) for row in rows):
                raise ValueError("a row of another length than the header")
            return [dict(zip(header, row, strict=True)) for row in rows[1:]]
        case _:
            return read_json(answer.body)


def made(action: Action, verb: str, names: Names, headers: Mapping[str, str], reader: Reader) -> JobTalk:
    """A verb's job, made ready. Raises ConfigError."""
    job = action.job
    assert job is not None
    for place in (job.id, job.until.path):
        steps(place)
    polled = replace(names, others=names.others | {"job"}, fields=frozenset())
    status = address(RequestDeclaration(send=job.status), polled, headers)
    if job.results is None:
        return JobTalk(job, status, reader)
    results = address(RequestDeclaration(send=job.results.send), polled, headers)
    return JobTalk(job, status, Reader(job.results, verb, addressed=False, names=names), results)
