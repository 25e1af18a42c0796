#!/bin/bash
timeout 0.3 sleep 10; echo $?
timeout 5 true; echo $?
timeout 5 sh -c 'exit 6'; echo $?
timeout -s KILL 0.3 sleep 10; echo $?
timeout -k 0.3 0.2 sh -c 'trap "" TERM; sleep 5; sleep 5'; echo $?
timeout --preserve-status 0.3 sleep 10; echo $?
timeout 1 nosuch; echo $?
timeout --foreground 0.2 cat < <(sleep 3); echo $?
