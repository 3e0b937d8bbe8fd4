-- name: approval_read
select plan_id, sync, approved_by, approved_at, expires_at, checksum from approval where plan_id = ?;

-- name: approval_key
select 1 from approval indexed by approval_key where plan_id = ?;

-- name: approval_all
select plan_id, sync, approved_by, approved_at, expires_at, checksum from approval order by plan_id;

-- name: approval_write
insert into approval (plan_id, sync, approved_by, approved_at, expires_at, checksum) values (?, ?, ?, ?, ?, ?)
on conflict (plan_id) do update set sync = excluded.sync, approved_by = excluded.approved_by,
    approved_at = excluded.approved_at, expires_at = excluded.expires_at, checksum = excluded.checksum;

-- name: approval_delete
delete from approval where plan_id = ?;

-- name: mark_read
select sync, name, value, checksum from mark where sync = ? and name = ?;

-- name: mark_key
select 1 from mark indexed by mark_key where sync = ? and name = ?;

-- name: mark_all
select sync, name, value, checksum from mark order by sync, name;

-- name: mark_write
insert into mark (sync, name, value, checksum) values (?, ?, ?, ?)
on conflict (sync, name) do update set value = excluded.value, checksum = excluded.checksum;

-- name: mark_delete
delete from mark where sync = ? and name = ?;

-- name: quota_read
select account, day, requests, checksum from quota where account = ? and day = ?;

-- name: quota_key
select 1 from quota indexed by quota_key where account = ? and day = ?;

-- name: quota_all
select account, day, requests, checksum from quota order by account, day;

-- name: quota_write
insert into quota (account, day, requests, checksum) values (?, ?, ?, ?)
on conflict (account, day) do update set requests = excluded.requests, checksum = excluded.checksum;

-- name: quota_delete
delete from quota where account = ? and day = ?;

-- name: pace_read
select account, boot, next_at, seen_at, checksum from pace where account = ?;

-- name: pace_key
select 1 from pace indexed by pace_key where account = ?;

-- name: pace_all
select account, boot, next_at, seen_at, checksum from pace order by account;

-- name: pace_write
insert into pace (account, boot, next_at, seen_at, checksum) values (?, ?, ?, ?, ?)
on conflict (account) do update set boot = excluded.boot, next_at = excluded.next_at, seen_at = excluded.seen_at,
    checksum = excluded.checksum;

-- name: pace_delete
delete from pace where account = ?;

-- name: secret_read
select name, key_id, wrapped_key, ciphertext, checksum from secret where name = ?;

-- name: secret_all
select name, key_id, wrapped_key, ciphertext, checksum from secret order by name;

-- name: secret_write
insert into secret (name, key_id, wrapped_key, ciphertext, checksum) values (?, ?, ?, ?, ?)
on conflict (name) do update set key_id = excluded.key_id, wrapped_key = excluded.wrapped_key,
    ciphertext = excluded.ciphertext, checksum = excluded.checksum;

-- name: secret_delete
delete from secret where name = ?;

-- name: audit_insert
insert into audit (number, at, actor, action, subject, detail, hash) values (?, ?, ?, ?, ?, ?, ?);

-- name: audit_newest
select number, at, actor, action, subject, detail, hash from audit order by number desc limit ?;

-- name: audit_page
select number, at, actor, action, subject, detail, hash from audit where number > ? order by number limit ?;
