// SPDX-License-Identifier: GPL-2.0
/*
 * tcprtt: the round-trip time that TCP itself measures, as a histogram for each network namespace.
 *
 * Hooks: the tracepoint tcp:tcp_destroy_sock, one call for each connection that ends (since v4.15): the smoothed RTT it had at
 * last. When asked for, tcp:tcp_probe instead, one call for each segment received on an established connection (since v4.16, c3fde1bd28cc "net: tcp: Add trace events for TCP congestion window tracing"); a fraction of the
 * segments is looked at, by chance, so that busy connections weigh more, as they do for their users.
 *
 * Cost: 150 ns for each connection. By segments: a call for each one received, 150 ns more for each one looked at.
 * Cannot see: connections that live on (by segments: that receive nothing); the first round trip (tcpconnect measures that one).
 */
#include "skl/count.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include <bpf/bpf_tracing.h>

/* No events; the common head keeps the shape all probes have. */
SKL_EVENT(skl_head);

/* Looked at: 1 of 2^n segments. */
const volatile __u8 skl_sample_log2 = 3;

struct skl_rtt_key {
	struct skl_owner owner;
	__u8 family;
	__u8 _pad[7];
};

SKL_HIST_MAP(skl_rtt, skl_rtt_key, 2048);

static __always_inline bool looked_at(void)
{
	return !skl_sample_log2 || !(bpf_get_prandom_u32() & ((1U << (skl_sample_log2 & 31)) - 1));
}

static __always_inline int observe(const struct sock *sk)
{
	struct skl_rtt_key key = {};
	__u32 srtt_us;

	/* in 1/8 us, as the kernel keeps it; 0 = nothing measured yet */
	srtt_us = BPF_CORE_READ((const struct tcp_sock *)sk, srtt_us) >> 3;
	if (!srtt_us)
		return 0;
	skl_owner_of_sock(&key.owner, sk);
	key.family = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 ? 6 : 4;
	skl_observe(&skl_rtt, &key, (__u64)srtt_us * 1000);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(skl_end, struct sock *sk)
{
	return observe(sk);
}

SEC("raw_tp/tcp_destroy_sock")
int skl_end_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return observe((const struct sock *)ctx->args[0]);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(skl_segment, struct sock *sk, const struct sk_buff *skb)
{
	return looked_at() ? observe(sk) : 0;
}

SEC("raw_tp/tcp_probe")
int skl_segment_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return looked_at() ? observe((const struct sock *)ctx->args[0]) : 0;
}

char LICENSE[] SEC("license") = "GPL";
