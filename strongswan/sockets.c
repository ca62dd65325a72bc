/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sockets.h"

#include <daemon.h>

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdatomic.h>
#include <unistd.h>

#define MAX_WORKERS 64
/** Bytes that wait in a socket before the system drops some: some milliseconds. */
#define RECEIVE_BUFFER (4 << 20)
#define SEND_BUFFER (1 << 20)

static _Atomic int sources[MAX_WORKERS][SOURCES];
static int raw4 = -1, raw6 = -1;
static size_t workers;
static uint32_t mark;
static void (*on_change)(void);

static bool set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

bool sockets_bypass(int fd)
{
	if (!set(fd, SOL_SOCKET, SO_MARK, (int)mark))
	{
		DBG1(DBG_KNL, "a socket cannot be marked: %s", strerror(errno));
		return FALSE;
	}
	return TRUE;
}

static void set_buffers(int fd)
{
	if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER))
	{
		set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	}
	if (!set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER))
	{
		set(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
	}
}

/** Where a packet was sent to, and its traffic class. */
static void want_details(int fd, int family)
{
	if (family == AF_INET)
	{
		set(fd, SOL_IP, IP_PKTINFO, 1);
		set(fd, SOL_IP, IP_RECVTOS, 1);
		set(fd, SOL_IP, IP_RECVTTL, 1);
	}
	else
	{
		set(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
		set(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
		set(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
	}
}

/** What a path does not take. */
static void want_errors(int fd, int family)
{
	if (family == AF_INET)
	{
		set(fd, SOL_IP, IP_RECVERR, 1);
	}
	else
	{
		set(fd, SOL_IPV6, IPV6_RECVERR, 1);
	}
}

static int open_raw(int family, int protocol)
{
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd < 0)
	{
		return -1;
	}
	sockets_bypass(fd);
	set_buffers(fd);
	want_errors(fd, family);
	/* Raw IPv4 packets come with their header. */
	if (family == AF_INET6)
	{
		want_details(fd, family);
	}
	if (protocol == IPPROTO_RAW && family == AF_INET6)
	{
		set(fd, SOL_IPV6, IPV6_HDRINCL, 1);
	}
	return fd;
}

bool sockets_create(size_t number, uint32_t bypass)
{
	static const struct {
		source_t source;
		int family, protocol;
	} raw[] = {
		{FROM_ESP4, AF_INET, IPPROTO_ESP},
		{FROM_ESP6, AF_INET6, IPPROTO_ESP},
		{FROM_AH4, AF_INET, IPPROTO_AH},
		{FROM_AH6, AF_INET6, IPPROTO_AH},
	};

	workers = number < MAX_WORKERS ? number : MAX_WORKERS;
	mark = bypass;
	for (size_t i = 0; i < MAX_WORKERS; i++)
	{
		for (int source = 0; source < SOURCES; source++)
		{
			sources[i][source] = -1;
		}
	}
	raw4 = open_raw(AF_INET, IPPROTO_RAW);
	raw6 = open_raw(AF_INET6, IPPROTO_RAW);
	if (raw4 < 0)
	{
		DBG1(DBG_KNL, "packets cannot be sent: %s", strerror(errno));
		return FALSE;
	}
	for (size_t i = 0; i < countof(raw); i++)
	{
		sources[0][raw[i].source] = open_raw(raw[i].family, raw[i].protocol);
		if (sources[0][raw[i].source] < 0)
		{
			DBG1(DBG_KNL, "protocol %d of family %d cannot be received: %s", raw[i].protocol, raw[i].family, strerror(errno));
		}
	}
	return TRUE;
}

void sockets_destroy(void)
{
	for (size_t i = 0; i < workers; i++)
	{
		for (int source = 0; source < SOURCES; source++)
		{
			if (sources[i][source] >= 0)
			{
				close(sources[i][source]);
			}
		}
	}
	if (raw4 >= 0)
	{
		close(raw4);
	}
	if (raw6 >= 0)
	{
		close(raw6);
	}
}

int sockets_source(size_t worker, source_t source)
{
	return sources[worker][source];
}

int sockets_raw(int family)
{
	return family == AF_INET ? raw4 : raw6;
}

void sockets_on_change(void (*changed)(void))
{
	on_change = changed;
}

/** Hands IKE (four zeros first, RFC 3948) and NAT keepalives (shorter) to the first socket, charon's; ESP to the `ours`
 *  behind it, those of an SPI to one. */
static bool attach_filter(int fd, size_t ours)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (uint32_t)ours),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = {.len = countof(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

static int open_beside(int fd, int family)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int ours;

	if (getsockname(fd, (struct sockaddr*)&address, &length) < 0)
	{
		return -1;
	}
	ours = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	if (ours < 0)
	{
		return -1;
	}
	if ((family == AF_INET6 && !set(ours, SOL_IPV6, IPV6_V6ONLY, 1)) || !set(ours, SOL_SOCKET, SO_REUSEPORT, 1) ||
		!sockets_bypass(ours) || bind(ours, (struct sockaddr*)&address, length) < 0)
	{
		close(ours);
		return -1;
	}
	set_buffers(ours);
	want_details(ours, family);
	want_errors(ours, family);
	if (!set(ours, SOL_UDP, UDP_GRO, 1))
	{
		DBG2(DBG_KNL, "this kernel does not join UDP packets");
	}
	if (family == AF_INET)
	{
		set(ours, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	}
	else
	{
		set(ours, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
	}
	return ours;
}

bool sockets_share(int fd, int family, uint16_t port)
{
	source_t source = family == AF_INET ? FROM_UDP4 : FROM_UDP6;
	bool shared = TRUE;

	if (sources[0][source] >= 0)
	{
		DBG1(DBG_KNL, "UDP encapsulation is at one port of a family alone, not at %u, too", port);
		return FALSE;
	}
	if (!set(fd, SOL_SOCKET, SO_REUSEPORT, 1))
	{
		DBG1(DBG_KNL, "UDP port %u cannot be shared: %s", port, strerror(errno));
		return FALSE;
	}
	for (size_t i = 0; i < workers; i++)
	{
		int ours = open_beside(fd, family);

		/* From the first one on, there are two sockets to choose from, and never one that is not there. */
		if (ours < 0 || !attach_filter(ours, i + 1))
		{
			DBG1(DBG_KNL, "UDP port %u cannot be shared: %s", port, strerror(errno));
			if (ours >= 0)
			{
				close(ours);
			}
			shared = i > 0;
			break;
		}
		sources[i][source] = ours;
	}
	if (on_change)
	{
		on_change();
	}
	return shared;
}
