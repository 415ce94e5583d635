/* Makes packet drops at a given rate: datagrams to a closed port of the loopback. ring-drops COUNT RATE; prints the seconds it took. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long count = atol(argv[1]), rate = atol(argv[2]);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	double began = now();

	for (long i = 0; i < count; i++) {
		/* not connected: the port-unreachable answers do not come back to this socket */
		if (sendto(s, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) != 1) {
			perror("sendto");
			return 1;
		}
		if (i % 64 == 63)
			while (rate && (i + 1) / (now() - began) > rate)
				nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	printf("%.3f\n", now() - began);
	return 0;
}
