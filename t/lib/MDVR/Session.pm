package MDVR::Session;

# One database session of one role that stays open: what a test needs to see the
# database as the application does, and to hold a transaction open while another
# goes on.
#
#   my $api = MDVR::Session->new($t, 'mdvr_api');
#   $api->as(tenant => $a, user => $u, role => 'technician');    # for what follows
#   is $api->value('select count(*) from mdvr.device'), 1, '...';
#   $api->send('commit'); ... $api->answer;                      # without waiting
#
# Every statement of value, rows and run is one transaction with the settings of
# as(), like a request.  Errors are returned by error(), as "SQLSTATE message".

use v5.30;
use warnings;
use Carp qw(croak);
use IO::Select;
use IPC::Open2 qw(open2);
use Time::HiRes qw(time);

sub new {
    my ($class, $t, $role) = @_;
    my $pid = open2(my $out, my $in, 'sh', '-c', 'exec "$@" 2>&1', 'sh', 'psql', '-X', '-q', '-A', '-t',
        '-v', 'VERBOSITY=verbose', '-F', "\x1f", '-R', "\x1e", '-P', 'null=NULL', '-d', $t->store->conninfo($role));
    $in->autoflush(1);
    return bless { in => $in, out => $out, pid => $pid, t => $t, set => {}, text => '' }, $class;
}

sub as { my ($self, %set) = @_; $self->{set} = \%set; return $self }

sub send {
    my ($self, $sql, @values) = @_;
    $sql = $self->{t}->store->bind_values($sql, @values);
    print { $self->{in} } "$sql\n;\n\\echo \x1d\n";
}

# Everything that the oldest unanswered send() said; undef after so many seconds.
sub answer {
    my ($self, $seconds) = @_;
    my $deadline = time + ($seconds // 30);
    my $select = IO::Select->new($self->{out});
    my $text;
    until (defined($text = $self->{text} =~ s/\A(.*?)\x1d\n//s ? $1 : undef)) {
        my $left = $deadline - time;
        return undef if $left <= 0 || !$select->can_read($left);
        sysread $self->{out}, $self->{text}, 65536, length $self->{text} or croak "psql went away: $self->{text}";
    }
    chomp $text;
    return $text;
}

# In a transaction of its own.
sub run {
    my ($self, $sql, @values) = @_;
    my %key = (tenant => 'app.current_tenant_id', user => 'app.current_user_id', role => 'app.current_role');
    my $set = join ', ', map { "set_config('$key{$_}', " . $self->{t}->quote($self->{set}{$_}) . ', true)' }
        grep { defined $self->{set}{$_} } sort keys %key;
    $self->send('begin' . ($set ? ";\nselect $set \\g /dev/null\n" : ''));
    $self->send($sql, @values);
    $self->send('commit');
    my (undef, $text, $end) = ($self->answer, $self->answer, $self->answer);
    $text .= "\n$end" if $end =~ /^ERROR/m && $text !~ /^ERROR/m;
    return $text;
}

sub error {
    my ($self, @args) = @_;
    return $self->run(@args) =~ /^ERROR:\s+(\w{5}): (.*)$/m ? "$1 $2" : '';
}

sub rows {
    my ($self, @args) = @_;
    my $text = $self->run(@args);
    croak "$1 in: $args[0]" if $text =~ /^(ERROR:.*)/m;
    return map { [ map { $_ eq 'NULL' ? undef : $_ } split /\x1f/, $_, -1 ] } split /\x1e/, $text;
}

sub value { my ($row) = rows(@_); return $row ? $row->[0] : undef }
sub row   { my ($row) = rows(@_); return $row ? @$row : () }

sub DESTROY {
    my ($self) = @_;
    close $self->{in};
    close $self->{out};
    local $?;
    waitpid $self->{pid}, 0;
}

1;
