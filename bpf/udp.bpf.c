// SPDX-License-Identifier: GPL-2.0
/*
 * udp: datagrams that reached their socket and found no room in it.
 *
 * Hook: the tracepoint udp:udp_fail_queue_rcv_skb.
 * Newer kernels have it in the IPv6 path as well and give it the packet (found by its number of arguments); older ones tell the socket only, so that the
 * sender stays unknown there.
 *
 * Cost: some 300 ns for each datagram lost, nothing for those delivered.
 * Cannot see: datagrams dropped before they had a socket (packetloss tells those).
 */
#include "udp.event.h"
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/sock.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(udp_event);

struct skl_udp_key {
	struct skl_owner owner;
	__u32 error;
	__u16 port; /* local */
	__u8 family;
	__u8 _pad;
};

SKL_COUNTER_MAP(skl_overflows, skl_udp_key, 4096);

static __always_inline int overflow(int rc, const struct sock *sk, const struct sk_buff *skb)
{
	struct skl_udp_key key = {};
	struct skl_tuple tuple = {};
	struct skl_l4 l4 = {};
	struct udp_event *e;

	skl_owner_of_sock(&key.owner, sk);
	if (!skb || !skl_tuple_of_skb(&tuple, &l4, skb)) {
		skl_tuple_of_sock(&tuple, sk, BPF_CORE_READ(sk, sk_protocol));
		skl_tuple_swap(&tuple);
	}
	key.error = rc < 0 ? -rc : rc;
	key.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	key.family = tuple.family;
	skl_add(&skl_overflows, &key, 1);
	e = skl_reserve(&key.owner, skl_cgroup_of_sock(sk), 0, sizeof(*e));
	if (!e)
		return 0;
	e->tuple = tuple;
	e->inode = skl_inode_of_sock(sk);
	e->queued = BPF_CORE_READ(sk, sk_backlog.rmem_alloc.counter);
	e->limit = BPF_CORE_READ(sk, sk_rcvbuf);
	e->error = key.error;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(skl_fail_skb, int rc, struct sock *sk, struct sk_buff *skb)
{
	return overflow(rc, sk, skb);
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(skl_fail, int rc, struct sock *sk)
{
	return overflow(rc, sk, NULL);
}

SEC("raw_tp/udp_fail_queue_rcv_skb")
int skl_fail_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return overflow((int)ctx->args[0], (const struct sock *)ctx->args[1], NULL);
}

char LICENSE[] SEC("license") = "GPL";
