#!/bin/bash
# timeout: 180
# assets: deb
export DEBIAN_FRONTEND=noninteractive
cp /case/deb/sandbox-hello.deb /tmp/; cd /tmp
apt-get install -y ./sandbox-hello.deb 2>&1 | grep -v '^Fetched'; echo "${PIPESTATUS[0]}"; sandbox-hello
apt-cache policy sandbox-hello | head -3; apt-mark showmanual | grep sandbox
apt-get remove --purge -y sandbox-hello 2>&1; echo $?; ls /usr/bin/sandbox-hello; apt-get check 2>&1; echo $?; apt-get install -y nosuchpackage 2>&1; echo $?
