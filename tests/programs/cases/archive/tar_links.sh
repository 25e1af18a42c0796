#!/bin/bash
mkdir -p /tmp/t/d && cd /tmp/t; echo a > d/a; ln d/a d/b; ln -s a d/c; mkfifo d/f; touch -d @1000000 d/a; chmod 6711 d/a; truncate -s 5M d/sparse
tar -cf x.tar --sparse --sort=name d; tar -tvf x.tar | awk '{print $1, $2, $6, $7, $8}' | sort; mkdir y; tar -C y -xpf x.tar
(cd y/d && stat -c '%n %F %a %h %s %Y' a b c f sparse | sed 's/^\([cf]\|sparse\) \(.*\) [0-9]*$/\1 \2/'); cmp d/sparse y/d/sparse && echo same
tar -xf nosuch.tar 2>&1 | head -1; echo plain > z; gzip -k z; zcat z.gz; gzip -l z.gz | awk 'NR == 2 { print $2 }'
