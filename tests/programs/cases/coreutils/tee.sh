#!/bin/bash
cd /tmp; seq 5 | tee a b > c; cmp b c; echo $?; seq 3 | tee -a a | tee d > e; cat a; cmp d e; echo $?
echo x | tee /nosuch/f; echo $?
yes | tee d | head -1; [ -s d ] && echo "wrote"
seq 100000 | tee >(sha256sum > s1) | sha256sum; while [ ! -s s1 ]; do sleep 0.05; done; cat s1
echo full | tee /dev/full; echo $?
