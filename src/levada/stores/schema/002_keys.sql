-- A second copy of the keys of each table whose rows must not be forgotten. A row behind a damaged key is not found by
-- it, but the copy, which lies on another page, tells that there is one: it is not taken for one that never was. SQLite
-- keeps the copies. A look-up by key does not use them, for the table itself is the shorter way.
create index lease_key on lease (sync);
create index ledger_key on ledger (sync);
create index hold_key on hold (sync);
create index approval_key on approval (plan_id);
create index mark_key on mark (sync, name);
create index quota_key on quota (account, day);
create index pace_key on pace (account);
