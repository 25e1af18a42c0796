#!/bin/bash
cd /tmp; nohup sh -c 'echo out; echo err >&2; kill -HUP $$; echo survived' 2>&1
nohup sh -c 'exit 5' >/dev/null 2>&1; echo $?
nohup nosuch >/dev/null 2>&1; echo $?
nohup sleep 0.2 >/dev/null 2>&1 & wait $!; echo $?
setsid sh -c '[ "$(ps -o sid= -p $$ | tr -d " ")" = "$$" ] && echo leader'; nice -n 5 nice; nice
