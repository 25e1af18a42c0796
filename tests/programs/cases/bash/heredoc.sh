#!/bin/bash
name=world
cat <<EOF
hello $name, $((6 * 7)), $(echo sub)
EOF
cat <<'EOF'
literal $name
EOF
cat <<-EOF
	tabs go
	EOF
tr a-z A-Z <<<"here string $name"
# Larger than a pipe buffer: bash then uses a temporary file.
wc -c <<EOF
$(head -c 200000 /dev/zero | tr '\0' x)
EOF
while read -r a b; do echo "$b $a"; done <<EOF
one two
three four
EOF
