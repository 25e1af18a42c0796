#!/bin/bash
cd /tmp; seq 5 | tee a b | tee -a a > c; cat a; cmp b c; echo $?
echo x | tee /nosuch/f; echo $?
yes | tee d | head -1; [ -s d ] && echo "wrote"
seq 100000 | tee >(sha256sum > s1) | sha256sum; while [ ! -s s1 ]; do sleep 0.05; done; cat s1
echo full | tee /dev/full; echo $?
