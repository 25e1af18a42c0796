#!/bin/bash
cd /tmp; mkdir p && chmod 755 p; echo secret > p/s; chmod 600 p/s; touch open; chmod 666 open; mkdir drop; chmod 1777 drop; echo x > drop/mine
as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@" 2>&1; echo "= $?"; }
as cat p/s; as sh -c 'echo y > open'; as touch p/new; as rm -f drop/mine; as rm -f p/s; as ls /root; as chmod 777 open; as kill -0 1
as id; as cat /etc/shadow; chmod 711 p; as ls p; as cat p/nosuch; chmod 644 p/s; as cat p/s
as sh -c 'ulimit -n 5000'; as nice -n -5 true; as hostname other; as su -c id 2>/dev/null
as sh -c 'touch drop/own && chmod 4755 drop/own && stat -c "%a %u" drop/own && rm drop/own'
