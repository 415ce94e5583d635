/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PACKETLOSS_EVENT_H
#define PACKETLOSS_EVENT_H

#include "skl/types.h"

/* One packet that the kernel threw away. */
struct packetloss_event {
	struct skl_head head;
	struct skl_tuple tuple;
	skl_kaddr location; /* who called kfree_skb */
	__u32 reason; /* enum skb_drop_reason of the running kernel, subsystem in the upper half; 0 = kernel before 5.17 */
	__u32 length; /* skb->len at that point, bytes */
	__u32 ifindex;
	__u16 ethertype; /* host byte order */
	__u8 direction; /* 0 = receive, 1 = transmit */
	__u8 cast; /* 0 = plain, 1 = multicast or broadcast, 2 = end of a TCP connection without data, where only the location tells */
	__u8 tcp_flags; /* byte 13 of the TCP header */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 state; /* TCP state of the socket; 0 = none */
	__u8 nf_family; /* NFPROTO_* of the chain, where a hook on the netfilter core told; 0 = not known */
	__u8 nf_hook; /* enum nf_inet_hooks + 1; 0 = not known */
	__u8 _pad[2];
	skl_ifname ifname;
	char nf_table[32];
	char nf_chain[32];
};

/* The same with the kernel's stack. */
struct packetloss_stack_event {
	struct packetloss_event event;
	skl_kaddr stack[32];
};

#endif
