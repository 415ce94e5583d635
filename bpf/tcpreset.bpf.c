// SPDX-License-Identifier: GPL-2.0
/*
 * tcpreset: RST segments this host's TCP sends and receives, with the connection and, since v6.10, the reason.
 *
 * Sent: tracepoint tcp:tcp_send_reset. Since v6.10 (19822a980e19 "trace: tcp: fully support trace_tcp_send_reset") it fires
 * without a socket too and knows why. Before, a closed port answered nothing there: then the three functions that send are
 * watched (fentry, else kprobe); where even that cannot be, resets without a socket are not seen and doctor says so.
 * Received: tracepoint tcp:tcp_receive_reset, which fires when a RST ended a connection (not for a RST that TCP ignored).
 *
 * Cost: 300 ns for each reset. Cannot see: resets made by netfilter (REJECT --reject-with tcp-reset), which are packets of its own.
 */
#include "tcpreset.event.h"
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(tcpreset_stack_event);

enum skl_reset { NOSOCK = 0, PROCESS = 1, ACTIVE = 2, RECEIVE = 3 };

const volatile __u8 skl_stack_on = 0;

struct skl_reset_key {
	struct skl_owner owner;
	__u32 reason; /* + 1 */
	__u8 type;
	__u8 family;
	__u8 _pad[2];
};

SKL_COUNTER_MAP(skl_resets, skl_reset_key, 4096);

static __always_inline int reset(void *ctx, const struct sock *sk, const struct sk_buff *skb, __u32 reason, bool received)
{
	struct skl_reset_key key = { .reason = reason };
	struct tcpreset_event e = {};
	struct skl_l4 l4 = {};
	__u64 cgroup;

	key.type = received ? RECEIVE : !skb ? ACTIVE : sk ? PROCESS : NOSOCK;
	if (!skl_owner_of_sock(&key.owner, sk) && skb)
		skl_owner_of_skb(&key.owner, skb, NULL);
	if (skb)
		skl_tuple_of_skb(&e.tuple, &l4, skb);
	else if (sk)
		skl_tuple_of_sock(&e.tuple, sk, IPPROTO_TCP);
	key.family = e.tuple.family;
	skl_add(&skl_resets, &key, 1);

	e.reason = reason;
	e.state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : 0;
	e.tcp_flags = l4.tcp_flags;
	cgroup = skl_cgroup_of_sock(sk);
	if (skl_stack_on) {
		struct tcpreset_stack_event *s = skl_reserve(&key.owner, cgroup, key.type, sizeof(*s));

		if (!s)
			return 0;
		e.head = s->event.head;
		s->event = e;
		bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
		bpf_ringbuf_submit(s, 0);
	} else {
		struct tcpreset_event *r = skl_reserve(&key.owner, cgroup, key.type, sizeof(*r));

		if (!r)
			return 0;
		e.head = r->head;
		*r = e;
		bpf_ringbuf_submit(r, 0);
	}
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(skl_sent_why, const struct sock *sk, const struct sk_buff *skb, u32 reason)
{
	return reset(ctx, sk, skb, reason + 1, false);
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(skl_sent, const struct sock *sk, const struct sk_buff *skb)
{
	return reset(ctx, sk, skb, 0, false);
}

SEC("fentry/tcp_v4_send_reset")
int BPF_PROG(skl_sent_f4, const struct sock *sk, struct sk_buff *skb)
{
	return reset(ctx, sk, skb, 0, false);
}

SEC("fentry/tcp_v6_send_reset")
int BPF_PROG(skl_sent_f6, const struct sock *sk, struct sk_buff *skb)
{
	return reset(ctx, sk, skb, 0, false);
}

SEC("fentry/tcp_send_active_reset")
int BPF_PROG(skl_sent_fa, struct sock *sk)
{
	return reset(ctx, sk, NULL, 0, false);
}

SEC("kprobe/tcp_v4_send_reset")
int BPF_KPROBE(skl_sent_k4, const struct sock *sk, struct sk_buff *skb)
{
	return reset(ctx, sk, skb, 0, false);
}

SEC("kprobe/tcp_v6_send_reset")
int BPF_KPROBE(skl_sent_k6, const struct sock *sk, struct sk_buff *skb)
{
	return reset(ctx, sk, skb, 0, false);
}

SEC("kprobe/tcp_send_active_reset")
int BPF_KPROBE(skl_sent_ka, struct sock *sk)
{
	return reset(ctx, sk, NULL, 0, false);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(skl_received, struct sock *sk)
{
	return reset(ctx, sk, NULL, 0, true);
}

SEC("raw_tp/tcp_receive_reset")
int skl_received_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return reset(ctx, (struct sock *)ctx->args[0], NULL, 0, true);
}

char LICENSE[] SEC("license") = "GPL";
