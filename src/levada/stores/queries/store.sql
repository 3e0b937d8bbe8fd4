-- name: meta_read
select name, value, checksum from meta where name = ?;

-- name: meta_all
select name, value, checksum from meta order by name;

-- name: meta_write
insert into meta (name, value, checksum) values (?, ?, ?)
on conflict (name) do update set value = excluded.value, checksum = excluded.checksum;

-- name: schema
-- What the database says it is made of, to compare with what the migrations make.
select type, name, tbl_name, coalesce(sql, '') from sqlite_schema where name not like 'sqlite_%' order by type, name;
