package MDVR::Clip;

# Small clips and sessions for tests of the media path.
#
#   my $file = MDVR::Clip::make('h264', seconds => 4, gop => 25);
#   my $sum  = MDVR::Clip::sums($file);             # one per decoded frame
#   my $bus  = MDVR::Clip::bus($node);              # mdvr-bus of that node
#   my $s    = $bus->start('00007', channel => 1);  # { slot, session, ... }
#   my $m    = $bus->media($s);                     # V102 sent and accepted

use v5.30;
use warnings;
use Carp qw(croak);
use File::Path qw(make_path);
use Digest::SHA ();
use MIME::Base64 ();
use POSIX ();

use MDVR::Media;

my $views = 0;

# An Annex B clip made once per build: codec h264 or h265, width, height,
# seconds, gop (frames), fps.  No B-frames, one slice per picture.
sub make {
    my ($codec, %o) = @_;
    my ($w, $h, $s, $gop, $fps, $rate) = map { $o{$_->[0]} // $_->[1] }
        ['width', 320], ['height', 240], ['seconds', 4], ['gop', 25], ['fps', 25], ['rate', ''];
    my $dir = "$MDVR::Test::TOP/build/clips-t";
    my $file = "$dir/$codec-${w}x$h-${s}s-g$gop-f$fps$rate.$codec";
    return $file if -s $file;
    make_path($dir);
    my @enc = $codec eq 'h265'
        ? ('-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params',
            "keyint=$gop:min-keyint=$gop:scenecut=0:bframes=0:slices=1:repeat-headers=1:log-level=error", '-f', 'hevc')
        : ('-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline', '-x264-params',
            "keyint=$gop:min-keyint=$gop:scenecut=0:sliced-threads=0:slices=1:repeat-headers=1", '-f', 'h264');
    push @enc, '-b:v', $rate, '-maxrate', $rate, '-bufsize', $rate if $rate;
    system('ffmpeg', '-v', 'error', '-nostdin', '-y', '-f', 'lavfi', '-i', "testsrc2=size=${w}x$h:rate=$fps:duration=$s",
        '-pix_fmt', 'yuv420p', @enc, "$file.$$") == 0 or croak 'ffmpeg failed';
    rename "$file.$$", $file;
    return $file;
}

# Checksums of the decoded pictures of a file or of bytes (as an MP4).
sub sums {
    my ($what, @in) = @_;
    my $file = $what;
    if (ref $what) {
        $file = "/tmp/mdvr-sums-$$.mp4";
        open my $fh, '>:raw', $file or croak $!;
        print $fh $$what;
        close $fh;
    }
    open my $out, '-|', 'ffmpeg', '-v', 'error', '-nostdin', @in, '-i', $file, '-map', '0:v', '-fps_mode', 'passthrough', '-f', 'framemd5', '-'
        or croak 'ffmpeg';
    my @sum = map { /,\s*([0-9a-f]{32})\s*$/ ? $1 : () } <$out>;
    close $out;
    unlink $file if ref $what;
    return \@sum;
}

# ------------------------------------------------------------ the frame bus

sub bus {
    my ($node) = @_;
    return bless { node => $node, name => $node->{bus} }, __PACKAGE__;
}

sub run {
    my ($self, @args) = @_;
    my @cmd = MDVR::Test::as_user(MDVR::Test::svc_user(), "$MDVR::Test::TOP/build/bin/mdvr-bus", $self->{name}, @args);
    open my $out, '-|', @cmd or croak "mdvr-bus: $!";
    local $/;
    my $text = <$out> // '';
    close $out;
    return $text;
}

sub parse { my ($line) = @_; return { map { split /=/, $_, 2 } grep { /=/ } split ' ', $line } }

# A session that waits for its device.
sub start {
    my ($self, $serial, %o) = @_;
    my $id = $o{device} // sprintf '00000000-0000-7000-8000-%012d', $serial =~ /(\d+)/ ? $1 : 0;
    my $s = parse($self->run('start', $id, $serial, $o{channel} // 1, $o{stream} // 'sub', $o{seconds} // 20,
        $o{kind} // 0, $o{note} // ()));
    $s->{session} or croak 'no session was made';
    $s->{device} = $id;
    return $s;
}

sub sessions { my ($self) = @_; return map { parse($_) } split /\n/, $self->run('list') }

sub info { my ($self, $s) = @_; return (grep { $_->{session} eq $s->{session} } $self->sessions)[0] }

# A viewer in the background; returns a function that waits for its end and
# gives its bytes.
sub view {
    my ($self, $s, $seconds) = @_;
    my @cmd = MDVR::Test::as_user(MDVR::Test::svc_user(), "$MDVR::Test::TOP/build/bin/mdvr-bus", $self->{name}, 'view',
        $s->{slot}, $seconds // 30);
    my $file = sprintf '/tmp/mdvr-view-%d-%d', $$, ++$views;
    my $child = fork // croak "fork: $!";
    if ($child == 0) {
        open STDOUT, '>:raw', $file or POSIX::_exit(126);
        open STDERR, '>', '/dev/null' unless $ENV{MDVR_KEEP};
        exec @cmd or POSIX::_exit(127);
    }
    return sub {
        waitpid $child, 0;
        my $bytes = MDVR::Test::slurp($file);
        unlink $file;
        return $bytes;
    };
}

# The device's connection: not registered unless register => 1.
sub media {
    my ($self, $s, %o) = @_;
    my $m = MDVR::Media->new(port => $self->{node}{media_port}, serial => $s->{serial}, session => $s->{session},
        channel => $s->{channel} - 1, stream => $s->{stream} eq 'sub' ? 1 : 0, %o);
    return $m if exists $o{register} && !$o{register};
    my $result = $m->v102 // -1;
    $result == 1 or croak "V102 was answered $result";
    return $m;
}

# ------------------------------------------------------------------- tokens

# A stream token as the API makes it; see ngx_mdvr_stream_token.c.  Options:
# node, expires (unix s), session, tenant, user, user_session (UUIDs).
sub token {
    my ($self, $t, $s, %o) = @_;
    $t->value("select mdvr.ensure_signing_key('stream')");
    my ($kid, $secret) = @{ ($t->sql(q{select kid, encode(secret, 'hex') from mdvr.signing_key
        where purpose = 'stream' order by created_at desc limit 1}))[0] };
    state $viewer = 0;
    my @id = map { pack 'H32', tr/-//dr } $o{session} // sprintf('00000000-0000-7000-9000-%012d', ++$viewer),
        $o{tenant} // '00000000-0000-7000-a000-000000000001', $o{user} // '00000000-0000-7000-b000-000000000001',
        $o{user_session} // '00000000-0000-7000-c000-000000000001', $s->{device};
    my $fields = pack 'C H8 N N C C', 1, substr($kid, 0, 8), $o{issued} // int time, $o{expires} // time + 600,
        $s->{channel}, $s->{stream} eq 'sub' ? 1 : 0;
    $fields .= join('', @id) . ($o{node} // $self->{node}{name});
    return encode_base64url($fields) . '.' . encode_base64url(Digest::SHA::hmac_sha256($fields, pack 'H*', $secret));
}

sub encode_base64url { return MIME::Base64::encode_base64($_[0], '') =~ tr{+/=}{-_}dr }

1;
