package MDVR::Browser;

# Tests in a real browser: a vehicle that drives and films, and the scripts of
# t/browser/*.mjs, whose reports become tests here.
#
#   my $v = MDVR::Browser->vehicle($t, '00007');     # a process; drives and films until the test ends
#   my $seen = MDVR::Browser->script('console.mjs', { url => $node->url, ... });
#   $seen->{latency_p95_ms};                         # what the script measured
#
# Every frame of the film carries its number as a row of black and white
# squares, and the vehicle writes down when it sent it: with both the time from
# the lens to the screen is known exactly.

use v5.30;
use warnings;
use Carp qw(croak);
use File::Path qw(make_path);
use IO::Handle;
use IO::Select;
use IPC::Open2 ();
use JSON::PP ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(time sleep);

use MDVR::Media;

# The clock in the picture, in parts of its width.
our %CLOCK = (x => 1 / 40, y => 1 / 40, cell => 1 / 40, bits => 16);
our $FRAMES = 500;

# Why a browser test cannot run here, or undef.
sub missing {
    return 'chromium is not installed' unless -x ($ENV{MDVR_CHROMIUM} // '/usr/bin/chromium');
    return 'the packages of web/ are not installed (make web)' unless -d "$MDVR::Test::TOP/web/node_modules/playwright-core";
    return 'the console is not built (make web)' unless -e "$MDVR::Test::TOP/web/dist/app.js";
    my $module = MDVR::Test::slurp("$MDVR::Test::TOP/build/ngx_mdvr_module.so");
    for (qw(mdvr_signaling mdvr_media mdvr_api mdvr_live mdvr_ws)) {
        return "the module has no $_" unless $module =~ /\0$_\0/;
    }
    return undef;
}

# Twenty seconds of film, 25 frames a second, a key frame each second; made
# once.  codec: h264 (default) or h265.
sub clip {
    my (%o) = @_;
    my ($w, $h) = @{ $o{size} // [640, 360] };
    my $codec = $o{codec} // 'h264';
    my $dir = "$MDVR::Test::TOP/build/clips";
    my $file = "$dir/clock-$w-$h.$codec";
    return $file if -s $file;

    make_path($dir);
    my $cell = $w * $CLOCK{cell};
    my $strip_w = $cell * $CLOCK{bits};
    my $new = "$file.$$";
    my @encoder = $codec eq 'h265'
        ? qw(-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:min-keyint=25:bframes=0:slices=1 -f hevc)
        : qw(-c:v libx264 -preset veryfast -profile:v baseline -tune zerolatency -threads 1
             -x264-params keyint=25:min-keyint=25:scenecut=0:bframes=0:sliced-threads=0:slices=1:aud=1 -f h264);
    local $SIG{PIPE} = 'IGNORE';
    open my $out, '|-', qw(ffmpeg -nostdin -loglevel error -y -f lavfi -i), "testsrc2=s=${w}x$h:r=25",
        qw(-f rawvideo -pix_fmt gray -r 25 -s), "${strip_w}x$cell", '-i', '-', '-filter_complex',
        "[0][1]overlay=x=@{[ $w * $CLOCK{x} ]}:y=@{[ $w * $CLOCK{y} ]}:shortest=1,format=yuv420p", '-frames:v', $FRAMES,
        qw(-b:v 700k), @encoder, $new or croak "ffmpeg: $!";
    binmode $out;
    for my $n (0 .. $FRAMES - 1) {
        my $line = join '', map { ($n >> $CLOCK{bits} - 1 - $_ & 1 ? "\xff" : "\0") x $cell } 0 .. $CLOCK{bits} - 1;
        print {$out} $line x $cell;
    }
    close $out or croak "ffmpeg failed ($?)";
    rename $new, $file or croak "$file: $!";
    return $file;
}

# ------------------------------------------------------------------- vehicle

# A registered recorder in a process of its own: a position every second (every
# => seconds) along a circle, film on request (one camera at a time per channel
# and stream).  codec, size of the sub stream; main is twice as large; returns
# => 1: connects again after a loss.
sub vehicle {
    my ($class, $t, $serial, %o) = @_;
    my %file = (
        1 => clip(codec => $o{codec}, size => $o{size}),
        0 => clip(codec => $o{codec}, size => [ map { 2 * $_ } @{ $o{size} // [640, 360] } ]),
    );
    my $self = bless { log => "$t->{dir}/frames-$serial", serial => $serial }, $class;
    my $pid = fork // croak "fork: $!";

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT HUP);
        $SIG{TERM} = sub { POSIX::_exit(0) };
        do {
            eval { drive($t, $self, \%file, %o); 1 } or $o{returns} or warn "vehicle $serial: $@";
            sleep 0.5;
        } while ($o{returns});
        POSIX::_exit(0);
    }
    $self->{pid} = $pid;
    $self->{owner} = $$;
    return $self;
}

# Has it report an alarm.
sub alarm {
    my ($self, $keyword) = @_;
    open my $out, '>', "$self->{log}.alarm.new" or croak "$self->{log}: $!";
    print {$out} $keyword;
    close $out;
    rename "$self->{log}.alarm.new", "$self->{log}.alarm";
}

sub drive {
    my ($t, $self, $file, %o) = @_;
    my $dev = $t->device($self->{serial});
    $dev->register;
    my %film;
    my $end_film = sub {
        my ($key) = @_;
        my $f = delete $film{$key} or return;
        kill KILL => $f->{pid};
        waitpid $f->{pid}, 0;
        $f->{media}->close;
    };
    $SIG{TERM} = sub { $end_film->($_) for keys %film; POSIX::_exit(0) };

    my ($next, $beat, $angle) = (0, time + 20, 0);
    while (1) {
        if (time >= $next) {
            $next = time + ($o{every} // 1);
            $angle += 0.02;
            $dev->v114(
                lat => MDVR::Device::dms(41.0115 + 0.008 * sin $angle), lon => MDVR::Device::dms(28.9784 + 0.0106 * cos $angle),
                speed => '42.50', course => int(10_000 * ((360 - $angle * 57.29578) % 360)), mask => 'FFFFFFFFFFFFFFFF',
            );
        }
        if (time >= $beat) {
            $beat = time + 20;
            $dev->v109(no_wait => 1);
        }

        if (-e "$self->{log}.alarm") {
            my $keyword = MDVR::Test::slurp("$self->{log}.alarm");
            unlink "$self->{log}.alarm";
            $dev->alarm($keyword, no_wait => 1);
        }

        my $m = $dev->next($next - time > 0 ? $next - time : 0.01);
        last if $dev->{eof};
        next unless $m;
        if ($m->{keyword} ne 'C508') {
            $dev->answer($m, 1, '', '', 0) unless $m->{keyword} =~ /^C[15]0[01]$/;     # anything else is done
            next;
        }

        my ($start, $channel, $stream) = @{ $m->{body} }[1 .. 3];
        my $key = "$channel/$stream";
        $end_film->($key);

        if ($start) {
            my $media = $dev->media($m);
            open my $log, '>>', "$self->{log}.$channel.$stream" or die;
            $log->autoflush(1);
            my $pid = $media->play_on($file->{$stream} // $file->{1}, each => sub { printf {$log} "%d %.4f\n", $_[0] % $FRAMES, time });
            $film{$key} = { media => $media, pid => $pid };
        }
        $dev->answer($m, 1, $start, '', 0);
    }
    $end_film->($_) for keys %film;
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill TERM => $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $?);
    $self->stop if ($self->{owner} // 0) == $$;
}

# When each frame of a channel (from 0) and stream (1 sub, 0 main) was sent:
# [[number, unix time], ...].
sub sent {
    my ($self, $channel, $stream) = @_;
    return [ map { [split] } split /\n/, MDVR::Test::slurp("$self->{log}.$channel.$stream") ];
}

# From [{ n, at (ms) }] that a browser saw and what was sent: the delays in ms.
sub delays {
    my ($self, $seen, $channel, $stream) = @_;
    my %sent;
    push @{ $sent{ $_->[0] } }, $_->[1] * 1000 for @{ $self->sent($channel // 0, $stream // 1) };
    my @delay;
    for my $f (@$seen) {
        my ($at) = grep { $_ <= $f->{at} } reverse @{ $sent{ $f->{n} } // [] };
        push @delay, $f->{at} - $at if defined $at;
    }
    return sort { $a <=> $b } @delay;
}

sub percentile {
    my ($p, @sorted) = @_;
    return undef unless @sorted;
    my $i = int(@sorted * $p / 100);
    return $sorted[ $i > $#sorted ? $#sorted : $i ];
}

# ------------------------------------------------------------- the simulator

# Why the simulator cannot be used, or undef.
sub no_simulator {
    return 'the simulator is not built' unless -x "$MDVR::Test::TOP/build/bin/mdvr-sim";
    return 'there are no films' unless -s "$MDVR::Test::TOP/build/clips/DEMO1-ch1-sub.h264";
    return undef;
}

# Starts one on the first node; its pid.
sub simulator {
    my ($t, @options) = @_;
    my $node = $t->node;
    return $t->daemon('mdvr-sim', '--server', '127.0.0.1', '--signal-port', $node->{signal_port},
        '--clip-dir', "$MDVR::Test::TOP/build/clips", @options);
}

# Its cameras show frame floor(unix time * 25) mod 500: the delays in ms of
# what a browser saw.
sub film_delays {
    my ($seen) = @_;
    my @delay;
    for my $f (@$seen) {
        my $ms = $f->{at} - $f->{n} * 40;
        push @delay, $ms - 20_000 * POSIX::floor($ms / 20_000);
    }
    return sort { $a <=> $b } @delay;
}

# ------------------------------------------------------------------- scripts

# Runs a script of t/browser/ with node; its reports become tests.  Returns
# the values that it measured.  What a script asks us to do meanwhile is in
# %act: name => sub, called with the words behind the name.
sub script {
    my ($class, $name, $settings, %act) = @_;
    my %value;
    local $ENV{MDVR_BROWSER} = JSON::PP->new->canonical->ascii->encode({ clock => \%CLOCK, %$settings });
    local $ENV{MDVR_SHOTS} = $settings->{shots} // "$MDVR::Test::TOP/build/tmp";
    make_path($ENV{MDVR_SHOTS});

    local $SIG{PIPE} = 'IGNORE';
    my $pid = IPC::Open2::open2(my $out, my $in, 'node', "$MDVR::Test::TOP/t/browser/$name");
    $in->autoflush(1);
    my $end = time + ($settings->{limit_s} // 240);
    my $buf = '';
    while (1) {
        my $left = $end - time;
        if ($left <= 0 || !IO::Select->new($out)->can_read($left)) {
            kill TERM => $pid;
            Test::More::fail("$name ends in time");
            last;
        }
        last unless sysread $out, $buf, 65536, length $buf;
        while ($buf =~ s/\A([^\n]*)\n//) {
            my $line = $1;
            if ($line =~ /^(not )?ok (.*)/) {
                Test::More::ok(!$1, $2);
            } elsif ($line =~ /^do (\S+) ?(.*)/) {
                my $sub = $act{$1} // croak "$name asks for an unknown $1";
                eval { $sub->(split ' ', $2); 1 } or Test::More::fail("$1: $@");
                print {$in} "done\n";
            } elsif ($line =~ /^value (\S+) (.*)/) {
                $value{$1} = JSON::PP->new->allow_nonref->decode($2);
            } else {
                Test::More::diag($line =~ s/^note //r) if $line !~ /^note \s*$/;
            }
        }
    }
    close $_ for $in, $out;
    waitpid $pid, 0;
    return \%value;
}

1;
