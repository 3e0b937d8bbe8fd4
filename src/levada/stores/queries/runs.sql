-- name: read
select number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result, checksum
from run where run_id = ?;

-- name: by_prefix
-- Two are enough to know that a prefix is ambiguous; the third tells a person that there are more.
select run_id from run where substr(run_id, 1, length(?1)) = ?1 or substr(run_id, 5, length(?1)) = ?1
order by number desc limit 3;

-- name: ids
select run_id from run order by number desc limit ?;

-- name: newest
select number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result, checksum
from run order by number desc limit ?;

-- name: newest_of_sync
select number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result, checksum
from run where sync = ? order by number desc limit ?;

-- name: all
select number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result, checksum
from run where number > ? order by number limit ?;

-- name: next_number
select coalesce(max(number), 0) + 1 from run;

-- name: insert
insert into run (number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result,
    checksum) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update
update run set phase = ?, status = ?, plan_id = ?, epoch = ?, folder = ?, finished_at = ?, result = ?, checksum = ?
where number = ?;

-- name: of_sync_not_closed
select number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result, checksum
from run where sync = ? and phase <> 'closed';
