// SPDX-License-Identifier: GPL-2.0
/*
 * dns: how fast and how well pods' questions are answered. Client side: a question is a datagram to port 53 that a socket of this
 * namespace sends; what is forwarded for others, and what servers send, is none.
 *
 * Hooks: where functions can be watched, those that only datagrams go through: ip_send_skb and ip6_send_skb (the question leaves its socket),
 * __udp_enqueue_schedule_skb (the answer reaches its socket). Elsewhere the tracepoints net:net_dev_queue and net:netif_receive_skb (the
 * answer, on any interface, lo too), both with BTF since v5.5, which fire for every packet. Each pair is on the same side of any NAT, so that
 * question and answer agree. A program of type syscall (since v5.14), run at each reading, looks for questions without answer.
 *
 * Cost: functions: 50 ns for each datagram. Tracepoints: a call for each packet of the machine, 50 ns more for those that arrive while a question
 * is open. On by default.
 * Cannot see: DNS over TCP, TLS, HTTPS; other ports than 53; answers whose DNS header lies in a page fragment (no driver known to
 * leave less than 128 bytes in front); questions behind IPv6 extension headers. By functions, an answer to a socket that was closed meanwhile.
 */
#include "dns.event.h"
#include "skl/count.h"
#include "skl/hist.h"
#include "skl/owner.h"
#include "skl/tuple.h"
#include <bpf/bpf_tracing.h>

SKL_EVENT(dns_event);

const volatile __u64 skl_timeout_ns = 5000000000;
const volatile __u32 skl_bad_rcodes = 0xfff6; /* bit n: an answer with rcode n is told */
const volatile __u16 skl_port = 53;

#define UDP_HEADER 8
#define DNS_HEADER 12
#define NEXTHDR_UDP IPPROTO_UDP

enum skl_dns_type {
	DNS_FAILED = 0,
	DNS_TIMEOUT = 1,
};

struct skl_dns_ask_key {
	struct skl_owner owner;
	struct skl_tuple tuple; /* source = the client */
	__u32 id;
	__u32 _pad;
};

struct skl_dns_ask {
	__u64 since;
	__u64 cgroup;
	__u32 length;
	__u8 question[SKL_QUESTION];
	__u32 _pad;
};

/* Questions without answer so far. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct skl_dns_ask_key);
	__type(value, struct skl_dns_ask);
} skl_asked SEC(".maps");

/* Entries of skl_asked: while there are none, packets that arrive cost next to nothing. Never lower than the truth. */
__u64 skl_open = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skl_dns_ask);
} skl_room SEC(".maps");

enum skl_dns_what {
	DNS_QUERIES = 0,
	DNS_TIMEOUTS = 1,
};

struct skl_dns_key {
	struct skl_owner owner;
	__u8 what;
	__u8 family;
	__u8 _pad[6];
};

SKL_COUNTER_MAP(skl_dns_count, skl_dns_key, 8192);

struct skl_rcode_key {
	struct skl_owner owner;
	__u8 rcode;
	__u8 family;
	__u8 _pad[6];
};

SKL_HIST_MAP(skl_answers, skl_rcode_key, 4096);

struct dns_message {
	__be16 id;
	__u8 flags; /* QR, opcode, AA, TC, RD */
	__u8 rcode; /* RA, Z, AD, CD, rcode */
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additionals;
};

struct dns_packet {
	struct skl_tuple tuple;
	struct dns_message message;
	const void *question;
	__u32 length; /* bytes from `question` on that are there */
};

/* Reads a UDP datagram from its network header. `end` = the end of what lies in one piece. */
static __always_inline bool parse(struct dns_packet *p, __be16 protocol, const void *nh, const void *end)
{
	struct skl_l4 l4 = {};
	const void *th;
	__u8 ihl;

	if (protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_probe_read_kernel(&ihl, 1, nh) || !skl_parse_v4(&p->tuple, &l4, nh))
			return false;
		th = nh + (ihl & 0xf) * 4;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		if (!skl_parse_v6(&p->tuple, &l4, nh))
			return false;
		th = nh + 40;
	} else {
		return false;
	}
	if (p->tuple.proto != IPPROTO_UDP || l4.fragment)
		return false;
	p->question = th + UDP_HEADER + DNS_HEADER;
	if (p->question > end)
		return false;
	p->length = end - p->question;
	return true;
}

/* Cheap look before anything is parsed: UDP, with the port at `offset` of its header. */
static __always_inline bool concerns(__be16 protocol, const void *nh, __u32 offset)
{
	__be16 port = 0;
	__u8 byte = 0;

	if (protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_probe_read_kernel(&byte, 1, nh + 9) || byte != IPPROTO_UDP || bpf_probe_read_kernel(&byte, 1, nh))
			return false;
		bpf_probe_read_kernel(&port, sizeof(port), nh + (byte & 0xf) * 4 + offset);
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_probe_read_kernel(&byte, 1, nh + 6) || byte != NEXTHDR_UDP)
			return false;
		bpf_probe_read_kernel(&port, sizeof(port), nh + 40 + offset);
	}
	return port == bpf_htons(skl_port);
}

static __always_inline void tell(const struct skl_dns_ask_key *key, const struct skl_dns_ask *ask, __u16 type, __u8 rcode,
				 __u64 ns)
{
	struct dns_event *e = skl_reserve(&key->owner, ask->cgroup, type, sizeof(*e));

	if (!e)
		return;
	e->tuple = key->tuple;
	e->latency_ns = ns;
	e->id = key->id;
	e->rcode = rcode;
	e->length = ask->length;
	__builtin_memcpy(e->question, ask->question, SKL_QUESTION);
	bpf_ringbuf_submit(e, 0);
}

/* True for the one who removed it, so that an answer and a search at the same time do not both count. */
static __always_inline bool removed(struct skl_dns_ask_key *key)
{
	if (bpf_map_delete_elem(&skl_asked, key))
		return false;
	__sync_fetch_and_sub(&skl_open, 1);
	return true;
}

static __always_inline void unanswered(const struct skl_dns_ask_key *key, const struct skl_dns_ask *ask, __u64 now)
{
	struct skl_dns_key count = { .owner = key->owner, .what = DNS_TIMEOUTS, .family = key->tuple.family };

	skl_add(&skl_dns_count, &count, 1);
	tell(key, ask, DNS_TIMEOUT, 0, now - ask->since);
}

static __always_inline void remember(struct skl_dns_ask_key *key, const struct sock *sk, const struct dns_packet *p)
{
	__u32 zero = 0, length = p->length;
	struct skl_dns_ask *ask = bpf_map_lookup_elem(&skl_room, &zero), *old;

	if (!ask)
		return;
	old = bpf_map_lookup_elem(&skl_asked, key);
	/* asked again with the same number from the same socket: the first one was not answered */
	if (old) {
		*ask = *old;
		if (removed(key))
			unanswered(key, ask, bpf_ktime_get_ns());
	}
	ask->since = bpf_ktime_get_ns();
	ask->cgroup = skl_cgroup_of_sock(sk);
	if (length > SKL_QUESTION)
		length = SKL_QUESTION;
	ask->length = length;
	__builtin_memset(ask->question, 0, SKL_QUESTION);
	if (length && bpf_probe_read_kernel(ask->question, length, p->question))
		ask->length = 0;
	__sync_fetch_and_add(&skl_open, 1);
	if (bpf_map_update_elem(&skl_asked, key, ask, BPF_NOEXIST)) {
		__sync_fetch_and_sub(&skl_open, 1);
		skl_count_full(SKL_FULL_STATE);
	}
}

/* A datagram of a socket to the port: counted and remembered when it is a question. */
static __always_inline int question(const struct sock *sk, __be16 protocol, const void *nh, const void *end)
{
	struct skl_dns_ask_key key = {};
	struct skl_dns_key count = { .what = DNS_QUERIES };
	struct dns_packet p = {};

	if (!parse(&p, protocol, nh, end))
		return 0;
	if (bpf_probe_read_kernel(&p.message, sizeof(p.message), p.question - DNS_HEADER) || (p.message.flags & 0xf8))
		return 0; /* an answer, or no standard query */
	skl_owner_of_sock(&key.owner, sk);
	key.tuple = p.tuple;
	key.id = bpf_ntohs(p.message.id);
	count.owner = key.owner;
	count.family = p.tuple.family;
	skl_add(&skl_dns_count, &count, 1);
	remember(&key, sk, &p);
	return 0;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(skl_question, struct sk_buff *skb)
{
	const void *nh = skb->head + skb->network_header;
	struct sock *sk = skb->sk;

	/* without a call for TCP; of what is no full socket this reads something else, and the header decides */
	if (!sk || sk->sk_protocol != IPPROTO_UDP || !concerns(skb->protocol, nh, 2))
		return 0;
	/* the reference to the socket stays while a packet crosses into another namespace: there it is not the socket's any more */
	if (sk->__sk_common.skc_net.net != skb->dev->nd_net.net)
		return 0;
	return question(sk, skb->protocol, nh, skb->data + (skb->len - skb->data_len));
}

/* The end of what lies in one piece. */
static __always_inline const void *linear_end(const struct sk_buff *skb)
{
	return BPF_CORE_READ(skb, data) + (BPF_CORE_READ(skb, len) - BPF_CORE_READ(skb, data_len));
}

/* Sent by a socket and not stamped with its protocol yet. */
static __always_inline int sends(const struct sk_buff *skb, __be16 protocol)
{
	const void *nh = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	struct sock *sk = BPF_CORE_READ(skb, sk);

	if (!sk || !concerns(protocol, nh, 2))
		return 0;
	return question(sk, protocol, nh, linear_end(skb));
}

SEC("fentry/ip_send_skb")
int BPF_PROG(skl_ask4_fe, struct net *net, struct sk_buff *skb)
{
	return sends(skb, bpf_htons(ETH_P_IP));
}

SEC("fentry/ip6_send_skb")
int BPF_PROG(skl_ask6_fe, struct sk_buff *skb)
{
	return sends(skb, bpf_htons(ETH_P_IPV6));
}

SEC("kprobe/ip_send_skb")
int BPF_KPROBE(skl_ask4_kp, struct net *net, struct sk_buff *skb)
{
	return sends(skb, bpf_htons(ETH_P_IP));
}

SEC("kprobe/ip6_send_skb")
int BPF_KPROBE(skl_ask6_kp, struct sk_buff *skb)
{
	return sends(skb, bpf_htons(ETH_P_IPV6));
}

static __always_inline void answered(struct skl_dns_ask_key *key, const struct skl_dns_ask *found, __u8 rcode)
{
	struct skl_rcode_key answer = { .owner = key->owner, .rcode = rcode, .family = key->tuple.family };
	__u64 now = bpf_ktime_get_ns(), ns = now - found->since;
	__u32 zero = 0;
	struct skl_dns_ask *ask = bpf_map_lookup_elem(&skl_room, &zero);

	if (!ask)
		return;
	*ask = *found;
	if (!removed(key))
		return;
	if (ns > skl_timeout_ns) { /* nobody waits for it any more */
		unanswered(key, ask, now);
		return;
	}
	skl_observe(&skl_answers, &answer, ns);
	if (skl_bad_rcodes & (1U << rcode))
		tell(key, ask, DNS_FAILED, rcode, ns);
}

/* A datagram from the port that came into a namespace. */
static __always_inline int answer(const struct skl_owner *owner, __be16 protocol, const void *nh, const void *end)
{
	struct skl_dns_ask_key key = { .owner = *owner };
	struct dns_packet p = {};
	struct skl_dns_ask *ask;

	if (!parse(&p, protocol, nh, end))
		return 0;
	if (bpf_probe_read_kernel(&p.message, sizeof(p.message), p.question - DNS_HEADER) || !(p.message.flags & 0x80))
		return 0;
	skl_tuple_swap(&p.tuple);
	key.tuple = p.tuple;
	key.id = bpf_ntohs(p.message.id);
	ask = bpf_map_lookup_elem(&skl_asked, &key);
	if (ask)
		answered(&key, ask, p.message.rcode & 0xf);
	return 0;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(skl_answer, struct sk_buff *skb)
{
	const void *nh = skb->data;
	struct skl_owner owner = {};

	if (!skl_open || !concerns(skb->protocol, nh, 0) || !skl_owner_of_dev(&owner, skb->dev))
		return 0;
	return answer(&owner, skb->protocol, nh, nh + (skb->len - skb->data_len));
}

static __always_inline int reaches(const struct sock *sk, const struct sk_buff *skb)
{
	const void *nh = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__be16 protocol = BPF_CORE_READ(skb, protocol);
	struct skl_owner owner = {};

	if (!skl_open || !concerns(protocol, nh, 0) || !skl_owner_of_sock(&owner, sk))
		return 0;
	return answer(&owner, protocol, nh, linear_end(skb));
}

SEC("fentry/__udp_enqueue_schedule_skb")
int BPF_PROG(skl_reach_fe, struct sock *sk, struct sk_buff *skb)
{
	return reaches(sk, skb);
}

SEC("kprobe/__udp_enqueue_schedule_skb")
int BPF_KPROBE(skl_reach_kp, struct sock *sk, struct sk_buff *skb)
{
	return reaches(sk, skb);
}

struct sweep {
	__u64 now;
};

static long sweep_one(void *map, struct skl_dns_ask_key *key, struct skl_dns_ask *found, struct sweep *s)
{
	struct skl_dns_ask_key own = *key;
	struct skl_dns_ask ask;

	if (s->now < found->since || s->now - found->since < skl_timeout_ns)
		return 0;
	ask = *found;
	if (removed(&own))
		unanswered(&own, &ask, s->now);
	return 0;
}

/* Run by user space: questions that are older than the timeout are told and removed. */
SEC("syscall")
int skl_sweep(void *ctx)
{
	struct sweep s = { .now = bpf_ktime_get_ns() };

	bpf_for_each_map_elem(&skl_asked, sweep_one, &s, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
