#!/usr/bin/perl

# The unit tests of the console's pure parts, by node's own test runner.

use v5.30;
use warnings;
use FindBin;

chdir "$FindBin::Bin/../../web" or die "web: $!\n";

if (!-d 'node_modules') {
    say '1..0 # SKIP the packages of web/ are not installed (make web)';
    exit 0;
}

exec 'node', 'build.mjs', '--test', '--test-reporter=tap' or die "node: $!\n";
