/* SPDX-License-Identifier: GPL-2.0 */
/* Whose packet or socket is this: network namespace (inode and cookie) and cgroup, read from the kernel's own pointers. */
#ifndef SKL_OWNER_H
#define SKL_OWNER_H

#include "skl/types.h"
#include "skl/core_fixes.h"
#include <bpf/bpf_core_read.h>

static __always_inline bool skl_owner_of_net(struct skl_owner *o, struct net *net)
{
	if (!net)
		return false;
	o->netns = BPF_CORE_READ(net, ns.inum);
	o->cookie = skl_net_cookie(net);
	return o->netns != 0;
}

static __always_inline bool skl_owner_of_sock(struct skl_owner *o, const struct sock *sk)
{
	return sk && skl_owner_of_net(o, BPF_CORE_READ(sk, __sk_common.skc_net.net));
}

static __always_inline bool skl_owner_of_dev(struct skl_owner *o, const struct net_device *dev)
{
	return dev && skl_owner_of_net(o, BPF_CORE_READ(dev, nd_net.net));
}

/* A task that is about to end has no namespaces any more. */
static __always_inline bool skl_owner_of_task(struct skl_owner *o, const struct task_struct *task)
{
	struct nsproxy *ns = BPF_CORE_READ(task, nsproxy);

	return ns && skl_owner_of_net(o, BPF_CORE_READ(ns, net_ns));
}

/* cgroup v2 id of a task. */
static __always_inline __u64 skl_cgroup_of_task(const struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

/* The device of the route, without its "no reference" bit: all that is left of an skb inside TCP on old kernels. */
static __always_inline struct net_device *skl_dst_dev(const struct sk_buff *skb)
{
	struct dst_entry *dst = (struct dst_entry *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);

	return dst ? BPF_CORE_READ(dst, dev) : NULL;
}

/* Receiving socket, device, sending socket, route: the first that there is. */
static __always_inline bool skl_owner_of_skb(struct skl_owner *o, const struct sk_buff *skb, const struct sock *rx_sk)
{
	return skl_owner_of_sock(o, rx_sk) || skl_owner_of_dev(o, BPF_CORE_READ(skb, dev)) ||
	       skl_owner_of_sock(o, BPF_CORE_READ(skb, sk)) || skl_owner_of_dev(o, skl_dst_dev(skb));
}

/* A full socket: a request or TIME_WAIT socket is only a sock_common, and what lies behind it is something else. */
static __always_inline bool skl_full_sock(const struct sock *sk)
{
	__u8 state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : 0;

	return sk && state != 6 /* TCP_TIME_WAIT */ && state != 12 /* TCP_NEW_SYN_RECV */;
}

/* cgroup v2 id of the process that made the socket; tells hostNetwork pods apart. 0 = not known. */
static __always_inline __u64 skl_cgroup_of_sock(const struct sock *sk)
{
	struct cgroup *cg;

	if (!skl_full_sock(sk))
		return 0;
	cg = skl_sock_cgroup(sk);
	return cg ? BPF_CORE_READ(cg, kn, id) : 0;
}

#endif
