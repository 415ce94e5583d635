/* SPDX-License-Identifier: GPL-2.0 */
/* Addresses, ports and protocol of a packet or socket, both IP versions, v4-mapped sockets as the IPv4 they speak. */
#ifndef SKL_TUPLE_H
#define SKL_TUPLE_H

#include "skl/owner.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

/* Two IPv6 addresses into the tuple; ::ffff:a.b.c.d on either side means that IPv4 is on the wire. */
static __always_inline void skl_tuple_v6(struct skl_tuple *t, const __u32 *s, const __u32 *d)
{
	if ((s[0] | s[1]) == 0 && s[2] == bpf_htonl(0xffff)) {
		t->family = 4;
		*(__u32 *)t->saddr = s[3];
		*(__u32 *)t->daddr = d[3];
	} else if ((d[0] | d[1]) == 0 && d[2] == bpf_htonl(0xffff)) {
		t->family = 4;
		*(__u32 *)t->saddr = s[3];
		*(__u32 *)t->daddr = d[3];
	} else {
		t->family = 6;
		__builtin_memcpy(t->saddr, s, 16);
		__builtin_memcpy(t->daddr, d, 16);
	}
}

/* From a socket: source = the local end. Works on request and TIME_WAIT sockets too (all in sock_common). */
static __always_inline bool skl_tuple_of_sock(struct skl_tuple *t, const struct sock *sk, __u8 proto)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u32 s[4], d[4];

	if (family == AF_INET) {
		t->family = 4;
		*(__u32 *)t->saddr = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)t->daddr = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&s, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&d, sk, __sk_common.skc_v6_daddr);
		skl_tuple_v6(t, s, d);
	} else {
		return false;
	}
	t->proto = proto;
	t->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!t->sport && skl_full_sock(sk)) /* already unbound, as when it resets on close */
		t->sport = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	t->dport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	return true;
}

/* Swaps the ends, for what was received on a socket: source = the sender of the packet. */
static __always_inline void skl_tuple_swap(struct skl_tuple *t)
{
	__u64 a = ((__u64 *)t->saddr)[0], b = ((__u64 *)t->saddr)[1];
	__u16 p = t->sport;

	((__u64 *)t->saddr)[0] = ((__u64 *)t->daddr)[0];
	((__u64 *)t->saddr)[1] = ((__u64 *)t->daddr)[1];
	((__u64 *)t->daddr)[0] = a;
	((__u64 *)t->daddr)[1] = b;
	t->sport = t->dport;
	t->dport = p;
}

/* What a packet's headers say beyond the tuple. */
struct skl_l4 {
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 fragment; /* not the first one: no ports */
};

static __always_inline void skl_parse_l4(struct skl_tuple *t, struct skl_l4 *l4, const void *th)
{
	__be16 ports[2];
	__u8 b[2];

	if (t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP || t->proto == 132 || t->proto == 136) {
		if (bpf_probe_read_kernel(ports, sizeof(ports), th))
			return;
		t->sport = bpf_ntohs(ports[0]);
		t->dport = bpf_ntohs(ports[1]);
		if (t->proto == IPPROTO_TCP)
			bpf_probe_read_kernel(&l4->tcp_flags, 1, th + 13);
	} else if (t->proto == IPPROTO_ICMP || t->proto == IPPROTO_ICMPV6) {
		if (bpf_probe_read_kernel(b, sizeof(b), th))
			return;
		l4->icmp_type = b[0];
		l4->icmp_code = b[1];
	}
}

static __always_inline bool skl_parse_v4(struct skl_tuple *t, struct skl_l4 *l4, const void *nh)
{
	struct {
		__u8 ihl_version, tos;
		__be16 tot_len, id, frag_off;
		__u8 ttl, protocol;
		__u16 check;
		__be32 saddr, daddr;
	} ip;

	if (bpf_probe_read_kernel(&ip, sizeof(ip), nh) || (ip.ihl_version >> 4) != 4)
		return false;
	t->family = 4;
	t->proto = ip.protocol;
	*(__u32 *)t->saddr = ip.saddr;
	*(__u32 *)t->daddr = ip.daddr;
	if (ip.frag_off & bpf_htons(0x1fff))
		l4->fragment = 1;
	else
		skl_parse_l4(t, l4, nh + (ip.ihl_version & 0xf) * 4);
	return true;
}

static __always_inline bool skl_parse_v6(struct skl_tuple *t, struct skl_l4 *l4, const void *nh)
{
	struct {
		__be32 flow;
		__be16 len;
		__u8 next, hops;
		__u8 saddr[16], daddr[16];
	} ip;
	__u8 ext[4];
	const void *p = nh + sizeof(ip);

	if (bpf_probe_read_kernel(&ip, sizeof(ip), nh) || (ip.flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return false;
	t->family = 6;
	t->proto = ip.next;
	__builtin_memcpy(t->saddr, ip.saddr, 16);
	__builtin_memcpy(t->daddr, ip.daddr, 16);
	/* extension headers: hop-by-hop 0, routing 43, fragment 44, destination options 60 */
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		if (t->proto != 0 && t->proto != 43 && t->proto != 44 && t->proto != 60)
			break;
		if (bpf_probe_read_kernel(ext, sizeof(ext), p))
			return true;
		if (t->proto == 44) {
			if (((ext[2] << 8) | ext[3]) & 0xfff8)
				l4->fragment = 1;
			p += 8;
		} else {
			p += (ext[1] + 1) * 8;
		}
		t->proto = ext[0];
	}
	if (!l4->fragment)
		skl_parse_l4(t, l4, p);
	return true;
}

/* From a packet's network header, where it has one. */
static __always_inline bool skl_tuple_of_skb(struct skl_tuple *t, struct skl_l4 *l4, const struct sk_buff *skb)
{
	const void *nh = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__be16 protocol = BPF_CORE_READ(skb, protocol);

	if (protocol == bpf_htons(ETH_P_IP))
		return skl_parse_v4(t, l4, nh);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return skl_parse_v6(t, l4, nh);
	return false;
}

#endif
