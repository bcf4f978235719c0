#!/bin/sh
exec build/bench/parse
