/*
 * Opens TCP connections over loopback and keeps them until standard input ends: `netlink-sockets PAIRS`, run inside a namespace. As many
 * processes as the limit of open files asks for.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

/* Each process has a port of its own: 28 000 connections to it are possible. */
static int open_pairs(int pairs, int port) {
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(server, (void *)&at, sizeof(at)) < 0 || listen(server, 4096) < 0) return perror("listen"), 1;
	for (int i = 0; i < pairs; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);
		if (client < 0 || connect(client, (void *)&at, sizeof(at)) < 0) return perror("connect"), 1;
		int accepted = accept(server, NULL, NULL);
		if (accepted < 0 || write(client, "x", 1) != 1) return perror("accept"), 1;
	}
	return 0;
}

int main(int argc, char **argv) {
	int left = argc > 1 ? atoi(argv[1]) : 1000;
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	int each = (int)(limit.rlim_cur - 50) / 2;
	if (each > 20000) each = 20000;
	int done[2];
	char ok;
	if (pipe(done) < 0) return perror("pipe"), 1;
	for (int port = 4711; left > 0; port++, left -= each) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			ok = open_pairs(left < each ? left : each, port) == 0;
			if (write(done[1], &ok, 1) != 1 || !ok) exit(1);
			pause();
		}
		if (read(done[0], &ok, 1) != 1 || !ok) return 1;
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF);
	return 0;
}
