-- The store's first schema. Every row carries an XXH3-64 checksum of its content (levada.stores.checksums), because
-- SQLite does not notice a flipped byte inside a value. Tables that are looked up by key are WITHOUT ROWID:
-- the key stands in the row itself, under its checksum.

-- store_id, highest_epoch, commits, audit (entries and last hash), created_at
create table meta (
    name     text primary key,
    value    text not null,
    checksum integer not null
) without rowid;

-- Who may write for a sync. An empty owner: nobody. beats counts heartbeats; beat_at is the monotonic clock of
-- the owner's boot. run_id is the run under way, or the open one that the next owner must resume.
create table lease (
    sync     text primary key,
    epoch    integer not null,
    owner    text not null,
    beats    integer not null,
    beat_at  real not null,
    run_id   text not null,
    checksum integer not null
) without rowid;

create table run (
    number      integer primary key,
    run_id      text not null unique,
    sync        text not null,
    phase       text not null check (phase in ('reading', 'planned', 'delivering', 'settling', 'paused', 'closed')),
    status      text,
    created_at  text not null,
    plan_id     text not null,
    epoch       integer not null,
    purpose     text not null,
    folder      text not null,
    finished_at text not null,
    result      text,
    checksum    integer not null
);

-- never more than one run of a sync that is not closed
create unique index run_open on run (sync) where phase <> 'closed';
create index run_by_sync on run (sync, number);

-- How many batches a run has intended: a row that hides behind a damaged key would otherwise not be missed.
create table journal_head (
    run_id   text primary key references run (run_id),
    entries  integer not null,
    checksum integer not null
) without rowid;

-- One row per batch. intent_checksum covers the columns up to doubtful, outcome_checksum the rest, so that an
-- answer is stored without reading the intent first.
create table journal (
    run_id           text not null references run (run_id),
    number           integer not null,
    kind             text not null,
    first            integer not null,
    size             integer not null,
    idempotency_key  text not null,
    attempts         integer not null,
    doubtful         integer not null,
    intent_checksum  integer not null,
    outcome          text,
    exceptions       text,
    identifiers      text,
    request_id       text,
    outcome_checksum integer,
    primary key (run_id, number)
) without rowid;

create table ledger (
    sync       text primary key,
    generation integer not null,
    document   text not null,
    checksum   integer not null
) without rowid;

-- deadline is the monotonic clock of that boot; seconds is the whole hold, for after a reboot
create table hold (
    sync     text primary key,
    boot     text not null,
    deadline real not null,
    seconds  real not null,
    checksum integer not null
) without rowid;

create table approval (
    plan_id     text primary key,
    sync        text not null,
    approved_by text not null,
    approved_at text not null,
    expires_at  text not null,
    checksum    integer not null
) without rowid;

create table mark (
    sync     text not null,
    name     text not null,
    value    text not null,
    checksum integer not null,
    primary key (sync, name)
) without rowid;

create table quota (
    account  text not null,
    day      text not null,
    requests integer not null,
    checksum integer not null,
    primary key (account, day)
) without rowid;

-- next_at and seen_at are the monotonic clock of that boot
create table pace (
    account  text primary key,
    boot     text not null,
    next_at  real not null,
    seen_at  real not null,
    checksum integer not null
) without rowid;

create table secret (
    name        text primary key,
    key_id      text not null,
    wrapped_key blob not null,
    ciphertext  blob not null,
    checksum    integer not null
) without rowid;

-- hash covers the entry and the hash before it
create table audit (
    number   integer primary key,
    at       text not null,
    actor    text not null,
    action   text not null,
    subject  text not null,
    detail   text not null,
    hash     text not null
);

create trigger audit_is_not_changed before update on audit
begin
    select raise(abort, 'the audit log is append-only');
end;

create trigger audit_is_not_deleted before delete on audit
begin
    select raise(abort, 'the audit log is append-only');
end;
