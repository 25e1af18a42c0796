#!/bin/bash
# timeout: 120
cd /tmp; cat > p.c <<'EOF'
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>
extern char **environ;
static __thread int local = 7;
static void *run(void *x) { return (void *)(long)(local + *(int *)x); }
int main(int c, char **v) {
  int x = 5; void *r; pthread_t t; pthread_create(&t, 0, run, &x); pthread_join(t, &r);
  printf("%s %d %s %ld page %lu phnum %lu secure %lu execfn %s\n", v[0], c, v[1], (long)r, getauxval(AT_PAGESZ), getauxval(AT_PHNUM) > 0, getauxval(AT_SECURE), (char *)getauxval(AT_EXECFN));
  return c;
}
EOF
gcc -O1 p.c -o dynamic_pie; gcc -O1 -no-pie p.c -o dynamic_fixed; gcc -O1 -static p.c -o static_fixed; gcc -O1 -static-pie p.c -o static_pie
for b in dynamic_pie dynamic_fixed static_fixed static_pie; do file -b $b | grep -o 'pie executable\|executable\|statically linked\|static-pie linked\|dynamically linked' | paste -sd,; ./$b arg; echo $?; done
ldd dynamic_pie | awk '{print $1, $2}' | sed 's/(.*//'; /lib64/ld-linux-x86-64.so.2 ./dynamic_pie via-loader; echo $?
[ "$(for i in 1 2 3 4 5 6; do awk '/stack/ {print $1}' /proc/self/maps; done | sort -u | wc -l)" -gt 1 ] && echo "stack is randomised"
echo 'int shared(void) { return 3; }' | gcc -shared -fPIC -x c - -o libs.so; echo 'int shared(void); int main(void) { return shared(); }' | gcc -x c - -L. -ls -Wl,-rpath,/tmp -o uses && ./uses; echo $?
mv libs.so gone.so; ./uses; echo $?; strip dynamic_pie && ./dynamic_pie stripped; chmod -x static_pie; ./static_pie; echo $?; cp /bin/true t; truncate -s 100 t; ./t; echo $?
awk '/\[(heap|stack|vdso)\]/ {print $6}' /proc/self/maps | sort; readlink /proc/self/exe
