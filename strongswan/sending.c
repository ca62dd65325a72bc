/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sending.h"

#include "events.h"
#include "fragment.h"
#include "ip.h"
#include "sockets.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>

/** Bytes of UDP payload that one call takes. */
#define UDP_MOST 65000
/** Milliseconds that a packet waits for room in its socket at most. */
#define PATIENCE 100

/** Room for where from, traffic class and segment size. */
typedef union control_t {
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))];
	struct cmsghdr align;
} control_t;

static void add_control(struct msghdr *msg, int level, int type, const void *value, size_t size)
{
	struct cmsghdr *cmsg = (struct cmsghdr*)((char*)msg->msg_control + msg->msg_controllen);

	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(size);
	memset(CMSG_DATA(cmsg), 0, CMSG_SPACE(size) - CMSG_LEN(0));
	memcpy(CMSG_DATA(cmsg), value, size);
	msg->msg_controllen += CMSG_SPACE(size);
}

static size_t header_of(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? (packet[0] & 0xf) * 4u : 40;
}

/** An outer packet that must not be cut, neither here nor on the way. */
static bool is_whole(const outgoing_t *this)
{
	return !this->cut && (this->packet[0] >> 4 == 6 || this->packet[6] & 0x40);
}

/** What one error says; `quoted` bytes of the packet it is about are at `packet`, from ESP or AH on. */
static void learn(const struct sockaddr_storage *dst, const struct sock_extended_err *error, const uint8_t *packet,
				  size_t quoted)
{
	uint32_t spi;

	if (error->ee_errno != EMSGSIZE || !error->ee_info)
	{
		return;
	}
	if (error->ee_origin == SO_EE_ORIGIN_LOCAL)
	{
		sad_path_mtu(dst, error->ee_info, NULL);
	}
	else if (quoted >= sizeof(spi))
	{
		/* Anybody can send an ICMP error; who quotes the SPI is on the way. */
		memcpy(&spi, packet, sizeof(spi));
		sad_path_mtu(dst, error->ee_info, &spi);
		if (quoted >= 2 * sizeof(spi))
		{
			/* In AH it is the second word. */
			memcpy(&spi, packet + sizeof(spi), sizeof(spi));
			sad_path_mtu(dst, error->ee_info, &spi);
		}
	}
}

void send_learn(int fd)
{
	for (int i = 0; i < BATCH; i++)
	{
		uint8_t packet[64];
		struct sockaddr_storage dst = {0};
		struct iovec iov = {packet, sizeof(packet)};
		union {
			char bytes[512];
			struct cmsghdr align;
		} control;
		struct msghdr msg = {.msg_name = &dst, .msg_namelen = sizeof(dst), .msg_iov = &iov, .msg_iovlen = 1,
							 .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
		ssize_t quoted = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);

		if (quoted < 0)
		{
			break;
		}
		for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
		{
			struct sock_extended_err error;

			if ((cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_RECVERR) ||
				(cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_RECVERR))
			{
				memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
				learn(&dst, &error, packet, (size_t)quoted);
			}
		}
	}
}

/** Sends; an error of an earlier packet, told late, is no reason to lose this one. */
static ssize_t send_once(int fd, struct msghdr *msg)
{
	ssize_t sent = sendmsg(fd, msg, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
	{
		send_learn(fd);
		sent = sendmsg(fd, msg, MSG_NOSIGNAL);
	}
	return sent;
}

/** After an error: waits for room, if that is what is missing. A sender that is too fast is slowed down, and the device before
 *  it drops what is too much; but nobody waits for long for a link that takes nothing. */
static bool has_room_again(int fd, int error)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	if (error != EAGAIN && error != EWOULDBLOCK)
	{
		return false;
	}
	/* An error that waits would end the wait at once, again and again. */
	send_learn(fd);
	return poll(&poll_fd, 1, PATIENCE) > 0 && poll_fd.revents & POLLOUT;
}

static ssize_t send_waiting(int fd, struct msghdr *msg)
{
	ssize_t sent;

	do
	{
		sent = send_once(fd, msg);
	}
	while (sent < 0 && has_room_again(fd, errno));
	return sent;
}

/** Sends packets of one length (the last may be shorter) and class to one place; false, and errno: not all. */
static bool send_run(int fd, const sa_use_t *use, outgoing_t *packets, size_t count)
{
	const struct sockaddr_storage *src = &use->path.src;
	struct iovec iov[BATCH];
	control_t control;
	size_t header = header_of(packets[0].packet);
	int tos = ip_tos(packets[0].packet);
	struct msghdr msg = {
		.msg_name = (void*)&use->path.dst,
		.msg_namelen = src->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
		.msg_iov = iov,
		.msg_iovlen = count,
		.msg_control = control.bytes,
	};

	for (size_t i = 0; i < count; i++)
	{
		iov[i] = (struct iovec){packets[i].packet + header, packets[i].length - header};
	}
	if (src->ss_family == AF_INET)
	{
		struct in_pktinfo from = {.ipi_spec_dst = ((const struct sockaddr_in*)src)->sin_addr};

		add_control(&msg, SOL_IP, IP_PKTINFO, &from, sizeof(from));
		add_control(&msg, SOL_IP, IP_TOS, &tos, sizeof(tos));
	}
	else
	{
		struct in6_pktinfo from = {.ipi6_addr = ((const struct sockaddr_in6*)src)->sin6_addr};

		add_control(&msg, SOL_IPV6, IPV6_PKTINFO, &from, sizeof(from));
		add_control(&msg, SOL_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	}
	if (count > 1)
	{
		uint16_t size = (uint16_t)iov[0].iov_len;

		add_control(&msg, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
	}
	return send_waiting(fd, &msg) >= 0;
}

/** How many packets from the front one call takes. */
static size_t run_of(const sender_state_t *this, const outgoing_t *packets, size_t count)
{
	size_t bytes = packets[0].length, run = 1;

	/* What is cut into fragments is not made of segments. */
	while (this->cuts && !packets[0].cut && run < count && run < BATCH && packets[run - 1].length == packets[0].length &&
		   packets[run].length <= packets[0].length && bytes + packets[run].length <= UDP_MOST &&
		   ip_tos(packets[run].packet) == ip_tos(packets[0].packet) &&
		   is_whole(&packets[run]) == is_whole(&packets[0]))
	{
		bytes += packets[run++].length;
	}
	return run;
}

/** Lets a UDP socket cut what is too long, or not. */
static void choose_whole(sender_state_t *this, int fd, int family, bool whole)
{
	bool *now = family == AF_INET ? &this->whole4 : &this->whole6;
	int choice;

	if (*now == whole)
	{
		return;
	}
	*now = whole;
	if (family == AF_INET)
	{
		choice = whole ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT;
		setsockopt(fd, SOL_IP, IP_MTU_DISCOVER, &choice, sizeof(choice));
	}
	else
	{
		choice = whole ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_DONT;
		setsockopt(fd, SOL_IPV6, IPV6_MTU_DISCOVER, &choice, sizeof(choice));
	}
}

static void send_udp(sender_state_t *this, const sa_use_t *use, outgoing_t *packets, size_t count)
{
	int family = use->path.dst.ss_family, fd = sockets_source(this->worker, family == AF_INET ? FROM_UDP4 : FROM_UDP6);

	if (fd < 0)
	{
		complain(COMPLAIN_SEND, "packets are dropped: charon listens at no port for UDP encapsulation");
		return;
	}
	for (size_t at = 0, run; at < count; at += run)
	{
		bool whole = is_whole(&packets[at]);

		run = run_of(this, packets + at, count - at);
		choose_whole(this, fd, family, whole);
		if (send_run(fd, use, packets + at, run) || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
		{
			/* Sent, or there is no room: then packets are dropped, as by any other queue that is full. */
			continue;
		}
		if (run > 1)
		{
			/* Segments do not fit the path, or this device cannot cut: one by one it is clear which. */
			this->cuts = this->cuts && errno != EIO && errno != EOPNOTSUPP && errno != ENOPROTOOPT;
			for (size_t i = 0; i < run; i++)
			{
				send_run(fd, use, packets + at + i, 1);
			}
		}
		else if (errno != EMSGSIZE)
		{
			complain(COMPLAIN_SEND, "a packet could not be sent over UDP: %s", strerror(errno));
		}
	}
}

/** Where packets of an SA go in IP. */
typedef struct raw_t {
	int fd;
	struct sockaddr_storage to;
	socklen_t to_length;
} raw_t;

static bool send_fragment(void *context, const uint8_t *fragment, size_t length)
{
	const raw_t *raw = context;
	ssize_t sent;

	do
	{
		sent = sendto(raw->fd, fragment, length, MSG_NOSIGNAL, (const struct sockaddr*)&raw->to, raw->to_length);
	}
	while (sent < 0 && has_room_again(raw->fd, errno));
	return sent >= 0;
}

/** Too long for the path, and may be cut: a raw socket does not. */
static bool must_cut(const sa_use_t *use, const outgoing_t *packet)
{
	uint32_t mtu = atomic_load_explicit(&use->sa->outer_mtu, memory_order_relaxed);

	return mtu && packet->length > mtu && !is_whole(packet);
}

static void send_cut(sender_state_t *this, const sa_use_t *use, raw_t *raw, const outgoing_t *packet)
{
	uint8_t fragment[IP_MAX_PACKET];
	flow_t flow;

	if (!ip_parse(packet->packet, packet->length, &flow))
	{
		return;
	}
	for (int attempt = 0; attempt < 2; attempt++)
	{
		uint32_t mtu = atomic_load_explicit(&use->sa->outer_mtu, memory_order_relaxed);

		errno = EINVAL;
		if (fragment_cut(packet->packet, &flow, min(mtu, IP_MAX_PACKET), this->id++, fragment, send_fragment, raw))
		{
			return;
		}
		if (errno != EMSGSIZE)
		{
			break;
		}
		/* The path takes less by now. */
		send_learn(raw->fd);
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
	{
		return;
	}
	complain(COMPLAIN_SEND, "a packet could not be sent in fragments: %s", strerror(errno));
}

/** Sends packets that are not cut, but those that turn out to have to be. */
static void send_whole(sender_state_t *this, const sa_use_t *use, raw_t *raw, const outgoing_t *packets, size_t count)
{
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	size_t sent = 0;

	for (size_t i = 0; i < count; i++)
	{
		iov[i] = (struct iovec){packets[i].packet, packets[i].length};
		messages[i] = (struct mmsghdr){.msg_hdr = {
			.msg_name = &raw->to,
			.msg_namelen = raw->to_length,
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
		}};
	}
	while (sent < count)
	{
		int now = sendmmsg(raw->fd, messages + sent, (unsigned)(count - sent), MSG_NOSIGNAL), error = errno;

		if (now > 0)
		{
			sent += (size_t)now;
			continue;
		}
		if (error == EINTR || has_room_again(raw->fd, error))
		{
			continue;
		}
		if (error == EAGAIN || error == EWOULDBLOCK)
		{
			/* The link takes nothing: as any other queue that is full, this one drops. */
			break;
		}
		if (error != EMSGSIZE && error != ENOBUFS)
		{
			complain(COMPLAIN_SEND, "a packet could not be sent: %s", strerror(error));
		}
		send_learn(raw->fd);
		if (error == EMSGSIZE && must_cut(use, &packets[sent]))
		{
			send_cut(this, use, raw, &packets[sent]);
		}
		sent++;
	}
}

static void send_ip(sender_state_t *this, const sa_use_t *use, outgoing_t *packets, size_t count)
{
	int family = use->path.dst.ss_family;
	raw_t raw = {
		.fd = sockets_raw(family),
		.to = use->path.dst,
		.to_length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
	};

	/* Of a raw socket that would be the protocol. */
	if (family == AF_INET6)
	{
		((struct sockaddr_in6*)&raw.to)->sin6_port = 0;
	}
	for (size_t at = 0, run; at < count; at += run)
	{
		for (run = 0; at + run < count && !must_cut(use, &packets[at + run]); run++);
		send_whole(this, use, &raw, packets + at, run);
		if (at + run < count)
		{
			send_cut(this, use, &raw, &packets[at + run]);
			run++;
		}
	}
}

void send_packets(sender_state_t *this, const sa_use_t *use, outgoing_t *packets, size_t count)
{
	if (use->path.udp)
	{
		send_udp(this, use, packets, count);
	}
	else
	{
		send_ip(this, use, packets, count);
	}
}

void send_plain(uint8_t *packet, size_t length)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to = {{0}};
	bool is4 = packet[0] >> 4 == 4;
	int fd = sockets_raw(is4 ? AF_INET : AF_INET6);

	if (is4)
	{
		to.in.sin_family = AF_INET;
		memcpy(&to.in.sin_addr, packet + 16, 4);
	}
	else
	{
		to.in6.sin6_family = AF_INET6;
		memcpy(&to.in6.sin6_addr, packet + 24, 16);
	}
	if (sendto(fd, packet, length, MSG_NOSIGNAL, (struct sockaddr*)&to, is4 ? sizeof(to.in) : sizeof(to.in6)) < 0 &&
		errno != EAGAIN && errno != EWOULDBLOCK)
	{
		complain(COMPLAIN_SEND, "a packet of a passthrough policy could not be sent: %s", strerror(errno));
	}
}
