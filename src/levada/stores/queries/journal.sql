-- name: head
select run_id, entries, checksum from journal_head where run_id = ?;

-- name: head_write
insert into journal_head (run_id, entries, checksum) values (?, ?, ?)
on conflict (run_id) do update set entries = excluded.entries, checksum = excluded.checksum;

-- name: intend
-- A batch that was intended before stays as it is: the journal compares the two and refuses another content.
insert into journal (run_id, number, kind, first, size, idempotency_key, attempts, doubtful, intent_checksum)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (run_id, number) do nothing;

-- name: read
select run_id, number, kind, first, size, idempotency_key, attempts, doubtful, intent_checksum,
    outcome, exceptions, identifiers, request_id, outcome_checksum
from journal where run_id = ? and number = ?;

-- name: page
select run_id, number, kind, first, size, idempotency_key, attempts, doubtful, intent_checksum,
    outcome, exceptions, identifiers, request_id, outcome_checksum
from journal where run_id = ? and number > ? order by number limit ?;

-- name: doubt
update journal set attempts = ?, doubtful = 1, intent_checksum = ? where run_id = ? and number = ?;

-- name: settle
update journal set outcome = ?, exceptions = ?, identifiers = ?, request_id = ?, outcome_checksum = ?
where run_id = ? and number = ?;

-- name: count
select count(*) from journal where run_id = ?;

-- name: runs
select distinct run_id from journal union select run_id from journal_head;

-- name: delete
delete from journal where run_id = ?;

-- name: head_delete
delete from journal_head where run_id = ?;

-- name: hold_read
select sync, boot, deadline, seconds, checksum from hold where sync = ?;

-- name: hold_key
select 1 from hold indexed by hold_key where sync = ?;

-- name: hold_all
select sync, boot, deadline, seconds, checksum from hold order by sync;

-- name: hold_write
insert into hold (sync, boot, deadline, seconds, checksum) values (?, ?, ?, ?, ?)
on conflict (sync) do update set boot = excluded.boot, deadline = excluded.deadline, seconds = excluded.seconds,
    checksum = excluded.checksum;

-- name: hold_delete
delete from hold where sync = ?;
