/*
 * Traffic for bench/impact.ts.
 *   impact-traffic server PORT               answers each byte with a byte on PORT, swallows everything on PORT + 1
 *   impact-traffic rr HOST PORT SECONDS      request/response of one byte: prints `transactions p50_ns p99_ns cpu_ns`
 *   impact-traffic bulk HOST PORT SECONDS    one stream: prints `bytes cpu_ns`
 *   impact-traffic pair HOST PORT NETNS      both ends in one thread, the listener in the namespace of the file NETNS. For each line of input
 *                                            MILLISECONDS: that long requests, then that long a stream; prints `requests cpu_ns bytes cpu_ns`
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* CPU time of this process: on veth most of the peer's receive path runs in it too. */
static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int listener(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 16)) {
		perror("listen");
		exit(1);
	}
	return fd;
}

static int dial(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	inet_pton(AF_INET, host, &a.sin_addr);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		perror("connect");
		exit(1);
	}
	return fd;
}

static void echo(int fd)
{
	int on = 1;
	char b;

	for (;;) {
		int c = accept(fd, NULL, NULL);

		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while (read(c, &b, 1) == 1 && write(c, &b, 1) == 1)
			;
		close(c);
	}
}

static void swallow(int fd)
{
	static char buffer[1 << 18];

	for (;;) {
		int c = accept(fd, NULL, NULL);

		while (read(c, buffer, sizeof(buffer)) > 0)
			;
		close(c);
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void request_response(int fd, double seconds)
{
	uint32_t *times = malloc(sizeof(*times) * 4000000);
	int64_t end = now_ns() + (int64_t)(seconds * 1e9), before = now_ns();
	size_t n = 0;
	char b = 'x';
	int64_t cpu = cpu_ns();

	while (before < end && n < 4000000) {
		int64_t after;

		if (write(fd, &b, 1) != 1 || read(fd, &b, 1) != 1)
			exit(1);
		after = now_ns();
		times[n++] = after - before;
		before = after;
	}
	cpu = cpu_ns() - cpu;
	qsort(times, n, sizeof(*times), by_size);
	printf("%zu %u %u %ld\n", n, times[n / 2], times[n - 1 - n / 100], cpu);
}

static void bulk(int fd, double seconds)
{
	static char buffer[1 << 16];
	int64_t end = now_ns() + (int64_t)(seconds * 1e9);
	uint64_t bytes = 0;
	int64_t cpu = cpu_ns();

	while (now_ns() < end) {
		ssize_t n = write(fd, buffer, sizeof(buffer));

		if (n < 0)
			exit(1);
		bytes += n;
	}
	printf("%lu %ld\n", bytes, cpu_ns() - cpu);
}

/* No process is switched to: all CPU time is what the kernel does for the packets, and so is its change. */
static void pair(const char *host, int port, const char *netns)
{
	static char buffer[1 << 16];
	int home = open("/proc/self/ns/net", O_RDONLY), there = open(netns, O_RDONLY), ms, l, c, s, on = 1;

	if (there < 0 || setns(there, CLONE_NEWNET)) {
		perror(netns);
		exit(1);
	}
	l = listener(port);
	setns(home, CLONE_NEWNET);
	c = dial(host, port);
	s = accept(l, NULL, NULL);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	puts("up");
	fflush(stdout);
	while (scanf("%d", &ms) == 1) {
		int64_t end = now_ns() + ms * 1000000LL, cpu = cpu_ns();
		uint64_t requests = 0, bytes = 0;
		char b = 'x';

		for (; now_ns() < end; requests++)
			if (write(c, &b, 1) != 1 || read(s, &b, 1) != 1 || write(s, &b, 1) != 1 || read(c, &b, 1) != 1)
				exit(1);
		printf("%lu %ld ", requests, cpu_ns() - cpu);
		end = now_ns() + ms * 1000000LL;
		cpu = cpu_ns();
		while (now_ns() < end) {
			ssize_t n = write(c, buffer, sizeof(buffer));

			if (n < 0)
				exit(1);
			bytes += n;
			while (n > 0) {
				ssize_t got = read(s, buffer, sizeof(buffer));

				if (got <= 0)
					exit(1);
				n -= got;
			}
		}
		printf("%lu %ld\n", bytes, cpu_ns() - cpu);
		fflush(stdout);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "server")) {
		int port = atoi(argv[2]), a = listener(port), b = listener(port + 1);

		puts("up");
		fflush(stdout);
		if (fork())
			echo(a);
		swallow(b);
	}
	if (argc != 5)
		return 2;
	if (!strcmp(argv[1], "pair"))
		pair(argv[2], atoi(argv[3]), argv[4]);
	if (!strcmp(argv[1], "rr"))
		request_response(dial(argv[2], atoi(argv[3])), atof(argv[4]));
	else
		bulk(dial(argv[2], atoi(argv[3]) + 1), atof(argv[4]));
	return 0;
}
