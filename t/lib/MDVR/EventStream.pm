package MDVR::EventStream;

# A reader of Server-Sent Events, with the manners of MDVR::WebSocket.
#
#   my $s = MDVR::EventStream->new($t, token => $token, query => 'topics=alarm', after => 17);
#   my $m = $s->next('alarm', 5);       # the message; skips other events
#   $s->{id}                            # to come back with
#   $s->closed(5)                       # what event "close" says, 1006 without one

use v5.30;
use warnings;
use JSON::PP ();
use Time::HiRes qw(time);

sub new {
    my ($class, $t, %o) = @_;
    my $http = $t->http(node => $o{node} // $t->node, token => $o{token});
    my $p = $http->stream('/api/v1/events/stream' . ($o{query} ? "?$o{query}" : ''),
        defined $o{after} ? ('last-event-id' => $o{after}) : (), %{ $o{headers} // {} });
    return bless { p => $p, sock => $p->{sock}, status => $p->{status}, text => '', id => $o{after} }, $class;
}

# The next event of any name: { event, id, data }, or undef.
sub event {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while (1) {
        while ($self->{text} =~ s/\A(.*?)\n\n//s) {
            my %e;
            for (split /\n/, $1) {
                if (/^:/) { $self->{beats}++; next }
                my ($k, $v) = /^(\w+): ?(.*)/ or die "not a line of an event stream: $_";
                $e{$k} = $v;
            }
            $self->{id} = $e{id} if defined $e{id};
            next unless defined $e{data};
            $self->{close_code} = JSON::PP->new->utf8->decode($e{data})->{code} if ($e{event} // '') eq 'close';
            return \%e;
        }
        my $left = $end - time;
        return undef if $left <= 0 || $self->{eof};
        my $got = eval { $self->{p}->read(1, $left) };
        if (defined $got && length $got) { $self->{text} .= $got }
        elsif (!defined $got || $self->{p}{ended}) { $self->{eof} = 1 }
    }
}

sub next {
    my ($self, $type, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while ((my $left = $end - time) > 0) {
        my $e = $self->event($left) or return undef;
        return undef if defined $self->{close_code};
        return JSON::PP->new->utf8->decode($e->{data}) if !defined $type || ($e->{event} // '') eq $type;
    }
    return undef;
}

sub closed {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while ((my $left = $end - time) > 0) {
        my $e = $self->event($left);
        return $self->{close_code} if defined $self->{close_code};
        return 1006 if !$e && $self->{eof};
    }
    return undef;
}

sub drop { my ($self) = @_; close $self->{sock} }

1;
