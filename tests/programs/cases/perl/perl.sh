#!/bin/bash
exec perl - <<'EOF'
use strict; use warnings; use POSIX ":sys_wait_h"; use File::Temp; use File::Find; use Socket; use IO::Select; use Time::HiRes qw(usleep);
$| = 1; my %h; $h{$_ % 7} += $_ for 1 .. 10000; print join(",", map { "$_=$h{$_}" } sort keys %h), "\n";
my $pid = fork; if (!$pid) { exit 5 } waitpid $pid, 0; print $? >> 8, "\n";
print scalar(`echo back; exit 3`), $? >> 8, "\n"; system("kill -TERM \$\$"); print $? & 127, "\n";
open my $p, "-|", "seq", 3 or die; print while <$p>; close $p;
open my $w, "|-", "sort -r" or die; print $w "$_\n" for qw(a c b); close $w;
local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; eval { sleep 5 }; print $@;
local $SIG{CHLD} = sub { print "child gone\n" while waitpid(-1, WNOHANG) > 0 }; if (!fork) { exit } usleep 50000 for 1 .. 6;
socketpair my $x, my $y, AF_UNIX, SOCK_STREAM, 0 or die; syswrite $x, "pair"; print IO::Select->new($y)->can_read(1) ? "ready\n" : "no\n"; sysread $y, my $buf, 10; print "$buf\n";
my $t = File::Temp->new; print $t "line $_\n" for 1 .. 1000; close $t; open my $f, "<", "$t" or die; my @l = <$f>; print scalar(@l), " $l[499]";
my $n = 0; find(sub { $n++ if /\.pm$/ }, "/usr/share/perl"); print "$n modules\n"; (my $s = "hello world") =~ s/(\w+)/\u$1/g; print "$s\n";
print "no: $!\n" unless open my $q, "<", "/nosuch"; print join(" ", map { sprintf "%03o", (stat $_)[2] & 07777 } "/tmp", "/etc/passwd"), "\n"; exit 4;
EOF
