// SPDX-License-Identifier: GPL-2.0
/*
 * packetloss: every packet the kernel throws away, with its reason.
 *
 * Hook: the tracepoint skb:kfree_skb, which fires for packets freed as lost (consume_skb is the other, quiet way out).
 * Its arguments grew: location only; + reason since v5.17 (c504e5c2f964 "net: skb: introduce kfree_skb_reason()");
 * + rx_sk since v6.11 (c53795d48ee8 "net: add rx_sk to trace_kfree_skb"). One program for each, the richest one that the
 * kernel has is used. Before 6.11 a packet dropped inside TCP has no device any more: its route still names the namespace.
 *
 * Table and chain of a netfilter drop are known where fentry/fexit or kprobes can watch nft_do_chain and ipt_do_table: the walk under
 * way on this CPU is kept until it ends in anything but a drop. These run for every packet, so the receiver attaches them only while
 * there are netfilter drops.
 *
 * Cost: some 300 ns for each packet dropped, nothing for those delivered; with the netfilter hooks 60 ns for each table walk.
 * Cannot see: SYNs dropped at a full accept queue on some paths (no kfree_skb there), segments inside one GSO packet (it
 * counts as one), packets dropped by the NIC before the kernel has them.
 */
#include "packetloss.event.h"
#include "skl/count.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(packetloss_stack_event);

/* What user space made of the running kernel's reasons, by number. */
enum skl_class {
	CLASS_LOSS = 0,
	CLASS_NOISE = 1, /* counted, no event */
	CLASS_WHERE = 2, /* says nothing: counted by location, event unless the location is in skl_quiet */
	CLASS_IGNORE = 3, /* not a drop at all */
	CLASS_CAST = 4, /* noise for multicast and broadcast, loss for unicast */
	CLASS_CONTROL = 6, /* noise for multicast of IGMP and ICMPv6, loss for the rest */
	CLASS_NETFILTER = 5, /* loss, with the stack, which names the hook */
};

const volatile __u8 skl_class_of[256] = {};
const volatile __u8 skl_stack_on = 0;

struct skl_drop_key {
	struct skl_owner owner;
	skl_kaddr location; /* 0 unless the reason says nothing */
	__u32 reason;
	__u8 proto;
	__u8 family;
	__u8 direction;
	__u8 cast; /* 0 = plain, 1 = multicast or broadcast, 2 = end of a TCP connection without data, where only the location tells */
};

SKL_COUNTER_MAP(skl_drops, skl_drop_key, 8192);

/* Locations that user space knows as everyday noise: 0 = always, else for this value of `cast`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u32);
} skl_quiet SEC(".maps");

struct skl_nf_walk {
	__u64 skb; /* whose walk it is; 0 = none under way */
	__u8 family;
	__u8 hook;
	__u8 _pad[6];
	char table[32];
	char chain[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skl_nf_walk);
} skl_nf SEC(".maps");

static __always_inline __u8 class_of(__u32 reason)
{
	return reason < sizeof(skl_class_of) ? skl_class_of[reason] : CLASS_LOSS;
}

/* What is sent has no pkt_type: its address tells. */
static __always_inline bool is_multicast(const struct skl_tuple *t)
{
	return (t->family == 4 && (t->daddr[0] & 0xf0) == 0xe0) || (t->family == 6 && t->daddr[0] == 0xff);
}

/* Group membership, router and neighbour discovery. */
static __always_inline bool is_control(__u8 proto)
{
	return proto == 2 /* IGMP */ || proto == IPPROTO_ICMPV6;
}

static __always_inline bool is_quiet(__u64 location, __u8 cast)
{
	__u32 *when = bpf_map_lookup_elem(&skl_quiet, &location);

	return when && (!*when || *when == cast);
}

static __always_inline void fill_netfilter(struct packetloss_event *e, const struct sk_buff *skb)
{
	__u32 zero = 0;
	struct skl_nf_walk *w = bpf_map_lookup_elem(&skl_nf, &zero);

	if (!w || w->skb != (__u64)skb)
		return;
	w->skb = 0;
	e->nf_family = w->family;
	e->nf_hook = w->hook + 1;
	__builtin_memcpy(e->nf_table, w->table, sizeof(e->nf_table));
	__builtin_memcpy(e->nf_chain, w->chain, sizeof(e->nf_chain));
}

static __always_inline void fill(struct packetloss_event *e, const struct sk_buff *skb, const struct sock *sk,
				 const struct skl_drop_key *key, __u64 location, const struct skl_tuple *tuple,
				 const struct skl_l4 *l4)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);

	e->tuple = *tuple;
	e->location = location;
	e->reason = key->reason;
	e->length = BPF_CORE_READ(skb, len);
	e->ethertype = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	e->direction = key->direction;
	e->cast = key->cast;
	e->tcp_flags = l4->tcp_flags;
	e->icmp_type = l4->icmp_type;
	e->icmp_code = l4->icmp_code;
	if (sk && tuple->proto == IPPROTO_TCP)
		e->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (dev) {
		e->ifindex = BPF_CORE_READ(dev, ifindex);
		BPF_CORE_READ_STR_INTO(&e->ifname, dev, name);
	} else {
		e->ifindex = BPF_CORE_READ(skb, skb_iif);
	}
}

static __always_inline void emit(void *ctx, const struct sk_buff *skb, const struct sock *sk, const struct skl_drop_key *key,
				 __u64 location, __u8 class, const struct skl_tuple *tuple,
				 const struct skl_l4 *l4)
{
	__u64 cgroup = skl_cgroup_of_sock(sk);

	if (skl_stack_on || class == CLASS_NETFILTER) {
		struct packetloss_stack_event *s = skl_reserve(&key->owner, cgroup, 0, sizeof(*s));

		if (!s)
			return;
		fill(&s->event, skb, sk, key, location, tuple, l4);
		if (class == CLASS_NETFILTER)
			fill_netfilter(&s->event, skb);
		bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
		bpf_ringbuf_submit(s, 0);
	} else {
		struct packetloss_event *e = skl_reserve(&key->owner, cgroup, 0, sizeof(*e));

		if (!e)
			return;
		fill(e, skb, sk, key, location, tuple, l4);
		bpf_ringbuf_submit(e, 0);
	}
}

/* An skb that never was a packet: af_unix, netlink and vsock queues free theirs here too. What AF_PACKET and AF_XDP send are packets. */
static __always_inline bool not_a_packet(const struct sk_buff *skb, const struct sock *sk)
{
	__u16 family;

	if (!sk)
		return false;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	return family != AF_INET && family != AF_INET6 && family != 17 /* AF_PACKET */ && family != 44 /* AF_XDP */;
}

/*
 * Ends a connection and carries nothing: a FIN, or an ACK or RST for a socket that is ending (FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT,
 * LAST_ACK, CLOSING). No TCP header is longer than 60 bytes; data for TIME_WAIT is lost, and brings a reset besides.
 */
static __always_inline bool is_farewell(const struct sk_buff *skb, const struct sock *sk, __u8 tcp_flags)
{
	const __u32 ending = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 11;

	if (tcp_flags & 1)
		return true;
	return sk && (ending >> (BPF_CORE_READ(sk, __sk_common.skc_state) & 31) & 1) && (tcp_flags & 0x14 /* ACK, RST */) &&
	       !(tcp_flags & 0xa /* SYN, PSH */) && BPF_CORE_READ(skb, len) <= 60;
}

static __always_inline int drop(void *ctx, const struct sk_buff *skb, __u64 location, __u32 reason, const struct sock *rx_sk)
{
	const struct sock *sk = rx_sk ? rx_sk : BPF_CORE_READ(skb, sk);
	struct skl_drop_key key = { .reason = reason };
	struct skl_tuple tuple = {};
	struct skl_l4 l4 = {};
	__u8 class = class_of(reason);
	__u8 pkt_type;

	if (class == CLASS_IGNORE || not_a_packet(skb, sk))
		return 0;
	if (!skl_owner_of_skb(&key.owner, skb, rx_sk) && !BPF_CORE_READ(skb, dev) && !sk && !BPF_CORE_READ(skb, protocol))
		return 0;
	if (!skl_tuple_of_skb(&tuple, &l4, skb) && skl_full_sock(sk)) {
		/* queued and never given headers: the socket says who talks to whom */
		if (skl_tuple_of_sock(&tuple, sk, BPF_CORE_READ(sk, sk_protocol)) && rx_sk)
			skl_tuple_swap(&tuple);
	}
	pkt_type = BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type);
	key.direction = !rx_sk && !BPF_CORE_READ(skb, skb_iif);
	key.cast = pkt_type == 1 || pkt_type == 2 || is_multicast(&tuple);
	key.proto = tuple.proto;
	key.family = tuple.family;
	if (class == CLASS_WHERE) {
		key.location = location;
		if (!key.cast && is_farewell(skb, sk, l4.tcp_flags))
			key.cast = 2;
	}
	skl_add(&skl_drops, &key, 1);
	if (class == CLASS_NOISE || (class == CLASS_CAST && key.cast == 1) ||
	    (class == CLASS_CONTROL && key.cast == 1 && is_control(key.proto)))
		return 0;
	if (class == CLASS_WHERE && is_quiet(location, key.cast))
		return 0;
	emit(ctx, skb, sk, &key, location, class, &tuple, &l4);
	return 0;
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(skl_drop_rx_sk, struct sk_buff *skb, void *location, u32 reason, struct sock *rx_sk)
{
	return drop(ctx, skb, (__u64)location, reason, rx_sk);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(skl_drop_reason, struct sk_buff *skb, void *location, u32 reason)
{
	return drop(ctx, skb, (__u64)location, reason, NULL);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(skl_drop_where, struct sk_buff *skb, void *location)
{
	return drop(ctx, skb, (__u64)location, 0, NULL);
}

SEC("raw_tp/kfree_skb")
int skl_drop_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return drop(ctx, (struct sk_buff *)ctx->args[0], ctx->args[1], (__u32)ctx->args[2], NULL);
}

static __always_inline struct skl_nf_walk *walk_begin(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	__u32 zero = 0;
	struct skl_nf_walk *w = bpf_map_lookup_elem(&skl_nf, &zero);

	if (!w)
		return NULL;
	w->skb = (__u64)skb;
	w->family = BPF_CORE_READ(state, pf);
	w->hook = BPF_CORE_READ(state, hook);
	w->table[0] = 0;
	w->chain[0] = 0;
	return w;
}

static __always_inline int nft_enter(struct nft_pktinfo *pkt, const struct nft_chain *chain)
{
	struct skl_nf_walk *w = walk_begin(BPF_CORE_READ(pkt, skb), BPF_CORE_READ(pkt, state));

	if (!w)
		return 0;
	bpf_probe_read_kernel_str(w->table, sizeof(w->table), BPF_CORE_READ(chain, table, name));
	bpf_probe_read_kernel_str(w->chain, sizeof(w->chain), BPF_CORE_READ(chain, name));
	return 0;
}

static __always_inline int ipt_enter(const struct xt_table *table, const struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct skl_nf_walk *w = walk_begin(skb, state);

	if (w)
		BPF_CORE_READ_STR_INTO(&w->table, table, name);
	return 0;
}

/* A verdict of 0 is NF_DROP: nf_hook_slow frees the packet next. Anything else ends the walk. */
static __always_inline int leave(__u32 verdict)
{
	__u32 zero = 0;
	struct skl_nf_walk *w = bpf_map_lookup_elem(&skl_nf, &zero);

	if (w && (verdict & 0xff))
		w->skb = 0;
	return 0;
}

SEC("fentry/nft_do_chain")
int BPF_PROG(skl_nft_in, struct nft_pktinfo *pkt, void *priv)
{
	return nft_enter(pkt, priv);
}

SEC("fexit/nft_do_chain")
int BPF_PROG(skl_nft_out, struct nft_pktinfo *pkt, void *priv, unsigned int verdict)
{
	return leave(verdict);
}

SEC("fentry/ipt_do_table")
int BPF_PROG(skl_ipt_in, void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return ipt_enter(priv, skb, state);
}

SEC("fexit/ipt_do_table")
int BPF_PROG(skl_ipt_out, void *priv, struct sk_buff *skb, const struct nf_hook_state *state, unsigned int verdict)
{
	return leave(verdict);
}

SEC("kprobe/nft_do_chain")
int BPF_KPROBE(skl_nft_kin, struct nft_pktinfo *pkt, void *priv)
{
	return nft_enter(pkt, priv);
}

SEC("kretprobe/nft_do_chain")
int BPF_KRETPROBE(skl_nft_kout, unsigned int verdict)
{
	return leave(verdict);
}

SEC("kprobe/ipt_do_table")
int BPF_KPROBE(skl_ipt_kin, void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return ipt_enter(priv, skb, state);
}

SEC("kretprobe/ipt_do_table")
int BPF_KRETPROBE(skl_ipt_kout, unsigned int verdict)
{
	return leave(verdict);
}

char LICENSE[] SEC("license") = "GPL";
