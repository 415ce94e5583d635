/*
 * The floor of the netlink benches: the same dumps, decoded to the same fields, in C. `netlink-floor sockets|conntrack`, run inside the
 * network namespace; for each line on standard input it makes one dump and prints `<nanoseconds of CPU time> <entries> <checksum>`.
 */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 * 1024];
static uint64_t entries, checksum;

static void take_socket(const char *p, const char *end) {
	const struct inet_diag_msg *m = (const void *)p;
	for (const char *a = p + sizeof(*m); a + 4 <= end;) {
		const struct nlattr *n = (const void *)a;
		if (n->nla_len < 4 || a + n->nla_len > end) break;
		if (n->nla_type == INET_DIAG_INFO) {
			const struct tcp_info *i = (const void *)(a + 4);
			checksum += i->tcpi_rtt + i->tcpi_snd_cwnd + i->tcpi_unacked + i->tcpi_total_retrans + i->tcpi_data_segs_out +
				    i->tcpi_busy_time + i->tcpi_rwnd_limited + i->tcpi_sndbuf_limited + i->tcpi_delivery_rate +
				    i->tcpi_last_data_sent;
		}
		a += NLA_ALIGN(n->nla_len);
	}
	checksum += m->id.idiag_cookie[0];
	entries++;
}

static const struct nlattr *find(const char *p, const char *end, int type) {
	for (; p + 4 <= end;) {
		const struct nlattr *n = (const void *)p;
		if (n->nla_len < 4 || p + n->nla_len > end) return NULL;
		if ((n->nla_type & NLA_TYPE_MASK) == type) return n;
		p += NLA_ALIGN(n->nla_len);
	}
	return NULL;
}

#define BODY(n) ((const char *)(n) + 4)
#define END(n) ((const char *)(n) + (n)->nla_len)

static void take_connection(const char *p, const char *end) {
	p += sizeof(struct nfgenmsg);
	const struct nlattr *tuple = find(p, end, CTA_TUPLE_ORIG), *status = find(p, end, CTA_STATUS);
	const struct nlattr *info = find(p, end, CTA_PROTOINFO);
	const struct nlattr *proto = tuple ? find(BODY(tuple), END(tuple), CTA_TUPLE_PROTO) : NULL;
	const struct nlattr *num = proto ? find(BODY(proto), END(proto), CTA_PROTO_NUM) : NULL;
	const struct nlattr *tcp = info ? find(BODY(info), END(info), CTA_PROTOINFO_TCP) : NULL;
	const struct nlattr *state = tcp ? find(BODY(tcp), END(tcp), CTA_PROTOINFO_TCP_STATE) : NULL;
	if (num) checksum += *(const uint8_t *)BODY(num);
	if (state) checksum += *(const uint8_t *)BODY(state);
	if (status) checksum += ntohl(*(const uint32_t *)BODY(status));
	entries++;
}

static void dump(int fd, void *request, size_t length, void (*take)(const char *, const char *)) {
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	if (sendto(fd, request, length, 0, (void *)&kernel, sizeof(kernel)) < 0) exit(2);
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0) exit(3);
		for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE) return;
			if (h->nlmsg_type == NLMSG_ERROR) exit(4);
			take(NLMSG_DATA(h), (char *)h + h->nlmsg_len);
		}
	}
}

int main(int argc, char **argv) {
	int conntrack = argc > 1 && !strcmp(argv[1], "conntrack");
	int fd = socket(AF_NETLINK, SOCK_RAW, conntrack ? NETLINK_NETFILTER : NETLINK_SOCK_DIAG);
	struct { struct nlmsghdr h; struct inet_diag_req r; } diag = {
		.h = {.nlmsg_len = sizeof(diag), .nlmsg_type = TCPDIAG_GETSOCK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.r = {.idiag_states = 1 << 1 | 1 << 4 | 1 << 8, .idiag_ext = 1 << (INET_DIAG_INFO - 1)},
	};
	struct { struct nlmsghdr h; struct nfgenmsg g; } table = {
		.h = {.nlmsg_len = sizeof(table), .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};
	for (int c; (c = getchar()) != EOF;) {
		struct timespec a, b;
		entries = checksum = 0;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
		if (conntrack) dump(fd, &table, sizeof(table), take_connection);
		else dump(fd, &diag, sizeof(diag), take_socket);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
		printf("%lld %llu %llu\n", (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec, (unsigned long long)entries,
		       (unsigned long long)checksum);
		fflush(stdout);
	}
	return 0;
}
