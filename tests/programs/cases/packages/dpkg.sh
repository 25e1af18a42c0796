#!/bin/bash
# timeout: 120
# assets: deb
export DEBIAN_FRONTEND=noninteractive
dpkg -i /case/deb/sandbox-hello.deb; echo $?; sandbox-hello; dpkg -L sandbox-hello; dpkg -s sandbox-hello | head -2; dpkg -V sandbox-hello
dpkg -S /usr/bin/sandbox-hello; dpkg-deb -c /case/deb/sandbox-hello.deb | awk '{print $1, $2, $3, $6}'; echo "name=changed" > /etc/sandbox-hello.conf
dpkg -r sandbox-hello 2>&1; echo $?; ls /etc/sandbox-hello.conf; dpkg -P sandbox-hello; ls /etc/sandbox-hello.conf; dpkg -l | wc -l; dpkg --audit; dpkg -i /nosuch.deb; echo $?
