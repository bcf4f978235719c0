# Builds, tests and runs the platform; `make help` lists the targets.
#
# What is built depends on what is in the tree: sources are found, not listed.
# All products are under build/: bin/ (programs), nginx/ (the module's build
# directory) with the finished module as build/ngx_mdvr_module.so, t/ (unit
# tests, always with address and undefined-behaviour sanitizers), fuzz/, asan/.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

TOP  := $(CURDIR)
B    := build
JOBS ?= 2
V    ?= 0
Q    := $(if $(filter 0,$(V)),@,)
say   = $(if $(filter 0,$(V)),@printf '  %-5s %s\n' $(1) $(2),@:)

CC      := gcc
CXX     := g++
CLANG   ?= clang
WARN    := -Wall -Wextra -Werror -Wno-unused-parameter
OPT     ?= -O2
MAP     := -ffile-prefix-map=$(TOP)/=
CFLAGS  := -std=c11 -D_GNU_SOURCE $(OPT) -g -fPIC -fno-omit-frame-pointer $(WARN) $(MAP) -I.
CXXFLAGS := -std=c++17 $(OPT) -g -fPIC -fno-omit-frame-pointer -Wall -Wextra -Werror $(MAP) -I.
SAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ    := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
LDLIBS  := -lpthread -lm

src = $(sort $(shell find $(1) -name '*.$(or $(2),c)' 2>/dev/null))

LIB_SRC    := $(call src,mdvr)
BUS_SRC    := $(call src,bus)
SEAL_SRC   := $(call src,seal)
SIM_SRC    := $(call src,sim)
WORKER_SRC := $(call src,worker)
WORKER_CXX := $(call src,worker,cc)
RTC_SRC    := $(call src,rtc)
OPS_SRC    := $(wildcard ops/*.c)
UNIT_SRC   := $(call src,t/unit)
FUZZ_SRC   := $(wildcard t/fuzz/*.c)
BENCH_SRC  := $(wildcard t/bench/*.c)
GLUE_SRC   := $(foreach d,$(wildcard ngx_mdvr_*),$(call src,$(d)) $(call src,$(d),h))
MODULES    := $(if $(GLUE_SRC),$(shell grep -hoE '^ngx_module_t +[a-z0-9_]+ = ' $(GLUE_SRC) | cut -d' ' -f2- | tr -d '= '))
WEB_SRC    := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

SIM_LIBS    = $(shell pkg-config --libs libcrypto 2>/dev/null)
WORKER_PKG  = libavformat libavcodec libavfilter libswscale libswresample libavutil libpq hiredis libcurl libcrypto jansson
RTC_PKG     = libssl libcrypto libsrtp2 jansson
PQ_INC      = $(addprefix -I,$(shell pg_config --includedir 2>/dev/null))

# ---------------------------------------------------------------- the public

.PHONY: help deps build module run test start stop status logs bench fuzz deb soak \
	test-long unit clean parts asan-module web

help:
	@echo 'make run        install what is missing, build, start, show a demo fleet (Ctrl-C stops)'
	@echo 'make test       install what is missing, build, run every test; one total at the end'
	@echo 'make start      like run, in the background; returns when /readyz is good'
	@echo 'make stop|status|logs'
	@echo 'make build      everything, incrementally;  make module   only the nginx module'
	@echo 'make unit       C unit tests only;  make test T=t/api  only some of the tests'
	@echo 'make fuzz       20 s of fuzzing per parser (FUZZ_S=seconds)'
	@echo 'make test-long  long fuzzing, faults, reloads, soak'
	@echo 'make soak       half an hour of a fleet (SOAK_S=seconds): memory flat, all stored'
	@echo 'make bench      measurements of docs/benchmarks.md (T=name, ARGS=...)'
	@echo 'make deb        a Debian package of what has been built'
	@echo 'make clean      remove build/ (var/ stays)'
	@echo 'Settings: docs/operations.md.  V=1 shows commands, JOBS=n builds in parallel.'

deps:
	@deps/install

build: deps
	@$(MAKE) -j$(JOBS) parts

module: deps
	@$(MAKE) -j$(JOBS) $(B)/ngx_mdvr_module.so

asan-module: deps
	@$(MAKE) -j$(JOBS) $(B)/asan/ngx_mdvr_module.so

run: build
	@exec ops/mdvr run

start: build
	@ops/mdvr start

stop status logs:
	@ops/mdvr $@

T ?=
test: build
	@$(MAKE) -j$(JOBS) tests fuzzers
	@t/run $(T)

MDVR_VERSION := 1.0.0
deb: build
	@ops/deb/build

unit: deps
	@$(MAKE) -j$(JOBS) tests-unit
	@t/run unit

FUZZ_S ?= 20
fuzz: deps
	@$(MAKE) -j$(JOBS) fuzzers
	@t/run-fuzz $(FUZZ_S)

test-long: build
	@$(MAKE) -j$(JOBS) tests fuzzers
	@t/run-long

SOAK_S ?= 1800
soak: build
	@$(MAKE) -j$(JOBS) tests
	@SOAK_S=$(SOAK_S) TEST_TIMEOUT=$$(($(SOAK_S) + 900)) t/run t/ops/soak.t

bench: build
	@$(MAKE) -j$(JOBS) benches
	@BENCH_ARGS='$(ARGS)' t/run-bench $(T)

clean:
	rm -rf $(B) web/dist

# ------------------------------------------------------------------ the parts

PARTS :=
ifneq ($(LIB_SRC),)
PARTS += $(B)/libmdvr.a
endif
ifneq ($(BUS_SRC),)
PARTS += $(B)/libmdvr_bus.a
endif
ifneq ($(MODULES),)
PARTS += $(B)/ngx_mdvr_module.so
endif
ifneq ($(SIM_SRC),)
PARTS += $(B)/bin/mdvr-sim
endif
ifneq ($(WORKER_SRC),)
PARTS += $(B)/bin/mdvr-worker
endif
ifneq ($(RTC_SRC),)
PARTS += $(B)/bin/mdvr-rtc
endif
ifneq ($(wildcard web/package.json),)
PARTS += $(B)/web.stamp
endif
ifneq ($(wildcard sim/clips.sh),)
PARTS += $(B)/clips/.stamp
endif
OPS_BIN := $(if $(wildcard mdvr/basics/json.c),$(OPS_SRC:ops/%.c=$(B)/bin/%))
PARTS += $(OPS_BIN)

.PHONY: tests tests-unit fuzzers benches
parts: $(PARTS)
	@:

UNIT_MAIN  := $(foreach f,$(UNIT_SRC),$(if $(findstring /lib/,$(f)),,$(f)))
UNIT_LIB   := $(filter-out $(UNIT_MAIN),$(UNIT_SRC))
UNIT_BIN   := $(UNIT_MAIN:t/unit/%.c=$(B)/t/%)
FUZZ_BIN   := $(FUZZ_SRC:t/fuzz/%.c=$(B)/fuzz/%)
BENCH_BIN  := $(BENCH_SRC:t/bench/%.c=$(B)/bench/%)

tests-unit: $(UNIT_BIN)
tests: parts tests-unit
ifneq ($(MODULES),)
tests: $(B)/asan/ngx_mdvr_module.so
endif
fuzzers: $(FUZZ_BIN)
benches: parts $(BENCH_BIN)

# --------------------------------------------- objects: plain, sanitized, fuzz

obj  = $(patsubst %,$(B)/obj/%.o,$(1))
aobj = $(patsubst %,$(B)/asan/obj/%.o,$(1))
fobj = $(patsubst %,$(B)/fuzz/obj/%.o,$(1))

$(B)/obj/worker/% $(B)/asan/obj/worker/%: EXTRA = $(shell pkg-config --cflags $(WORKER_PKG)) $(PQ_INC)
$(B)/obj/worker/%.cc.o: EXTRA = $(shell pkg-config --cflags opencv4 | sed 's/-I/-isystem /g')
$(B)/obj/rtc/% $(B)/asan/obj/rtc/%: EXTRA = $(shell pkg-config --cflags $(RTC_PKG))

# a change of this file or of the flags rebuilds nothing by itself: `make clean`

$(B)/obj/%.c.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(EXTRA) -MMD -MP -c $< -o $@

$(B)/obj/%.cc.o: %.cc
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS) $(EXTRA) -MMD -MP -c $< -o $@

$(B)/asan/obj/%.c.o: %.c
	$(call say,ASAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -O1 $(SAN) $(EXTRA) -MMD -MP -c $< -o $@

$(B)/fuzz/obj/%.c.o: %.c
	$(call say,FUZZ,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(filter-out -Werror,$(CFLAGS)) -O1 -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@

define archive
	$(call say,AR,$@)
	@mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $^
endef

$(B)/libmdvr.a: $(call obj,$(LIB_SRC)) ; $(archive)
$(B)/libmdvr_bus.a: $(call obj,$(BUS_SRC)) ; $(archive)
$(B)/asan/libmdvr.a: $(call aobj,$(LIB_SRC)) ; $(archive)
$(B)/asan/libmdvr_bus.a: $(call aobj,$(BUS_SRC)) ; $(archive)
$(B)/fuzz/libmdvr.a: $(call fobj,$(LIB_SRC)) ; $(archive)

A  := $(if $(BUS_SRC),$(B)/libmdvr_bus.a) $(if $(LIB_SRC),$(B)/libmdvr.a)
AA := $(if $(BUS_SRC),$(B)/asan/libmdvr_bus.a) $(if $(LIB_SRC),$(B)/asan/libmdvr.a)
FA := $(if $(LIB_SRC),$(B)/fuzz/libmdvr.a)

# programs appear by rename: a running one keeps its own file
define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(or $(LD),$(CC)) $(LDFLAGS) -o $@.new $(filter %.o,$^) $(filter %.a,$^) $(LIBS) $(LDLIBS) && mv -f $@.new $@
endef
LD =
LDFLAGS = -g

$(B)/bin/mdvr-sim: LIBS = $(SIM_LIBS)
$(B)/bin/mdvr-sim: $(call obj,$(SIM_SRC)) $(A)
	$(link)
	@ln -sfn ../$@ sim/mdvr-sim 2>/dev/null || true

$(B)/bin/mdvr-worker: LIBS = $(shell pkg-config --libs $(WORKER_PKG)) $(if $(WORKER_CXX),-lopencv_core -lopencv_imgproc -lopencv_objdetect -lopencv_imgcodecs -lopencv_dnn)
$(B)/bin/mdvr-worker: LD = $(if $(WORKER_CXX),$(CXX),$(CC))
$(B)/bin/mdvr-worker: $(call obj,$(WORKER_SRC)) $(call obj,$(WORKER_CXX)) $(call obj,$(SEAL_SRC)) $(A)
	$(link)

$(B)/bin/mdvr-rtc: LIBS = $(shell pkg-config --libs $(RTC_PKG))
$(B)/bin/mdvr-rtc: $(call obj,$(RTC_SRC)) $(A)
	$(link)

$(B)/bin/mdvr-passwd: LIBS = -largon2
$(OPS_BIN): $(B)/bin/%: $(B)/obj/ops/%.c.o $(A)
	$(link)

# ------------------------------------------------- unit tests, fuzzers, benches
# one program per file of t/unit; t/unit/lib/*.c is linked to each of them

$(UNIT_BIN): LDFLAGS = -g $(SAN)
$(UNIT_BIN): LIBS = -ljansson
$(UNIT_BIN): $(B)/t/%: $(B)/asan/obj/t/unit/%.c.o $(call aobj,$(UNIT_LIB)) $(AA)
	$(link)

$(B)/t/sigv4: LIBS = -ljansson -lcrypto
$(B)/t/seal: $(call aobj,$(SEAL_SRC))
$(B)/t/seal: LIBS = -ljansson -lcrypto

# what mdvr-rtc reads from strangers
RTC_WIRE := $(filter %/stun.c %/sdp.c %/rtp.c,$(RTC_SRC))
$(B)/t/rtc_wire: $(call aobj,$(RTC_WIRE))
$(B)/t/rtc_wire: LIBS = -ljansson -lcrypto
$(B)/fuzz/rtc: $(call fobj,$(RTC_WIRE))
$(B)/fuzz/rtc: LIBS = -lcrypto
$(B)/fuzz/inflate: LIBS = -lz

$(FUZZ_BIN): $(B)/fuzz/%: $(B)/fuzz/obj/t/fuzz/%.c.o $(FA)
	$(call say,LD,$@)
	$(Q)$(CLANG) -g $(FUZZ) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) $(LDLIBS)

$(BENCH_BIN): $(B)/bench/%: $(B)/obj/t/bench/%.c.o $(A)
	$(link)

# ------------------------------------------------------------ the nginx module
# Against Debian's nginx-dev, or an nginx source tree: make module NGINX_SRC=...
# configure runs again when `config` or the list of sources changes.

NGINX_SRC ?= /usr/share/nginx/src
MODULE_SRC := config $(GLUE_SRC) $(LIB_SRC) $(BUS_SRC) $(SEAL_SRC) $(foreach d,mdvr bus seal,$(call src,$(d),h))

$(shell mkdir -p $(B) && echo '$(NGINX_SRC) $(MODULES) $(MODULE_SRC)' | cmp -s - $(B)/module.list 2>/dev/null \
	|| echo '$(NGINX_SRC) $(MODULES) $(MODULE_SRC)' > $(B)/module.list)

$(B)/nginx/Makefile: config $(B)/module.list ops/module-configure
	$(call say,CONF,$(@D))
	$(Q)ops/module-configure $(NGINX_SRC) $(TOP)/$(@D) "$(OPT) -g -fno-omit-frame-pointer" ""

# nginx's own macros copy nothing from null pointers: that check would drown us
$(B)/asan/nginx/Makefile: config $(B)/module.list ops/module-configure
	$(call say,CONF,$(@D))
	$(Q)ops/module-configure $(NGINX_SRC) $(TOP)/$(@D) "-O1 -g -fno-omit-frame-pointer $(SAN) -fno-sanitize=nonnull-attribute" "$(SAN)"

# installed by rename: a running nginx has the old file mapped
define build_module
	$(call say,MAKE,$@)
	$(Q)$(MAKE) -C $(NGINX_SRC) -f $(TOP)/$(1)/Makefile modules $(if $(filter 0,$(V)),>$(1)/make.log 2>&1 || { tail -n 40 $(1)/make.log; exit 1; })
	@f=$$(ls $(1)/*.so | head -n 1); cp $$f $@.new && mv -f $@.new $@
endef

$(B)/ngx_mdvr_module.so: $(B)/nginx/Makefile $(MODULE_SRC)
	$(call build_module,$(B)/nginx)

$(B)/asan/ngx_mdvr_module.so: $(B)/asan/nginx/Makefile $(MODULE_SRC)
	$(call build_module,$(B)/asan/nginx)

# ------------------------------------------------------------- console, clips

web: $(B)/web.stamp

web/node_modules/.package-lock.json: web/package.json $(wildcard web/package-lock.json)
	$(call say,NPM,web)
	$(Q)cd web && { npm ci --no-audit --no-fund --loglevel=error >../$(B)/npm.log 2>&1 || { tail -n 20 ../$(B)/npm.log; exit 1; }; }
	@touch $@

$(B)/web.stamp: web/node_modules/.package-lock.json $(WEB_SRC)
	$(call say,WEB,web/dist)
	@mkdir -p $(B)
	$(Q)cd web && { npm run --silent build >../$(B)/web.log 2>&1 || { tail -n 30 ../$(B)/web.log; exit 1; }; }
	@touch $@

$(B)/clips/.stamp: sim/clips.sh
	$(call say,CLIPS,$(@D))
	@mkdir -p $(@D)
	$(Q)sim/clips.sh $(@D) >$(B)/clips.log 2>&1 || { tail -n 20 $(B)/clips.log; exit 1; }
	@touch $@

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
