package MDVR::Events;

# What is published to mdvr:event:<tenant>, as a test sees it.
#
#   my $events = MDVR::Events->new($t, $t->tenant);
#   my $e = $events->find(sub { $_[0]{type} eq 'alarm' });      # or undef after 5 s
#   is_deeply [ map { $_->{event} } $events->all ], [ 'online' ], 'nothing else so far';

use v5.30;
use warnings;
use Carp qw(croak);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Time::HiRes qw(time);

use MDVR::Store;

sub new {
    my ($class, $t, @tenants) = @_;
    my $store = $t->store;
    $store->redis('PING');
    my $sock = IO::Socket::UNIX->new(Peer => $store->{redis_socket}) or croak "Redis: $!";
    my $self = bless { sock => $sock, buf => '', seen => [] }, $class;
    my ($password) = MDVR::Test::slurp("$store->{dir}/redis.conf") =~ /^requirepass (\S+)/m;
    $store->redis_send($self, 'AUTH', $password);
    MDVR::Store::redis_read($self);
    for my $tenant (@tenants) {
        $store->redis_send($self, 'SUBSCRIBE', "mdvr:event:$tenant");
        MDVR::Store::redis_read($self);
    }
    return $self;
}

# Reads what has arrived, waiting at most so many seconds for the first byte.
sub fill {
    my ($self, $seconds) = @_;
    return 0 unless length $self->{buf} || IO::Select->new($self->{sock})->can_read($seconds);
    my $m = MDVR::Store::redis_read($self);
    push @{ $self->{seen} }, JSON::PP->new->utf8->decode($m->[2]) if $m->[0] eq 'message';
    return 1;
}

# The first message that matches, taken out of the list; undef in time.
sub find {
    my ($self, $match, $seconds) = @_;
    my $end = time + ($seconds // 5);
    my $i = 0;
    while (1) {
        for (; $i < @{ $self->{seen} }; $i++) {
            return splice @{ $self->{seen} }, $i, 1 if $match->($self->{seen}[$i]);
        }
        my $left = $end - time;
        $self->fill($left) or return undef if $left > 0;
        return undef if time > $end;
    }
}

# Everything that has arrived by now and was not taken.
sub all {
    my ($self) = @_;
    1 while $self->fill(0.05);
    return splice @{ $self->{seen} };
}

1;
