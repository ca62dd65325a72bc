/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtual_ips.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

/** Asks the kernel for an address; 0, or an error. */
static int add(int fd, host_t *address, unsigned interface)
{
	chunk_t bytes = address->get_address(address);
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
		struct rtattr attribute;
		uint8_t bytes[16];
	} request = {
		.header = {.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(request.address)) + RTA_LENGTH(bytes.len)), .nlmsg_type = RTM_NEWADDR,
				   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE},
		.address = {.ifa_family = (uint8_t)address->get_family(address), .ifa_prefixlen = (uint8_t)(8 * bytes.len),
					.ifa_flags = IFA_F_NODAD, .ifa_index = interface},
		.attribute = {.rta_type = IFA_LOCAL, .rta_len = (unsigned short)RTA_LENGTH(bytes.len)},
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t quoted[sizeof(request)];
	} answer;

	memcpy(request.bytes, bytes.ptr, min(bytes.len, sizeof(request.bytes)));
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
	{
		return errno;
	}
	if (recv(fd, &answer, sizeof(answer), 0) < (ssize_t)(sizeof(answer.header) + sizeof(answer.error)))
	{
		return EIO;
	}
	return -answer.error.error;
}

void virtual_ip_restore(host_t *address, unsigned interface)
{
	struct timeval patience = {.tv_sec = 2};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error = errno;

	if (fd >= 0)
	{
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		error = add(fd, address, interface);
		close(fd);
	}
	if (error)
	{
		DBG1(DBG_KNL, "the virtual IP %H is not on the TUN device any more: %s", address, strerror(error));
	}
}
