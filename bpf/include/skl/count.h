/* SPDX-License-Identifier: GPL-2.0 */
/* Counting in maps: an increment is either in a series or in skl_full. */
#ifndef SKL_COUNT_H
#define SKL_COUNT_H

#include "skl/event.h"

/* A counter map for rare things: shared by all CPUs, key begins with struct skl_owner. */
#define SKL_COUNTER_MAP(name_, key_, entries_)            \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_HASH);          \
		__uint(max_entries, entries_);            \
		__type(key, struct key_);                 \
		__type(value, __u64);                     \
	} name_ SEC(".maps")

/* The same for hot paths: one value for each CPU, memory taken as keys appear. */
#define SKL_PERCPU_COUNTER_MAP(name_, key_, entries_)     \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_PERCPU_HASH);   \
		__uint(max_entries, entries_);            \
		__uint(map_flags, BPF_F_NO_PREALLOC);     \
		__type(key, struct key_);                 \
		__type(value, __u64);                     \
	} name_ SEC(".maps")

static __always_inline void skl_add(void *map, const void *key, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(map, key);
	__u64 zero = 0;

	if (!v) {
		bpf_map_update_elem(map, key, &zero, BPF_NOEXIST);
		v = bpf_map_lookup_elem(map, key);
	}
	if (v)
		__sync_fetch_and_add(v, n);
	else
		skl_count_full(SKL_FULL_COUNT);
}

#endif
