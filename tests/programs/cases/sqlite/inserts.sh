#!/bin/bash
# timeout: 180
cd /tmp; { echo 'create table t(id integer primary key, v text);'; for i in $(seq 10000); do echo "insert into t(v) values('value $i');"; done; } > in.sql
{ echo 'pragma synchronous=off;'; cat in.sql; } | sqlite3 one.db; echo $?
sqlite3 one.db 'select count(*), min(v), max(v), sum(length(v)) from t; pragma integrity_check;'
{ echo 'begin;'; cat in.sql; echo 'commit;'; } | sqlite3 two.db; sqlite3 two.db 'select count(*) from t'; cmp one.db two.db >/dev/null; sqlite3 one.db .dump | sha256sum; sqlite3 two.db .dump | sha256sum
sqlite3 two.db 'pragma journal_mode=wal; insert into t(v) values(1); delete from t where id % 2; vacuum; select count(*) from t;'; ls two.db*
(sqlite3 two.db 'begin exclusive; select 1;' '.shell sleep 2' 'commit;') & sleep 1; sqlite3 two.db 'insert into t(v) values(2);'; echo $?; wait
sqlite3 -csv one.db 'select * from t where id > 9997'; sqlite3 one.db 'select * from nosuch'; echo $?
