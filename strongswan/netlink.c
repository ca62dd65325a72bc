/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

int netlink_open(void)
{
	struct timeval patience = {.tv_sec = 2};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0)
	{
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	}
	return fd;
}

void netlink_add(struct nlmsghdr *request, unsigned short type, const void *data, size_t length)
{
	struct rtattr *attribute = (struct rtattr*)((char*)request + NLMSG_ALIGN(request->nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	memcpy(RTA_DATA(attribute), data, length);
	request->nlmsg_len = NLMSG_ALIGN(request->nlmsg_len) + (uint32_t)RTA_SPACE(length);
}

int netlink_change(int fd, struct nlmsghdr *request)
{
	static _Atomic uint32_t last;
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t quoted[NETLINK_MOST];
	} answer;
	ssize_t got;

	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = atomic_fetch_add(&last, 1) + 1;
	if (send(fd, request, request->nlmsg_len, 0) < 0)
	{
		return errno;
	}
	do
	{
		got = recv(fd, &answer, sizeof(answer), 0);
	}
	/* An answer that came too late belongs to an earlier request. */
	while ((got < 0 && errno == EINTR) ||
		   (got >= (ssize_t)sizeof(answer.header) && answer.header.nlmsg_seq != request->nlmsg_seq));
	if (got < (ssize_t)(sizeof(answer.header) + sizeof(answer.error)) || answer.header.nlmsg_type != NLMSG_ERROR)
	{
		return got < 0 ? errno : EIO;
	}
	return -answer.error.error;
}
