#!/bin/bash
mkdir -p /tmp/g/{a,b,c}/{1..3} && cd /tmp/g && touch a/1/x.txt b/2/y.txt c/3/{.hidden,z.txt} "with space" 'star*' "ünï"
echo */*/*.txt; echo [ab]/?; echo */[!12]; echo *space; echo 'star\*' star\*; echo nothing*here
shopt -s globstar dotglob; echo **/*.txt; echo c/3/*
shopt -s extglob
echo !(a|b); echo @(a|c)/+([12])
shopt -s nullglob; echo none*x; shopt -s failglob; (echo none*x) 2>&1 | sed 's/.*: //'
case foo.tar.gz in *.tar.*) echo archive;; esac
echo {1..5} {a..e..2} pre{x,y}post ~root ${HOME%/*}
