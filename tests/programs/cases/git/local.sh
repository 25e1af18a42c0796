#!/bin/bash
# timeout: 120
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name Sandbox; git config --global user.email sandbox@example.org; git config --global init.defaultBranch main
mkdir /tmp/r && cd /tmp/r && git init -q && cp -r /usr/lib/python3.11/json /usr/share/perl5 . && find . -name '*.pyc' -delete
git add -A && git commit -qm first; git log --format='%H %s'; git ls-files | wc -l
echo change >> json/decoder.py; git status --short; git diff --stat; git commit -qam second
git checkout -qb side HEAD~1; echo side > side; git add side; git commit -qm side; git checkout -q main; git merge -q --no-edit side; git log --oneline --graph
git clone -q /tmp/r /tmp/c 2>&1; cd /tmp/c && git log -1 --format=%H && git fsck 2>&1 | grep -v '^Checking\|^notice'; git rev-list --count HEAD
git clone -q --bare file:///tmp/r /tmp/b.git; echo more > f; git add f; git commit -qm third; git push -q /tmp/b.git HEAD:refs/heads/pushed; git --git-dir=/tmp/b.git branch
git gc -q; git count-objects -v | grep -E '^(count|in-pack|packs)'; git stash list; git grep -c 'def ' -- json | head -5; git show HEAD~1:nosuch; echo $?
