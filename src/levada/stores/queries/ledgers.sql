-- name: read
select sync, generation, document, checksum from ledger where sync = ?;

-- name: key
select 1 from ledger indexed by ledger_key where sync = ?;

-- name: all
select sync, generation, document, checksum from ledger order by sync;

-- name: write
insert into ledger (sync, generation, document, checksum) values (?, ?, ?, ?)
on conflict (sync) do update set generation = excluded.generation, document = excluded.document,
    checksum = excluded.checksum;

-- name: delete
delete from ledger where sync = ?;
