#!/bin/sh
# With Debian's programs, whatever else is installed: its Python is the one that has python3-grpcio.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
script=$1 runsc=$2
shift 2
exec /usr/bin/python3 "$script" --runsc "$runsc" --engines ctr,docker,podman,rootless,cri --control runc "$@"
