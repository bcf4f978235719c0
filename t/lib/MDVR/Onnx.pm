package MDVR::Onnx;

# Writes small ONNX models, opset 12: a detector of bright squares of 32 pixels
# on a grid of 32, in the layouts that mdvr-worker knows.  Nothing but the
# protobuf wire format is needed.

use v5.30;
use warnings;

sub varint { my ($n) = @_; my $s = ''; while ($n > 127) { $s .= chr($n & 127 | 128); $n >>= 7 } return $s . chr $n }
sub num { my ($field, $n) = @_; return varint($field << 3) . varint($n) }
sub bytes { my ($field, $s) = @_; return varint($field << 3 | 2) . varint(length $s) . $s }

sub tensor {
    my ($name, $dims, $values, $type) = @_;
    $type //= 1;                                # 1 float, 7 int64
    return join('', map { num(1, $_) } @$dims) . num(2, $type) . bytes(8, $name) . bytes(9, pack($type == 7 ? 'q<*' : 'f<*', @$values));
}

sub ints { my ($name, @v) = @_; return bytes(1, $name) . join('', map { num(8, $_) } @v) . num(20, 7) }
sub int1 { my ($name, $v) = @_; return bytes(1, $name) . num(3, $v) . num(20, 2) }

sub node {
    my ($op, $in, $out, @attributes) = @_;
    return join('', map { bytes(1, $_) } @$in) . bytes(2, $out) . bytes(3, "n_$out") . bytes(4, $op) . join '', map { bytes(5, $_) } @attributes;
}

sub value { my ($name, @dims) = @_; return bytes(1, $name) . bytes(2, bytes(1, num(1, 1) . bytes(2, join '', map { bytes(1, num(1, $_)) } @dims))) }

# The brightness of each cell of 32x32, through a sigmoid: 1 where it is white.
sub squares {
    my ($file, $w, $h, $layout) = @_;
    my ($gw, $gh) = ($w / 32, $h / 32);
    my $n = $gw * $gh;
    my $pixel = $layout eq 'yolox' ? 1 / 255 : 1;
    my @init = (tensor('weight', [ 1, 3, 32, 32 ], [ (40 * $pixel / (3 * 32 * 32)) x (3 * 32 * 32) ]), tensor('bias', [1], [-30]));
    my @node = (node('Conv', [ 'images', 'weight', 'bias' ], 'cells', ints('kernel_shape', 32, 32), ints('strides', 32, 32)),
        node('Sigmoid', ['cells'], 'seen'));
    my @out;
    if ($layout eq 'yolov8') {
        push @init, tensor('shape', [3], [ 1, 1, $n ], 7),
            tensor('box', [ 1, 4, $n ], [ (map { 32 * ($_ % $gw) + 16 } 0 .. $n - 1), (map { 32 * int($_ / $gw) + 16 } 0 .. $n - 1), (32) x (2 * $n) ]);
        push @node, node('Reshape', [ 'seen', 'shape' ], 'score'), node('Concat', [ 'box', 'score' ], 'out', int1('axis', 1));
        @out = (1, 5, $n);
    } elsif ($layout eq 'yolov5') {
        push @init, tensor('shape', [3], [ 1, $n, 1 ], 7), tensor('one', [ 1, $n, 1 ], [ (1) x $n ]),
            tensor('box', [ 1, $n, 4 ], [ map { (32 * ($_ % $gw) + 16, 32 * int($_ / $gw) + 16, 32, 32) } 0 .. $n - 1 ]);
        push @node, node('Reshape', [ 'seen', 'shape' ], 'score'), node('Concat', [ 'box', 'score', 'one' ], 'out', int1('axis', 2));
        @out = (1, $n, 6);
    } else {                                    # yolox: strides 8 and 16 see nothing
        my $more = $n * 16 + $n * 4;
        push @init, tensor('shape', [3], [ 1, $n, 1 ], 7), tensor('none', [ 1, $more, 1 ], [ (0) x $more ]),
            tensor('one', [ 1, $more + $n, 1 ], [ (1) x ($more + $n) ]),
            tensor('box', [ 1, $more + $n, 4 ], [ (0) x (4 * $more), map { (0.5, 0.5, 0, 0) } 0 .. $n - 1 ]);
        push @node, node('Reshape', [ 'seen', 'shape' ], 'some'), node('Concat', [ 'none', 'some' ], 'score', int1('axis', 1)),
            node('Concat', [ 'box', 'score', 'one' ], 'out', int1('axis', 2));
        @out = (1, $more + $n, 6);
    }
    my $graph = join('', map { bytes(1, $_) } @node) . bytes(2, 'squares') . join('', map { bytes(5, $_) } @init)
        . bytes(11, value('images', 1, 3, $h, $w)) . bytes(12, value('out', @out));
    my $model = num(1, 7) . bytes(2, 'test') . bytes(7, $graph) . bytes(8, bytes(1, '') . num(2, 12));
    open my $fh, '>:raw', $file or die "$file: $!";
    print $fh $model;
    close $fh or die "$file: $!";
    return $file;
}

1;
