#!/bin/sh
# With Debian's programs, whatever else is installed: its Python is the one that has python3-grpcio.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec /usr/bin/python3 "$1" --runsc "$2" --engines ctr,docker,podman,rootless,cri
