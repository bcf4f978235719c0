#!/bin/bash
# Makes the films, pictures and sounds of the simulator with ffmpeg:
#
#   <name>-ch<1..4>-sub.h264    640x360, 25 fps, 450 kbit/s, key frame every 10
#   <name>-ch1-main.h264        1280x720, 25 fps, 2 Mbit/s, key frame every 25
#   <name>-ch<1..4>.jpg         a picture of that camera
#   SIM-sub.h264, SIM-main.h264, SIM-sub.h265, SIM-main.h265, SIM.jpg
#   SIM.g726le-40 ...           twenty seconds of a tone with a beep per second
#
# usage: sim/clips.sh OUTDIR [name]...      (names default to DEMO1 DEMO2 DEMO3)
#
# All films are Annex B without B-frames, 500 frames (20 s) long; H.265 250.
# In each picture the frame's number stands in a row of 16 squares, white = 1,
# the most significant bit first.  In parts of the picture's width w:
#
#   left edge w/40, upper edge w/40, side of a square w/40
#
# The simulator shows frame floor(unix time * 25) mod 500, so the row tells
# when a picture was taken.  docs/simulator.md
set -eu

out=${1:?usage: sim/clips.sh OUTDIR [name]...}
shift
[ $# -gt 0 ] || set -- DEMO1 DEMO2 DEMO3
mkdir -p "$out"
font=$(fc-match -f '%{file}' 'DejaVu Sans Mono:bold' 2>/dev/null || true)
[ -f "$font" ] || font=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
[ -f "$font" ] || { echo "no font: install fonts-dejavu-core" >&2; exit 1; }

# film FILE LABEL WIDTH HEIGHT FRAMES KEYINT KBIT CODEC HUE
film() {
    local file=$1 label=$2 w=$3 h=$4 frames=$5 key=$6 kbit=$7 codec=$8 hue=$9
    local cell=$((w / 40)) text=$((w / 20)) encoder
    [ -s "$out/$file" ] && return
    if [ "$codec" = h265 ]; then
        encoder="-c:v libx265 -preset ultrafast -f hevc -x265-params
            log-level=none:keyint=$key:min-keyint=$key:scenecut=0:bframes=0:repeat-headers=1:slices=1:pools=1:frame-threads=1"
    else
        encoder="-c:v libx264 -preset superfast -profile:v $([ "$w" = 640 ] && echo baseline || echo main) -f h264
            -x264-params keyint=$key:min-keyint=$key:scenecut=0:bframes=0:slices=1:sliced-threads=0"
    fi
    ffmpeg -nostdin -loglevel error -y -threads 1 \
        -f lavfi -i "testsrc2=s=${w}x$h:r=25,hue=h=$hue" \
        -f lavfi -i "nullsrc=s=16x1:r=25,format=gray,geq=lum='if(mod(floor(N/pow(2,15-X)),2),235,16)',scale=$((16 * cell)):$cell:flags=neighbor" \
        -filter_complex "[0][1]overlay=x=$cell:y=$cell:shortest=1,
            drawtext=fontfile=$font:text='$label':fontsize=$text:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=6:x=$cell:y=h-$((3 * text)),
            drawtext=fontfile=$font:text='%{eif\\:floor(n/25)\\:d\\:2}.%{eif\\:mod(n*4,100)\\:d\\:2} s':fontsize=$text:fontcolor=yellow:box=1:boxcolor=black@0.7:boxborderw=6:x=$cell:y=h-$((3 * text / 2)),
            format=yuv420p" \
        -frames:v "$frames" -b:v "${kbit}k" -maxrate "$((kbit * 3 / 2))k" -bufsize "${kbit}k" -threads 1 \
        $encoder "$out/$file.part$$"
    mv "$out/$file.part$$" "$out/$file"
}

picture() {
    [ -s "$out/$2" ] && return
    ffmpeg -nostdin -loglevel error -y -i "$out/$1" -frames:v 1 -q:v 5 -f mjpeg "$out/$2.part$$"
    mv "$out/$2.part$$" "$out/$2"
}

# sound FILE FORMAT [option]...
sound() {
    local file=$1 format=$2
    shift 2
    [ -s "$out/$file" ] && return
    ffmpeg -nostdin -loglevel error -y -f lavfi -i \
        "aevalsrc='0.15*sin(2*PI*440*t)+0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=8000:d=20" \
        -ac 1 -ar 8000 "$@" -f "$format" "$out/$file.part$$"
    mv "$out/$file.part$$" "$out/$file"
}

camera() {
    film "$1-ch$2-sub.h264" "$1  camera $2" 640 360 500 10 450 h264 $(($2 * 70))
    picture "$1-ch$2-sub.h264" "$1-ch$2.jpg"
}

generic() {
    film SIM-sub.h264 "SIM" 640 360 500 10 450 h264 0
    picture SIM-sub.h264 SIM.jpg
    film SIM-sub.h265 "SIM H.265" 640 360 250 10 350 h265 180
    film SIM-main.h265 "SIM H.265 main" 1280 720 250 25 1500 h265 180
}

sounds() {
    sound SIM.g711-alaw alaw
    sound SIM.g711-ulaw mulaw
    for bits in 5 4 3 2; do
        sound "SIM.g726le-$((8 * bits))" g726le -c:a g726le -b:a "$((8 * bits))k"
        sound "SIM.g726-$((8 * bits))" g726 -c:a g726 -b:a "$((8 * bits))k"
    done
}

export out font
export -f film picture sound camera generic sounds

{
    echo "film SIM-main.h264 'SIM  main' 1280 720 500 25 2000 h264 0"
    echo generic
    for name in "$@"; do
        echo "film $name-ch1-main.h264 '$name  camera 1 main' 1280 720 500 25 2000 h264 70"
        for ch in 1 2 3 4; do
            echo "camera $name $ch"
        done
    done
    echo sounds
} | tr '\n' '\0' | xargs -0 -P 2 -I{} bash -eu -c '{}'
