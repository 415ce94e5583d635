// SPDX-License-Identifier: GPL-2.0
/*
 * tcprtt: the round-trip time that TCP itself measures, as a histogram for each network namespace.
 *
 * Hook: the tracepoint tcp:tcp_probe, one call for each segment received on an established connection (since v4.16,
 * c3fde1bd28cc "net: tcp: Add trace events for TCP congestion window tracing"). The value is the smoothed RTT of the socket at that
 * moment; a fraction of the segments is looked at, by chance, so that busy connections weigh more, as they do for their users.
 *
 * Cost: 10 ns for each segment received, 150 ns for each one looked at.
 * Cannot see: connections that receive nothing; the first round trip (tcpconnect measures that one).
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

static __always_inline int segment(const struct sock *sk)
{
	struct skl_rtt_key key = {};
	__u32 srtt_us;

	if (!looked_at())
		return 0;
	/* in 1/8 us, as the kernel keeps it; 0 = nothing measured yet */
	srtt_us = BPF_CORE_READ((const struct tcp_sock *)sk, srtt_us) >> 3;
	if (!srtt_us)
		return 0;
	skl_owner_of_sock(&key.owner, sk);
	key.family = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 ? 6 : 4;
	skl_observe(&skl_rtt, &key, (__u64)srtt_us * 1000);
	return 0;
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(skl_segment, struct sock *sk, const struct sk_buff *skb)
{
	return segment(sk);
}

SEC("raw_tp/tcp_probe")
int skl_segment_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return segment((const struct sock *)ctx->args[0]);
}

char LICENSE[] SEC("license") = "GPL";
