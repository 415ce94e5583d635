// SPDX-License-Identifier: GPL-2.0
/*
 * tcpretrans: segments TCP sends again, by what made it: timeout, fast retransmit, tail loss probe, SYN, SYN-ACK.
 *
 * Hooks: tracepoints tcp:tcp_retransmit_skb (since v4.15; with the result of sending since v6.15) and tcp:tcp_retransmit_synack. The
 * kind follows from the state of the socket and of its congestion control when the segment leaves.
 *
 * Cost: 350 ns for each retransmission. Cannot see: a tail loss probe that carries new data (nothing is sent again), and segments
 * that a NIC cuts out of a GSO packet (`segments` says how many there are).
 */
#include "tcpretrans.event.h"
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(tcpretrans_stack_event);

const volatile __u8 skl_stack_on = 0;
const volatile __u8 skl_by_peer = 0;

struct skl_retrans_key {
	struct skl_owner owner;
	__u8 peer[16]; /* zero: not told apart, or no room for more peers */
	__u8 family;
	__u8 type;
	__u8 state;
	__u8 ca_state;
	__u32 _pad;
};

SKL_COUNTER_MAP(skl_retrans, skl_retrans_key, 8192);

/* A peer without room is counted with all those that have none: the sum stays true. */
static __always_inline void count(struct skl_retrans_key *key, __u32 segments)
{
	__u64 zero = 0;

	if (skl_by_peer && !bpf_map_lookup_elem(&skl_retrans, key) &&
	    bpf_map_update_elem(&skl_retrans, key, &zero, BPF_NOEXIST) && !bpf_map_lookup_elem(&skl_retrans, key))
		__builtin_memset(key->peer, 0, sizeof(key->peer));
	skl_add(&skl_retrans, key, segments);
}

static __always_inline int finish(void *ctx, struct skl_retrans_key *key, struct tcpretrans_event *e, __u64 cgroup)
{
	key->family = e->tuple.family;
	key->state = e->state;
	key->ca_state = e->ca_state;
	if (skl_by_peer)
		__builtin_memcpy(key->peer, e->tuple.daddr, sizeof(key->peer));
	count(key, e->segments);
	if (skl_stack_on) {
		struct tcpretrans_stack_event *s = skl_reserve(&key->owner, cgroup, key->type, sizeof(*s));

		if (!s)
			return 0;
		e->head = s->event.head;
		s->event = *e;
		bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
		bpf_ringbuf_submit(s, 0);
	} else {
		struct tcpretrans_event *r = skl_reserve(&key->owner, cgroup, key->type, sizeof(*r));

		if (!r)
			return 0;
		e->head = r->head;
		*r = *e;
		bpf_ringbuf_submit(r, 0);
	}
	return 0;
}

static __always_inline int retransmit(void *ctx, const struct sock *sk, const struct sk_buff *skb, __s32 error)
{
	const struct tcp_skb_cb *cb = (const struct tcp_skb_cb *)((const char *)skb + bpf_core_field_offset(skb->cb));
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct skl_retrans_key key = {};
	struct tcpretrans_event e = {};

	/* EBUSY: the first copy has not left this host yet, nothing was sent again (skb_still_in_host_queue(), TCPSpuriousRtxHostQueues) */
	if (error == -16)
		return 0;
	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_sock(&e.tuple, sk, IPPROTO_TCP);
	e.seq = BPF_CORE_READ(cb, seq);
	e.length = BPF_CORE_READ(skb, len);
	e.segments = BPF_CORE_READ(cb, tcp_gso_segs);
	if (!e.segments)
		e.segments = 1;
	e.error = error;
	e.rtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	e.state = BPF_CORE_READ(sk, __sk_common.skc_state);
	e.ca_state = BPF_CORE_READ_BITFIELD_PROBED(&tp->inet_conn, icsk_ca_state);
	e.retries = BPF_CORE_READ(tp, inet_conn.icsk_retransmits);
	return finish(ctx, &key, &e, skl_cgroup_of_sock(sk));
}

static __always_inline int synack(void *ctx, const struct sock *sk, const struct request_sock *req)
{
	struct skl_retrans_key key = { .type = 1 };
	struct tcpretrans_event e = {};

	skl_owner_of_sock(&key.owner, sk);
	skl_tuple_of_sock(&e.tuple, (const struct sock *)req, IPPROTO_TCP);
	e.segments = 1;
	e.state = BPF_CORE_READ(req, __req_common.skc_state);
	e.retries = BPF_CORE_READ(req, num_retrans);
	return finish(ctx, &key, &e, skl_cgroup_of_sock(sk));
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(skl_retr_err, const struct sock *sk, const struct sk_buff *skb, int err)
{
	return retransmit(ctx, sk, skb, err);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(skl_retr, const struct sock *sk, const struct sk_buff *skb)
{
	return retransmit(ctx, sk, skb, 0);
}

SEC("raw_tp/tcp_retransmit_skb")
int skl_retr_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return retransmit(ctx, (struct sock *)ctx->args[0], (struct sk_buff *)ctx->args[1], 0);
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(skl_synack, const struct sock *sk, const struct request_sock *req)
{
	return synack(ctx, sk, req);
}

SEC("raw_tp/tcp_retransmit_synack")
int skl_synack_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return synack(ctx, (struct sock *)ctx->args[0], (struct request_sock *)ctx->args[1]);
}

char LICENSE[] SEC("license") = "GPL";
