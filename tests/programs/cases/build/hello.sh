#!/bin/bash
cd /tmp; printf '#include <stdio.h>\n#include <math.h>\nint main(int c, char **v) { printf("%%s %%d %%.3f\\n", "hello", c, sqrt(c + 1.0)); return 42; }\n' > h.c
gcc -O2 -Wall h.c -o h -lm && ./h a b; echo $?
gcc -c -pipe h.c && nm h.o | awk '{print $NF}'; gcc -S -o - h.c | grep -c call; gcc -E h.c | grep -c printf
echo 'int main(void) { return undefined(); }' > bad.c; gcc bad.c -o bad 2>&1 | grep -c 'undefined reference'; echo 'int x' | gcc -x c -c - -o /dev/null 2>&1 | grep -c error
printf 'all: b\nb: a\n\tcat a > b\na:\n\techo made > a\n' > Makefile; make; make; cat b; touch a; make -q; echo $?
gcc -g -fsanitize=undefined h.c -o u -lm && ./u; echo $?
