/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel drift, one block for each change: the commit, two flavours of the struct, one accessor. Nowhere else does a probe
 * ask whether a field exists.
 */
#ifndef SKL_CORE_FIXES_H
#define SKL_CORE_FIXES_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>

/* 3d368ab87cf6 ("net: initialize net->net_cookie at netns setup", v5.12) made the cookie a plain number. */
static __always_inline __u64 skl_net_cookie(struct net *net)
{
	if (bpf_core_field_exists(net->net_cookie))
		return BPF_CORE_READ(net, net_cookie);
	return 0;
}

/* 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode", v5.15): the pointer lies open, before in `val`. */
struct sock_cgroup_data___o {
	__u64 val;
} __attribute__((preserve_access_index));

static __always_inline struct cgroup *skl_sock_cgroup(const struct sock *sk)
{
	const struct sock_cgroup_data *d;

	if (!bpf_core_field_exists(sk->sk_cgrp_data)) /* CONFIG_SOCK_CGROUP_DATA=n */
		return NULL;
	d = &sk->sk_cgrp_data;
	if (bpf_core_field_exists(d->cgroup))
		return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	return NULL;
}

#endif
