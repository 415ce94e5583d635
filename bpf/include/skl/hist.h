/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Durations as log2 histograms in units of 2^-30 s. Bucket i counts (2^(i-30), 2^(i-29)] seconds: exactly an OpenTelemetry
 * exponential histogram of scale 0, offset -30, and a Prometheus native histogram of schema 0. Above 64 s: the last bucket.
 */
#ifndef SKL_HIST_H
#define SKL_HIST_H

#include "skl/event.h"

#define SKL_HIST_BUCKETS 36

struct skl_hist {
	__u64 count;
	__u64 sum_ns;
	__u64 zero;
	__u64 bucket[SKL_HIST_BUCKETS];
};

/* One histogram for each key and CPU; key begins with struct skl_owner. */
#define SKL_HIST_MAP(name_, key_, entries_)               \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_PERCPU_HASH);   \
		__uint(max_entries, entries_);            \
		__uint(map_flags, BPF_F_NO_PREALLOC);     \
		__type(key, struct key_);                 \
		__type(value, struct skl_hist);           \
	} name_ SEC(".maps")

/* All zero: what a new key gets. In .rodata, since 312 bytes are too many for the stack. */
const struct skl_hist skl_hist_zero = {};

static __always_inline __u32 skl_log2(__u64 v)
{
	__u32 r = 0;

	if (v >> 32) { v >>= 32; r += 32; }
	if (v >> 16) { v >>= 16; r += 16; }
	if (v >> 8) { v >>= 8; r += 8; }
	if (v >> 4) { v >>= 4; r += 4; }
	if (v >> 2) { v >>= 2; r += 2; }
	if (v >> 1) r += 1;
	return r;
}

/* Bucket of a duration > 0. u = ceil(ns x 2^30 / 10^9); in (2^k, 2^(k+1)] exactly when floor(log2(u - 1)) = k. */
static __always_inline __u32 skl_hist_bucket(__u64 ns)
{
	__u32 b;

	if (ns > 200000000000ULL) /* keeps the product below 2^64 */
		return SKL_HIST_BUCKETS - 1;
	b = skl_log2(ns + (ns * 73741824ULL + 999999999ULL) / 1000000000ULL - 1);
	return b < SKL_HIST_BUCKETS ? b : SKL_HIST_BUCKETS - 1;
}

/* Adds one duration to the histogram of `key`. Per-CPU value: no atomics, yet a softirq may interrupt; see below. */
static __always_inline void skl_observe(void *map, const void *key, __u64 ns)
{
	struct skl_hist *h = bpf_map_lookup_elem(map, key);
	__u32 b;

	if (!h) {
		bpf_map_update_elem(map, key, (const void *)&skl_hist_zero, BPF_NOEXIST);
		h = bpf_map_lookup_elem(map, key);
	}
	if (!h) {
		skl_count_full(SKL_FULL_COUNT);
		return;
	}
	/* a softirq on this CPU may come in between: the atomics keep the value exact, and stay in this CPU's cache */
	__sync_fetch_and_add(&h->count, 1);
	__sync_fetch_and_add(&h->sum_ns, ns);
	if (!ns) {
		__sync_fetch_and_add(&h->zero, 1);
		return;
	}
	b = skl_hist_bucket(ns);
	if (b < SKL_HIST_BUCKETS)
		__sync_fetch_and_add(&h->bucket[b], 1);
}

#endif
