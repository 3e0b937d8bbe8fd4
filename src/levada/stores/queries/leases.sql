-- name: read
select sync, epoch, owner, beats, beat_at, run_id, checksum from lease where sync = ?;

-- name: key
select 1 from lease indexed by lease_key where sync = ?;

-- name: all
select sync, epoch, owner, beats, beat_at, run_id, checksum from lease order by sync;

-- name: write
insert into lease (sync, epoch, owner, beats, beat_at, run_id, checksum) values (?, ?, ?, ?, ?, ?, ?)
on conflict (sync) do update set epoch = excluded.epoch, owner = excluded.owner, beats = excluded.beats,
    beat_at = excluded.beat_at, run_id = excluded.run_id, checksum = excluded.checksum;

-- name: delete
delete from lease where sync = ?;
