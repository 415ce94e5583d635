/*
 * The floor for bench/collect.ts: the same system calls as the procfs receiver, in C, and nothing done with what they give.
 *   collect-floor net PID...    per namespace: six files of /proc/PID/net, and the check whose namespace it still is
 *   collect-floor all PID...    that, and what goes by process: inventory, descriptors, limits, io
 *   collect-floor diag PID      sock_diag in the namespace of PID: one walk for both IP versions, states and queues summed
 * For each line on standard input one round; prints its time and its CPU time in ns.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 * 1024];
static volatile unsigned long sink;

static void read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		sink += n;
	close(fd);
}

static void read_namespace(const char *pid)
{
	static const char *const files[] = { "dev", "snmp", "netstat", "snmp6", "sockstat", "sockstat6" };
	char path[64];

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s/net/%s", pid, files[i]);
		read_file(path);
	}
	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	sink += readlink(path, buffer, sizeof(buffer));
}

static void read_descriptors(const char *pid)
{
	char path[320];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	if (!d)
		return;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, e->d_name);
		sink += readlink(path, buffer, sizeof(buffer));
	}
	closedir(d);
}

static void read_process(const char *pid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s", pid);
	stat(path, &st);
	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	sink += readlink(path, buffer, sizeof(buffer));
	read_descriptors(pid);
	snprintf(path, sizeof(path), "/proc/%s/limits", pid);
	read_file(path);
	snprintf(path, sizeof(path), "/proc/%s", pid);
	stat(path, &st);
	snprintf(path, sizeof(path), "/proc/%s/io", pid);
	read_file(path);
}

static void read_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	while ((e = readdir(d)))
		if (e->d_name[0] > '0' && e->d_name[0] <= '9')
			read_process(e->d_name);
	closedir(d);
	read_file("/proc/1/net/softnet_stat");
}

static unsigned long states[16], queues[2];

static int dump(int fd)
{
	struct { struct nlmsghdr h; struct inet_diag_req r; } q = { 0 };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	q.h.nlmsg_len = sizeof(q);
	q.h.nlmsg_type = TCPDIAG_GETSOCK;
	q.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	q.r.idiag_states = ~0u;
	if (sendto(fd, &q, sizeof(q), 0, (void *)&kernel, sizeof(kernel)) < 0)
		err(1, "sendto");
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			struct inet_diag_msg *m = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				errx(1, "sock_diag refused");
			states[m->idiag_state & 15]++;
			queues[0] += m->idiag_rqueue;
			queues[1] += m->idiag_wqueue;
		}
	}
	return -1;
}

static void diag(const char *pid)
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), there, fd;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (setns(there, CLONE_NEWNET) < 0)
		err(1, "setns");
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_INET_DIAG);
	if (setns(home, CLONE_NEWNET) < 0)
		err(1, "setns back");
	memset(states, 0, sizeof(states));
	dump(fd);
	close(fd);
	close(there);
	close(home);
}

static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	char line[16];

	if (argc < 3)
		errx(2, "usage: collect-floor net|all|diag PID...");
	while (fgets(line, sizeof(line), stdin)) {
		long long started = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);

		for (int i = 2; i < argc; i++) {
			if (argv[1][0] == 'd')
				diag(argv[i]);
			else
				read_namespace(argv[i]);
		}
		if (argv[1][0] == 'a')
			read_processes();
		printf("%lld %lld\n", now(CLOCK_MONOTONIC) - started, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
		fflush(stdout);
	}
	return 0;
}
